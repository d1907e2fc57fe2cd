"""Browsers' sessions, kept on the server.  The cookie holds a random token; the row holds its SHA-256."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, insert, or_, select, update

from foundation.clock import epoch, from_epoch
from idp.authn.session import Pause, with_pause
from idp.errors import InteractionLost
from idp.policy.evidence import Evidence
from idp.settings import SessionSettings
from idp.storage.hashes import hash_token
from idp.storage.models import interactions, sessions
from idp.storage.seal import NO_SEAL, Sealer, change, locking
from idp.storage.statements import Statement

_MAX_EVIDENCE = 16
_TOUCH_SECONDS = 15
MOST_ANONYMOUS: Final = 100_000
"""Sessions in which nobody has signed in: some twenty new visitors a second for as long as each is kept."""
MOST_OF_ACCOUNT: Final = 100
"""Sessions of one person, ended ones that are kept for a day among them: nobody uses as many browsers."""
KEPT_SECONDS: Final = 3600
"""After the time of a session is over in which nobody signed in, so that a page which comes too late can say so."""

_S = sessions.c
_DAY: Final = 24 * 60 * 60
# Made once: putting a statement together takes longer than the database's answer.
_LIVE = _S.revoked_at.is_(None) & (_S.expires_at > bindparam("at")) & (_S.last_seen_at > bindparam("idle_since"))
_BY_TOKEN: Final = Statement(select(sessions).where(_S.token_hash == bindparam("token"), _LIVE))
_BY_ID: Final = Statement(select(sessions).where(_S.id == bindparam("session_id"), _LIVE))
_ENDED_BY_TOKEN: Final = Statement(select(sessions).where(_S.token_hash == bindparam("token"), _S.revoked_at.is_(None)))
_ACTIVE = (_S.id == bindparam("session_id")) & _S.revoked_at.is_(None)
_TO_CHANGE: Final = locking(sessions, _ACTIVE)
_TO_TOUCH: Final = locking(sessions, _ACTIVE & (_S.last_seen_at <= bindparam("untouched_since")))
_TO_PROLONG: Final = locking(
    sessions, _ACTIVE & _S.account_id.is_(None) & (_S.expires_at < bindparam("ends_before"))
)
_BEGIN: Final = Statement(insert(sessions))
_TO_END: Final = Statement(select(sessions).where(_ACTIVE).with_for_update(key_share=True))
_END: Final = Statement(update(sessions).where(_ACTIVE))
_FORGET: Final = Statement(delete(sessions).where(
    or_(_S.account_id.is_(None) & (_S.expires_at <= bindparam("unused_before")), _S.expires_at <= bindparam("day_ago"))
))


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
    pauses: tuple[Pause, ...] = ()
    """Times in which nobody used it; the one that this very request ends is not among them."""

    def pauses_until(self, now: datetime) -> tuple[Pause, ...]:
        """The same with that one."""
        return with_pause(self.pauses, epoch(now), epoch(now) - epoch(self.last_seen_at))


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
    evidence: Evidence | None = None,
) -> None:
    """Begin a session; without an account it lives only as long as an interaction may take.

    :param evidence: what the person identified themselves with.
    """
    at = epoch(now)
    life = limits.interaction_seconds if account_id is None else limits.absolute_seconds
    values: dict[str, Any] = {
        "id": session_id,
        "token_hash": hash_token(token),
        "account_id": account_id,
        "evidence": [] if evidence is None else [evidence.to_json()],
        "device": device[:255],
        "created_at": at,
        "last_seen_at": at,
        "expires_at": at + life,
        "pauses": [],
    }
    _BEGIN.put_off(connection, {**values, "seal": seals.seal(sessions, values)})


def find_by_token(
    connection: Connection, seals: Sealer, token: str, now: datetime, limits: SessionSettings
) -> StoredSession | None:
    """The live session of a cookie's token, or None."""
    row = _BY_TOKEN(connection, {"token": hash_token(token), **_at(now, limits)}).one_or_none()
    return None if row is None or not seals.holds(sessions, row) else _session(row)


def find_by_id(
    connection: Connection, seals: Sealer, session_id: str, now: datetime, limits: SessionSettings
) -> StoredSession | None:
    """The live session of that identifier, or None."""
    row = _BY_ID(connection, {"session_id": session_id, **_at(now, limits)}).one_or_none()
    return None if row is None or not seals.holds(sessions, row) else _session(row)


def find_ended(connection: Connection, seals: Sealer, token: str) -> str | None:
    """The identifier of the session of a cookie's token, whether or not its time is over; None once it was revoked.

    For telling a browser what it was in the middle of; it opens nothing.
    """
    row = _ENDED_BY_TOKEN(connection, {"token": hash_token(token)}).one_or_none()
    return None if row is None or not seals.holds(sessions, row) else str(row.id)


def prolong(connection: Connection, seals: Sealer, session_id: str, now: datetime, limits: SessionSettings) -> None:
    """A session in which nobody is signed in lives as long as what was begun in it last."""
    at = epoch(now) + limits.interaction_seconds
    given = {"session_id": session_id, "ends_before": at}
    change(connection, seals, sessions, _TO_PROLONG, lambda _: {"expires_at": at}, **given)


def _at(now: datetime, limits: SessionSettings) -> dict[str, int]:
    at = epoch(now)
    return {"at": at, "idle_since": at - limits.idle_seconds}


def touch(connection: Connection, seals: Sealer, session: StoredSession, now: datetime) -> None:
    """Note activity, at most every few seconds: a page view need not cost a write."""
    at = epoch(now)
    given = {"session_id": session.id, "untouched_since": at - _TOUCH_SECONDS}

    def seen(row: Row[Any]) -> dict[str, Any]:
        pauses = with_pause([(ended, length) for ended, length in row.pauses], at, at - row.last_seen_at)
        return {"last_seen_at": at, "pauses": [list(each) for each in pauses]}

    change(connection, seals, sessions, _TO_TOUCH, seen, **given)


def needs_touch(session: StoredSession, now: datetime) -> bool:
    """Whether :func:`touch` would write."""
    return epoch(session.last_seen_at) <= epoch(now) - _TOUCH_SECONDS


def change_token(
    connection: Connection, seals: Sealer, session_id: str, token: str, item: Evidence | None = None
) -> StoredSession:
    """Give the session another cookie: the former one is worth nothing from now on.

    :param item: evidence that holds for the whole session from now on; an older use of the same authenticator is
        dropped.
    :returns: the session as it is once the transaction is committed.
    :raises InteractionLost: the session has ended.
    """
    found: list[StoredSession] = []

    def changed(row: Row[Any]) -> dict[str, Any]:
        kept = row.evidence if item is None else _with_evidence(row.evidence, item)
        found.append(_session(row, kept))
        return {"token_hash": hash_token(token), **({} if item is None else {"evidence": kept})}

    if change(connection, seals, sessions, _TO_CHANGE, changed, session_id=session_id) != 1:
        raise InteractionLost("the session has ended")
    return found[0]


def add_evidence(connection: Connection, seals: Sealer, session_id: str, item: Evidence) -> None:
    """Add evidence that holds for the whole session; an older use of the same authenticator is dropped.

    :raises InteractionLost: the session has ended.
    """

    def added(row: Row[Any]) -> dict[str, Any]:
        return {"evidence": _with_evidence(row.evidence, item)}

    if change(connection, seals, sessions, _TO_CHANGE, added, session_id=session_id) != 1:
        raise InteractionLost("the session has ended")


def _with_evidence(former: list[dict[str, Any]], item: Evidence) -> list[dict[str, Any]]:
    kept = [old for old in former if old["authenticator_id"] != item.authenticator_id]
    return [*kept, item.to_json()][-_MAX_EVIDENCE:]


def revoke(connection: Connection, session_id: str, now: datetime) -> None:
    """End a session on the server; harmless when it has ended."""
    _END.put_off(connection, {"session_id": session_id, "revoked_at": epoch(now), "seal": NO_SEAL})


def lock(connection: Connection, session_ids: Collection[str]) -> None:
    """Nobody else changes those of these sessions that have not ended until the transaction ends.

    In the database's order and no other's: a collation may put a before B.
    """
    _lock(connection, _S.id.in_(tuple(session_ids)))


def lock_live(connection: Connection, seals: Sealer, session_id: str) -> Row[Any] | None:
    """The row of a session that has not ended, or None; nobody else changes it until the transaction ends."""
    row = _TO_END(connection, {"session_id": session_id}).one_or_none()
    return row if row is not None and seals.holds(sessions, row) else None


def lock_all(connection: Connection, account_id: str) -> tuple[str, ...]:
    """Nobody else changes the account's sessions that have not ended until the transaction ends; returns their ids.

    For whoever ends several: in one order, and before the audit chain is written, as whoever proves something has the
    session before the chain.  Authenticators are locked before sessions, and sessions before grants.
    """
    return _lock(connection, _S.account_id == account_id)


def _lock(connection: Connection, condition: Any) -> tuple[str, ...]:
    # Rows that only name a session may be added meanwhile, as with an account.
    live = select(_S.id).where(condition, _S.revoked_at.is_(None)).order_by(_S.id)
    return tuple(connection.execute(live.with_for_update(key_share=True)).scalars())


def revoke_several(connection: Connection, session_ids: Collection[str], now: datetime) -> int:
    """End sessions that are locked; returns how many there were."""
    live = sessions.c.id.in_(tuple(session_ids)) & sessions.c.revoked_at.is_(None)
    ended = connection.execute(update(sessions).where(live).values(revoked_at=epoch(now), seal=NO_SEAL))
    return ended.rowcount


def of_account(
    connection: Connection, seals: Sealer, account_id: str, now: datetime, limits: SessionSettings
) -> tuple[StoredSession, ...]:
    """The account's live sessions, the latest used first."""
    rows = connection.execute(
        select(sessions)
        .where(sessions.c.account_id == account_id, _LIVE)
        .order_by(sessions.c.last_seen_at.desc()),
        _at(now, limits),
    )
    return tuple(_session(row) for row in rows.all() if seals.holds(sessions, row))


def lasting(connection: Connection, seals: Sealer, account_id: str, now: datetime) -> tuple[StoredSession, ...]:
    """The account's sessions in which something granted may still be good; also those idle for too long for a browser.

    For whoever ends them: a relying party goes on with a person who has no page of ours open.
    """
    lasts = (_S.account_id == account_id) & _S.revoked_at.is_(None) & (_S.expires_at > epoch(now))
    rows = connection.execute(select(sessions).where(lasts).order_by(_S.id)).all()
    return tuple(_session(row) for row in rows if seals.holds(sessions, row))


def purge(connection: Connection, now: datetime) -> int:
    """Forget sessions an hour after they have ended where nobody signed in, others after a day; returns how many."""
    at = epoch(now)
    given = {"unused_before": at - KEPT_SECONDS, "day_ago": at - _DAY}
    return _FORGET(connection, given).rowcount


def evict(connection: Connection) -> int:
    """Forget the oldest sessions beyond :data:`MOST_ANONYMOUS` in which nobody signed in, and what was begun in them;
    returns how many (DOS-04).

    The oldest, not the newest: whoever fills the table would otherwise keep everybody out for as long as it is full.
    """
    nobody = sessions.c.account_id.is_(None)
    beyond = select(sessions.c.created_at).where(nobody).order_by(sessions.c.created_at.desc())
    latest = connection.execute(beyond.offset(MOST_ANONYMOUS).limit(1)).scalar_one_or_none()
    if latest is None:
        return 0
    which = nobody & (sessions.c.created_at <= latest)
    connection.execute(
        delete(interactions).where(interactions.c.session_id.in_(select(sessions.c.id).where(which)))
    )
    return connection.execute(delete(sessions).where(which)).rowcount


@dataclass(frozen=True, slots=True)
class Beyond:
    """Sessions of an account that make room for others, by their ids."""

    live: tuple[str, ...]
    ended: tuple[str, ...]


def beyond(connection: Connection, account_id: str, kept: str, now: datetime) -> Beyond:
    """An account's sessions beyond :data:`MOST_OF_ACCOUNT`, by their ids (DOS-04).

    First go those that have ended or whose time is over.  Then those in which least was proved: whoever has a password
    and nothing more begins as many as they like, and throws nobody out who proved more.  Then those used least lately.

    :param kept: the one that has just begun stays, however little was proved in it so far.
    """
    at = epoch(now)
    rows = connection.execute(
        select(_S.id, _S.revoked_at, _S.expires_at, _S.evidence)
        .where(_S.account_id == account_id, _S.id != kept)
        .order_by(_S.last_seen_at.desc(), _S.created_at.desc(), _S.id)
    ).all()

    def worth(row: Any) -> tuple[bool, bool, int]:
        return row.revoked_at is None, row.expires_at > at, len(row.evidence)

    # Sorting is stable: of what is worth the same, the one used last comes first.
    last = sorted(rows, key=worth, reverse=True)[MOST_OF_ACCOUNT - 1 :]
    return Beyond(
        tuple(row.id for row in last if row.revoked_at is None),
        tuple(row.id for row in last if row.revoked_at is not None),
    )


def forget(connection: Connection, session_ids: Iterable[str]) -> None:
    """Delete the rows of sessions that have ended."""
    connection.execute(delete(sessions).where(_S.id.in_(tuple(session_ids)), _S.revoked_at.is_not(None)))


def _session(row: Row[Any], evidence: list[dict[str, Any]] | None = None) -> StoredSession:
    return StoredSession(
        id=row.id,
        account_id=row.account_id,
        evidence=tuple(Evidence.from_json(item) for item in (row.evidence if evidence is None else evidence)),
        device=row.device,
        created_at=from_epoch(row.created_at),
        last_seen_at=from_epoch(row.last_seen_at),
        expires_at=from_epoch(row.expires_at),
        pauses=tuple((ended, length) for ended, length in row.pauses),
    )
