"""What the signing side has to be told of, written in the transaction of what it tells of; delivered from here.

A row is signed as it stands, so it is sealed like those that decisions rest on.  It is deleted once it was delivered,
or is moot: when every SAD that it is about has expired.  What relying parties have to be told of a session's end is
written by the same calls, into a table of its own (:mod:`idp.storage.logouts`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    Row,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from contract.event import EventName
from foundation.clock import Clock, epoch
from foundation.jose import encode_base64url
from idp.activation.mint import MAX_LIFETIME_SECONDS
from idp.activation.notices import Notice
from idp.storage import grants, logouts, sessions
from idp.storage.grants import Grant, oidc_grants
from idp.storage.models import metadata
from idp.storage.seal import Sealer
from idp.storage.statements import Statement

event_outbox: Final = Table(
    "event_outbox",
    metadata,
    Column("jti", String(64), primary_key=True),
    Column("event", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("deadline", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", BigInteger, nullable=False, index=True),
    Column("seal", String(64), nullable=False, default=""),
    info={"sealed": ("jti", "event", "subject", "created_at", "deadline")},
)

LEEWAY_SECONDS: Final = 10
"""How much later than the event a SAD may be issued that it is still about, clocks and all."""
LIFE_SECONDS: Final = MAX_LIFETIME_SECONDS + LEEWAY_SECONDS
_MOST_WAITING_SECONDS: Final = 30
_JTI_OCTETS: Final = 16
# Made once: they are asked every second, whether or not there is anything.
_DUE: Final = Statement(
    select(event_outbox)
    .where(event_outbox.c.next_attempt_at <= bindparam("at"), event_outbox.c.deadline > bindparam("at"))
    .order_by(event_outbox.c.next_attempt_at, event_outbox.c.jti)
    .limit(bindparam("most", type_=Integer))
)
_OVERDUE: Final = Statement(
    select(event_outbox).where(event_outbox.c.deadline <= bindparam("at")).limit(bindparam("most", type_=Integer))
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A notice that has not been delivered."""

    notice: Notice
    attempts: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much waits, and for how long the oldest has."""

    waiting: int
    oldest_seconds: int


class Outbox:
    """Writes notices.  Each method is for the caller's transaction, and before what it ends is changed."""

    def __init__(self, seals: Sealer, clock: Clock, random: Callable[[int], bytes]) -> None:
        """:param random: octets from the operating system's generator."""
        self._seals = seals
        self._clock = clock
        self._random = random

    def session_ended(self, connection: Connection, session_id: str) -> None:
        """A session is ended before its time: the signatures that were approved in it, and may be under way.

        And the relying parties that were given an ID token in it (:mod:`idp.logout_delivery` tells them).
        The session's row is locked: of several who end it one tells them.
        """
        self._logouts(connection, session_id)
        live = select(oidc_grants).where(
            oidc_grants.c.session_id == session_id,
            oidc_grants.c.revoked_at.is_(None),
            # A grant of a signature outlives its SAD.
            oidc_grants.c.expires_at > epoch(self._clock.now()),
        )
        for row in connection.execute(live).all():
            self._transaction(connection, "session-ended", grants.of_row(self._seals, row))

    def all_sessions_ended(self, connection: Connection, account_id: str) -> tuple[str, ...]:
        """All sessions of an account are ended: the relying parties.  Returns the sessions' ids; they are locked.

        Of the signatures that were approved in them something else tells, such as :meth:`account_disabled`.
        """
        ended = sessions.lock_all(connection, account_id)
        grants.lock_sessions(connection, ended)
        for session_id in ended:
            self._logouts(connection, session_id)
        return ended

    def transaction_withdrawn(self, connection: Connection, grant_id: str) -> None:
        """A grant was revoked; nothing is written where it is not one of a signature, or has ended."""
        found = grants.find(connection, self._seals, grant_id)
        if found is not None and found.expires_at > epoch(self._clock.now()):
            self._transaction(connection, "transaction-withdrawn", found)

    def client_disabled(self, connection: Connection, client_id: str) -> None:
        """A client was disabled, or all that it was given was revoked."""
        self._put(connection, "client-disabled", client_id)

    def account_disabled(self, connection: Connection, account_id: str) -> None:
        """A person's account was disabled."""
        self._put(connection, "account-disabled", account_id)

    def authenticator_changed(self, connection: Connection, account_id: str) -> None:
        """One of a person's authenticators was replaced, disabled or removed."""
        self._put(connection, "authenticator-changed", account_id)

    def _logouts(self, connection: Connection, session_id: str) -> None:
        session = sessions.lock_live(connection, self._seals, session_id)
        if session is not None:
            logouts.put(connection, self._seals, session, self._clock.now(), self._random)

    def _transaction(self, connection: Connection, event: EventName, grant: Grant | None) -> None:
        if grant is None or grant.approval is None or grant.request is None or grant.request.intent is None:
            return
        self._put(connection, event, grant.approval.txn)

    def _put(self, connection: Connection, event: EventName, subject: str) -> None:
        at = epoch(self._clock.now())
        values: dict[str, Any] = {
            "jti": encode_base64url(self._random(_JTI_OCTETS)),
            "event": event,
            "subject": subject,
            "created_at": at,
            "deadline": at + LIFE_SECONDS,
        }
        seal = self._seals.seal(event_outbox, values)
        connection.execute(insert(event_outbox).values(**values, attempts=0, next_attempt_at=at, seal=seal))


def due(connection: Connection, seals: Sealer, at: int, limit: int) -> tuple[Waiting, ...]:
    """Notices whose next attempt has come, the oldest first; altered ones are left out, and reported."""
    rows = _DUE(connection, {"at": at, "most": limit}).all()
    return tuple(_waiting(row) for row in rows if seals.holds(event_outbox, row))


def claim(connection: Connection, waiting: Waiting, at: int) -> bool:
    """Take the next attempt; False where another process did.  Until the one after it nobody else tries."""
    attempts = waiting.attempts + 1
    claimed = connection.execute(
        update(event_outbox)
        .where(event_outbox.c.jti == waiting.notice.jti, event_outbox.c.attempts == waiting.attempts)
        .values(attempts=attempts, next_attempt_at=at + wait_seconds(attempts))
    )
    return claimed.rowcount == 1


def wait_seconds(attempts: int) -> int:
    """Until the next attempt, after so many: 2, 4, 8, 16 and then 30 seconds."""
    return _MOST_WAITING_SECONDS if attempts > 4 else 1 << attempts


def remove(connection: Connection, jti: str) -> bool:
    """It was delivered, or is moot; False where another process removed it."""
    return connection.execute(delete(event_outbox).where(event_outbox.c.jti == jti)).rowcount == 1


def overdue_later(
    connection: Connection, seals: Sealer, at: int, limit: int
) -> Callable[[], tuple[tuple[Waiting, bool], ...]]:
    """Notices that were not delivered in time, asked for with what comes next.

    :returns: waits for them; each has with it whether it is as it was written.
    """
    asked = _OVERDUE.put_off(connection, {"at": at, "most": limit})
    return lambda: tuple((_waiting(row), seals.holds(event_outbox, row)) for row in asked().all())


def backlog(connection: Connection, at: int) -> Backlog:
    """How much waits to be delivered."""
    count, oldest = connection.execute(select(func.count(), func.min(event_outbox.c.created_at))).one()
    return Backlog(count, 0 if oldest is None else max(0, at - oldest))


def _waiting(row: Row[Any]) -> Waiting:
    return Waiting(Notice(row.jti, row.event, row.subject, row.created_at), row.attempts)
