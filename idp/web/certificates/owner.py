"""Whose a certificate is: bound by the person, or named by what stands in it where the operator says so."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

from foundation.clock import epoch
from idp.authn.certificate import mapping
from idp.authn.certificate.errors import CertificateRefused
from idp.authn.certificate.facts import CertificateFacts
from idp.notices import notify_change
from idp.storage import accounts, authenticators
from idp.storage.accounts import Account
from idp.storage.authenticators import Authenticator, NewAuthenticator
from idp.web import browser
from idp.web.certificates.trust import Trust
from idp.web.services import services

KIND: Final = "certificate"
_LABEL_MAX: Final = 64


def find(connection: Connection, believed: Trust, facts: CertificateFacts) -> tuple[Account, Authenticator | None]:
    """The one account whose certificate this is, and its authenticator where it has one already.

    The certificate itself, as it was enrolled; and what stands in it, by the rules of its anchor.  All that it names is
    one account, or nobody gets in.

    :raises CertificateRefused: ``unknown_account``, ``ambiguous``.
    """
    bound = authenticators.find_by_lookup(connection, services().seals, facts.identity)
    anchor = believed.settings.anchors.get(facts.anchor)
    claims = mapping.claims(facts, () if anchor is None else anchor.match)
    found = {item.id: item for claim in claims for item in accounts.having(connection, claim.column, claim.value)}
    if bound is not None:
        owner = accounts.find(connection, bound.account_id)
        found |= {} if owner is None else {owner.id: owner}
    if len(found) > 1:
        raise CertificateRefused("ambiguous", "the certificate names more than one account")
    account = next(iter(found.values()), None)
    usable = bound is None or (bound.kind == KIND and bound.usable(services().clock.now()))
    if account is None or not account.active or not usable:
        raise CertificateRefused("unknown_account", "the certificate is nobody's who may use it")
    return account, bound


def bind_by_rule(
    connection: Connection, believed: Trust, account: Account, facts: CertificateFacts
) -> Authenticator:
    """The authenticator of a certificate that names its account and comes for the first time.

    :func:`record_bound` tells the audit chain, once all else is written.

    :raises CertificateRefused: ``unknown_account``: it was removed from the account before; a rule does not bring back
        what its owner took away.
    """
    owned = authenticators.of_account(connection, services().seals, account.id)
    if any(item.data.get("identity") == facts.identity for item in owned if item.kind == KIND):
        raise CertificateRefused("unknown_account", "the certificate was removed from this account")
    new = new_authenticator(believed, browser.new_id(services()), account, facts)
    now, seals = services().clock.now(), services().seals
    notify_change(
        connection, seals, account_id=account.id, factor=KIND, change="added", now=now, random=services().random
    )
    authenticators.bind(connection, seals, new, now)
    made = authenticators.find_by_lookup(connection, services().seals, facts.identity)
    if made is None:
        raise CertificateRefused("unknown_account", "the certificate vanished while it was being bound")
    return made


def record_bound(connection: Connection, item: Authenticator, session_id: str) -> None:
    """Tell the audit chain of :func:`bind_by_rule`."""
    services().audit.record(
        connection,
        "authenticator.added",
        account_id=item.account_id,
        session_id=session_id,
        factor=KIND,
        authenticator_id=item.id,
        not_before=epoch(item.not_before),
    )


def new_authenticator(
    believed: Trust, authenticator_id: str, account: Account, facts: CertificateFacts, label: str = ""
) -> NewAuthenticator:
    """An authenticator for exactly this certificate."""
    flags, attestation = believed.assurance(facts)
    data: dict[str, Any] = {
        "identity": facts.identity,
        "anchor": facts.anchor,
        "subject": facts.subject,
        "issuer": facts.issuer,
        "serial": facts.serial,
        "not_after": epoch(facts.not_after),
        "flags": sorted(flags),
    }
    if attestation is not None:
        data["attestation"] = attestation
    name = label or (facts.common_name or "")[:_LABEL_MAX]
    return NewAuthenticator(
        authenticator_id, account.id, KIND, label=name if name.isprintable() else "", data=data, lookup=facts.identity
    )
