"""Token buckets: how much may be asked for in a time.  In the memory of one process."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MOST: Final = 10_000
"""Buckets that are kept, unless another number is given."""


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float


class Buckets:
    """Buckets of one rate, each by its key; those longest unused make room.  Thread-safe.

    :param burst: so many at once, after a while without any.
    :param per_second: so many in the long run.
    :param monotonic: seconds of a clock that is never set.
    """

    def __init__(
        self, *, burst: float, per_second: float, monotonic: Callable[[], float], most: int = MOST
    ) -> None:
        self._burst, self._per_second = burst, per_second
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
