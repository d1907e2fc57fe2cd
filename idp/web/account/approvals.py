"""What waits for the person's approval: asked without a browser, decided here in the person's session.

To approve is an interaction like any other, with the same steps and the same consent; to refuse takes none.  The states
of a request, and who may move it from one to the next, are in :mod:`idp.activation.backchannel`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from flask import Flask, redirect, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from foundation.clock import epoch
from idp.activation.backchannel import COLLECT_SECONDS, OPEN, Step, collect_until
from idp.activation.binding import check_approved
from idp.authn.approval import Approval
from idp.errors import InteractionLost, NotWhatWasApproved
from idp.oidc.config import OidcConfig
from idp.oidc.request import AuthorizationRequest
from idp.storage import backchannel, clients, grants
from idp.storage.backchannel import StoredRequest
from idp.storage.engine import reading
from idp.storage.seal import Altered
from idp.web import oidc_grants, oidc_tokens, wording
from idp.web.account.common import blueprint, me, page, refused, signed_in
from idp.web.interaction import BeginInteraction, Finished, begin, register_finisher
from idp.web.services import services

KIND: Final = "backchannel"
_LEFT_OPEN: Final = frozenset({"credential_unavailable", "login", "step_up", "consent"})
"""Ways for an interaction to end after which the person may try again."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request, and who makes it."""

    stored: StoredRequest
    party: str
    served: bool
    """Whether the relying party still may have what it asked for."""

    @property
    def open(self) -> bool:
        """Whether the person can still decide."""
        return self.stored.state in OPEN


def setup(app: Flask) -> None:
    """Say how the interactions end that these pages begin."""
    register_finisher(app, KIND, finish, granted)


@blueprint.get("/approvals")
@signed_in
def approvals() -> Response:
    """What waits for the person, and what became of the latest."""
    with reading(services().engine) as connection:
        stored = backchannel.of_account(connection, services().seals, me().id, services().clock.now())
        found = [_named(connection, item) for item in stored]
    return page(
        "account_approvals.html",
        open=[item for item in found if item.open],
        ended=[item for item in found if not item.open],
    )


@blueprint.get("/approvals/<request_id>")
@signed_in
def approval(request_id: str) -> Response:
    """One request: what is asked, or what became of it."""
    found = _own(request_id)
    return refused() if found is None else page("account_approval.html", found=found, wording=wording)


@blueprint.post("/approvals/<request_id>/open")
@signed_in
def open_request(request_id: str) -> Response:
    """The person looks at it: an interaction begins, at whose end they approve or not."""
    found = _own(request_id)
    if found is None or not found.served:
        return refused()
    if not _take("see", found):
        return redirect(url_for("account.approval", request_id=request_id), 303)
    asked = found.stored.asked
    return begin(
        BeginInteraction(
            kind=KIND,
            action="sign_in" if asked.intent is None else "signature.activate",
            client_id=asked.client_id,
            client_name=found.party,
            payload={"request_id": found.stored.id},
            # Nobody came from the relying party's page: who is asked only to sign in is asked, too.
            prompt=("consent",),
            acr_values=asked.acr_values,
            essential_acr=asked.essential_acr,
            intent=asked.intent,
            detail=asked.detail,
        ),
        seconds=epoch(found.stored.expires_at) - epoch(services().clock.now()),
    )


@blueprint.post("/approvals/<request_id>/refuse")
@signed_in
def refuse_request(request_id: str) -> Response:
    """The person wants nothing of it."""
    found = _own(request_id)
    if found is None:
        return refused()
    _refuse(found.stored, "denied")
    return redirect(url_for("account.approval", request_id=request_id), 303)


def granted(connection: Connection, outcome: Finished) -> str:
    """What was approved waits for the client, in the transaction of the approval.

    :raises InteractionLost: it was decided elsewhere, its time is over, or it is another person's.
    """
    approval, now = outcome.approval, services().clock.now()
    if approval is None:
        raise InteractionLost("nothing was approved")
    request_id = str(outcome.payload["request_id"])
    found = backchannel.find_own(connection, services().seals, request_id, approval.account_id, now)
    if found is None or clients.find_active(connection, found.client_id) is None:
        raise InteractionLost("there is no such request of this person's")
    asked = found.asked
    try:
        check_approved(approval, client_id=found.client_id, intent=asked.intent, detail=asked.detail)
    except NotWhatWasApproved as error:
        services().seals.report(Altered("backchannel_requests", found.id, "binding"))
        raise InteractionLost("what was approved is something else") from error
    grant = grants.begin(
        connection,
        services().seals,
        oidc_tokens.new_id(services()),
        client_id=found.client_id,
        subject=approval.account_id,
        now=now,
        seconds=_life_of(asked, approval),
        request=asked,
        approval=approval,
    )
    taken = backchannel.take(
        connection,
        services().seals,
        "approve",
        found.id,
        now,
        account_id=approval.account_id,
        grant_id=grant.id,
        expires_at=collect_until(epoch(found.expires_at), now),
        decided_at=epoch(now),
    )
    if not taken:
        raise InteractionLost("it was decided already, or its time is over")
    _record(connection, "backchannel.approved", found, txn=approval.txn, grant_id=grant.id)
    return grant.id


def finish(outcome: Finished) -> Response:
    """The end of an interaction: the request's page says what became of it."""
    request_id = str(outcome.payload["request_id"])
    found = _own(request_id)
    if outcome.approval is None and found is not None and outcome.cause not in _LEFT_OPEN:
        _refuse(found.stored, outcome.cause or "denied")
    return redirect(url_for("account.approval", request_id=request_id), 303)


def _life_of(asked: AuthorizationRequest, approval: Approval) -> int:
    life = oidc_grants.life_of(OidcConfig.of(services().settings), asked, approval, services().clock.now())
    # From the approval to the collection there is more time than a code has.
    return life + COLLECT_SECONDS if asked.intent is not None else life


def _own(request_id: str) -> Waiting | None:
    """The signed-in person's request; another's is like none."""
    with reading(services().engine) as connection:
        found = backchannel.find_own(connection, services().seals, request_id, me().id, services().clock.now())
        return None if found is None else _named(connection, found)


def _named(connection: Connection, stored: StoredRequest) -> Waiting:
    client = clients.find(connection, stored.client_id)
    name, served = (stored.client_id, False) if client is None else (client.name, client.active)
    return Waiting(stored, name, served)


def _take(step: Step, found: Waiting) -> bool:
    with services().engine.begin() as connection:
        now = services().clock.now()
        return backchannel.take(connection, services().seals, step, found.stored.id, now, account_id=me().id)


def _refuse(found: StoredRequest, cause: str) -> None:
    """Once: whatever was decided before stays."""
    now = services().clock.now()
    with services().engine.begin() as connection:
        if backchannel.take(
            connection, services().seals, "refuse", found.id, now, account_id=me().id, decided_at=epoch(now)
        ):
            _record(connection, "backchannel.refused", found, cause=cause)


def _record(connection: Connection, event: str, found: StoredRequest, **fields: Any) -> None:
    services().audit.record(
        connection,
        event,
        client_id=found.client_id,
        account_id=found.account_id,
        request_id=found.id,
        **fields,
    )
