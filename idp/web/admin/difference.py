"""Which lines of two files differ, with their neighbours; what that means is for :mod:`idp.policy.diff` to say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final, Literal

_Block = tuple[str, int, int, int, int]
"""What happened to which lines of the former file, and to which of the later one (:mod:`difflib`)."""

_NEARBY: Final = 3
"""Lines shown before and after what changed."""
_MOST_LINES: Final = 2000
_MOST_PAIRS: Final = 50_000
"""Pairs of equal lines.  Beyond either, files are compared as wholes: with lines that are all alike the time grows with
the cube of their number (DOS-06)."""


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A line of a difference; numbers are those of the former and of the later file, 0 where it has none."""

    kind: Literal["same", "removed", "added", "gap"]
    text: str
    before: int = 0
    after: int = 0


def lines(before: str, after: str) -> tuple[DiffLine, ...]:
    """The lines that differ, with some around them."""
    old, new = before.splitlines(), after.splitlines()
    if max(len(old), len(new)) > _MOST_LINES or _pairs(old, new) > _MOST_PAIRS:
        blocks: list[_Block] = [("replace", 0, len(old), 0, len(new))] if old != new else []
    else:
        matched = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        blocks = [(tag, start, end, first, last) for tag, start, end, first, last in matched]
    return tuple(_shown(blocks, old, new))


def _pairs(old: list[str], new: list[str]) -> int:
    """How many pairs of a former and a later line are equal."""
    later = Counter(new)
    return sum(count * later[line] for line, count in Counter(old).items())


def _shown(blocks: list[_Block], old: list[str], new: list[str]) -> Iterator[DiffLine]:
    for at, (tag, start, end, first, last) in enumerate(blocks):
        if tag == "equal":
            ahead = _NEARBY if at else 0
            behind = _NEARBY if at < len(blocks) - 1 else 0
            if end - start > ahead + behind:
                yield from (_same(old, start + step, first + step) for step in range(ahead))
                yield DiffLine("gap", "")
                yield from (_same(old, end - step, last - step) for step in range(behind, 0, -1))
            else:
                yield from (_same(old, start + step, first + step) for step in range(end - start))
            continue
        yield from (DiffLine("removed", old[number], before=number + 1) for number in range(start, end))
        yield from (DiffLine("added", new[number], after=number + 1) for number in range(first, last))


def _same(old: list[str], number: int, other: int) -> DiffLine:
    return DiffLine("same", old[number], number + 1, other + 1)
