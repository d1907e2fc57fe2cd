"""Whether a piece of evidence meets a requirement, and why not: one of the one against one of the other."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final, Literal

from idp.policy.evidence import MIN_LENGTH_ALONE, PASSWORD, SELF, Evidence
from idp.policy.model import PROOFING, Facts, Level, Policy, Requirement, Upstream

CLOCK_SKEW: Final = timedelta(seconds=5)
"""How far ahead another node's clock may be; evidence from further in the future is not believed."""

_SECOND: Final = timedelta(seconds=1)

Obstacle = Literal["future", "max_age", "reauthentication", "bound_elsewhere", "upstream_age"]
"""Why evidence counts for nothing in this evaluation."""

Misfit = Literal[
    "kind", "issuer", "flags", "channel", "attestation", "transaction", "age", "cap", "idle", "short", "unmeasured"
]
"""Why evidence does not meet one requirement; ``kind`` is another factor or category altogether.  ``unmeasured`` is a
password of which it is not known whether it is ``short``."""


def for_this(item: Evidence, facts: Facts) -> bool:
    """Whether it was made for the transaction that is being decided."""
    return item.transaction is not None and item.transaction == facts.transaction


def age(item: Evidence, facts: Facts) -> int:
    """Seconds, not below 0, rounded down."""
    return max(0, (facts.now - item.at) // _SECOND)


def obstacle(item: Evidence, facts: Facts, upstream: Upstream | None = None) -> Obstacle | None:
    """Why the evidence counts for nothing here, or None if it may count.

    :param upstream: what the policy says of the evidence's issuer, if anything.
    """
    if item.at - facts.now > CLOCK_SKEW:
        return "future"
    if upstream is not None and upstream.max_age is not None and age(item, facts) > upstream.max_age:
        return "upstream_age"
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
    """Why the evidence does not meet the requirement, or None if it does, its issuer's cap apart.

    :param freshness: the level's own limit in seconds; the tighter of it and the requirement's ``max_age`` holds.
    """
    if (need.factors and item.factor not in need.factors) or (need.categories and item.category not in need.categories):
        return "kind"
    if item.issuer not in need.issuers:
        return "issuer"
    if not need.flags <= item.flags or need.without & item.flags:
        return "flags"
    if need.channels and item.channel not in need.channels:
        return "channel"
    if need.attestations and item.attestation not in need.attestations:
        return "attestation"
    if need.per_transaction and not for_this(item, facts):
        return "transaction"
    if need.max_age is not None and age(item, facts) > need.max_age:
        return "age"
    if freshness is not None and age(item, facts) > freshness:
        return "age"
    return None


def slept(policy: Policy, item: Evidence, towards: Iterable[str]) -> bool:
    """Whether the session was left alone since for longer than one of these levels bears: it no longer counts there,
    and goes on counting towards levels that bear more."""
    limits = (policy.by_name[name].idle_limit for name in towards)
    return any(limit is not None and item.idle >= limit for limit in limits)


def too_short(item: Evidence, facts: Facts) -> bool:
    """Whether it is a password that is not known to be long enough to be the only factor (NIST SP 800-63B r4 3.1.1.2);
    elsewhere, whoever vouches judges its length."""
    if item.factor != PASSWORD or item.issuer != SELF or facts.replaces == PASSWORD:
        return False
    return (item.min_length or 0) < MIN_LENGTH_ALONE


def capped(policy: Policy, item: Evidence, towards: Iterable[str]) -> bool:
    """Whether the cap of the evidence's issuer keeps it from counting towards one of these levels."""
    return is_capped(policy, item.issuer, towards)


def is_capped(policy: Policy, issuer: str, towards: Iterable[str]) -> bool:
    """The same for all evidence of an issuer."""
    upstream = policy.by_issuer.get(issuer)
    return upstream is not None and not all(policy.implies(upstream.cap, name) for name in towards)


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


def proofed(level: Level, facts: Facts) -> bool:
    """Whether the person was identified well enough for the level."""
    return PROOFING.index(facts.proofing) >= PROOFING.index(level.proofing)


def authenticator(item: Evidence) -> tuple[str, ...]:
    """What two requirements of a set are never both met by: the same kind of factor of one issuer.  Elsewhere the
    policy's mapping says what a login consisted of, so there the categories tell two factors apart."""
    return (item.factor, item.issuer) if item.issuer == SELF else (item.factor, item.issuer, item.category)
