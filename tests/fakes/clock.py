"""A clock for durations that the test moves; for the time of day there is :class:`foundation.clock.FixedClock`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Monotonic:
    """Seconds, in place of ``time.monotonic``; they stand still until the test sets them."""

    now: float = 0.0

    def __call__(self) -> float:
        """The seconds at which it stands."""
        return self.now
