"""Enrolment and removal of one's own authenticators: what the policy allows before, what happens at the end.

1. The person asks on the account page; the policy decides on the action ``account.enrol_factor`` or
``account.reset_factor`` as on any other, with step-up and the person's approval.  2. The approval opens an enrolment
of this browser's session.  3. A proof that the person has the authenticator ends it: in one transaction it is closed,
the authenticator bound, the audit chain and the signing side told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, Flask, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from idp.activation.binding import check_approved
from idp.authn.approval import Approval
from idp.errors import (
    ActivationLost,
    AddressRefused,
    AlreadyExists,
    EnrolmentLost,
    EnrolmentRefused,
    InputRefused,
    InteractionLost,
    LastWayIn,
    LoginBusy,
    LoginCrowded,
    NotWhatWasApproved,
    OtpRefused,
)
from idp.settings import ACCOUNT_CLIENT_ID
from idp.storage import authenticators, enrolments
from idp.storage.accounts import Account
from idp.storage.authenticators import Authenticator
from idp.storage.engine import reading
from idp.storage.enrolments import Enrolment, NewEnrolment
from idp.storage.seal import Altered
from idp.web import browser, faults, progress, prospects
from idp.web.enrol import (
    certificate,
    change,
    hotp,
    mail,
    origin,
    passkey,
    password,
    phone,
    recovery_code,
    texts,
    totp,
)
from idp.web.enrol.registry import Enroller, enroller_of, register
from idp.web.interaction import Action, BeginInteraction, Finished, begin, register_finisher
from idp.web.language import gettext as _
from idp.web.pages import notice_of
from idp.web.services import services

blueprint = Blueprint("enrol", __name__, url_prefix="/account/factors")
_ENROL: Final = "enrol"
_REMOVE: Final = "remove-factor"


def setup(app: Flask) -> None:
    """Make every kind's enrolment known to an app."""
    app.register_blueprint(blueprint)
    register_finisher(app, _ENROL, _approved)
    register_finisher(app, _REMOVE, _removed)
    for module in (certificate, passkey, password, totp, hotp, recovery_code, phone, mail):
        register(app, module.ENROLLER)


@blueprint.post("/add")
def add() -> Response:
    """Ask the policy whether this person may add an authenticator of a kind now."""
    kind = request.form.get("factor", "")
    if not current_user.is_authenticated or enroller_of(kind) is None or kind not in services().messaging.factors:
        return _cannot()
    return _begin("account.enrol_factor", _ENROL, {"factor": kind})


@blueprint.post("/<authenticator_id>/remove")
def remove(authenticator_id: str) -> Response:
    """Ask the policy whether this person may remove one of their authenticators now."""
    item = _own(authenticator_id)
    if item is None:
        return _cannot()
    with reading(services().engine) as connection:
        owned = authenticators.of_account(connection, services().seals, _me().id)
    if prospects.locks_out(_me(), owned, item):
        return _last_way()
    detail = {"factor": item.kind, "authenticator_id": item.id, "label": item.label}
    return _begin("account.reset_factor", _REMOVE, detail)


@blueprint.get("/new/<enrolment_id>")
def show(enrolment_id: str) -> Response:
    """The page of an open enrolment."""
    return _page(_open(enrolment_id))


@blueprint.post("/new/<enrolment_id>")
def confirm(enrolment_id: str) -> Response:
    """Judge the proof; a right one binds the authenticator."""
    enrolment = _open(enrolment_id)
    account = origin.whose(enrolment)
    try:
        enroller = _enroller(enrolment)
        new = enroller.confirm(enrolment, account, request.form)
        with services().engine.begin() as connection:
            origin.proceed(connection, enrolment, new)
            new = enroller.settled(connection, enrolment, new)
            change.bind(connection, enrolment, account, new)
            enroller.bound(connection, enrolment, new)
            origin.bound(connection, enrolment, new)
    except EnrolmentRefused as error:
        if not error.counted:
            with services().engine.begin() as connection:
                enrolments.failed(connection, enrolment.id)
        return _page(_open(enrolment_id), error.shown or _("That was not right. Please check it and try again."))
    except (InputRefused, AlreadyExists) as error:
        return _page(enrolment, texts.explained(error))
    except LoginBusy as error:
        status = 429 if isinstance(error, LoginCrowded) else 503
        return _page(enrolment, _("Many people are signing in. Please try again in a moment."), status)
    return redirect(origin.after(enrolment), 303)


@blueprint.post("/new/<enrolment_id>/send")
def send(enrolment_id: str) -> Response:
    """Send a code to what is to be bound, or the same one again."""
    enrolment = _open(enrolment_id)
    sending = _enroller(enrolment).send
    if sending is None:
        return _cannot()
    try:
        sending(enrolment, origin.whose(enrolment), request.form)
    except OtpRefused as error:
        return _page(_open(enrolment_id), notice_of(error).text)
    except AddressRefused as error:
        return _page(enrolment, error.shown)
    except InputRefused as error:
        return _page(enrolment, texts.explained(error))
    return redirect(url_for("enrol.show", enrolment_id=enrolment_id), 303)


@blueprint.errorhandler(ActivationLost)
@blueprint.errorhandler(EnrolmentLost)
def lost(error: ActivationLost | EnrolmentLost) -> Response:
    """It ended, expired, or is another browser's."""
    again = (url_for("activate.show"), _("I have an activation code"))
    return faults.page(
        _("This request is over"),
        _("It has ended or expired. Nothing was added. You can start again."),
        400,
        way_on=again if isinstance(error, ActivationLost) else None,
    )


def _begin(action: Action, kind: str, detail: Mapping[str, Any]) -> Response:
    return begin(
        BeginInteraction(
            kind=kind,
            action=action,
            client_id=ACCOUNT_CLIENT_ID,
            client_name=services().settings.service_name,
            payload=detail,
            detail=detail,
        )
    )


def _approved(outcome: Finished) -> Response:
    """The policy and the person allowed an enrolment: it begins."""
    approval = _checked(outcome)
    if approval is None:
        return faults.not_approved(outcome.cause)
    if not _proved_enough(approval, outcome.payload):
        return _too_little()
    account, kind = _me(), str(outcome.payload["factor"])
    enroller = enroller_of(kind)
    if enroller is None:
        return _cannot()
    enrolment_id, now = browser.new_id(services()), services().clock.now()
    prepared = enroller.prepare(enrolment_id, account)
    new = NewEnrolment(
        enrolment_id,
        account.id,
        approval.session_id,
        kind,
        approval.txn,
        approval.decision_id,
        prepared.secret_box,
        prepared.data,
    )
    with services().engine.begin() as connection:
        enrolments.purge(connection, now)
        enrolments.begin(connection, services().seals, new, now)
    return redirect(url_for("enrol.show", enrolment_id=enrolment_id), 303)


def _removed(outcome: Finished) -> Response:
    approval = _checked(outcome)
    if approval is None:
        return faults.not_approved(outcome.cause)
    if not _proved_enough(approval, outcome.payload):
        return _too_little()
    account, authenticator_id = _me(), str(outcome.payload["authenticator_id"])
    try:
        with services().engine.begin() as connection:
            change.remove(connection, account, authenticator_id, approval)
    except LastWayIn:
        return _last_way()
    return redirect(url_for("account.overview"), 303)


def _checked(outcome: Finished) -> Approval | None:
    """The approval, for what was shown.

    :raises NotWhatWasApproved: somebody changed what the interaction is about.
    """
    if outcome.approval is None:
        return None
    try:
        check_approved(outcome.approval, client_id=ACCOUNT_CLIENT_ID, intent=None, detail=outcome.payload)
    except NotWhatWasApproved:
        services().seals.report(Altered("interactions", outcome.approval.txn, "binding"))
        raise
    return outcome.approval


def _proved_enough(approval: Approval, detail: Mapping[str, Any]) -> bool:
    with reading(services().engine) as connection:
        owned = authenticators.of_account(connection, services().seals, approval.account_id)
    replaces = progress.replaced(approval.action, detail, owned)
    return prospects.proves_enough(_me(), owned, approval, replaces)


def _too_little() -> Response:
    return faults.page(
        _("Nothing was done"),
        _(
            "It needs a stronger proof of who you are than your account has ways for. "
            "Please ask whoever runs this service."
        ),
        403,
    )


def _open(enrolment_id: str) -> Enrolment:
    session = browser.current()
    if session is None:
        raise EnrolmentLost("the browser has no session")
    with reading(services().engine) as connection:
        found = enrolments.find(connection, services().seals, enrolment_id, session.id, services().clock.now())
    origin.whose(found)
    return found


def _own(authenticator_id: str) -> Authenticator | None:
    if not current_user.is_authenticated:
        return None
    with reading(services().engine) as connection:
        owned = authenticators.of_account(connection, services().seals, _me().id)
    return next((item for item in owned if item.id == authenticator_id and not item.disabled), None)


def _enroller(enrolment: Enrolment) -> Enroller:
    found = enroller_of(enrolment.kind)
    if found is None:
        raise EnrolmentLost("this kind is no longer enrolled here")
    return found


def _page(enrolment: Enrolment, notice: str = "", status: int = 400) -> Response:
    account, session = origin.whose(enrolment), browser.current()
    enroller = _enroller(enrolment)
    values = {
        "account": account,
        "enrolment": enrolment,
        "notice": notice,
        "csrf": session.csrf if session else "",
        "back": origin.back(enrolment),
    }
    page = render_template(enroller.template, **values, **enroller.values(enrolment, account))
    response = make_response(page, status if notice else 200)
    if status in {429, 503}:
        response.headers["Retry-After"] = "5"
    return response


def _last_way() -> Response:
    return faults.page(
        _("Nothing was removed"),
        _("It is the last way to sign in to your account. Add another one first."),
        409,
    )


def _cannot() -> Response:
    return faults.page(_("The request cannot be answered"), _("Please go back and start again."), 400)


def _me() -> Account:
    if not current_user.is_authenticated:
        raise InteractionLost("nobody is signed in")
    account: Account = current_user.account
    return account
