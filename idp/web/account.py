"""The person's own pages: factors, sessions, and ordering a signing credential."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from flask import Blueprint, Flask, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from contract.order import CreateParameters, CredentialParameters, SubjectClaim
from contract.order import encode as encode_order
from idp.activation.binding import check_approved
from idp.activation.orders import order_for
from idp.authn.approval import Approval
from idp.authn.methods import MESSAGES, NATIVE
from idp.authn.otp import mask
from idp.errors import NotWhatWasApproved
from idp.settings import ACCOUNT_CLIENT_ID
from idp.storage import authenticators, sessions
from idp.storage.accounts import Account
from idp.storage.authenticators import Authenticator
from idp.storage.engine import reading
from idp.storage.seal import Altered
from idp.web import browser, faults, wording
from idp.web.enrol.registry import kinds as enrolled_kinds
from idp.web.interaction import Action, BeginInteraction, Finished, begin, register_finisher
from idp.web.language import gettext as _
from idp.web.services import services

blueprint = Blueprint("account", __name__, url_prefix="/account")

_SIGN_IN: Final = "account"
_ORDER: Final = "order"
_OPERATIONS: Final[dict[str, Action]] = {
    "suspend": "credential.suspend",
    "resume": "credential.resume",
    "delete": "credential.delete",
}
_CREDENTIAL_ID: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}\Z")
_DESTINATIONS: Final = {"/account/": "account.overview", "/account/credentials": "account.credentials"}
"""Where somebody may be sent after signing in: never where an address line says (SES-08)."""


def setup(app: Flask) -> None:
    """Register the ends of the interactions that these pages begin."""
    register_finisher(app, _SIGN_IN, _signed_in)
    register_finisher(app, _ORDER, _ordered)


def signed_in(view: Callable[..., Response]) -> Callable[..., Response]:
    """Let nobody but a signed-in person in; a stranger signs in first."""

    @wraps(view)
    def guarded(*args: Any, **values: Any) -> Response:
        return view(*args, **values) if current_user.is_authenticated else _begin_sign_in()

    return guarded


def _begin_sign_in() -> Response:
    destination = request.path if request.path in _DESTINATIONS else "/account/"
    return begin(
        BeginInteraction(
            kind=_SIGN_IN,
            action="sign_in",
            client_id=ACCOUNT_CLIENT_ID,
            client_name=services().settings.service_name,
            payload={"destination": destination},
        )
    )


def _signed_in(outcome: Finished) -> Response:
    if outcome.approval is None:
        return faults.not_approved(outcome.cause)
    return redirect(url_for(_DESTINATIONS.get(outcome.payload["destination"], "account.overview")), 303)


@blueprint.get("/")
@signed_in
def overview() -> Response:
    """Factors and sessions."""
    account = _me()
    now = services().clock.now()
    enrolled_here = enrolled_kinds()
    with reading(services().engine) as connection:
        owned = authenticators.of_account(connection, services().seals, account.id)
        live = sessions.of_account(connection, services().seals, account.id, now, services().settings.session)
    factors = [
        {
            "id": item.id,
            "kind": item.kind,
            "address": mask(item.kind, item.address or "") if item.kind in MESSAGES else item.label,
            "usable": item.usable(now),
            "since": item.created_at,
            "removable": item.kind in enrolled_here and not item.disabled,
        }
        for item in sorted(_shown(owned), key=lambda item: NATIVE.index(item.kind))
    ]
    addable = [kind for kind in enrolled_here if kind in services().messaging.factors]
    return _page("account.html", account=account, factors=factors, sessions=live, wording=wording, addable=addable)


def _shown(owned: tuple[Authenticator, ...]) -> list[Authenticator]:
    """The enabled ones, and of a kind that has none, the last one."""
    last = {item.kind: item for item in owned}
    enabled = [item for item in owned if not item.disabled]
    return enabled + [item for kind, item in last.items() if kind not in {found.kind for found in enabled}]


@blueprint.post("/sessions/<session_id>/revoke")
@signed_in
def revoke(session_id: str) -> Response:
    """End one of the person's sessions; another person's is left alone."""
    account = _me()
    now = services().clock.now()
    with services().engine.begin() as connection:
        live = sessions.of_account(connection, services().seals, account.id, now, services().settings.session)
        if session_id in {item.id for item in live}:
            services().outbox.session_ended(connection, session_id)
            sessions.revoke(connection, session_id, now)
            services().audit.record(
                connection, "session.ended", account_id=account.id, session_id=session_id, cause="revoked"
            )
    return redirect(url_for("account.overview"), 303)


@blueprint.post("/sign-out")
def sign_out() -> Response:
    """End this browser's session."""
    browser.sign_out()
    return faults.page(_("You are signed out"), _("Your session on this device has ended."), 200)


@blueprint.get("/credentials")
@signed_in
def credentials() -> Response:
    """The form to order a signing credential."""
    return _page("credentials.html", account=_me(), profiles=services().settings.signing.profiles)


@blueprint.post("/credentials")
@signed_in
def order() -> Response:
    """Begin the order: policy, step-up and consent come before there is one."""
    profiles = services().settings.signing.profiles
    profile = request.form.get("profile", profiles[0])
    if profile not in profiles:
        return faults.page(_("There is no such profile"), _("Please go back and choose another one."), 400)
    subject = _subject(_me())
    detail = {"profile": profile, "subject": {name: getattr(subject, name) for name in SubjectClaim.__slots__}}
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


@blueprint.post("/credentials/operation")
@signed_in
def operate() -> Response:
    """Begin the order to suspend, resume or delete a credential of the person's; whose it is, the service says."""
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
    settings = with_services.settings
    made = order_for(
        approval,
        _parameters(detail),
        issuer=settings.issuer,
        audience=settings.signing.sam_id,
        jti=browser.new_id(with_services),
        now=with_services.clock.now(),
        lifetime_seconds=settings.signing.order_seconds,
    )
    token = encode_order(made, with_services.keys.activation_key())
    with with_services.engine.begin() as connection:
        with_services.audit.record(
            connection,
            "order.issued",
            account_id=approval.account_id,
            jti=made.jti,
            operation=made.operation,
            decision_id=approval.decision_id,
            txn=approval.txn,
            **{name: detail[name] for name in ("profile", "credential_id") if name in detail},
        )
    return token


def _parameters(detail: Any) -> CreateParameters | CredentialParameters:
    if "credential_id" in detail:
        return CredentialParameters(detail["credential_id"])
    return CreateParameters(detail["profile"], SubjectClaim(**detail["subject"]))


def _subject(account: Account) -> SubjectClaim:
    """Whom the certificate will name: what the account says, never a form."""
    return SubjectClaim(
        common_name=account.name,
        given_name=account.given_name,
        surname=account.surname,
        serial_number=account.serial_number,
        country=account.country,
    )


def _me() -> Account:
    account: Account = current_user.account
    return account


def _page(template: str, **values: Any) -> Response:
    session = browser.current()
    csrf, session_id = ("", "") if session is None else (session.csrf, session.id)
    return make_response(render_template(template, csrf=csrf, session_id=session_id, **values))


