"""What is known of the device without asking it.  Pure; whoever writes here sees to it that it is one at a time."""

from __future__ import annotations

from collections import Counter
from typing import Final

from signing.scdev.returncodes import name_of_code

FRESH_SECONDS: Final = 4.0
"""How old the last right answer may be: what is older says nothing of the device as it is now."""
_MOST_CODES: Final = 64
OTHERS: Final = "others"


class Vitals:
    """Times are values of ``time.monotonic``."""

    def __init__(self) -> None:
        self.losses = 0
        """How often the device was lost for all workers."""
        self.restarts = 0
        """Workers replaced after a failure (not those recycled in time)."""
        self._proved: float | None = None
        self._canary: float | None = None
        self._codes: Counter[str] = Counter()

    def answered(self, now: float) -> None:
        """A worker did what it was asked."""
        self._proved = now

    def canary_verified(self, now: float) -> None:
        """A canary signature was right."""
        self._proved = self._canary = now

    def failed(self, rv: int) -> None:
        """A function of the token did not answer CKR_OK; 0: no function said anything."""
        if rv:
            name = name_of_code(rv)
            self._codes[name if name in self._codes or len(self._codes) < _MOST_CODES else OTHERS] += 1

    def fresh(self, now: float) -> bool:
        """Whether the device has shown lately that it works."""
        return self._proved is not None and now <= self._proved + FRESH_SECONDS

    def canary_age(self, now: float) -> float | None:
        """Seconds since a canary signature was right; None before the first."""
        return None if self._canary is None else now - self._canary

    def return_codes(self) -> dict[str, int]:
        """How often each was seen since the start."""
        return dict(sorted(self._codes.items()))
