"""The ways that a policy offers a person, each as a whole: what is asked for first, and what follows.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from idp.authn.methods import flags_of
from idp.policy.model import Decision


@dataclass(frozen=True, slots=True)
class Way:
    """One set of factors that leads to the goal."""

    factors: tuple[str, ...]
    """In the order in which they are asked for."""
    usual: bool = False
    """The way that the person took last."""

    @property
    def mark(self) -> str:
        """The factor by which a person tells it from the others: what follows a password, not the password."""
        return self.factors[-1]


def ways(decision: Decision, last_used: Mapping[str, datetime]) -> tuple[Way, ...]:
    """The sets of a decision's options, each once, in the policy's order: the shortest first, and of these the ones
    that cannot be phished; ways with a recovery code come last, since every use of one leaves one less.

    :param last_used: when a factor of a kind was used last; kinds that never were are left out.
    """
    sets = tuple(dict.fromkeys(option.missing for option in decision.options if option.missing))
    used = {last_used[factors[-1]]: factors for factors in reversed(sets) if factors[-1] in last_used}
    usual = used[max(used)] if used and len(sets) > 1 else None
    found = (Way(factors, usual=factors == usual) for factors in sets)
    # Sorting is stable: what is equal stays in the policy's order, but for the way that the person knows.
    return tuple(sorted(found, key=_rank))


def _rank(way: Way) -> tuple[bool, int, bool, int, bool]:
    flags = [flags_of(kind, {}, bound=False) for kind in way.factors]
    return (
        "recovery_code" in way.factors,
        len(way.factors),
        not any("phishing_resistant" in each for each in flags),
        sum("restricted" in each for each in flags),
        not way.usual,
    )
