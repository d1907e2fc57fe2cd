"""What was found out a moment ago, by the text that it was found out of: a token, or what names a credential."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

SECONDS: Final = 5.0
"""As long as an introspection is believed: a key that was withdrawn is believed no longer than a token that was."""
ENTRIES: Final = 4096


class Remembered(Generic[T]):
    """What a text was found to be, for the same text.  Thread-safe; bounded in time and number.

    Only what was found good is kept: whoever sends what is not pays for it, and pushes nothing out.  What is found must
    not depend on the time, which the caller checks at every use.

    :param monotonic: seconds of a clock that is never set.
    """

    def __init__(
        self, *, seconds: float = SECONDS, entries: int = ENTRIES, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._entries = entries
        self._monotonic = monotonic
        self._kept: OrderedDict[bytes, tuple[float, T]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, text: str, find: Callable[[], T]) -> T:
        """What is found for a text; raises what ``find`` raises."""
        key = hashlib.sha256(text.encode()).digest()
        with self._lock:
            found = self._kept.get(key)
            if found is not None and self._monotonic() < found[0]:
                return found[1]
        until = self._monotonic() + self._seconds
        made = find()
        with self._lock:
            self._kept[key] = (until, made)
            self._kept.move_to_end(key)
            while len(self._kept) > self._entries:
                self._kept.popitem(last=False)
        return made
