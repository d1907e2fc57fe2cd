"""Readers for the values of the tree.  A reader never raises: it notes a fault and returns something neutral, so that
one pass finds everything that is wrong."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, TypeVar

from idp.policy.document import Mapping as MappingNode
from idp.policy.document import Node, Scalar, Sequence
from idp.policy.errors import Fault
from idp.policy.model import Where

_INTEGER: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([smhd])", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NOWHERE: Final = Where("", 1, 1)
_Word = TypeVar("_Word", bound=str)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that a mapping may have."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def usable(self) -> tuple[str, ...]:
        """All of them."""
        return self.required + self.optional


@dataclass(frozen=True, slots=True)
class Text:
    """A text and its place."""

    value: str
    where: Where


@dataclass(slots=True)
class Fields:
    """The values of a mapping that was read."""

    where: Where = _NOWHERE
    values: dict[str, Node] = field(default_factory=dict)

    def get(self, key: str) -> Node | None:
        """The value, or None when the key is not there."""
        return self.values.get(key)


class Reader:
    """Reads nodes, collecting faults."""

    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults

    def fault(self, where: Where, message: str, *, rule: str = "L20") -> None:
        """Note that something is wrong there, and which lint rule it breaks."""
        self._faults.append(Fault(where.file, where.line, where.column, message, rule=rule))

    def fields(self, node: Node, what: str, keys: Keys) -> Fields:
        """A mapping with known keys."""
        if not isinstance(node, MappingNode):
            self.fault(node.where, f"{what} is written as keys with values")
            return Fields(node.where)
        found = Fields(node.where)
        for key, value in node.entries:
            if key.text in keys.usable:
                found.values[key.text] = value
            else:
                self.fault(key.where, f"unknown key '{key.text}' in {what}; known are {', '.join(keys.usable)}")
        present = {key.text for key, _ in node.entries}
        for missing in (key for key in keys.required if key not in present):
            self.fault(node.where, f"{what} has no '{missing}'")
        return found

    def entries(self, node: Node | None, what: str) -> tuple[tuple[Scalar, Node], ...]:
        """A mapping whose keys are the administrator's words; absent is empty."""
        if node is None:
            return ()
        if isinstance(node, MappingNode):
            return node.entries
        self.fault(node.where, f"{what} is written as keys with values")
        return ()

    def items(self, node: Node | None, what: str, *, most: int | None = None) -> tuple[Node, ...]:
        """A list that is not empty and has no more than ``most`` items; absent is empty."""
        if node is None:
            return ()
        if not isinstance(node, Sequence):
            self.fault(node.where, f"{what} is a list")
            return ()
        if not node.items:
            self.fault(node.where, f"{what} may not be empty")
        if most is not None and len(node.items) > most:
            self.fault(node.where, f"{what} has more than {most} items")
            return node.items[:most]
        return node.items

    def text(self, node: Node | None, what: str) -> str:
        """One line or several of text that is not empty; absent is empty."""
        if node is None:
            return ""
        if not isinstance(node, Scalar):
            self.fault(node.where, f"{what} is a single value")
            return ""
        if not node.text.strip():
            self.fault(node.where, f"{what} is empty")
        elif not all(char.isprintable() or char == "\n" for char in node.text):
            self.fault(node.where, f"{what} has a character that cannot be shown")
        return node.text

    def name(self, node: Node | None, what: str, pattern: re.Pattern[str], form: str, *, rule: str = "L20") -> str:
        """A text of the form that the pattern describes."""
        text = self.text(node, what)
        if node is not None and text.strip() and not pattern.fullmatch(text):
            self.fault(node.where, f"{what} '{text}' is not {form}", rule=rule)
        return text

    def single(self, node: Node | None, what: str) -> tuple[Text, ...]:
        """One text with its place; absent or faulty is empty."""
        text = self.text(node, what)
        return (Text(text, node.where),) if node is not None and text.strip() else ()

    def texts(self, node: Node | None, what: str, known: Collection[str] | None = None) -> tuple[Text, ...]:
        """One text, or a list of different ones, each one of ``known`` if given; absent is empty."""
        if node is None:
            return ()
        nodes = (node,) if isinstance(node, Scalar) else self.items(node, what)
        found: dict[str, Text] = {}
        for item in nodes:
            text = self.text(item, what)
            if text in found:
                self.fault(item.where, f"'{text}' is given twice in {what}")
            elif known is not None and text.strip() and text not in known:
                self.fault(item.where, f"unknown {what} '{text}'; known are {', '.join(sorted(known))}")
            elif text.strip():
                found[text] = Text(text, item.where)
        return tuple(found.values())

    def choice(self, node: Node | None, what: str, known: tuple[_Word, ...]) -> _Word | None:
        """One of the known words; absent or unknown is None."""
        text = self.text(node, what)
        found = next((word for word in known if word == text), None)
        if node is not None and found is None and text.strip():
            self.fault(node.where, f"unknown {what} '{text}'; known are {', '.join(known)}")
        return found

    def integer(self, node: Node | None, what: str, low: int, high: int, default: int) -> int:
        """A whole number in decimal digits, without quotes."""
        if node is None:
            return default
        if not (isinstance(node, Scalar) and node.plain and _INTEGER.fullmatch(node.text)):
            self.fault(node.where, f"{what} is a whole number")
            return default
        if not low <= int(node.text) <= high:
            self.fault(node.where, f"{what} is {low}" + ("" if low == high else f" to {high}"))
            return default
        return int(node.text)

    def optional_integer(self, node: Node | None, what: str, low: int, high: int) -> int | None:
        """The same without a default."""
        return None if node is None else self.integer(node, what, low, high, default=low)

    def boolean(self, node: Node | None, what: str) -> bool:
        """``true`` or ``false``, without quotes; absent is false."""
        if node is None:
            return False
        if isinstance(node, Scalar) and node.plain and node.text in {"true", "false"}:
            return node.text == "true"
        self.fault(node.where, f"{what} is true or false")
        return False

    def duration(self, node: Node | None, what: str) -> int | None:
        """Seconds, from a number with its unit: ``90s``, ``30m``, ``12h``, ``30d``."""
        if node is None:
            return None
        match = DURATION.fullmatch(node.text) if isinstance(node, Scalar) else None
        if match is None:
            self.fault(node.where, f"{what} is a number and a unit (s, m, h, d), for example 30m")
            return None
        return int(match[1]) * _UNITS[match[2]]
