"""A request that a person decides on later and elsewhere, as one state machine (OpenID Connect CIBA Core 1.0).

Pure.  Whoever keeps a request keeps its state, and changes it by these steps only, each a compare-and-swap on the
states that it may start from.  No step is taken because time passes but the one into ``expired``: nothing approves by
itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from foundation.clock import epoch

State = Literal["asked", "seen", "approved", "refused", "expired", "collected"]
"""``asked``: nobody has opened it.  ``seen``: the person has.  ``approved``: what was asked for waits for the client.
``collected``: the client has it, and nobody gets it again."""
Step = Literal["see", "approve", "refuse", "expire", "collect"]

FIRST: Final[State] = "asked"
LIFE_SECONDS: Final = 300
MAX_LIFE_SECONDS: Final = 900
"""However long a client would wait (``requested_expiry``)."""
COLLECT_SECONDS: Final = 120
"""How long what was approved waits: after that its evidence is too old to be handed out."""
INTERVAL_SECONDS: Final = 5
SLOWER_SECONDS: Final = 5
"""Added to the interval with every answer ``slow_down`` (RFC 8628 3.5)."""
MAX_INTERVAL_SECONDS: Final = 60
_TOLERANCE_SECONDS: Final = 1
"""Times are whole seconds: who keeps the interval exactly may be seen a second early."""


@dataclass(frozen=True, slots=True)
class _Move:
    before: frozenset[State]
    after: State


_MOVES: Final[Mapping[Step, _Move]] = {
    # Opened again, in another tab or on another day, it is seen as it was.
    "see": _Move(frozenset({"asked", "seen"}), "seen"),
    # Nobody approves what nobody has opened.
    "approve": _Move(frozenset({"seen"}), "approved"),
    "refuse": _Move(frozenset({"asked", "seen"}), "refused"),
    "expire": _Move(frozenset({"asked", "seen", "approved"}), "expired"),
    "collect": _Move(frozenset({"approved"}), "collected"),
}
STEPS: Final[tuple[Step, ...]] = tuple(_MOVES)
OPEN: Final[frozenset[State]] = frozenset({"asked", "seen"})
"""It waits for its person."""


def before(step: Step) -> frozenset[State]:
    """The states from which a step may be taken."""
    return _MOVES[step].before


def after(step: Step) -> State:
    """The state to which a step leads."""
    return _MOVES[step].after


def standing(state: State, expires_at: int, now: datetime) -> State:
    """How a request stands now, whatever was last written of it: ``expires_at`` is the first second refused."""
    over = epoch(now) >= expires_at and state in _MOVES["expire"].before
    return "expired" if over else state


def seconds_for(requested: int | None) -> int:
    """How long a request stands for which a client wishes so long; None: it does not say."""
    return LIFE_SECONDS if requested is None else min(requested, MAX_LIFE_SECONDS)


def collect_until(expires_at: int, now: datetime) -> int:
    """Until when what is approved now can be collected: no longer than the client was told, and not for long."""
    return min(expires_at, epoch(now) + COLLECT_SECONDS)


def too_soon(polled_at: int | None, interval: int, now: datetime) -> bool:
    """Whether a client asks before its interval is over."""
    return polled_at is not None and epoch(now) - polled_at < interval - _TOLERANCE_SECONDS


def slower(interval: int) -> int:
    """The interval of a client that asked too soon."""
    return min(interval + SLOWER_SECONDS, MAX_INTERVAL_SECONDS)
