"""What the account pages share: their blueprint, who may see them, and how they are rendered."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from flask import Blueprint, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from idp.errors import InteractionLost
from idp.settings import ACCOUNT_CLIENT_ID
from idp.storage import backchannel
from idp.storage.accounts import Account
from idp.storage.engine import reading
from idp.web import browser, faults, resume, visiting
from idp.web.interaction import BeginInteraction, Finished, begin
from idp.web.language import gettext as _
from idp.web.services import services

blueprint = Blueprint("account", __name__, url_prefix="/account")

SIGN_IN: Final = "account"
_DESTINATIONS: Final = {
    "/account/": "account.overview",
    "/account/applications": "account.applications",
    "/account/approvals": "account.approvals",
    "/account/credentials": "account.credentials",
    "/account/history": "account.history",
    "/account/language": "account.language",
}
"""Where somebody may be sent after signing in: never where an address line says (SES-08)."""


def signed_in(view: Callable[..., Response]) -> Callable[..., Response]:
    """Let nobody but a signed-in person in; a stranger signs in first.

    Who has proved one factor has a session, and is signed in once the policy says so: what its rules about signing in
    ask for beyond that, or ask for again, is proved before a page is seen or does anything.
    """

    @wraps(view)
    def guarded(*args: Any, **values: Any) -> Response:
        return view(*args, **values) if _admitted() else _begin_sign_in()

    return guarded


def _admitted() -> bool:
    session = browser.current()
    account = browser.account_of(session)
    if session is None or account is None:
        return False
    # The end of a sign-in leads here, so what a rule asks for each one is looked for in the latest.
    transaction = session.evidence[-1].transaction if session.evidence else None
    return visiting.judged("sign_in", ACCOUNT_CLIENT_ID, account, session, transaction=transaction).outcome == "allow"


def _begin_sign_in() -> Response:
    # Of one item's page the list that it is in: whether there is such an item is nobody's business yet.
    destination = next((path for path in (request.path, request.path.rpartition("/")[0]) if path in _DESTINATIONS), "")
    return begin(
        BeginInteraction(
            kind=SIGN_IN,
            action="sign_in",
            client_id=ACCOUNT_CLIENT_ID,
            client_name=services().settings.service_name,
            payload={"destination": destination or "/account/"},
        )
    )


def finished_sign_in(outcome: Finished) -> Response:
    """The end of a sign-in that one of these pages began."""
    if outcome.approval is None:
        return faults.not_approved(outcome.cause)
    return redirect(url_for(_DESTINATIONS.get(outcome.payload["destination"], "account.overview")), 303)


def me() -> Account:
    """The signed-in person.

    :raises InteractionLost: nobody is.
    """
    if not current_user.is_authenticated:
        raise InteractionLost("nobody is signed in")
    account: Account = current_user.account
    return account


def page(template: str, status: int = 200, **values: Any) -> Response:
    """One of these pages."""
    session = browser.current()
    csrf, session_id = ("", "") if session is None else (session.csrf, session.id)
    common = {
        "account": me(),
        "csrf": csrf,
        "session_id": session_id,
        "unfinished": resume.unfinished,
        "waiting": _waiting(),
    }
    return make_response(render_template(template, **common, **values), status)


def _waiting() -> int:
    with reading(services().engine) as connection:
        return backchannel.waiting(connection, me().id, services().clock.now())


def refused() -> Response:
    """There is nothing of that kind of the person's: whether it is another's is not said."""
    return faults.page(_("The request cannot be answered"), _("Please go back and start again."), 400)
