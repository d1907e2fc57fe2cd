"""Who holds which role.  Nobody makes an administrator alone here: one operator proposes, another one confirms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import redirect, request, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from foundation.clock import epoch
from idp.authn.approval import Approval
from idp.authn.roles import ROLES, Change, Proposal, Role, check_confirmation
from idp.errors import ProposalRefused, UnknownProposal
from idp.storage import accounts, roles
from idp.storage.engine import reading
from idp.web import browser, faults
from idp.web.admin.explore import by_username, username_of
from idp.web.admin.guard import ask, blueprint, me, page
from idp.web.language import gettext as _
from idp.web.services import services


@blueprint.get("/roles", endpoint="roles")
def show() -> Response:
    """Roles that are held, and proposals that wait for a second operator."""
    return _page()


def _page(notice: str = "", status: int = 200, username: str = "") -> Response:
    now = services().clock.now()
    with reading(services().engine) as connection:
        held = roles.everyone(connection, services().seals)
        waiting = roles.waiting(connection, services().seals, now)
        ids = {*(item.account_id for item in held), *(item.granted_by for item in held)}
        ids |= {item.account_id for item in waiting} | {item.proposed_by for item in waiting}
        names = {account_id: username_of(connection, account_id) for account_id in ids}
    return page(
        "admin_roles.html", status, held=held, waiting=waiting, names=names, roles=ROLES, notice=notice, typed=username
    )


@blueprint.post("/roles/proposals")
def propose() -> Response:
    """Begin a proposal; it exists once whoever makes it has approved what it says."""
    username = request.form.get("username", "").strip()
    role, change = _role(request.form.get("role", "")), _change(request.form.get("change", ""))
    account = by_username(username)
    with reading(services().engine) as connection:
        held = frozenset() if account is None else roles.of_account(connection, services().seals, account.id)
    if account is None or not account.active or role is None or change is None:
        return _page(_("There is nobody of that user name who could hold a role."), 400, username)
    if (role in held) == (change == "grant"):
        return _page(_("That is so already."), 400, username)
    return ask(
        "admin.roles.propose",
        {"change": change, "role": role, "account_id": account.id, "username": account.username, "name": account.name},
    )


@blueprint.post("/roles/proposals/<proposal_id>/confirm")
def confirm(proposal_id: str) -> Response:
    """Begin the confirmation of another operator's proposal."""
    found, shown = _proposal(proposal_id)
    try:
        check_confirmation(found, shown["content"], me().account.id, services().clock.now())
    except ProposalRefused as error:
        return _refused(found, error)
    return ask("admin.roles.confirm", shown)


@blueprint.post("/roles/proposals/<proposal_id>/reject")
def reject(proposal_id: str) -> Response:
    """Begin the rejection of a proposal, or that it is withdrawn by whoever made it."""
    return ask("admin.roles.reject", _proposal(proposal_id)[1])


def _proposal(proposal_id: str) -> tuple[Proposal, dict[str, Any]]:
    """An open proposal, and all that is shown of it.

    :raises UnknownProposal: there is none.
    """
    with reading(services().engine) as connection:
        found = roles.find(connection, services().seals, proposal_id)
        if found is None:
            raise UnknownProposal("no open proposal has that identifier")
        subject = accounts.find(connection, found.account_id)
        proposer = username_of(connection, found.proposed_by)
    return found, {
        "content": found.content(),
        "change": found.change,
        "role": found.role,
        "username": "" if subject is None else subject.username,
        "name": "" if subject is None else subject.name,
        "proposer": proposer,
    }


# What was approved


def proposed(approval: Approval, detail: Mapping[str, Any]) -> Response:
    """Put the proposal down."""
    now = services().clock.now()
    change, role = _change(detail["change"]) or "revoke", _role(detail["role"]) or "auditors"
    try:
        with services().engine.begin() as connection:
            made = roles.propose(
                connection,
                services().seals,
                proposal_id=browser.new_id(services()),
                change=change,
                account_id=detail["account_id"],
                role=role,
                by=approval.account_id,
                now=now,
            )
            services().audit.record(
                connection,
                "role.proposed",
                **_fields(made, approval),
                expires_at=epoch(made.expires_at),
            )
    except ProposalRefused as error:
        _record_refusal(detail["account_id"], role, change, approval.account_id, error)
        return faults.page(_("Nothing was done"), _words(error), 409)
    return redirect(url_for("admin.roles"), 303)


def confirmed(approval: Approval, detail: Mapping[str, Any]) -> Response:
    """Do what two operators stand behind, in one transaction with its record."""
    now = services().clock.now()
    found, _shown = _proposal(detail["content"]["request_id"])
    try:
        check_confirmation(found, detail["content"], approval.account_id, now)
        with services().engine.begin() as connection:
            _check_parties(connection, found)
            if not roles.decide(connection, found.id, "confirmed", approval.account_id, now):
                raise UnknownProposal("it was decided on meanwhile")
            _carry_out(connection, found, approval)
    except ProposalRefused as error:
        return _refused(found, error, by=approval.account_id)
    return redirect(url_for("admin.roles"), 303)


def _check_parties(connection: Connection, found: Proposal) -> None:
    """Whoever proposed it still is an operator, and whoever is to get a role may sign in."""
    proposer, subject = accounts.find(connection, found.proposed_by), accounts.find(connection, found.account_id)
    held = roles.of_account(connection, services().seals, found.proposed_by)
    if proposer is None or not proposer.active or "operators" not in held:
        raise ProposalRefused("proposer", "whoever proposed it is no longer an operator")
    if found.change == "grant" and (subject is None or not subject.active):
        raise ProposalRefused("subject", "the account is disabled")


def _carry_out(connection: Connection, found: Proposal, approval: Approval) -> None:
    now = services().clock.now()
    fields = {
        "account_id": found.account_id,
        "role": found.role,
        "by": approval.account_id,
        "request_id": found.id,
        "proposed_by": found.proposed_by,
        "decision_id": approval.decision_id,
    }
    if found.change == "revoke":
        roles.revoke(connection, found.account_id, found.role, now)
        services().audit.record(connection, "role.revoked", **fields)
        return
    roles.grant(
        connection,
        services().seals,
        grant_id=browser.new_id(services()),
        account_id=found.account_id,
        role=found.role,
        by=approval.account_id,
        now=now,
    )
    services().audit.record(connection, "role.granted", **fields)


def rejected(approval: Approval, detail: Mapping[str, Any]) -> Response:
    """End the proposal without doing what it says."""
    found, _shown = _proposal(detail["content"]["request_id"])
    with services().engine.begin() as connection:
        if not roles.decide(connection, found.id, "rejected", approval.account_id, services().clock.now()):
            raise UnknownProposal("it was decided on meanwhile")
        services().audit.record(connection, "role.rejected", **_fields(found, approval))
    return redirect(url_for("admin.roles"), 303)


def _fields(found: Proposal, approval: Approval) -> dict[str, Any]:
    return {
        "account_id": found.account_id,
        "role": found.role,
        "change": found.change,
        "by": approval.account_id,
        "request_id": found.id,
        "decision_id": approval.decision_id,
    }


def _refused(found: Proposal, error: ProposalRefused, by: str | None = None) -> Response:
    _record_refusal(found.account_id, found.role, found.change, by or me().account.id, error, request_id=found.id)
    return faults.page(_("Nothing was done"), _words(error), 403)


def _record_refusal(
    account_id: str, role: Role, change: Change, by: str, error: ProposalRefused, **fields: str
) -> None:
    names = {"account_id": account_id, "role": role, "change": change, "by": by, "cause": error.cause}
    with services().engine.begin() as connection:
        services().audit.record(connection, "role.refused", **names, **fields)


def gone(_error: UnknownProposal) -> Response:
    """It was decided on, or it is not what it was."""
    return faults.page(_("Nothing was done"), _("The proposal is no longer open."), 409)


def _words(error: ProposalRefused) -> str:
    texts = {
        "changed": _("The proposal is not what you were shown."),
        "expired": _("The proposal has expired. Please propose it again."),
        "same_person": _("You proposed it yourself: another operator has to confirm it."),
        "own_role": _("Nobody confirms a role for themselves: another operator has to do it."),
        "as_it_is": _("That is so already."),
        "open": _("Such a proposal is open already."),
        "proposer": _("Whoever proposed it is no longer an operator."),
        "subject": _("The account is disabled."),
    }
    return texts[error.cause]


def _role(text: str) -> Role | None:
    return next((role for role in ROLES if role == text), None)


def _change(text: str) -> Change | None:
    return "grant" if text == "grant" else "revoke" if text == "revoke" else None
