"""Who gets in: the role matrix says what for, the policy says how well they have to have proved who they are.

A page that needs more than the session proves begins an interaction; what is proved in it counts for the session, as
with a sign-in.  A change is an interaction of its own: what is changed is shown and approved, and what a rule asks for
each transaction is asked for each change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from flask import Blueprint, g, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from idp.activation.binding import check_approved
from idp.authn.approval import Approval
from idp.authn.roles import MATRIX, Access, AdminAction, Role, admits, may
from idp.errors import NotWhatWasApproved
from idp.policy.model import Decision
from idp.settings import ADMIN_CLIENT_ID
from idp.storage import roles
from idp.storage.accounts import Account
from idp.storage.engine import reading
from idp.storage.seal import Altered
from idp.web import browser, faults, visiting
from idp.web.interaction import BeginInteraction, Finished, begin
from idp.web.language import gettext as _
from idp.web.services import services

blueprint = Blueprint("admin", __name__, url_prefix="/admin")

VISIT: Final = "admin"
CHANGE: Final = "admin-change"
_FORBIDDEN: Final = 403
_MOST_QUERY: Final = 2000
_PAGES: Final = (
    "admin.overview",
    "admin.policy",
    "admin.explore",
    "admin.trial",
    "admin.clients",
    "admin.accounts",
    "admin.audit",
    "admin.roles",
)
"""What the navigation offers, in its order."""


@dataclass(frozen=True, slots=True)
class Administrator:
    """Who asks, after they were let in."""

    account: Account
    session_id: str
    held: frozenset[Role]

    def may(self, action: AdminAction) -> bool:
        """Whether a role of theirs is about it; the policy is asked when they do it."""
        return may(action, self.held)


def me() -> Administrator:
    """The administrator who sent this request."""
    return cast("Administrator", g.administrator)


@blueprint.before_request
def admit() -> Response | None:
    """Before every page: 1. somebody is signed in.  2. They hold a role for it.  3. The policy allows it.

    What the policy asks for a change is asked in the change's interaction; here it is asked for the page that has the
    form, since even a refusal says something.
    """
    access = MATRIX.get(request.endpoint or "")
    session = browser.current()
    account = browser.account_of(session)
    if session is None or account is None:
        return _visit("admin.view" if access is None or access.changes else access.action)
    held = _roles_of(account.id)
    if access is None or not admits(request.endpoint, held):
        return _refused(account, session.id, "admin.view" if access is None else access.action, "role")
    g.administrator = Administrator(account, session.id, held)
    return _judged(MATRIX[access.page] if access.changes else access, account, session)


def _roles_of(account_id: str) -> frozenset[Role]:
    with reading(services().engine) as connection:
        return roles.of_account(connection, services().seals, account_id)


def _judged(access: Access, account: Account, session: browser.BrowserSession) -> Response | None:
    decision = visiting.judged(access.action, ADMIN_CLIENT_ID, account, session)
    if decision.outcome == "allow":
        return None
    if decision.outcome == "step_up":
        return _visit(access.action)
    return _refused(account, session.id, access.action, decision.refusal or "unreachable", decision)


# Visits


def _visit(action: AdminAction) -> Response:
    return begin(
        BeginInteraction(
            kind=VISIT,
            action=action,
            client_id=ADMIN_CLIENT_ID,
            client_name=_("Administration of %(service)s", service=services().settings.service_name),
            payload={"destination": _destination()},
        )
    )


def _destination() -> str:
    """The page that was asked for, built anew from the route that matched: never a place elsewhere (SES-08)."""
    endpoint = request.endpoint
    if request.method != "GET" or endpoint is None or endpoint not in MATRIX:
        access = MATRIX.get(endpoint or "")
        return url_for(access.page if access is not None and access.changes else "admin.overview")
    query = request.query_string.decode("ascii", "replace")
    path = url_for(endpoint, **(request.view_args or {}))
    return f"{path}?{query}" if 0 < len(query) <= _MOST_QUERY else path


def visited(outcome: Finished) -> Response:
    """The end of a visit's interaction: on to the page, where everything is asked once more."""
    if outcome.approval is None:
        return faults.not_approved(outcome.cause)
    return redirect(outcome.payload["destination"], 303)


def _refused(account: Account, session_id: str, action: str, cause: str, decision: Decision | None = None) -> Response:
    with services().engine.begin() as connection:
        services().audit.record(
            connection, "admin.refused", account_id=account.id, session_id=session_id, action=action, cause=cause
        )
    reasons = () if decision is None else decision.reasons
    values = {"account": account, "refused_action": action, "cause": cause, "reasons": reasons}
    return make_response(render_template("admin_refused.html", **values), _FORBIDDEN)


# Changes


def ask(action: AdminAction, detail: Mapping[str, Any]) -> Response:
    """Begin a change: the policy's step-up, then the page on which it is approved.

    :param detail: JSON; all of it is shown, and bound to the approval.
    """
    return begin(
        BeginInteraction(
            kind=CHANGE,
            action=action,
            client_id=ADMIN_CLIENT_ID,
            client_name=_("Administration of %(service)s", service=services().settings.service_name),
            payload=dict(detail),
            detail=dict(detail),
        )
    )


def approved(outcome: Finished) -> Approval | Response:
    """The approval of a change that is still what was shown, by somebody who still holds a role for it.

    :raises NotWhatWasApproved: what is to be done is not what was approved.
    """
    approval = outcome.approval
    if approval is None:
        return faults.not_approved(outcome.cause)
    try:
        check_approved(approval, client_id=ADMIN_CLIENT_ID, intent=None, detail=outcome.payload)
    except NotWhatWasApproved:
        services().seals.report(Altered("interactions", approval.txn, "binding"))
        raise
    account = browser.account_of(browser.current())
    held = frozenset() if account is None else _roles_of(account.id)
    if account is None or account.id != approval.account_id or not may(approval.action, held):
        return faults.page(_("Nothing was done"), _("Your role no longer allows it."), _FORBIDDEN)
    g.administrator = Administrator(account, approval.session_id, held)
    return approval


# Pages


def page(template: str, status: int = 200, **values: Any) -> Response:
    """A page of the administration, with its navigation."""
    session = browser.current()
    shown = {
        "csrf": "" if session is None else session.csrf,
        "administrator": me(),
        "navigation": [name for name in _PAGES if admits(name, me().held)],
        "here": request.endpoint,
        **values,
    }
    return make_response(render_template(template, **shown), status)


def record_view(action: AdminAction, **fields: str) -> None:
    """Say in the audit chain that other people's data were looked at."""
    with services().engine.begin() as connection:
        services().audit.record(
            connection,
            "admin.viewed",
            account_id=me().account.id,
            session_id=me().session_id,
            action=action,
            **fields,
        )
