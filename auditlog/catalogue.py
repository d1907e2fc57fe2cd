"""Which events there are and which fields each may have.

A chain is kept for years and shown to auditors: what is not in the catalogue cannot get into it, so that neither a
secret nor a person's data slips in with a new field that nobody thought about (AUD-08).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from auditlog.chain import Fields, Value
from auditlog.errors import EventRefused

MAX_VALUE_CHARACTERS: Final = 512
MAX_ITEMS: Final = 1000
_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.")
"""How every JWS begins: ``{"`` in base64url."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\Z")


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the catalogue."""

    name: str
    """Dotted, such as ``signature.intent``."""
    meaning: str
    required: frozenset[str]
    optional: frozenset[str] = frozenset()


class Catalogue:
    """The events of one process."""

    def __init__(self, events: Iterable[Event]) -> None:
        """:raises EventRefused: a name twice, or not in the form."""
        self._events: dict[str, Event] = {}
        for event in events:
            if event.name in self._events or not _NAME.match(event.name):
                raise EventRefused(f"event {event.name!r} cannot be in the catalogue, or is there twice")
            self._events[event.name] = event

    @property
    def events(self) -> tuple[Event, ...]:
        """All of them, in the order in which they were given."""
        return tuple(self._events.values())

    def check(self, name: str, fields: Fields) -> None:
        """:raises EventRefused: an event or field that is not listed, a field missing, or a value of another form."""
        event = self._events.get(name)
        if event is None:
            raise EventRefused(f"event {name!r} is not in the catalogue")
        missing = event.required - fields.keys()
        if missing:
            raise EventRefused(f"event {name} lacks {', '.join(sorted(missing))}")
        unknown = fields.keys() - event.required - event.optional
        if unknown:
            raise EventRefused(f"event {name} does not have {', '.join(sorted(unknown))}")
        for field, value in fields.items():
            if not _acceptable(value):
                raise EventRefused(f"event {name}: the value of {field} is not of a form that is recorded")


def recordable_text(value: str) -> bool:
    """Whether a text may be a field's value: not too long, and nothing that looks like a token."""
    return len(value) <= MAX_VALUE_CHARACTERS and not _TOKEN.search(value)


def _acceptable(value: Value) -> bool:
    if value is None or isinstance(value, int):
        return True
    if isinstance(value, str):
        return recordable_text(value)
    if not isinstance(value, (list, tuple)) or len(value) > MAX_ITEMS:
        return False
    return all(isinstance(item, str) and recordable_text(item) for item in value)
