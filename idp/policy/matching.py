"""Which evidence meets which requirements.

Everything here only asks whether *some* selection of the evidence fits.  No requirement is ever spoilt by evidence that
is there as well, so more evidence can only reach more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from idp.policy.evidence import Evidence
from idp.policy.model import PROOFING, EvidenceSet, Facts, Level, Policy, Requirement

CLOCK_SKEW: Final = timedelta(seconds=5)
"""How far ahead another node's clock may be; evidence from further in the future is not believed."""

Obstacle = Literal["future", "max_age", "reauthentication", "bound_elsewhere"]
"""Why evidence counts for nothing in this evaluation."""

Misfit = Literal["kind", "issuer", "flags", "transaction", "age"]
"""Why evidence does not meet one requirement; ``kind`` is another factor or category altogether."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A level that is reached, by which level (itself or one that implies it), and the evidence that shows it."""

    level: Level
    by: Level
    evidence: tuple[Evidence, ...]


def for_this(item: Evidence, facts: Facts) -> bool:
    """Whether it was made for the transaction that is being decided."""
    return item.transaction is not None and item.transaction == facts.transaction


def age(item: Evidence, facts: Facts) -> int:
    """Seconds, not below 0, rounded down."""
    return max(0, (facts.now - item.at) // timedelta(seconds=1))


def obstacle(item: Evidence, facts: Facts) -> Obstacle | None:
    """Why the evidence counts for nothing here, or None if it may count."""
    if item.at - facts.now > CLOCK_SKEW:
        return "future"
    if for_this(item, facts):
        # OIDC Core 3.1.2.1: max_age 0 is a request for a new authentication, which this is.
        return "max_age" if facts.max_age and age(item, facts) > facts.max_age else None
    if item.has("transaction_bound"):
        # An approval of one transaction is no statement about another (a parallel one in the same session).
        return "bound_elsewhere"
    if facts.force_reauthentication or facts.max_age == 0:
        return "reauthentication"
    if facts.max_age is not None and age(item, facts) > facts.max_age:
        return "max_age"
    return None


def misfit(need: Requirement, item: Evidence, facts: Facts, freshness: int | None) -> Misfit | None:
    """Why the evidence does not meet the requirement, or None if it does.

    :param freshness: the level's own limit in seconds; the tighter of it and the requirement's ``max_age`` holds.
    """
    if (need.factors and item.factor not in need.factors) or (need.categories and item.category not in need.categories):
        return "kind"
    if item.issuer not in need.issuers:
        return "issuer"
    if not need.flags <= item.flags or need.without & item.flags:
        return "flags"
    if need.per_transaction and not for_this(item, facts):
        return "transaction"
    limits = [limit for limit in (need.max_age, freshness) if limit is not None]
    if limits and age(item, facts) > min(limits):
        return "age"
    return None


def categories(items: Iterable[Evidence]) -> int:
    """How many categories are surely covered.

    An authenticator that is held and that verified its user covers two.  Which second one (PIN or biometric) is not
    known, so it never adds to another piece of evidence that covers a second one already.
    """
    chosen = tuple(items)
    distinct = {item.category for item in chosen}
    if distinct == {"possession"} and any(item.has("user_verified") for item in chosen):
        return 2
    return len(distinct)


class Standing:
    """What a body of evidence amounts to under a policy, for these facts; remembers what it has worked out."""

    def __init__(self, policy: Policy, facts: Facts, evidence: Iterable[Evidence]) -> None:
        usable = (item for item in evidence if obstacle(item, facts) is None)
        self._usable = tuple(sorted(usable, key=lambda item: item.at, reverse=True))
        self._policy = policy
        self._facts = facts
        self._own: dict[str, tuple[Evidence, ...] | None] = {}

    def level(self, name: str) -> Reached | None:
        """How the level is reached: by its own alternatives, or else by a level that implies it."""
        for candidate in self._policy.stronger[name]:
            found = self._own_evidence(candidate)
            if found is not None:
                return Reached(self._policy.by_name[name], candidate, found)
        return None

    def _own_evidence(self, level: Level) -> tuple[Evidence, ...] | None:
        if level.name not in self._own:
            self._own[level.name] = self._work_out(level)
        return self._own[level.name]

    def _work_out(self, level: Level) -> tuple[Evidence, ...] | None:
        if not proofed(level, self._facts):
            return None
        for alternative in level.any_of:
            found = self.meets(alternative, level.freshness)
            if found is not None:
                return found
        return None

    def meets(self, alternative: EvidenceSet, freshness: int | None = None) -> tuple[Evidence, ...] | None:
        """A selection that meets all requirements, the newest evidence first tried; None if there is none."""
        candidates = [self._candidates(need, freshness) for need in alternative.all_of]
        if not all(candidates):
            return None
        return _select(candidates, alternative.different_categories, ())

    def meeting(self, need: Requirement, freshness: int | None) -> bool:
        """Whether anything meets the requirement, taken by itself."""
        return bool(self._candidates(need, freshness))

    def _candidates(self, need: Requirement, freshness: int | None) -> tuple[Evidence, ...]:
        """The newest of each sort that the selection can tell apart."""
        found: dict[tuple[object, ...], Evidence] = {}
        for item in self._usable:
            if misfit(need, item, self._facts, freshness) is None:
                found.setdefault((*_authenticator(item), item.category, item.has("user_verified")), item)
        return tuple(found.values())


def proofed(level: Level, facts: Facts) -> bool:
    """Whether the person was identified well enough for the level."""
    return PROOFING.index(facts.proofing) >= PROOFING.index(level.proofing)


def _authenticator(item: Evidence) -> tuple[str, str]:
    """Two requirements of a set are never met by the same kind of factor of one issuer."""
    return item.factor, item.issuer


def _select(
    candidates: list[tuple[Evidence, ...]], different: int, chosen: tuple[Evidence, ...]
) -> tuple[Evidence, ...] | None:
    """One candidate for each requirement, all of them different; tries in order, depth at most the set's length."""
    if len(chosen) == len(candidates):
        return chosen if categories(chosen) >= different else None
    used = {_authenticator(item) for item in chosen}
    for item in candidates[len(chosen)]:
        if _authenticator(item) not in used:
            found = _select(candidates, different, (*chosen, item))
            if found is not None:
                return found
    return None
