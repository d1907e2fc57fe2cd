"""The moment in which a person's factors change: one transaction, with everybody told who has to know.

The person's account is locked first, so that of two changes at once the second sees what the first one left.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection

from foundation.clock import epoch
from idp.authn.approval import Approval
from idp.authn.methods import SINGLE
from idp.errors import LastWayIn, TooManyAuthenticators
from idp.notices import Change, notify_change
from idp.storage import accounts, authenticators, enrolments, sessions
from idp.storage.accounts import Account
from idp.storage.authenticators import Authenticator, NewAuthenticator
from idp.storage.enrolments import Enrolment
from idp.web import prospects, revocation
from idp.web.services import services

MOST_OF_A_KIND: Final = 20
"""Authenticators of one kind that a person has at one time: pages name them all, and each is one more to be lost."""


def bind(connection: Connection, enrolment: Enrolment, account: Account, new: NewAuthenticator) -> None:
    """End an enrolment with the authenticator that it was about; of a kind that people have one of, the former goes.

    :raises EnrolmentLost: it has ended.
    :raises TooManyAuthenticators: the person has as many of the kind as anybody may have.
    :raises InputRefused: :raises AlreadyExists: see :func:`idp.storage.authenticators.bind`.
    """
    now = services().clock.now()
    accounts.lock(connection, account.id)
    enrolments.close(connection, enrolment.id)
    enabled = _enabled(connection, account, new.kind)
    # Each app more is one code more that a guess may meet, so of these there is a setting.
    most = services().settings.codes.totp_apps if new.kind == "totp" else MOST_OF_A_KIND
    if new.kind not in SINGLE and len(enabled) >= most:
        raise TooManyAuthenticators("the account has as many of the kind as it may have")
    former = enabled if new.kind in SINGLE else []
    _tell(connection, account, new.kind, "replaced" if former else "added")
    for item in former:
        authenticators.remove(connection, item.id, now)
    _end_others(connection, account, former, enrolment.session_id, every=new.kind == "password")
    authenticators.bind(connection, services().seals, new, now)
    services().outbox.authenticator_changed(connection, account.id)
    services().audit.record(
        connection,
        "authenticator.added",
        account_id=account.id,
        session_id=enrolment.session_id,
        factor=new.kind,
        authenticator_id=new.id,
        not_before=epoch(new.not_before or now),
        txn=enrolment.txn,
        decision_id=enrolment.decision_id,
        **({"replaced": [item.id for item in former]} if former else {}),
    )


def remove(connection: Connection, account: Account, authenticator_id: str, approval: Approval) -> None:
    """Remove one of a person's authenticators; nothing happens if it is none of theirs, or gone.

    :raises LastWayIn: nobody could sign in to the account any more.
    """
    accounts.lock(connection, account.id)
    owned = authenticators.of_account(connection, services().seals, account.id)
    item = next((own for own in owned if own.id == authenticator_id and not own.disabled), None)
    if item is None:
        return
    if prospects.locks_out(account, owned, item):
        raise LastWayIn("the last way to sign in to an account is not removed")
    _tell(connection, account, item.kind, "removed")
    authenticators.remove(connection, item.id, services().clock.now())
    _end_others(connection, account, [item], approval.session_id)
    services().outbox.authenticator_changed(connection, account.id)
    services().audit.record(
        connection,
        "authenticator.removed",
        account_id=account.id,
        session_id=approval.session_id,
        factor=item.kind,
        authenticator_id=item.id,
        txn=approval.txn,
        decision_id=approval.decision_id,
    )


def _enabled(connection: Connection, account: Account, kind: str) -> list[Authenticator]:
    """What the account has of a kind."""
    owned = authenticators.of_account(connection, services().seals, account.id)
    return [item for item in owned if item.kind == kind and not item.disabled]


def _tell(connection: Connection, account: Account, kind: str, change: Change) -> None:
    """Over every channel from before the change, the address that goes among them (ENR-03, OTP-08)."""
    notify_change(
        connection,
        services().seals,
        account_id=account.id,
        factor=kind,
        change=change,
        now=services().clock.now(),
        random=services().random,
    )


def _end_others(
    connection: Connection, account: Account, gone: Iterable[Authenticator], kept: str, *, every: bool = False
) -> None:
    """Other browsers in which it was used are signed out: it may have been lost with one of them.

    All at once, and of those that were locked together: sessions, and then grants, are locked in one order.

    :param kept: the session in which the person makes the change.
    :param every: whether it was used there or not: whoever knew the former password may be signed in anywhere.
    """
    locked, lost = sessions.lock_all(connection, account.id), {item.id for item in gone}
    ended = [
        session.id
        for session in sessions.lasting(connection, services().seals, account.id, services().clock.now())
        if session.id in locked
        and session.id != kept
        and (every or any(used.authenticator_id in lost for used in session.evidence))
    ]
    revocation.end_sessions(connection, account.id, ended, "password_changed" if every else "authenticator_changed")
