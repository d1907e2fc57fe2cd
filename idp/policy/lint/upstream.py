"""Logins at other identity providers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from idp.policy.evidence import SELF
from idp.policy.index import Quest
from idp.policy.lint.model import Hit, LintRule
from idp.policy.lint.offers import Candidate, Offer, lowest, mapped
from idp.policy.lint.subject import Subject
from idp.policy.model import Level, Upstream, UpstreamMapping


def blanket_trust(subject: Subject) -> Iterator[Hit]:
    """L14: a cap that nothing can reach, or a mapping that asks for nothing but the issuer."""
    for provider in subject.policy.upstream:
        if not _reaches(subject, provider, subject.policy.by_name[provider.cap]):
            message = f"the cap is level '{provider.cap}', and no login there is of any use for it"
            yield Hit(provider.where, message, advice="write a lower cap, or a mapping that proves what it asks for")
        for mapping in provider.mappings:
            if _unconditional(mapping) and _more_than_lowest(mapping):
                message = "every login at this issuer counts as this, whatever it was"
                yield Hit(mapping.where, message)


def idle_mappings(subject: Subject) -> Iterator[Hit]:
    """L27: a mapping after one that always holds."""
    for provider in subject.policy.upstream:
        first = next((mapping for mapping in provider.mappings if _unconditional(mapping)), None)
        if first is not None:
            for mapping in provider.mappings[provider.mappings.index(first) + 1 :]:
                message = f"this mapping is never tried: the one in line {first.where.line} holds for every login"
                yield Hit(mapping.where, message)


def ageless_logins(subject: Subject) -> Iterator[Hit]:
    """L28: neither the provider nor its cap says how old a login may be."""
    for provider in subject.policy.upstream:
        if provider.max_age is None and subject.policy.by_name[provider.cap].freshness is None:
            message = f"neither this provider has a max_age nor its cap, level '{provider.cap}', a freshness"
            yield Hit(provider.where, message)


def _unconditional(mapping: UpstreamMapping) -> bool:
    return not (mapping.classes or mapping.acr or mapping.amr or mapping.attributes)


def _more_than_lowest(mapping: UpstreamMapping) -> bool:
    """The lowest is one factor that is known, with no flags."""
    return len(mapping.evidence) > 1 or any(item.category != "knowledge" or item.flags for item in mapping.evidence)


def _reaches(subject: Subject, provider: Upstream, cap: Level) -> bool:
    """Whether one login there, with what else the person may have here, meets an alternative of the level.

    What is capped at a level counts for no stronger one, so the level's own alternatives are all there is.
    """
    for issuer in provider.issuers:
        logins = [(lowest(issuer),), *(mapped(mapping, issuer) for mapping in provider.mappings)]
        for login in logins:
            if any(_uses(subject, login, alternative) for alternative in subject.alternatives(cap)):
                return True
    return False


def _uses(subject: Subject, login: tuple[Offer, ...], alternative: Quest) -> bool:
    def from_it(item: Candidate) -> bool:
        return item.offer in login

    def at_hand(item: Candidate) -> bool:
        return from_it(item) or item.offer.issuer == SELF

    return subject.can_include(alternative, from_it, at_hand)


RULES: Final = (
    LintRule(
        id="L14",
        title="Blanket trust in another identity provider",
        why="That somebody signed in elsewhere says nothing of how. What it counts as has to come from what the other "
        "side says it did, and no further than it can show.",
        clauses=("OIDC Core 2 (acr, amr)", "SAML 2.0 Core, 2.7.2.2"),
        severity="warning",
        advice="write under 'when' which class, acr or amr it takes",
        check=blanket_trust,
    ),
    LintRule(
        id="L27",
        title="A mapping that is never tried",
        why="The first mapping that holds wins.",
        clauses=("policy language 1, upstream",),
        severity="warning",
        advice="move the mapping without 'when' to the end",
        check=idle_mappings,
    ),
    LintRule(
        id="L28",
        title="A login elsewhere of any age",
        why="The other provider's session may have been open for weeks.",
        clauses=("NIST SP 800-63B-4, 5.2", "OIDC Core 2 (auth_time)", "SAML 2.0 Core, 2.7.2 (AuthnInstant)"),
        severity="warning",
        advice="write 'max_age' for the provider, or 'freshness' for the level",
        check=ageless_logins,
    ),
)
