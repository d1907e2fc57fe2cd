"""Requested SAML authentication contexts, compared in this policy's own order; pure.

SAML 2.0 core, 3.3.2.2.1, leaves "strength" to the responder.  Here it is this partial order, and nothing else:

1. A level is at least as strong as the levels that it implies (``implies`` of the file, over any number of steps).
2. It is at least as strong as a level whose every claim it claims too, the order of the frameworks' own levels and the
   edges between frameworks (``implies`` of the file's head) counted in, if its identity proofing is no less.  That is
   what the operator states of the frameworks; it says nothing of a level without claims, so such a level is compared
   by 1 alone.  What would turn round an order of 1 counts for nothing.
3. Both, over any number of steps.  Everything else is unordered, and what is unordered never satisfies a comparison but
   by being among the references themselves.

An edge says that a *statement* of one level answers a request for another; it does not make the evidence of the one
evidence of the other.  So the reference that is emitted is always one of the level that is really reached, and the
policy's floors are joined by :func:`idp.policy.evaluate.evaluate`, which knows no edges: nothing that is asked for
here can lower them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal, get_args

from idp.policy.errors import RequestedContextInvalid
from idp.policy.model import PROOFING, Level, Policy

Comparison = Literal["exact", "minimum", "maximum", "better"]
"""The attribute of ``RequestedAuthnContext``; ``exact`` where it is absent."""

COMPARISONS: Final[tuple[Comparison, ...]] = get_args(Comparison)

EIDAS_NOTIFIED: Final = "http://eidas.europa.eu/LoA/"
"""References of this prefix name levels of notified schemes."""

Cause = Literal["unknown_reference", "nothing_compares", "unreachable"]
"""Why no context can be given: no reference is in the policy; none of its levels compares so; none that does can be
reached.  All three are ``Responder``/``NoAuthnContext`` on the wire."""


@dataclass(frozen=True, slots=True)
class RequestedContext:
    """What a ``RequestedAuthnContext`` asks for.

    :raises RequestedContextInvalid: no reference, or a comparison that SAML does not have.
    """

    class_refs: tuple[str, ...]
    """``AuthnContextClassRef`` URIs, the most preferred first (3.3.2.2.1: an ordered set)."""
    comparison: Comparison = "exact"

    def __post_init__(self) -> None:
        if not self.class_refs:
            raise RequestedContextInvalid("a requested context names one reference at least")
        if self.comparison not in COMPARISONS:
            raise RequestedContextInvalid("Comparison must be exact, minimum, maximum or better")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A level that answers the request, and how the answer names it."""

    level: str
    class_ref: str


@dataclass(frozen=True, slots=True)
class Matched:
    """The request can be answered."""

    chosen: Candidate
    candidates: tuple[Candidate, ...]
    """Everything that would answer it, the preferred first, whether it can be reached or not."""
    comparison: Comparison
    """The one that was applied."""
    unknown: tuple[str, ...] = ()
    """References that are in the policy nowhere; they answer nothing."""


@dataclass(frozen=True, slots=True)
class NoAuthnContext:
    """The request cannot be answered: the second-level status code of that name (SAML core 3.2.2.2)."""

    cause: Cause
    candidates: tuple[Candidate, ...]
    comparison: Comparison
    unknown: tuple[str, ...] = ()


def match(
    policy: Policy,
    requested: RequestedContext,
    *,
    reachable: Callable[[str], bool] | None = None,
    override: Comparison | None = None,
) -> Matched | NoAuthnContext:
    """The context to give for a requested one.

    ``exact``: one of the references, in their order.  ``minimum``: a level at least as strong as one of them; for each
    reference in turn its own level first, then the weakest above it.  ``better``: the same without the reference's own
    level and its equals, so strictly stronger than one of them.  ``maximum``: a level that at least one of them is as
    strong as, the strongest first.

    :param reachable: whether this person can be brought to a level *and* to the policy's floors; the first candidate of
        which it is true is chosen.  None: every level can be reached.
    :param override: the comparison that the operator sets for this relying party, instead of the request's.
    """
    comparison = override or requested.comparison
    asked = tuple(dict.fromkeys(requested.class_refs))
    known = tuple(uri for uri in asked if uri in policy.by_saml)
    unknown = tuple(uri for uri in asked if uri not in policy.by_saml)
    candidates = tuple(dict.fromkeys(_candidates(policy, comparison, known)))
    chosen = next((item for item in candidates if reachable is None or reachable(item.level)), None)
    if chosen is not None:
        return Matched(chosen, candidates, comparison, unknown)
    cause: Cause = "unreachable" if candidates else "nothing_compares" if known else "unknown_reference"
    return NoAuthnContext(cause, candidates, comparison, unknown)


def _candidates(policy: Policy, comparison: Comparison, known: tuple[str, ...]) -> Iterator[Candidate]:
    if comparison == "exact":
        # The very reference: another one of the same level is another statement.
        yield from (Candidate(policy.by_saml[uri].name, uri) for uri in known)
        return
    order = Strength(policy)
    asked = [policy.by_saml[uri].name for uri in known]
    if comparison == "maximum":
        within = [level for level in policy.levels if any(order.at_least(name, level.name) for name in asked)]
        yield from _named(order.strongest_first(within), known)
        return
    for name in asked:
        above = [level for level in policy.levels if order.at_least(level.name, name)]
        if comparison == "better":
            above = [level for level in above if order.stronger(level.name, name)]
        # Its own level before its equals: what was asked for by name is the nearest answer.
        own = [level for level in above if level.name == name]
        yield from _named([*own, *order.weakest_first(above)], known)


def _named(levels: list[Level], known: tuple[str, ...]) -> Iterator[Candidate]:
    """With the first reference of the request that expresses a level, or else the level's own first."""
    for level in levels:
        if level.saml:
            yield Candidate(level.name, next((uri for uri in known if uri in level.saml), level.saml[0]))


class Strength:
    """The order over a policy's levels: a preorder, reflexive and transitive; see the module's text."""

    def __init__(self, policy: Policy) -> None:
        names = [level.name for level in policy.levels]
        self._below = {name: {other for other in names if policy.implies(name, other)} for name in names}
        for level, other in product(policy.levels, repeat=2):
            if other.name not in self._below[level.name] and _claims_as_much(policy, level, other):
                self._add(policy, level.name, other.name)

    def _add(self, policy: Policy, name: str, other: str) -> None:
        """Order two levels and all that follows from it, unless that turns round what the file's levels imply."""
        above = [each for each, below in self._below.items() if name in below]
        below = self._below[other]
        if not any(policy.implies(low, high) and not policy.implies(high, low) for high in above for low in below):
            for each in above:
                self._below[each] |= below

    def at_least(self, name: str, other: str) -> bool:
        """Whether the first level is as strong as the second, or stronger."""
        return other in self._below[name]

    def stronger(self, name: str, other: str) -> bool:
        """Whether the first level is stronger than the second."""
        return self.at_least(name, other) and not self.at_least(other, name)

    def weakest_first(self, levels: list[Level]) -> list[Level]:
        """Every level after those that it is stronger than; else in the order given."""
        return sorted(levels, key=lambda level: len(self._below[level.name]))

    def strongest_first(self, levels: list[Level]) -> list[Level]:
        """Every level before those that it is stronger than; else in the order given."""
        return sorted(levels, key=lambda level: -len(self._below[level.name]))


def _claims_as_much(policy: Policy, level: Level, other: Level) -> bool:
    return (
        bool(other.claims)
        and frozenset(other.claims) <= policy.claims_of(level.name)
        and PROOFING.index(level.proofing) >= PROOFING.index(other.proofing)
    )


def eidas_comparison(class_refs: tuple[str, ...]) -> Comparison:
    """The comparison that the eIDAS network prescribes for references (SAML Message Format, ``RequestedAuthnContext``).

    ``minimum`` where every reference is a notified level: those have one order, which everybody knows.  ``exact`` as
    soon as one is not: what is not notified has no order outside its own country, so each accepted one is named.
    """
    return "minimum" if all(uri.startswith(EIDAS_NOTIFIED) for uri in class_refs) else "exact"


__all__ = [
    "COMPARISONS",
    "Candidate",
    "Cause",
    "Comparison",
    "Matched",
    "NoAuthnContext",
    "RequestedContext",
    "Strength",
    "eidas_comparison",
    "match",
]
