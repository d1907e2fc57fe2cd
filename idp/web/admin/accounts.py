"""A person as the help desk sees them: found by the exact user name, so that the pages are no directory.

Factors are shown masked.  A reset is proposed here; :mod:`idp.web.admin.resets` has what becomes of it.
"""

from __future__ import annotations

from typing import Any

from flask import abort, redirect, request, url_for
from werkzeug.wrappers import Response

from idp.authn.methods import NATIVE
from idp.authn.resets import REASON_MAX, ResetFactor, check_reason, check_subject
from idp.errors import InputRefused, ResetRefused
from idp.storage import accounts, activations, authenticators, resets, roles, sessions
from idp.storage.accounts import Account
from idp.storage.authenticators import Authenticator
from idp.storage.engine import reading
from idp.web.admin import resets as resetting
from idp.web.admin.explore import by_username, username_of
from idp.web.admin.guard import ask, blueprint, me, page, record_view
from idp.web.language import gettext as _
from idp.web.services import services


@blueprint.get("/accounts", endpoint="accounts")
def search() -> Response:
    """Find somebody; proposals that wait for a second administrator."""
    username = request.args.get("username", "").strip()
    if not username:
        return _search()
    found = by_username(username)
    if found is None:
        return _search(_("There is nobody of that user name."), 404, username)
    # Here too, and not only on the page: who follows no redirect has learned all the same that there is somebody.
    record_view("admin.accounts.view", subject=found.id)
    return redirect(url_for("admin.account", account_id=found.id), 303)


def _search(notice: str = "", status: int = 200, username: str = "") -> Response:
    with reading(services().engine) as connection:
        waiting = resets.waiting(connection, services().seals, services().clock.now())
        ids = {item.account_id for item in waiting} | {item.proposed_by for item in waiting}
        names = {account_id: username_of(connection, account_id) for account_id in ids}
    return page("admin_accounts.html", status, waiting=waiting, names=names, notice=notice, typed=username)


@blueprint.get("/accounts/<account_id>", endpoint="account")
def show(account_id: str) -> Response:
    """One person's state and factors; that they were looked at is recorded."""
    account = _account(account_id)
    record_view("admin.accounts.view", subject=account.id)
    return _person(account)


def _person(account: Account, notice: str = "", status: int = 200) -> Response:
    with_services, now = services(), services().clock.now()
    with reading(with_services.engine) as connection:
        owned = authenticators.of_account(connection, with_services.seals, account.id)
        lasting = sessions.lasting(connection, with_services.seals, account.id, now)
        held = roles.of_account(connection, with_services.seals, account.id)
        code = activations.waiting(connection, with_services.seals, account.id, now)
        open_ = [item for item in resets.waiting(connection, with_services.seals, now) if item.account_id == account.id]
    return page(
        "admin_account.html",
        status,
        parent="admin.accounts",
        account=account,
        factors=[_shown(item) for item in sorted(owned, key=_order)],
        sessions=len(lasting),
        held=sorted(held),
        code=code,
        waiting=open_,
        refused=_why_not(account, administers=bool(held)),
        reason_max=REASON_MAX,
        chosen=frozenset(request.form.getlist("factor")),
        reason=request.form.get("reason", "")[:REASON_MAX],
        notice=notice,
    )


@blueprint.post("/accounts/<account_id>/reset")
def propose_reset(account_id: str) -> Response:
    """Begin the proposal of a reset; it exists once whoever makes it has approved what it says."""
    account = _account(account_id)
    with reading(services().engine) as connection:
        owned = authenticators.of_account(connection, services().seals, account.id)
        administers = bool(roles.of_account(connection, services().seals, account.id))
    wanted = set(request.form.getlist("factor"))
    factors = [ResetFactor(item.id, item.kind) for item in owned if item.id in wanted and not item.disabled]
    try:
        check_subject(account.id, me().account.id, active=account.active, administers=administers)
        reason = check_reason(request.form.get("reason", ""))
    except ResetRefused as error:
        return resetting.refused(account.id, error)
    except InputRefused:
        return _person(account, _("Say in a few words why: 1 to %(most)d characters.", most=REASON_MAX), 400)
    if len(factors) != len(wanted):
        return _person(account, _("One of these is no longer there. Please choose again."), 400)
    return ask(
        "admin.accounts.reset.propose",
        {
            "account_id": account.id,
            "username": account.username,
            "name": account.name,
            "factors": [{"id": item.id, "factor": item.kind} for item in factors],
            "reason": reason,
        },
    )


def _account(account_id: str) -> Account:
    with reading(services().engine) as connection:
        found = accounts.find(connection, account_id)
    return abort(404) if found is None else found


def _why_not(account: Account, *, administers: bool) -> str:
    """The words for why this administrator may not have this person's factors reset; empty: they may."""
    try:
        check_subject(account.id, me().account.id, active=account.active, administers=administers)
    except ResetRefused as error:
        return resetting.words(error)
    return ""


def _order(item: Authenticator) -> tuple[bool, int]:
    return item.disabled, NATIVE.index(item.kind)


def _shown(item: Authenticator) -> dict[str, Any]:
    """What the help desk sees of an authenticator: enough to tell which one is meant."""
    return {
        "id": item.id,
        "kind": item.kind,
        "address": item.recognised_by,
        "disabled": item.disabled,
        "usable": item.usable(services().clock.now()),
        "since": item.created_at,
        "used": item.last_used,
        "failures": item.failures,
    }
