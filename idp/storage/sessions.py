"""Browsers' sessions, kept on the server.  The cookie holds a random token; the row holds its SHA-256."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from foundation.clock import epoch, from_epoch
from idp.errors import InteractionLost
from idp.policy.evidence import Evidence
from idp.settings import SessionSettings
from idp.storage.models import sessions
from idp.storage.seal import NO_SEAL, Sealer, change

_MAX_EVIDENCE = 16
_TOUCH_SECONDS = 15


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session's row; ``id`` stays while the cookie's token changes."""

    id: str
    account_id: str | None
    evidence: tuple[Evidence, ...]
    device: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


def hash_token(token: str) -> str:
    """What is stored of a cookie's token: it is 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def create(
    connection: Connection,
    seals: Sealer,
    *,
    session_id: str,
    token: str,
    account_id: str | None,
    device: str,
    now: datetime,
    limits: SessionSettings,
) -> None:
    """Begin a session; without an account it lives only as long as an interaction may take."""
    at = epoch(now)
    life = limits.interaction_seconds if account_id is None else limits.absolute_seconds
    values: dict[str, Any] = {
        "id": session_id,
        "token_hash": hash_token(token),
        "account_id": account_id,
        "evidence": [],
        "device": device[:255],
        "created_at": at,
        "last_seen_at": at,
        "expires_at": at + life,
    }
    connection.execute(insert(sessions).values(**values, seal=seals.seal(sessions, values)))


def find_by_token(
    connection: Connection, seals: Sealer, token: str, now: datetime, limits: SessionSettings
) -> StoredSession | None:
    """The live session of a cookie's token, or None."""
    row = connection.execute(
        select(sessions).where(sessions.c.token_hash == hash_token(token), _live(now, limits))
    ).one_or_none()
    return None if row is None or not seals.holds(sessions, row) else _session(row)


def find_by_id(
    connection: Connection, seals: Sealer, session_id: str, now: datetime, limits: SessionSettings
) -> StoredSession | None:
    """The live session of that identifier, or None."""
    row = connection.execute(select(sessions).where(sessions.c.id == session_id, _live(now, limits))).one_or_none()
    return None if row is None or not seals.holds(sessions, row) else _session(row)


def _live(now: datetime, limits: SessionSettings) -> Any:
    at = epoch(now)
    return (
        sessions.c.revoked_at.is_(None)
        & (sessions.c.expires_at > at)
        & (sessions.c.last_seen_at > at - limits.idle_seconds)
    )


def touch(connection: Connection, seals: Sealer, session: StoredSession, now: datetime) -> None:
    """Note activity, at most every few seconds: a page view need not cost a write."""
    at = epoch(now)
    idle = _active(session.id) & (sessions.c.last_seen_at <= at - _TOUCH_SECONDS)
    change(connection, seals, sessions, idle, lambda _: {"last_seen_at": at})


def needs_touch(session: StoredSession, now: datetime) -> bool:
    """Whether :func:`touch` would write."""
    return epoch(session.last_seen_at) <= epoch(now) - _TOUCH_SECONDS


def change_token(connection: Connection, seals: Sealer, session_id: str, token: str) -> None:
    """Give the session another cookie: the former one is worth nothing from now on.

    :raises InteractionLost: the session has ended.
    """
    if change(connection, seals, sessions, _active(session_id), lambda _: {"token_hash": hash_token(token)}) != 1:
        raise InteractionLost("the session has ended")


def add_evidence(connection: Connection, seals: Sealer, session_id: str, item: Evidence) -> None:
    """Add evidence that holds for the whole session; an older use of the same authenticator is dropped.

    :raises InteractionLost: the session has ended.
    """

    def added(row: Row[Any]) -> dict[str, Any]:
        kept = [old for old in row.evidence if old["authenticator_id"] != item.authenticator_id]
        return {"evidence": [*kept, item.to_json()][-_MAX_EVIDENCE:]}

    if change(connection, seals, sessions, _active(session_id), added) != 1:
        raise InteractionLost("the session has ended")


def _active(session_id: str) -> Any:
    return (sessions.c.id == session_id) & sessions.c.revoked_at.is_(None)


def revoke(connection: Connection, session_id: str, now: datetime) -> None:
    """End a session on the server; harmless when it has ended."""
    connection.execute(
        update(sessions)
        .where(sessions.c.id == session_id, sessions.c.revoked_at.is_(None))
        .values(revoked_at=epoch(now), seal=NO_SEAL)
    )


def revoke_all(connection: Connection, account_id: str, now: datetime) -> int:
    """End all sessions of an account; returns how many there were."""
    ended = connection.execute(
        update(sessions)
        .where(sessions.c.account_id == account_id, sessions.c.revoked_at.is_(None))
        .values(revoked_at=epoch(now), seal=NO_SEAL)
    )
    return ended.rowcount


def of_account(
    connection: Connection, seals: Sealer, account_id: str, now: datetime, limits: SessionSettings
) -> tuple[StoredSession, ...]:
    """The account's live sessions, the latest used first."""
    rows = connection.execute(
        select(sessions)
        .where(sessions.c.account_id == account_id, _live(now, limits))
        .order_by(sessions.c.last_seen_at.desc())
    )
    return tuple(_session(row) for row in rows.all() if seals.holds(sessions, row))


def purge(connection: Connection, now: datetime) -> int:
    """Forget sessions without an account that have ended, and others a day after they have; returns how many."""
    at = epoch(now)
    day = 24 * 60 * 60
    anonymous = sessions.c.account_id.is_(None) & (sessions.c.expires_at <= at)
    gone = connection.execute(delete(sessions).where(or_(anonymous, sessions.c.expires_at <= at - day)))
    return gone.rowcount


def _session(row: Row[Any]) -> StoredSession:
    return StoredSession(
        id=row.id,
        account_id=row.account_id,
        evidence=tuple(Evidence.from_json(item) for item in row.evidence),
        device=row.device,
        created_at=from_epoch(row.created_at),
        last_seen_at=from_epoch(row.last_seen_at),
        expires_at=from_epoch(row.expires_at),
    )
