"""Notices that somebody has still to be sent: written in the transaction of what they tell of, deleted once sent.

The text is not kept: it is made of the columns when it is sent.  A row decides whom a message goes to, so it is sealed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
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

from foundation.clock import epoch, from_epoch
from idp.storage.models import metadata
from idp.storage.seal import Sealer
from idp.storage.statements import Statement

notices: Final = Table(
    "notices",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account_id", String(64), nullable=False),
    Column("change", String(16), nullable=False),
    Column("factor", String(16), nullable=False),
    Column("channel", String(16), nullable=False),
    Column("address", String(255), nullable=False),
    Column("locale", String(16)),
    Column("created_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", BigInteger, nullable=False, index=True),
    Column("seal", String(64), nullable=False, default=""),
    info={"sealed": ("id", "account_id", "change", "factor", "channel", "address", "locale", "created_at")},
)

_FIRST_WAIT_SECONDS: Final = 30
_MOST_WAITING_SECONDS: Final = 60 * 60
# Made once: it is asked every second, whether or not there is anything.
_DUE: Final = Statement(
    select(notices)
    .where(notices.c.next_attempt_at <= bindparam("at"))
    .order_by(notices.c.next_attempt_at, notices.c.id)
    .limit(bindparam("most", type_=Integer))
)


@dataclass(frozen=True, slots=True)
class Pending:
    """A notice that has not been sent."""

    id: str
    account_id: str
    change: str
    """``added``, ``removed``, ``replaced``, ``reset`` or ``used``."""
    factor: str
    """Kind of the authenticator that changed."""
    channel: str
    """Kind of the authenticator whose address this goes to: ``sms_otp`` or ``email_otp``."""
    address: str = field(repr=False)
    locale: str | None
    """The account's; None: it has none."""
    created_at: datetime
    attempts: int


def put(connection: Connection, seals: Sealer, pending: Pending) -> None:
    """Write a notice; it may be sent as soon as the caller's transaction is committed."""
    at = epoch(pending.created_at)
    values: dict[str, Any] = {
        "id": pending.id,
        "account_id": pending.account_id,
        "change": pending.change,
        "factor": pending.factor,
        "channel": pending.channel,
        "address": pending.address,
        "locale": pending.locale,
        "created_at": at,
    }
    seal = seals.seal(notices, values)
    connection.execute(insert(notices).values(**values, attempts=0, next_attempt_at=at, seal=seal))


def due(connection: Connection, seals: Sealer, now: datetime, limit: int) -> tuple[Pending, ...]:
    """Notices whose next attempt has come, the oldest first; altered ones are left out, and reported."""
    rows = _DUE(connection, {"at": epoch(now), "most": limit}).all()
    return tuple(_pending(row) for row in rows if seals.holds(notices, row))


def claim(connection: Connection, pending: Pending, now: datetime) -> bool:
    """Take the next attempt; False where another process did.  Until the one after it nobody else tries."""
    attempts = pending.attempts + 1
    claimed = connection.execute(
        update(notices)
        .where(notices.c.id == pending.id, notices.c.attempts == pending.attempts)
        .values(attempts=attempts, next_attempt_at=epoch(now) + wait_seconds(attempts))
    )
    return claimed.rowcount == 1


def wait_seconds(attempts: int) -> int:
    """Until the next attempt, after so many: half a minute, twice that each time, and at most an hour."""
    return min(_MOST_WAITING_SECONDS, _FIRST_WAIT_SECONDS << min(attempts - 1, 10))


def remove(connection: Connection, notice_id: str) -> bool:
    """It was sent, or never will be; False where another process removed it."""
    return connection.execute(delete(notices).where(notices.c.id == notice_id)).rowcount == 1


def waiting(connection: Connection) -> int:
    """How many have not been sent."""
    return connection.execute(select(func.count()).select_from(notices)).scalar_one()


def _pending(row: Row[Any]) -> Pending:
    return Pending(
        id=row.id,
        account_id=row.account_id,
        change=row.change,
        factor=row.factor,
        channel=row.channel,
        address=row.address,
        locale=row.locale,
        created_at=from_epoch(row.created_at),
        attempts=row.attempts,
    )
