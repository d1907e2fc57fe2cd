"""Which relying parties have to be told that a session has ended, and which were (OIDC Back-Channel Logout 1.0).

A row is written in the transaction that ends the session, for each client that was given an ID token in it and is
registered to be told.  A token is signed about a row as it stands, so it is sealed.  When it is over, told or not, the
row stays for a week, for operators to see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    Row,
    String,
    Table,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    update,
)

from foundation.clock import epoch, from_epoch
from idp.storage import clients
from idp.storage.grants import oidc_grants
from idp.storage.models import metadata
from idp.storage.seal import Sealer
from idp.storage.statements import Statement

logout_notices: Final = Table(
    "logout_notices",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("client_id", String(128), nullable=False),
    Column("account_id", String(64), nullable=False),
    Column("session_id", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    # Null once it is over.
    Column("next_attempt_at", BigInteger, index=True),
    # Why the last attempt failed; empty: none did.
    Column("cause", String(32), nullable=False, default=""),
    Column("ended_at", BigInteger, index=True),
    Column("state", String(16), nullable=False, default="waiting"),
    Column("seal", String(64), nullable=False, default=""),
    Index("ix_logout_notices_client", "client_id", "next_attempt_at"),
    info={"sealed": ("id", "client_id", "account_id", "session_id", "created_at")},
)

LIFE_SECONDS: Final = 12 * 60 * 60
"""After which nobody tries any more: whoever was signed in by then seldom still is."""
KEPT_SECONDS: Final = 7 * 24 * 60 * 60
_FIRST_WAIT_SECONDS: Final = 30
"""Longer than an attempt takes, with a slow look-up of the name and with clocks of two nodes that differ."""
_MOST_WAITING_SECONDS: Final = 60 * 60
_ID_OCTETS: Final = 16

_N = logout_notices.c
_TURN: Final = func.row_number().over(partition_by=_N.client_id, order_by=(_N.next_attempt_at, _N.id)).label("turn")
_RANKED: Final = select(logout_notices, _TURN).where(_N.next_attempt_at <= bindparam("at")).subquery()
# Made once: it is asked every second, whether or not there is anything.
_DUE: Final = Statement(
    select(*(_RANKED.c[column.name] for column in logout_notices.c))
    .order_by(_RANKED.c.turn, _RANKED.c.next_attempt_at, _RANKED.c.id)
    .limit(bindparam("most", type_=Integer))
)
_PUT: Final = Statement(insert(logout_notices))

State = Literal["waiting", "told", "dropped"]
Cause = Literal[
    "overdue", "client_disabled", "not_registered", "redirected", "refused", "failed", "unreachable", "not_permitted"
]
"""Why a client could not be told, or not yet."""


@dataclass(frozen=True, slots=True)
class LogoutNotice:
    """What one client has to be told."""

    id: str
    client_id: str
    account_id: str
    session_id: str
    created_at: int
    attempts: int

    def is_overdue(self, at: int) -> bool:
        """Whether it is too late to tell anybody."""
        return at >= self.created_at + LIFE_SECONDS


def put(
    connection: Connection, seals: Sealer, session: Row[Any], now: datetime, random: Callable[[int], bytes]
) -> int:
    """Write what has to be told because a session is about to be ended; returns how many clients are.

    Those count that a grant with scope ``openid`` of the session gave something to: that was an ID token, too.  Grants
    that were revoked before are among them, since the client goes on showing the person as signed in.  These have no
    seal any more; but all that is taken from a grant is which client is told of the end of a session that does end.

    The session's grants are locked, also those that gave nothing yet: whoever gives something out at this moment is
    waited for, and counts.  Who ends several sessions locks the grants of all before.

    :param session: its row, as it was written, which nobody else changes until the transaction ends.
    """
    if session.account_id is None:
        return 0
    columns = (oidc_grants.c.client_id, oidc_grants.c.subject, oidc_grants.c.request, oidc_grants.c.issued_at)
    query = select(*columns).where(oidc_grants.c.session_id == session.id).order_by(oidc_grants.c.id)
    asked = {
        row.client_id
        for row in connection.execute(query.with_for_update(key_share=True)).all()
        if row.subject == session.account_id and row.issued_at is not None and _asked_who(row.request)
    }
    told = 0
    for client_id in sorted(asked):
        client = clients.find_active(connection, client_id)
        if client is None or client.registration.backchannel_logout_uri is None:
            continue
        at = epoch(now)
        values: dict[str, Any] = {
            "id": random(_ID_OCTETS).hex(),
            "client_id": client_id,
            "account_id": session.account_id,
            "session_id": session.id,
            "created_at": at,
        }
        seal = seals.seal(logout_notices, values)
        rest = {"attempts": 0, "next_attempt_at": at, "cause": "", "ended_at": None, "state": "waiting"}
        _PUT.put_off(connection, {**values, **rest, "seal": seal})
        told += 1
    return told


def _asked_who(request: Any) -> bool:
    return isinstance(request, dict) and "openid" in request.get("scopes", ())


def due(connection: Connection, seals: Sealer, at: int, limit: int) -> tuple[LogoutNotice, ...]:
    """What is to be told now: of each client what is due longest, then of each the next, so that none with a lot to be
    told is before all others.  Altered rows are left out, and reported."""
    rows = _DUE(connection, {"at": at, "most": limit}).all()
    return tuple(_notice(row) for row in rows if seals.holds(logout_notices, row))


def claim(connection: Connection, notice: LogoutNotice, at: int) -> bool:
    """Take the next attempt; False where another process did.  Until the one after it nobody else tries."""
    attempts = notice.attempts + 1
    claimed = connection.execute(
        update(logout_notices)
        .where(_N.id == notice.id, _N.attempts == notice.attempts, _N.next_attempt_at <= at)
        .values(attempts=attempts, next_attempt_at=at + wait_seconds(attempts))
    )
    return claimed.rowcount == 1


def wait_seconds(attempts: int) -> int:
    """Until the next attempt, after so many: half a minute, twice that each time, and at most an hour."""
    return min(_MOST_WAITING_SECONDS, _FIRST_WAIT_SECONDS << min(attempts - 1, 10))


def failed(connection: Connection, notice: LogoutNotice, cause: Cause) -> None:
    """Note why the last attempt was in vain."""
    connection.execute(
        update(logout_notices).where(_N.id == notice.id, _N.next_attempt_at.is_not(None)).values(cause=cause)
    )


def put_back(connection: Connection, client_id: str, at: int, seconds: int) -> None:
    """A client does not answer: whatever else it has to be told waits, so that others' turn comes."""
    connection.execute(
        update(logout_notices)
        .where(_N.client_id == client_id, _N.next_attempt_at <= at + seconds)
        .values(next_attempt_at=at + seconds)
    )


def end(connection: Connection, notice: LogoutNotice, at: int, cause: Cause | None = None) -> bool:
    """It is over; False where another process said so before.

    :param cause: why the client was not told; None: it was.
    """
    state: State = "told" if cause is None else "dropped"
    ended = connection.execute(
        update(logout_notices)
        .where(_N.id == notice.id, _N.ended_at.is_(None))
        .values(ended_at=at, next_attempt_at=None, cause=cause or "", state=state)
    )
    return ended.rowcount == 1


@dataclass(frozen=True, slots=True)
class Untold:
    """How much has still to be told, and for how long the oldest of it has waited."""

    waiting: int
    oldest_seconds: int


def backlog(connection: Connection, at: int) -> Untold:
    """What has still to be told, to whomever."""
    query = select(func.count(), func.min(_N.created_at)).where(_N.next_attempt_at.is_not(None))
    count, oldest = connection.execute(query).one()
    return Untold(count, 0 if oldest is None else max(0, at - oldest))


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with one client."""

    client_id: str
    waiting: int
    oldest_seconds: int
    told: int
    """Within the last week."""
    dropped: int
    """The same."""
    last_told_at: datetime | None
    last_dropped_at: datetime | None
    last_cause: str
    """Of what failed last, or has not been told yet because of it; empty: nothing did."""


def standings(connection: Connection, at: int, client_id: str | None = None) -> tuple[Standing, ...]:
    """Of each client that had to be told something within the last week, by its id; or of one."""
    query = select(
        _N.client_id,
        func.sum(case((_N.state == "waiting", 1), else_=0)).label("waiting"),
        func.min(case((_N.state == "waiting", _N.created_at))).label("oldest"),
        func.sum(case((_N.state == "told", 1), else_=0)).label("told"),
        func.sum(case((_N.state == "dropped", 1), else_=0)).label("dropped"),
        func.max(case((_N.state == "told", _N.ended_at))).label("last_told_at"),
        func.max(case((_N.state == "dropped", _N.ended_at))).label("last_dropped_at"),
    )
    if client_id is not None:
        query = query.where(_N.client_id == client_id)
    rows = connection.execute(query.group_by(_N.client_id).order_by(_N.client_id)).all()
    return tuple(
        Standing(
            client_id=row.client_id,
            waiting=row.waiting,
            oldest_seconds=0 if row.oldest is None else max(0, at - row.oldest),
            told=row.told,
            dropped=row.dropped,
            last_told_at=None if row.last_told_at is None else from_epoch(row.last_told_at),
            last_dropped_at=None if row.last_dropped_at is None else from_epoch(row.last_dropped_at),
            last_cause=_last_cause(connection, row.client_id),
        )
        for row in rows
    )


def _last_cause(connection: Connection, client_id: str) -> str:
    query = select(_N.cause).where(_N.client_id == client_id, _N.cause != "")
    last = connection.execute(query.order_by(_N.created_at.desc(), _N.id).limit(1)).scalar_one_or_none()
    return "" if last is None else str(last)


def purge(connection: Connection, now: datetime) -> int:
    """Forget what was over a week ago, also what nobody ends because it was altered; returns how many rows."""
    before = epoch(now) - KEPT_SECONDS
    over = (_N.ended_at <= before) | (_N.created_at <= before - LIFE_SECONDS)
    return connection.execute(delete(logout_notices).where(over)).rowcount


def _notice(row: Row[Any]) -> LogoutNotice:
    return LogoutNotice(row.id, row.client_id, row.account_id, row.session_id, row.created_at, row.attempts)
