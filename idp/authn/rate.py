"""How often something may fail from one address, and how much of a room it takes, counted in this process: strangers'
work is bounded (DOS-03, DOS-04).

It guards the machine, not a secret: what must not be guessed has its own count in the database.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from ipaddress import IPv6Network, ip_address
from typing import Final

_IPV6_SITE: Final = 64
"""Bits of an IPv6 address that tell one site from another."""
_UNKNOWN: Final = "unknown"


def site_of(address: str | None) -> str:
    """What is counted: an IPv4 address, or the network of an IPv6 address; one for all that are not known."""
    try:
        found = ip_address(address or "")
    except ValueError:
        return _UNKNOWN
    return str(found if found.version == 4 else IPv6Network((int(found), _IPV6_SITE), strict=False))


class Shares:
    """How many places of a room each key holds at this moment; safe to share between threads.

    :param most: that one key may hold.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    @contextmanager
    def place(self, key: str) -> Iterator[bool]:
        """Hold one more while in it; False: the key holds as many as it may."""
        with self._lock:
            free = self._held[key] < self._most
            if free:
                self._held[key] += 1
        try:
            yield free
        finally:
            with self._lock:
                self._held[key] -= free
                # Nothing is kept of whoever holds nothing.
                if not self._held[key]:
                    del self._held[key]


class Queue:
    """Places that are given in the order in which they were asked for; safe to share between threads.

    Of the standard library's semaphores whoever gives a place back may take it again before those who wait wake up:
    a flood would keep somebody waiting for as long as it lasts (DOS-03).

    :param places: that there are.
    """

    def __init__(self, places: int) -> None:
        self._lock = threading.Lock()
        self._free = places
        self._waiting: deque[threading.Event] = deque()

    def acquire(self, timeout: float = 0) -> bool:
        """Take a place; False: there was none for so many seconds."""
        with self._lock:
            # Where somebody waits nothing is free.
            if self._free:
                self._free -= 1
                return True
            if timeout <= 0:
                return False
            turn = threading.Event()
            self._waiting.append(turn)
        if turn.wait(timeout):
            return True
        with self._lock:
            if turn.is_set():  # just now
                return True
            self._waiting.remove(turn)
            return False

    def release(self) -> None:
        """Give it to whoever has waited longest, if anybody has."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1


class FailureRate:
    """Counts failures a key in windows of fixed length; safe to share between threads.

    :param most_keys: beyond that many, the key that was counted first is forgotten.
    """

    def __init__(self, most: int, window: timedelta, most_keys: int = 10_000) -> None:
        self._most = most
        self._window = window
        self._most_keys = most_keys
        self._lock = threading.Lock()
        self._counted: OrderedDict[str, tuple[datetime, int]] = OrderedDict()

    def wait_seconds(self, key: str, now: datetime) -> int:
        """How long nothing more is taken from there; 0: it may go on."""
        with self._lock:
            since, count = self._counted.get(key, (now, 0))
        left = (since + self._window - now).total_seconds()
        return max(1, int(left)) if count >= self._most and left > 0 else 0

    def failed(self, key: str, now: datetime) -> None:
        """Count a failure."""
        with self._lock:
            since, count = self._counted.pop(key, (now, 0))
            self._counted[key] = (since, count + 1) if now < since + self._window else (now, 1)
            while len(self._counted) > self._most_keys:
                self._counted.popitem(last=False)
