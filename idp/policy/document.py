"""YAML octets to a tree whose nodes know where they stand.

PyYAML only cuts the text into events; nothing is resolved.  Every scalar stays text, whatever it looks like, so
``no``, ``1e3`` and ``2026-01-01`` have no second meaning.  Anchors, aliases, tags, directives, several documents and
keys given twice are refused, as are files and trees larger than any policy needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from idp.policy.errors import Fault
from idp.policy.model import Where

LINE_BREAK: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
"""As YAML counts lines (YAML 1.1, 5.4, which PyYAML follows)."""
MAX_OCTETS: Final = 256 * 1024
"""About 5,000 lines; the shipped policies have fewer than 200."""
MAX_DEPTH: Final = 16
"""The schema's deepest value is at depth 10; a tree deeper than this is an attack on recursion."""
MAX_VALUES: Final = 40_000
"""Keys, words and lists: a file of the greatest size may hold twice as many, and reading them takes seconds."""
MAX_FAULTS: Final = 100
"""A file with more faults is not a policy with mistakes in it; the rest would help nobody."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text.  ``plain`` tells that it stood without quotes; only then may it be a number or a truth value."""

    where: Where
    text: str
    plain: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    """Items in order."""

    where: Where
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys in order, each once."""

    where: Where
    entries: tuple[tuple[Scalar, Node], ...]


Node = Scalar | Sequence | Mapping


class Unreadable(Exception):
    """Reading cannot go on; what stopped it is among the faults.  Never leaves this package."""


class _Builder:
    """Folds the parser's events into nodes, iteratively so that depth costs no stack."""

    def __init__(self, file: str, faults: list[Fault]) -> None:
        self._file = file
        self._faults = faults
        self._open: list[tuple[Event, list[Node]]] = []
        self._values = 0
        self.roots: list[Node] = []

    def _where(self, event: Event) -> Where:
        mark = cast("yaml.Mark", event.start_mark)  # the parser always sets it; only a hand-made event has none
        return Where(self._file, mark.line + 1, mark.column + 1)

    def _fault(self, where: Where, message: str) -> None:
        self._faults.append(Fault(where.file, where.line, where.column, message))

    def _add(self, node: Node) -> None:
        (self._open[-1][1] if self._open else self.roots).append(node)

    def take(self, event: Event) -> None:
        """One more event."""
        where = self._where(event)
        if isinstance(event, AliasEvent):
            self._fault(where, f"alias '*{event.anchor}': aliases are not allowed, write the value out")
            self._add(Scalar(where, "", plain=False))
            return
        if isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent):
            self._values += 1
            if self._values > MAX_VALUES:
                self._fault(where, f"more than {MAX_VALUES} values")
                raise Unreadable
            self._refuse_extras(event, where)
        if isinstance(event, ScalarEvent):
            self._add(Scalar(where, event.value, plain=event.style is None))
        elif isinstance(event, SequenceStartEvent | MappingStartEvent):
            if len(self._open) >= MAX_DEPTH:
                self._fault(where, f"nested deeper than {MAX_DEPTH} levels")
                raise Unreadable
            self._open.append((event, []))
        elif isinstance(event, SequenceEndEvent | MappingEndEvent):
            start, children = self._open.pop()
            at = self._where(start)
            self._add(
                Sequence(at, tuple(children))
                if isinstance(start, SequenceStartEvent)
                else Mapping(at, tuple(self._entries(children)))
            )
        elif isinstance(event, DocumentStartEvent) and (event.version or event.tags):
            self._fault(where, "directives are not allowed")

    def _refuse_extras(self, event: ScalarEvent | SequenceStartEvent | MappingStartEvent, where: Where) -> None:
        if event.anchor is not None:
            self._fault(where, f"anchor '&{event.anchor}': anchors are not allowed")
        if event.tag is not None:
            self._fault(where, f"tag '{event.tag}': tags are not allowed, the schema gives each value its type")

    def _entries(self, children: list[Node]) -> Iterator[tuple[Scalar, Node]]:
        """Keys and values alternate in a mapping's events."""
        seen: dict[str, Where] = {}
        for key, value in zip(children[::2], children[1::2], strict=True):
            if not isinstance(key, Scalar):
                self._fault(key.where, "a key is a single word")
            elif key.text in seen:
                first = seen[key.text]
                self._fault(key.where, f"key '{key.text}' is given twice, first in line {first.line}")
            else:
                seen[key.text] = key.where
                yield key, value


def read_document(data: bytes, file: str, faults: list[Fault]) -> Node:
    """Read one YAML document; what is wrong is added to ``faults``.

    :raises Unreadable: there is no tree to go on with.
    """
    text = _decode(data, file, faults)
    builder = _Builder(file, faults)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        faults.append(Fault(file, line, column, f"not YAML: {error.problem or error.context}"))
        raise Unreadable from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        faults.append(Fault(file, line, column, "a character that YAML does not allow"))
        raise Unreadable from error
    if not builder.roots:
        faults.append(Fault(file, 1, 1, "the file is empty"))
        raise Unreadable
    for extra in builder.roots[1:]:
        faults.append(Fault(file, extra.where.line, extra.where.column, "a second document: a file is one policy"))
    return builder.roots[0]


def _decode(data: bytes, file: str, faults: list[Fault]) -> str:
    if len(data) > MAX_OCTETS:
        faults.append(Fault(file, 1, 1, f"larger than {MAX_OCTETS} octets"))
        raise Unreadable
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        faults.append(Fault(file, line, column, "not UTF-8"))
        raise Unreadable from error
