"""Resets of people's factors: one administrator proposes, another one confirms, and neither of them has the code.

The code goes over a channel that the person still has.  Where there is none, whoever confirms is shown it, once, to
hand it over in person: see docs/adr/0018.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flask import redirect, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from foundation.clock import epoch
from idp.authn.approval import Approval
from idp.authn.resets import ResetFactor, ResetProposal, check_reset, check_subject
from idp.desk import Desk, Issued, disable_factors, issue_code
from idp.errors import ResetRefused, UnknownReset
from idp.storage import accounts, authenticators, resets, roles
from idp.storage.engine import reading
from idp.storage.resets import NewReset
from idp.web import browser, faults
from idp.web.admin import delivery
from idp.web.admin.explore import username_of
from idp.web.admin.guard import ask, blueprint, me, page
from idp.web.language import gettext as _
from idp.web.services import services


@blueprint.post("/resets/<proposal_id>/confirm")
def confirm_reset(proposal_id: str) -> Response:
    """Begin the confirmation of another administrator's proposal."""
    found, shown = _proposal(proposal_id)
    try:
        check_reset(found, shown["content"], me().account.id, services().clock.now())
    except ResetRefused as error:
        return refused(found.account_id, error, request_id=found.id)
    return ask("admin.accounts.reset.confirm", shown)


@blueprint.post("/resets/<proposal_id>/reject")
def reject_reset(proposal_id: str) -> Response:
    """Begin the rejection of a proposal, or that it is withdrawn by whoever made it."""
    return ask("admin.accounts.reset.reject", _proposal(proposal_id)[1])


def _proposal(proposal_id: str) -> tuple[ResetProposal, dict[str, Any]]:
    """An open proposal, and all that is shown of it.

    :raises UnknownReset: there is none.
    """
    with reading(services().engine) as connection:
        found = resets.find(connection, services().seals, proposal_id)
        if found is None:
            raise UnknownReset("no open proposal has that identifier")
        subject = accounts.find(connection, found.account_id)
        proposer = username_of(connection, found.proposed_by)
    return found, {
        "content": found.content(),
        "factors": found.content()["factors"],
        "reason": found.reason,
        "username": "" if subject is None else subject.username,
        "name": "" if subject is None else subject.name,
        "proposer": proposer,
    }


# What was approved


def proposed(approval: Approval, detail: Mapping[str, Any]) -> Response:
    """Put the proposal down."""
    with_services, now = services(), services().clock.now()
    new = NewReset(
        browser.new_id(with_services),
        detail["account_id"],
        tuple(ResetFactor(item["id"], item["factor"]) for item in detail["factors"]),
        detail["reason"],
        approval.account_id,
    )
    try:
        with with_services.engine.begin() as connection:
            _check_subject(connection, new.account_id, approval.account_id)
            made = resets.propose(connection, with_services.seals, new, now)
            with_services.audit.record(
                connection,
                "reset.proposed",
                account_id=made.account_id,
                by=approval.account_id,
                request_id=made.id,
                decision_id=approval.decision_id,
                reason=made.reason,
                factors=[item.id for item in made.factors],
                expires_at=epoch(made.expires_at),
            )
    except ResetRefused as error:
        return refused(new.account_id, error, approval.account_id)
    return redirect(url_for("admin.accounts"), 303)


def confirmed(approval: Approval, detail: Mapping[str, Any]) -> Response:
    """Do what two administrators stand behind, in one transaction with its records; then hand the code over."""
    with_services, now = services(), services().clock.now()
    found, _shown = _proposal(detail["content"]["request_id"])
    try:
        check_reset(found, detail["content"], approval.account_id, now)
        with with_services.engine.begin() as connection:
            _check_parties(connection, found)
            if not resets.decide(connection, found.id, "confirmed", approval.account_id, now):
                raise UnknownReset("it was decided on meanwhile")
            channel = delivery.channel_of(connection, found)
            issued = _carry_out(connection, found, approval)
    except ResetRefused as error:
        return refused(found.account_id, error, approval.account_id, request_id=found.id)
    handed = delivery.hand_over(found.account_id, issued, channel)
    return page(
        "admin_reset.html",
        parent="admin.accounts",
        name=detail["name"],
        username=detail["username"],
        code=issued.code.shown if handed == "shown" else "",
        handed=handed,
        channel=channel,
        until=issued.activation.expires_at,
    )


def _carry_out(connection: Connection, found: ResetProposal, approval: Approval) -> Issued:
    with_services, now = services(), services().clock.now()
    keys = with_services.keys.secret
    desk = Desk(with_services.seals, with_services.audit, with_services.outbox, keys, with_services.random, now)
    fields: dict[str, Any] = {
        "request_id": found.id,
        "proposed_by": found.proposed_by,
        "decision_id": approval.decision_id,
    }
    chosen = {item.id for item in found.factors}
    owned = authenticators.of_account(connection, with_services.seals, found.account_id)
    factors = [item for item in owned if item.id in chosen and not item.disabled]
    ended = disable_factors(connection, desk, found.account_id, factors, by=approval.account_id, **fields)
    issued = issue_code(
        connection,
        desk,
        found.account_id,
        purpose="reset",
        by=approval.account_id,
        life=timedelta(hours=with_services.settings.activation.life_hours),
        **fields,
    )
    with_services.audit.record(
        connection,
        "reset.confirmed",
        account_id=found.account_id,
        by=approval.account_id,
        reason=found.reason,
        factors=[item.id for item in factors],
        sessions_ended=ended,
        activation_id=issued.activation.id,
        **fields,
    )
    return issued


def rejected(approval: Approval, detail: Mapping[str, Any]) -> Response:
    """End the proposal without doing what it says."""
    found, _shown = _proposal(detail["content"]["request_id"])
    with services().engine.begin() as connection:
        if not resets.decide(connection, found.id, "rejected", approval.account_id, services().clock.now()):
            raise UnknownReset("it was decided on meanwhile")
        services().audit.record(
            connection,
            "reset.rejected",
            account_id=found.account_id,
            by=approval.account_id,
            request_id=found.id,
            decision_id=approval.decision_id,
        )
    return redirect(url_for("admin.accounts"), 303)


def _check_parties(connection: Connection, found: ResetProposal) -> None:
    """Whoever proposed it still is of the help desk, and the person is somebody whose factors may be reset."""
    proposer = accounts.find(connection, found.proposed_by)
    if proposer is None or not proposer.active or "helpdesk" not in _roles(connection, found.proposed_by):
        raise ResetRefused("proposer", "whoever proposed it is no longer of the help desk")
    _check_subject(connection, found.account_id, found.proposed_by)


def _check_subject(connection: Connection, account_id: str, by: str) -> None:
    subject = accounts.find(connection, account_id)
    active = subject is not None and subject.active
    check_subject(account_id, by, active=active, administers=bool(_roles(connection, account_id)))


def _roles(connection: Connection, account_id: str) -> frozenset[Any]:
    return roles.of_account(connection, services().seals, account_id)


# Refusals


def refused(account_id: str, error: ResetRefused, by: str | None = None, **fields: str) -> Response:
    """Say why nothing was done, and record it."""
    with services().engine.begin() as connection:
        services().audit.record(
            connection,
            "reset.refused",
            account_id=account_id,
            by=by or me().account.id,
            cause=error.cause,
            **fields,
        )
    return faults.page(_("Nothing was done"), words(error), 403)


def gone(_error: UnknownReset) -> Response:
    """It was decided on, or it is not what it was."""
    return faults.page(_("Nothing was done"), _("The proposal is no longer open."), 409)


def words(error: ResetRefused) -> str:
    """What an administrator is told."""
    texts = {
        "changed": _("The proposal is not what you were shown."),
        "expired": _("The proposal has expired. Please propose it again."),
        "same_person": _("You proposed it yourself: somebody else has to confirm it."),
        "own_factors": _("Nobody resets their own factors."),
        "open": _("Such a proposal is open already."),
        "proposer": _("Whoever proposed it is no longer of the help desk."),
        "subject": _("The account is disabled."),
        "administrator": _("The person administers this service: their factors are reset on the command line."),
    }
    return texts[error.cause]
