"""What authorities said, kept while it serves; bounded, the oldest go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

V = TypeVar("V")


class Memory(Generic[V]):
    """Values until a time.  Thread-safe."""

    def __init__(self, most: int, size: Callable[[V], int] = lambda _value: 1) -> None:
        """:param most: of all values' sizes together; one that is larger is not kept."""
        self._most = most
        self._size = size
        self._kept: OrderedDict[str, tuple[datetime, V]] = OrderedDict()
        self._total = 0
        self._lock = threading.Lock()

    def get(self, key: str, now: datetime) -> V | None:
        """The value, while it serves."""
        with self._lock:
            known = self._kept.get(key)
        return known[1] if known is not None and now < known[0] else None

    def keep(self, key: str, value: V, end: datetime) -> None:
        """Keep a value.

        :param end: the first moment at which it does not serve.
        """
        with self._lock:
            self._forget(self._kept.pop(key, None))
            if self._size(value) > self._most:
                return
            self._kept[key] = (end, value)
            self._total += self._size(value)
            while self._total > self._most:
                self._forget(self._kept.popitem(last=False)[1])

    def _forget(self, item: tuple[datetime, V] | None) -> None:
        if item is not None:
            self._total -= self._size(item[1])
