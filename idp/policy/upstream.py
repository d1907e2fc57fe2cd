"""What a login at another identity provider counts as.

A connector states what the other side said (class reference, ``acr``, ``amr``, time, attributes); what that is worth is
for the policy alone.  Whatever is not mapped is worth the least: one thing that somebody knows, without any property.
The cap holds where evidence is matched (:func:`idp.policy.matching.capped`), so no mapping can reach beyond it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from idp.policy import wording
from idp.policy.conditions import has_attributes
from idp.policy.errors import FactsInvalid
from idp.policy.evidence import SELF, Evidence
from idp.policy.matching import CLOCK_SKEW
from idp.policy.model import Policy, Reason, Upstream, UpstreamEvidence, UpstreamMapping, Where


@dataclass(frozen=True, slots=True)
class UpstreamLogin:
    """A login that another identity provider vouches for, its signature and audience verified.

    :raises FactsInvalid: no issuer or subject, the issuer is ``self``, or a time that is not aware UTC.
    """

    issuer: str
    subject: str
    """As the issuer names the person; it does not leave this module."""
    auth_time: datetime
    """OIDC ``auth_time``, SAML ``AuthnInstant``: when the person proved something, not when it was said."""
    class_ref: str | None = None
    """SAML ``AuthnContextClassRef``."""
    acr: str | None = None
    amr: frozenset[str] = frozenset()
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    transaction: str | None = None
    """The transaction that it was asked for, if it was made anew (``prompt=login``, ``ForceAuthn``)."""

    def __post_init__(self) -> None:
        if not self.issuer or self.issuer == SELF or not self.subject:
            raise FactsInvalid("a login elsewhere has an issuer, not 'self', and a subject")
        if self.auth_time.tzinfo is None or self.auth_time.utcoffset() != timedelta(0):
            raise FactsInvalid("auth_time is aware and in UTC")


@dataclass(frozen=True, slots=True)
class Counted:
    """What a login counts as, and why."""

    evidence: tuple[Evidence, ...]
    reason: Reason | None
    """None: the policy does not know the issuer."""


def evidence_of(policy: Policy, login: UpstreamLogin, now: datetime) -> tuple[Evidence, ...]:
    """The evidence that a login counts as; none if the issuer is unknown, or its time is too old or in the future."""
    return counted(policy, login, now).evidence


def counted(policy: Policy, login: UpstreamLogin, now: datetime) -> Counted:
    """The same with the reason: the mapping that held, or why none did."""
    upstream = policy.by_issuer.get(login.issuer)
    if upstream is None:
        return Counted((), None)
    what = f"The login at {login.issuer} of {login.auth_time:%Y-%m-%d %H:%M:%SZ}"
    refused = _too_old(upstream, login, now)
    if refused is not None:
        return Counted((), _reason(upstream.where, f"{what} does not count: {refused}."))
    mapping = next((item for item in upstream.mappings if holds(item, login)), None)
    if mapping is None:
        text = f"{what} counts as one factor that is known: no mapping is about it."
        return Counted(_evidence(login, _lowest(upstream)), _reason(upstream.where, text))
    shown = wording.listed((wording.upstream(item) for item in mapping.evidence), "and")
    return Counted(_evidence(login, mapping.evidence), _reason(mapping.where, f"{what} counts as {shown}."))


def holds(mapping: UpstreamMapping, login: UpstreamLogin) -> bool:
    """Whether every part of the mapping's condition holds of the login; what was not said never does."""
    return (
        (not mapping.classes or login.class_ref in mapping.classes)
        and (not mapping.acr or login.acr in mapping.acr)
        and mapping.amr <= login.amr
        and has_attributes(mapping.attributes, login.attributes)
    )


def _too_old(upstream: Upstream, login: UpstreamLogin, now: datetime) -> str | None:
    if login.auth_time - now > CLOCK_SKEW:
        return "its time lies in the future"
    if upstream.max_age is not None and now - login.auth_time >= timedelta(seconds=upstream.max_age + 1):
        return f"it is older than {wording.duration(upstream.max_age)}"
    return None


def _lowest(upstream: Upstream) -> tuple[UpstreamEvidence, ...]:
    return (UpstreamEvidence(upstream.where, "knowledge"),)


def _evidence(login: UpstreamLogin, items: tuple[UpstreamEvidence, ...]) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(
            factor=item.factor,
            authenticator_id=_authenticator_id(login),
            category=item.category,
            at=login.auth_time,
            issuer=login.issuer,
            flags=item.flags,
            transaction=login.transaction,
        )
        for item in items
    )


_ID_OCTETS: Final = 16


def _authenticator_id(login: UpstreamLogin) -> str:
    """A name for the person's account there that says nothing about the person: a subject may be an address."""
    name = f"{len(login.issuer)}:{login.issuer}{login.subject}".encode()
    return hashlib.sha256(name).hexdigest()[: 2 * _ID_OCTETS]


def _reason(where: Where, text: str) -> Reason:
    return Reason("upstream", where.file, where.line, text, "upstream")
