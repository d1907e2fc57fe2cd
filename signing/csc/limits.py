"""How much may be asked for in a time: by a client, for a person, with a credential, and by strangers (DOS-05).

Token buckets, in the memory of one process.  Only who has shown a good token gets a bucket of their own, so strangers,
who share one, make no memory grow; of the others, those longest unused make room.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from signing.csc.errors import TooManyRequests
from signing.settings import LimitsSettings, Rate

Kind = Literal["client", "user", "credential"]
Whose = tuple[Kind, str]
MOST: Final = 10_000
"""Buckets of a kind."""
STRANGERS: Final = ""


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float


class Buckets:
    """Buckets of one rate.  Thread-safe.

    :param monotonic: seconds of a clock that is never set.
    """

    def __init__(self, rate: Rate, monotonic: Callable[[], float], most: int = MOST) -> None:
        self._burst, self._per_second = float(rate.burst), rate.per_second
        self._monotonic = monotonic
        self._most = most
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Buckets that are kept."""
        with self._lock:
            return len(self._buckets)

    def wait(self, key: str) -> int:
        """Seconds until something may be taken, rounded up; 0: now.  Takes nothing, and makes no bucket."""
        with self._lock:
            bucket = self._buckets.get(key)
            if bucket is None:
                return 0
            self._fill(bucket)
            return 0 if bucket.level >= 1 else self._missing(bucket)

    def take(self, key: str) -> int:
        """Take one; as :meth:`wait`, and nothing is taken where that is not 0."""
        with self._lock:
            bucket = self._buckets.get(key)
            if bucket is None:
                bucket = self._buckets[key] = _Bucket(self._burst, self._monotonic())
                if len(self._buckets) > self._most:
                    self._buckets.popitem(last=False)
            else:
                self._buckets.move_to_end(key)
                self._fill(bucket)
            if bucket.level < 1:
                return self._missing(bucket)
            bucket.level -= 1
            return 0

    def _fill(self, bucket: _Bucket) -> None:
        now = self._monotonic()
        if now > bucket.at:
            bucket.level = min(self._burst, bucket.level + (now - bucket.at) * self._per_second)
        bucket.at = now

    def _missing(self, bucket: _Bucket) -> int:
        return max(1, math.ceil((1 - bucket.level) / self._per_second))


class Limits:
    """The limits of one web process."""

    def __init__(self, settings: LimitsSettings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._own: dict[Kind, Buckets] = {
            "client": Buckets(settings.client, monotonic),
            "user": Buckets(settings.user, monotonic),
            "credential": Buckets(settings.credential, monotonic),
        }
        self._strangers = Buckets(settings.strangers, monotonic, most=1)

    def check(self, whose: Iterable[Whose]) -> None:
        """Whether anything is left, of those who are not known yet to be who they say.

        :raises TooManyRequests: for one of them nothing is.
        """
        wait = 0
        for kind, key in whose:
            wait = max(wait, self._own[kind].wait(key))
        if wait:
            raise TooManyRequests(wait)

    def take(self, whose: Iterable[Whose]) -> None:
        """One request, of those who have shown a good token.

        :raises TooManyRequests: one of them has made too many.
        """
        for kind, key in whose:
            wait = self._own[kind].take(key)
            if wait:
                raise TooManyRequests(wait)

    def charge(self, whose: Iterable[Whose]) -> None:
        """The same, where it has been carried out already: those that follow are refused."""
        for kind, key in whose:
            self._own[kind].take(key)

    def stranger(self) -> None:
        """One request without a good token, whoever's.

        :raises TooManyRequests: strangers together have made too many.
        """
        wait = self._strangers.take(STRANGERS)
        if wait:
            raise TooManyRequests(wait)
