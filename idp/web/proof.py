"""What every proof of a further factor has in common: who is asked for it, and what becomes of one that was given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from idp.authn.stepup import AskFactor
from idp.errors import NoSuchFactor, OtpDead
from idp.policy.evidence import Evidence
from idp.storage import interactions
from idp.storage.authenticators import Authenticator
from idp.web import browser
from idp.web.interaction import Interaction
from idp.web.progress import Assessment
from idp.web.services import services

Accept = Callable[[Connection, Interaction, Assessment, Evidence], None]
"""What becomes of evidence, in the transaction in which it was given."""


def wanted(found: Assessment, kind: str) -> tuple[Authenticator, ...]:
    """The person's usable authenticators of a kind that the policy asks for now, in the order of their enrolment.

    :raises NoSuchFactor: it does not ask for this kind, or the person has none.
    """
    if not isinstance(found.step, AskFactor) or kind not in found.step.factors:
        raise NoSuchFactor("the policy does not ask for this factor now")
    usable = tuple(item for item in found.authenticators if item.kind == kind and item.usable(found.context.now))
    if not usable:
        raise NoSuchFactor("the person has no such authenticator")
    return usable


def fresh(item: Authenticator, locked: Authenticator) -> Authenticator:
    """What the seal was looked at of, with the counts of the locked row, whose seal nobody looked at."""
    return replace(
        item,
        counter=locked.counter,
        disabled=locked.disabled,
        failures=locked.failures,
        blocked_until=locked.blocked_until,
    )


def accept(connection: Connection, interaction: Interaction, found: Assessment, evidence: Evidence) -> None:
    """Keep evidence: for this transaction only, where it is bound to one (SES-06), else for the session.

    The browser's cookie changes (SES-01).  Call :func:`idp.web.browser.reload` once it is committed.

    :raises OtpDead: the session is not the one that was asked.
    """
    session = browser.current()
    if session is None or session.id != found.context.session_id:
        raise OtpDead("the session has changed")
    if interaction.binds_evidence:
        stored = interactions.add_evidence(connection, services().seals, interaction.id, evidence)
        browser.step_up(connection, session, stored=stored)
    else:
        browser.step_up(connection, session, evidence, stored=interaction.stored)


def fields(interaction: Interaction, found: Assessment, item: Authenticator) -> dict[str, Any]:
    """What every audit record about a proof says."""
    return {
        "account_id": found.account.id,
        "session_id": found.context.session_id,
        "factor": item.kind,
        "authenticator_id": item.id,
        "txn": interaction.txn,
        "client_id": interaction.request.client_id,
        "action": interaction.request.action,
    }
