"""Certificates (X.509): to sign in, and as a further factor.

The certificate itself is presented on a host of its own (:mod:`idp.web.certificates.present`); what comes back here is
a code, in the browser that presented it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, request
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from idp.authn.certificate.errors import CertificateRefused
from idp.authn.certificate.facts import CertificateFacts
from idp.authn.methods import evidence_of
from idp.errors import LoginRefused, OtpRefused
from idp.policy.evidence import Evidence
from idp.storage import authenticators
from idp.storage.authenticators import Authenticator
from idp.web import browser, pages, progress, proof
from idp.web.certificates import owner, refusal
from idp.web.certificates.offer import handed_over, offer
from idp.web.certificates.trust import Trust, trust
from idp.web.certificates.words import explained
from idp.web.establish import establish
from idp.web.interaction import Interaction, load
from idp.web.progress import Assessment
from idp.web.prove.registry import ProofPage
from idp.web.services import services

KIND: Final = owner.KIND
blueprint = Blueprint("prove_certificate", __name__, url_prefix="/interaction/<interaction_id>")


@blueprint.post("/certificate")
def use(interaction_id: str) -> Response:
    """Somebody comes back from presenting a certificate that was accepted."""
    interaction = load(interaction_id)
    believed = trust()
    found, facts = progress.assess(interaction), None
    try:
        if believed is None:
            raise CertificateRefused("missing", "certificates are not asked for here")
        facts = handed_over("interaction", interaction.id, request.form.get("handover", ""))
        with services().engine.begin() as connection:
            if found is None:
                _sign_in(connection, interaction, believed, facts)
            else:
                _step_up(connection, interaction, believed, found, facts)
    except OtpRefused as error:
        return pages.render(interaction, pages.notice_of(error), factor=KIND)
    except CertificateRefused as error:
        _record(interaction, error, facts)
        return pages.render(interaction, pages.Notice(explained(error.cause)), factor=KIND)
    browser.reload()
    return progress.advance(load(interaction_id))


def _sign_in(connection: Connection, interaction: Interaction, believed: Trust, facts: CertificateFacts) -> None:
    """The certificate says who somebody is.

    :raises CertificateRefused: it says nobody, or somebody whose interaction this is not (SES-07).
    """
    account, item = owner.find(connection, believed, facts)
    if interaction.stored.account_id not in {None, account.id}:
        raise CertificateRefused("not_yours", "the interaction is another person's")
    own = item or owner.bind_by_rule(connection, believed, account, facts)
    try:
        establish(connection, interaction, account, own, _evidence(interaction, believed, facts, own))
    except LoginRefused as error:
        raise CertificateRefused("not_yours", "the interaction is another person's") from error
    if item is None:
        owner.record_bound(connection, own, interaction.stored.session_id)


def _step_up(
    connection: Connection, interaction: Interaction, believed: Trust, found: Assessment, facts: CertificateFacts
) -> None:
    """The certificate is one more thing that the person who is signed in has.

    :raises NoSuchFactor: the policy does not ask for it now.
    :raises CertificateRefused: it is not this person's.
    """
    proof.wanted(found, KIND)
    account, item = owner.find(connection, believed, facts)
    if account.id != found.account.id:
        raise CertificateRefused("not_yours", "the certificate is another person's")
    own = item or owner.bind_by_rule(connection, believed, account, facts)
    evidence = _evidence(interaction, believed, facts, own)
    authenticators.succeeded(connection, own.id, evidence.at)
    proof.accept(connection, interaction, found, evidence)
    services().audit.record(connection, "factor.accepted", **proof.fields(interaction, found, own))
    if item is None:
        owner.record_bound(connection, own, found.context.session_id)


def _evidence(interaction: Interaction, believed: Trust, facts: CertificateFacts, item: Authenticator) -> Evidence:
    flags, attestation = believed.assurance(facts)
    return evidence_of(
        item,
        services().clock.now(),
        interaction.txn,
        bound=interaction.binds_evidence,
        flags=flags,
        attestation=attestation,
    )


def _record(interaction: Interaction, error: CertificateRefused, facts: CertificateFacts | None) -> None:
    refusal.record(
        error,
        session_id=interaction.stored.session_id,
        purpose="interaction",
        identity=None if facts is None else facts.identity,
        txn=interaction.txn,
        client_id=interaction.request.client_id,
        action=interaction.request.action,
    )


def _values(interaction: Interaction, _found: Assessment, owned: tuple[Authenticator, ...]) -> Mapping[str, Any]:
    return {"offer": offer("interaction", interaction.id)}


PAGE: Final = ProofPage(KIND, "prove_certificate.html", _values)
