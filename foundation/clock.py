"""The one place that reads the wall clock."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What tells the time; an argument wherever time matters."""

    def now(self) -> datetime:
        """Now, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Now, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - this is the one place


class FixedClock:
    """A clock that stands still until told to move: for tests and for replaying decisions."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The time at which the clock stands."""
        with self._lock:
            return self._at

    def advance(self, seconds: float) -> None:
        """Move the clock; a negative number sets it back."""
        with self._lock:
            self._at += timedelta(seconds=seconds)


def epoch(at: datetime) -> int:
    """Whole seconds since 1970-01-01T00:00:00Z, rounded down (RFC 7519 NumericDate)."""
    return int(at.timestamp() // 1)


def from_epoch(seconds: int) -> datetime:
    """The aware UTC time of a NumericDate."""
    return datetime.fromtimestamp(seconds, UTC)
