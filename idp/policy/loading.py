"""What the parts of the loader share: the faults, the names given so far, and the names used."""

from __future__ import annotations

from collections.abc import Mapping

from idp.policy.document import Node
from idp.policy.errors import Fault
from idp.policy.keys import ACTION, ACTIONS, ATTRIBUTE, ATTRIBUTE_FORM, FRAMEWORKS
from idp.policy.model import Level, Where
from idp.policy.schema import Reader, Text


class Loading:
    """One file being read."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        self.read = Reader(faults)
        self.frameworks: dict[str, tuple[str, ...]] = dict(FRAMEWORKS)
        self.actions: set[str] = set(ACTIONS)
        self._names: dict[tuple[str, str], Where] = {}
        self._levels: list[Text] = []

    def once(self, kind: str, text: str, where: Where) -> None:
        """Two things of one kind may not have one name."""
        first = self._names.setdefault((kind, text), where)
        if text and first is not where:
            self.read.fault(where, f"{kind} '{text}' is given twice, first in line {first.line}")

    def uses_levels(self, names: tuple[Text, ...]) -> tuple[str, ...]:
        """Names of levels, to be checked once all levels are read."""
        self._levels.extend(names)
        return tuple(name.value for name in names)

    def check_levels(self, levels: Mapping[str, Level]) -> None:
        """Every name that was used is a level's."""
        for name in self._levels:
            if name.value not in levels:
                self.read.fault(name.where, f"unknown level '{name.value}'; known are {', '.join(sorted(levels))}")

    def knows_action(self, name: str) -> bool:
        """Whether an action is built in or declared."""
        return name in self.actions or (name.startswith("admin.") and ACTION.fullmatch(name) is not None)

    def attributes(self, node: Node | None) -> Mapping[str, frozenset[str]]:
        """Attributes of a person, each with the values of which one is enough."""
        found = {}
        for key, value in self.read.entries(node, "attribute"):
            if not ATTRIBUTE.fullmatch(key.text):
                self.read.fault(key.where, f"attribute '{key.text}' is not {ATTRIBUTE_FORM}")
            found[key.text] = values(self.read.texts(value, f"attribute {key.text}"))
        if node is not None and not found:
            self.read.fault(node.where, "attribute has no condition")
        return found


def values(texts: tuple[Text, ...]) -> frozenset[str]:
    """The texts without their places."""
    return frozenset(text.value for text in texts)


def one_line(text: str) -> str:
    """The words with single spaces between them."""
    return " ".join(text.split())
