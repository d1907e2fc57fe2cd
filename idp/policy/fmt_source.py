"""A file to a tree that keeps how it was written: comments, blank lines, and which collections stood on one line.

PyYAML drops comments, but its tokens know where they begin and end; what lies between two tokens is blank space and
comments, nothing else.  Each comment belongs to an entry of a mapping or sequence: at the end of its line, or above it;
or to the end of a collection, where it is indented deeper than what follows.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, cast

import yaml
from yaml.events import Event, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent
from yaml.tokens import ScalarToken

from idp.policy.document import LINE_BREAK

_COMMENT: Final = re.compile(r"#[^\r\n\x85\u2028\u2029]*")
_HEADER: Final = re.compile(r"[|>][+-]?[1-9]?[+-]?[ \t]*(#[^\r\n\x85\u2028\u2029]*)?")
_SPACE: Final = " \t\ufeff\r\n\x85\u2028\u2029"


@dataclass(slots=True)
class Comment:
    """A comment on a line of its own."""

    text: str
    blank: bool
    """Whether a blank line stands before it."""


@dataclass(slots=True)
class ScalarNode:
    """A text, and how it was written."""

    text: str
    style: str | None
    """None (plain), ``'``, ``"``, ``|`` or ``>``."""
    source: str
    start: int
    end: int
    line: int
    last_line: int


@dataclass(slots=True)
class Collection:
    """A mapping or a sequence."""

    mapping: bool
    flow: bool
    start: int
    end: int
    line: int
    last_line: int
    column: int
    owner: Entry | None
    """None at the top."""
    entries: list[Entry] = field(default_factory=list)
    tail: list[Comment] = field(default_factory=list)
    """What stands below its last entry."""

    def commented(self) -> bool:
        """Whether a comment is inside, so that it cannot stand on one line."""
        return bool(self.tail) or any(
            entry.lead or entry.side or (isinstance(entry.value, Collection) and entry.value.commented())
            for entry in self.entries
        )


@dataclass(slots=True)
class Entry:
    """A key with its value, or an item."""

    key: ScalarNode | None
    value: ScalarNode | Collection
    blank: bool
    """Whether a blank line stands before it."""
    parent: Collection
    lead: list[Comment] = field(default_factory=list)
    """What stands above it."""
    side: str | None = None
    """The comment at the end of its line."""

    @property
    def first(self) -> ScalarNode | Collection:
        """Where it begins."""
        return self.key or self.value


@dataclass(frozen=True, slots=True)
class _Found:
    """A comment where it stands."""

    text: str
    start: int
    line: int
    column: int
    own_line: bool
    blank: bool


@dataclass(slots=True)
class Source:
    """A file that was read for its layout."""

    root: Collection
    head: list[Comment] = field(default_factory=list)
    """Comments before the first key."""
    comments: list[str] = field(default_factory=list)
    """All of them."""


def read_source(text: str) -> Source:
    """Read a text that is known to be one YAML document with a mapping on top, without anchors, tags and directives."""
    lines = _Lines(text)
    root, entries = _tree(text, lines)
    source = Source(root)
    for comment in _comments(text, lines):
        source.comments.append(comment.text)
        _attach(comment, source, entries)
    return source


def comments_of(text: str) -> list[str]:
    """The comments of a text, in order, without blanks at their ends."""
    return [comment.text for comment in _comments(text, _Lines(text))]


class _Lines:
    """Where the lines of a text begin, by YAML's line breaks."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(match.end() for match in LINE_BREAK.finditer(text))]

    def line(self, index: int) -> int:
        """The line, from 0, that a place is in."""
        return bisect_right(self._starts, index) - 1

    def before(self, index: int) -> str:
        """What stands before a place in its line."""
        return self._text[self._starts[self.line(index)] : index]

    def blank_above(self, index: int) -> bool:
        """Whether the line above the one of a place is blank."""
        line = self.line(index)
        return line > 0 and not self._text[self._starts[line - 1] : self._starts[line]].strip(_SPACE)


def _comments(text: str, lines: _Lines) -> Iterator[_Found]:
    """What stands between the tokens, and beside the signs of block scalars."""
    done = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        begin, end = token.start_mark.index, token.end_mark.index
        for match in _COMMENT.finditer(text, done, max(begin, done)):
            yield _found(match[0], match.start(), lines)
        if isinstance(token, ScalarToken) and token.style in {"|", ">"}:
            header = _HEADER.match(text, begin)
            if header is not None and header[1]:
                yield _found(header[1], header.start(1), lines)
        done = max(done, end)


def _found(comment: str, start: int, lines: _Lines) -> _Found:
    before = lines.before(start)
    own_line = not before.strip(_SPACE)
    return _Found(
        comment.rstrip(), start, lines.line(start), len(before), own_line, own_line and lines.blank_above(start)
    )


def _tree(text: str, lines: _Lines) -> tuple[Collection, list[Entry]]:
    """The tree, and all its entries in the order of the text, outer ones before inner ones."""
    roots: list[Collection] = []
    entries: list[Entry] = []
    open_: list[Collection] = []
    key: ScalarNode | None = None
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, SequenceEndEvent | MappingEndEvent):
            closed, mark = open_.pop(), cast("yaml.Mark", event.end_mark)
            closed.end, closed.last_line = mark.index, mark.line
            continue
        node = _node(event, text)
        if node is None:
            continue
        if open_ and open_[-1].mapping and key is None:
            key = cast("ScalarNode", node)  # a key is a single word: the strict reader has seen to it
            continue
        if open_:
            begin = (key or node).start
            blank = not lines.before(begin).strip(f"{_SPACE}-?") and lines.blank_above(begin)
            entry = Entry(key, node, blank, open_[-1])
            key = None
            open_[-1].entries.append(entry)
            entries.append(entry)
            if isinstance(node, Collection):
                node.owner = entry
        if isinstance(node, Collection):
            open_.append(node)
            roots.append(node)
    return roots[0], entries


def _node(event: Event, text: str) -> ScalarNode | Collection | None:
    start, end = cast("yaml.Mark", event.start_mark), cast("yaml.Mark", event.end_mark)
    if isinstance(event, ScalarEvent):
        source = text[start.index : end.index]
        return ScalarNode(event.value, event.style, source, start.index, end.index, start.line, end.line)
    if isinstance(event, SequenceStartEvent | MappingStartEvent):
        mapping, flow = isinstance(event, MappingStartEvent), bool(event.flow_style)
        return Collection(mapping, flow, start.index, end.index, start.line, end.line, start.column, None)
    return None


# Which entry a comment belongs to


def _attach(comment: _Found, source: Source, entries: list[Entry]) -> None:
    index = bisect_left(entries, comment.start, key=lambda entry: entry.first.start)
    last = entries[index - 1] if index else None
    following = entries[index] if index < len(entries) else None
    if last is None:
        source.head.append(Comment(comment.text, comment.blank))
        return
    beside = None if comment.own_line else _beside(comment, last)
    if beside is not None:
        beside.side = comment.text if beside.side is None else f"{beside.side} {comment.text}"
        return
    ended = _ended(comment, last, following) if comment.own_line else None
    place = following.lead if ended is None and following is not None else (ended or source.root).tail
    place.append(Comment(comment.text, comment.blank))


def _beside(comment: _Found, last: Entry) -> Entry | None:
    """The outermost entry that ends before the comment in its line, or whose key does."""
    entry = last
    while entry.parent.flow and entry.parent.end <= comment.start and entry.parent.owner is not None:
        entry = entry.parent.owner
    ends = entry.value.last_line if not isinstance(entry.value, Collection) or entry.value.flow else -1
    keyed = entry.key is not None and entry.key.line == comment.line
    return entry if keyed or comment.line in {entry.value.line, ends} else None


def _ended(comment: _Found, last: Entry, following: Entry | None) -> Collection | None:
    """The innermost collection that ended before the comment and is not indented deeper than it."""
    if following is not None and following.parent.column >= comment.column:
        return None
    parent: Collection | None = last.value if isinstance(last.value, Collection) else last.parent
    while parent is not None:
        inside = following is not None and parent.start <= following.first.start < parent.end
        if inside:
            return None
        if not parent.flow and parent.column <= comment.column:
            return parent
        parent = parent.owner.parent if parent.owner is not None else None
    return None
