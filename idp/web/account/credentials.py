"""The person's signing credentials: which there are, and orders about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from flask import Flask, make_response, request
from werkzeug.wrappers import Response

from contract import proof, proof_key
from contract.order import CreateParameters, CredentialParameters, Parameters, ProofKeyParameters, SubjectClaim
from idp.activation.binding import check_approved
from idp.authn.approval import Approval
from idp.errors import CredentialUnavailable, CredentialUnusable, NotWhatWasApproved
from idp.notices import notify_change
from idp.settings import ACCOUNT_CLIENT_ID
from idp.storage.seal import Altered
from idp.web import browser, faults, wording
from idp.web.account.common import blueprint, me, page, signed_in
from idp.web.approval import devices
from idp.web.approval.signing import usable_keys
from idp.web.headers import allow_form_target
from idp.web.interaction import Action, BeginInteraction, Finished, begin, register_finisher
from idp.web.language import gettext as _
from idp.web.orders import signed_order, subject_of
from idp.web.services import CredentialView, services

_ORDER: Final = "order"
_OPERATIONS: Final[dict[str, Action]] = {
    "suspend": "credential.suspend",
    "resume": "credential.resume",
    "revoke": "credential.revoke",
    "delete": "credential.delete",
}
_CREDENTIAL_ID: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}\Z")


def setup(app: Flask) -> None:
    """Register the end of an order."""
    register_finisher(app, _ORDER, _ordered)


@blueprint.get("/credentials")
@signed_in
def credentials() -> Response:
    """The person's signing credentials as the signing service states them, and the form to order one."""
    held: tuple[CredentialView, ...] | None = None
    with suppress(CredentialUnavailable, CredentialUnusable):
        held = services().credentials.of_account(me().id, ACCOUNT_CLIENT_ID)
    approving = services().settings.approval
    if approving is not None:
        # The order's form goes on where devices approve.
        allow_form_target(approving.origin)
    profiles = services().settings.signing.profiles
    return page("credentials.html", profiles=profiles, held=held, wording=wording, devices=usable_keys)


@blueprint.post("/credentials")
@signed_in
def order() -> Response:
    """Begin the order: policy, step-up and consent come before there is one."""
    profiles = services().settings.signing.profiles
    profile = request.form.get("profile", profiles[0])
    if profile not in profiles:
        return faults.page(_("There is no such profile"), _("Please go back and choose another one."), 400)
    approving, session = services().settings.approval, browser.current()
    if approving is not None and profile in approving.profiles and session is not None:
        # The credential has its signer's device from birth: nothing about it rests on this server's word later.
        return devices.send(session.id, me().id, {"profile": profile})
    return begin_order(profile)


def begin_order(profile: str, device: Mapping[str, Any] | None = None) -> Response:
    """Begin the order of a credential.

    :param device: the key of the device that is to approve its signatures, and its thumbprint.
    """
    subject = subject_of(me())
    named = {name: getattr(subject, name) for name in SubjectClaim.__slots__}
    detail: dict[str, Any] = {"profile": profile, "subject": named}
    if device is not None:
        detail |= {"proof_key": device["proof_key"], "device": device["device"]}
    return begin(
        BeginInteraction(
            kind=_ORDER,
            action="credential.create",
            client_id=ACCOUNT_CLIENT_ID,
            client_name=services().settings.service_name,
            payload=detail,
            detail=detail,
        )
    )


def begin_change(answer: Mapping[str, Any]) -> Response:
    """Begin the order that puts a device in another one's place: asked for as strongly as any other way to prove it."""
    wanted = answer["wanted"]
    detail = {
        "factor": "signing_device",
        "credential_id": wanted["credential_id"],
        "removed": wanted["removed"],
        **{name: answer[name] for name in ("proof_key", "device", "proof")},
    }
    return begin(
        BeginInteraction(
            kind=_ORDER,
            action="account.enrol_factor",
            client_id=ACCOUNT_CLIENT_ID,
            client_name=services().settings.service_name,
            payload=detail,
            detail=detail,
        )
    )


@blueprint.post("/credentials/operation")
@signed_in
def operate() -> Response:
    """Begin the order to change or end a credential of the person's; whose it is, the service says."""
    operation = _OPERATIONS.get(request.form.get("operation", ""))
    credential_id = request.form.get("credential_id", "").strip()
    if operation is None or not _CREDENTIAL_ID.match(credential_id):
        return faults.page(_("The request cannot be answered"), _("Please go back and start again."), 400)
    detail = {"credential_id": credential_id}
    return begin(
        BeginInteraction(
            kind=_ORDER,
            action=operation,
            client_id=ACCOUNT_CLIENT_ID,
            client_name=services().settings.service_name,
            payload=detail,
            detail=detail,
        )
    )


def _ordered(outcome: Finished) -> Response:
    if outcome.approval is None:
        return faults.not_approved(outcome.cause)
    try:
        check_approved(outcome.approval, client_id=ACCOUNT_CLIENT_ID, intent=None, detail=outcome.payload)
    except NotWhatWasApproved:
        # The interaction holds what is shown and what is ordered: somebody changed one of them.
        services().seals.report(Altered("interactions", outcome.approval.txn, "binding"))
        raise
    token = _order(outcome.approval, outcome.payload)
    response = make_response(token)
    response.headers["Content-Type"] = "application/jose"
    response.headers["Content-Disposition"] = 'attachment; filename="credential-order.jws"'
    return response


def _order(approval: Approval, detail: Any) -> str:
    """The signed order; its parameters are the ones that were shown and approved."""
    with_services = services()
    made, token = signed_order(with_services, approval, _parameters(detail))
    with with_services.engine.begin() as connection:
        if "device" in detail:
            notify_change(
                connection,
                with_services.seals,
                account_id=approval.account_id,
                factor="signing_device",
                change="device",
                now=with_services.clock.now(),
                random=with_services.random,
            )
        with_services.audit.record(
            connection,
            "order.issued",
            account_id=approval.account_id,
            jti=made.jti,
            operation=made.operation,
            decision_id=approval.decision_id,
            txn=approval.txn,
            **{name: detail[name] for name in ("profile", "credential_id", "device") if name in detail},
        )
    return token


def _parameters(detail: Any) -> Parameters:
    if "proof" in detail:
        return ProofKeyParameters(
            detail["credential_id"],
            proof_key.from_json(detail["proof_key"]),
            detail["removed"],
            proof.from_claim(detail["proof"]),
        )
    if "credential_id" in detail:
        return CredentialParameters(detail["credential_id"])
    device = proof_key.from_json(detail["proof_key"]) if "proof_key" in detail else None
    return CreateParameters(detail["profile"], SubjectClaim(**detail["subject"]), device)
