"""A file's lines, with what there is to say about each; nothing in a file is markup to a page."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from idp.policy.document import LINE_BREAK, MAX_OCTETS
from idp.policy.model import Policy
from idp.web.services import services

_NEARBY: Final = 3
_LEAST_FOLDED: Final = 6
"""Fewer lines are shown rather than folded."""

Kind = Literal["reason", "error", "warning", "changed"]


@dataclass(frozen=True, slots=True)
class Note:
    """Something to say about a line."""

    kind: Kind
    text: str
    title: str = ""
    """A rule's name, or who says it."""
    more: str = ""
    """Advice."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file; numbers count from 1."""

    number: int
    text: str
    notes: tuple[Note, ...] = ()

    @property
    def kind(self) -> str:
        """The gravest of its notes' kinds; empty without notes."""
        kinds = {note.kind for note in self.notes}
        return next((kind for kind in ("error", "warning", "reason", "changed") if kind in kinds), "")


def lines(text: str, notes: Mapping[int, Iterable[Note]]) -> tuple[Line, ...]:
    """The lines of a text; notes about lines that it has not are about its last one."""
    parts = LINE_BREAK.split(text)
    if parts[-1] == "" and len(parts) > 1:
        parts.pop()
    placed: dict[int, list[Note]] = {}
    for number, items in notes.items():
        placed.setdefault(min(max(number, 1), len(parts)), []).extend(items)
    return tuple(Line(at, part, tuple(placed.get(at, ()))) for at, part in enumerate(parts, 1))


@dataclass(frozen=True, slots=True)
class Run:
    """Lines that follow one another, shown or folded away."""

    lines: tuple[Line, ...]
    folded: bool = False


def runs(found: tuple[Line, ...], others: Collection[int] = ()) -> tuple[Run, ...]:
    """The lines with notes, with their neighbours, and those named besides; longer stretches between them folded.

    A link to a folded line unfolds it (HTML, 7.4.6.3).
    """
    noted = [line.number for line in found if line.notes]
    kept = {near for number in noted for near in range(number - _NEARBY, number + _NEARBY + 1)} | set(others)
    stretches = [tuple(group) for _shown, group in groupby(found, key=lambda line: line.number in kept)]
    folded = [stretch[0].number not in kept and len(stretch) > _LEAST_FOLDED for stretch in stretches]
    made: list[Run] = []
    for away, group in groupby(zip(folded, stretches, strict=True), key=lambda pair: pair[0]):
        made.append(Run(tuple(line for _away, stretch in group for line in stretch), away))
    return tuple(made)


def text_in_force(policy: Policy) -> str | None:
    """The text of a policy that was loaded from the file of the settings; None if the file holds another one now."""
    try:
        with services().settings.policy_file.open("rb") as file:
            data = file.read(MAX_OCTETS + 1)
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest() != policy.sha256:
        return None
    return decoded(data)


def decoded(data: bytes) -> str:
    """Octets as text for a page; what is not UTF-8 is shown as a replacement character."""
    return data.decode("utf-8-sig", "replace")
