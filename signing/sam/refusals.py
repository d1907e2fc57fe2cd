"""How many refusals are recorded in the audit chain: a flood must not stop signing.

A refusal takes the chain's lock like any signature.  So there is a budget; what exceeds it stands in the log only.
"""

from __future__ import annotations

import threading
from datetime import datetime


class RefusalBudget:
    """A token bucket.  Thread-safe."""

    def __init__(self, burst: int = 200, per_second: float = 10.0) -> None:
        """:param burst: records at once; :param per_second: how fast they come back."""
        self._burst = float(burst)
        self._rate = per_second
        self._left = float(burst)
        self._at: datetime | None = None
        self._lock = threading.Lock()

    def take(self, now: datetime) -> bool:
        """Whether one more may be recorded; a clock that goes back gives nothing."""
        with self._lock:
            if self._at is not None:
                self._left = min(self._burst, self._left + max(0.0, (now - self._at).total_seconds()) * self._rate)
            self._at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True
