"""Unwrapped keys that a worker keeps for a while, so that a key in use is not unwrapped for each request.  Pure.

Bounded in number and in age.  Whoever uses a key takes it out first and puts it back afterwards: what fails in between
is not there to be used again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

_NEVER: Final = math.inf


@dataclass(frozen=True, slots=True)
class Held:
    """A handle that belongs to whoever took or made it."""

    handle: Any
    since: float
    """When it was unwrapped or found, by the clock of the cache."""
    stays: bool = False
    """An object of the token, which outlives the process: let go of, never destroyed."""


class HandleCache:
    """Least recently used first out.  For one thread."""

    def __init__(self, most: int, seconds: float, *, destroy: Callable[[Any], None], now: Callable[[], float]) -> None:
        """An empty one.

        :param most: how many handles are kept; 0: none.
        :param seconds: how long after it was unwrapped a handle is kept, used or not.
        :param destroy: ends a handle; whatever goes wrong with it is its own to deal with.
        """
        self._most = most
        self._seconds = seconds
        self._destroy = destroy
        self._now = now
        self._kept: dict[bytes, Held] = {}
        self._earliest = _NEVER
        """No handle is to go before; the one that it was may be gone already."""

    def __len__(self) -> int:
        return len(self._kept)

    def new(self, handle: Any, *, stays: bool = False) -> Held:
        """A handle that has just been unwrapped or found; it is the caller's."""
        return Held(handle, self._now(), stays)

    def end(self, held: Held) -> None:
        """Destroy a handle that is the caller's, or let go of it if it is the token's."""
        if not held.stays:
            self._destroy(held.handle)

    def take(self, name: bytes) -> Held | None:
        """The handle of that name, which is the caller's from now on."""
        held = self._kept.pop(name, None)
        if held is None or self._now() < held.since + self._seconds:
            return held
        self.end(held)
        return None

    def keep(self, name: bytes, held: Held) -> None:
        """Put a handle (back) as the one that was used last; what is too much is destroyed."""
        self._kept[name] = held
        self._earliest = min(self._earliest, held.since + self._seconds)
        while len(self._kept) > self._most:
            self.end(self._kept.pop(next(iter(self._kept))))

    def forget(self, name: bytes) -> None:
        """Destroy the handle of that name, if there is one."""
        held = self._kept.pop(name, None)
        if held is not None:
            self.end(held)

    def expire(self) -> float | None:
        """Destroy what is too old.

        :returns: seconds until there is something to do again; None while nothing is kept.
        """
        now = self._now()
        if now >= self._earliest:
            for name in [name for name, held in self._kept.items() if now >= held.since + self._seconds]:
                self.forget(name)
            self._earliest = min((held.since + self._seconds for held in self._kept.values()), default=_NEVER)
        return self._earliest - now if self._kept else None


def name_of(kek_id: str, mechanism: str, profile: str, blob: bytes) -> bytes:
    """What a handle is kept under: SHA-256 of all that it was unwrapped by, so that no two keys share a name."""
    text = f"{kek_id}\n{mechanism}\n{profile}\n".encode()
    return sha256(sha256(text).digest() + blob).digest()
