"""Visits to where a person's own device approves: what is asked there, and what came of it on its way back.

The page is on a host of its own, to which no cookie of the login goes.  The browser brings a handle there and a code
back, each in the part of an address that no server sees; both are kept as hashes.  The code is good once, in the
session that asked, for what it asked (SES-07).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import JSON, BigInteger, Column, Connection, Row, String, Table, delete, insert, select, update

from foundation.clock import epoch, from_epoch
from idp.storage.hashes import hash_token
from idp.storage.models import metadata
from idp.storage.seal import NO_SEAL, Sealer, change

MAX_OPEN: Final = 3
"""Of one session; the oldest go (DOS-04)."""
BACK_SECONDS: Final = 120
"""From the device's answer to its use on the page that asked."""

Purpose = Literal["signature", "device"]
"""``signature``: an approval of an interaction.  ``device``: a key of somebody's device is made, or changed."""

device_visits: Final = Table(
    "device_visits",
    metadata,
    # The SHA-256 of the handle.
    Column("id", String(64), primary_key=True),
    Column("session_id", String(64), nullable=False, index=True),
    Column("account_id", String(64), nullable=False),
    Column("purpose", String(16), nullable=False),
    # The interaction, or the credential.
    Column("target", String(128), nullable=False),
    Column("asked", JSON, nullable=False),
    Column("answer", JSON(none_as_null=True)),
    # The SHA-256 of the code; null until there is an answer.
    Column("code", String(64), unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("seal", String(64), nullable=False, default=""),
    info={
        "sealed": (
            "id",
            "session_id",
            "account_id",
            "purpose",
            "target",
            "asked",
            "answer",
            "code",
            "created_at",
            "expires_at",
        )
    },
)
_V: Final = device_visits.c


@dataclass(frozen=True, slots=True)
class Visit:
    """Who is sent there, and for what."""

    session_id: str
    account_id: str
    purpose: Purpose
    target: str
    asked: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredVisit:
    """A visit that has begun."""

    id: str
    visit: Visit
    created_at: datetime
    expires_at: datetime
    answer: Mapping[str, Any] | None
    seal: str


def begin(connection: Connection, seals: Sealer, handle: str, visit: Visit, now: datetime, *, seconds: int) -> None:
    """Keep what is asked under the hash of a handle; only the session's latest :data:`MAX_OPEN` stay."""
    mine = _V.session_id == visit.session_id
    latest = select(_V.id).where(mine).order_by(_V.created_at.desc(), _V.id).limit(MAX_OPEN - 1)
    kept = tuple(connection.execute(latest).scalars())
    connection.execute(delete(device_visits).where(mine, _V.id.not_in(kept)))
    connection.execute(delete(device_visits).where(_V.expires_at <= epoch(now)))
    values: dict[str, Any] = {
        "id": hash_token(handle),
        "session_id": visit.session_id,
        "account_id": visit.account_id,
        "purpose": visit.purpose,
        "target": visit.target,
        "asked": dict(visit.asked),
        "answer": None,
        "code": None,
        "created_at": epoch(now),
        "expires_at": epoch(now) + seconds,
    }
    connection.execute(insert(device_visits).values(**values, seal=seals.seal(device_visits, values)))


def find(connection: Connection, seals: Sealer, handle: str, now: datetime) -> StoredVisit | None:
    """The visit of a handle that has had no answer; None: there is none, or its time is over."""
    query = select(device_visits).where(_V.id == hash_token(handle), _V.seal != NO_SEAL, _V.code.is_(None))
    row = connection.execute(query).one_or_none()
    return None if row is None else _read(seals, row, now)


def ask_more(connection: Connection, seals: Sealer, found: StoredVisit, asked: Mapping[str, Any]) -> bool:
    """Go on with the next question of the same visit; False: somebody else was faster."""
    return _write(connection, seals, found, {"asked": dict(asked)})


def answer(
    connection: Connection, seals: Sealer, found: StoredVisit, given: Mapping[str, Any], *, code: str, now: datetime
) -> bool:
    """Keep the answer under the hash of a code, once; False: there is one already."""
    values = {"answer": dict(given), "code": hash_token(code), "expires_at": epoch(now) + BACK_SECONDS}
    return _write(connection, seals, found, values)


def end(connection: Connection, found: StoredVisit) -> None:
    """It is over without an answer."""
    connection.execute(
        update(device_visits).where(_V.id == found.id, _V.seal == found.seal).values(seal=NO_SEAL, asked={})
    )


def take(
    connection: Connection,
    seals: Sealer,
    code: str,
    *,
    session_id: str,
    purpose: Purpose,
    target: str,
    now: datetime,
) -> StoredVisit | None:
    """The answered visit, once; None: there is nothing under this code for this session and purpose.

    A code that comes to the wrong session is spent all the same: it has left the browser that it was made for.
    """
    query = select(device_visits).where(_V.code == hash_token(code), _V.seal != NO_SEAL)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    ended = connection.execute(
        update(device_visits).where(_V.id == row.id, _V.seal == row.seal).values(seal=NO_SEAL, asked={}, answer=None)
    )
    found = _read(seals, row, now)
    if ended.rowcount != 1 or found is None or found.answer is None:
        return None
    visit = found.visit
    return found if (visit.session_id, visit.purpose, visit.target) == (session_id, purpose, target) else None


def _write(connection: Connection, seals: Sealer, found: StoredVisit, changes: Mapping[str, Any]) -> bool:
    still = (_V.id == found.id) & (_V.seal == found.seal) & _V.code.is_(None)
    return change(connection, seals, device_visits, still, lambda _: changes) == 1


def _read(seals: Sealer, row: Row[Any], now: datetime) -> StoredVisit | None:
    if not seals.holds(device_visits, row) or row.expires_at <= epoch(now):
        return None
    return StoredVisit(
        id=row.id,
        visit=Visit(row.session_id, row.account_id, row.purpose, row.target, row.asked),
        created_at=from_epoch(row.created_at),
        expires_at=from_epoch(row.expires_at),
        answer=row.answer,
        seal=row.seal,
    )
