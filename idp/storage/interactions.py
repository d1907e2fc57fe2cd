"""Interactions: what a browser is in the middle of.  Each belongs to one browser's session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Boolean, Connection, Row, bindparam, delete, exists, insert, not_, select, type_coerce, update

from foundation.clock import epoch, from_epoch
from idp.errors import InteractionLost
from idp.policy.evidence import Evidence
from idp.storage.hashes import hash_token
from idp.storage.models import interactions, sessions
from idp.storage.seal import NO_SEAL, Sealer, change, locking
from idp.storage.statements import Answer, Statement

_I = interactions.c
_MAX_EVIDENCE = 16
MAX_OPEN: Final = 20
"""Of one browser's session: tabs in which somebody is in the middle of something."""
KEPT_SECONDS: Final = 3600
"""After its time is over, so that a page which comes too late can say so."""

# Made once: putting a statement together takes longer than the database's answer.
_IS_OPEN = (_I.id == bindparam("interaction_id")) & (_I.state == "open")
_OTHER = interactions.alias("other")
_ALONE = not_(
    exists().where(_OTHER.c.session_id == _I.session_id, _OTHER.c.id != _I.id, _OTHER.c.state == "open")
)
_OPEN = select(interactions, type_coerce(_ALONE, Boolean).label("alone")).where(
    _IS_OPEN, _I.expires_at > bindparam("at")
)
_FIND: Final = Statement(_OPEN.where(_I.session_id == bindparam("in_session")))
_SESSION_OF_TOKEN = select(sessions.c.id).where(sessions.c.token_hash == bindparam("token")).scalar_subquery()
_OF_TOKEN: Final = Statement(_OPEN.where(_I.session_id == _SESSION_OF_TOKEN))
_FIND_EXPIRED: Final = Statement(select(interactions).where(_IS_OPEN, _I.session_id == bindparam("in_session")))
_WHOSE: Final = Statement(
    select(interactions).where(_I.id == bindparam("interaction_id"), _I.session_id == bindparam("in_session"))
)
_OF_SESSION: Final = Statement(
    select(interactions)
    .where(_I.session_id == bindparam("in_session"), _I.state == "open", _I.expires_at > bindparam("at"))
    .order_by(_I.created_at.desc(), _I.id)
    .limit(MAX_OPEN)
)
_LATEST = (
    select(_I.id)
    .where(_I.session_id == bindparam("in_session"), _I.state == "open")
    .order_by(_I.created_at.desc(), _I.id)
    .limit(MAX_OPEN - 1)
)
_MAKE_ROOM: Final = Statement(
    delete(interactions).where(_I.session_id == bindparam("in_session"), _I.id.not_in(_LATEST))
)
_BEGIN: Final = Statement(insert(interactions))
_TO_CHANGE: Final = locking(interactions, _IS_OPEN)
_TO_CLAIM: Final = locking(
    interactions, _IS_OPEN & (_I.account_id.is_(None) | (_I.account_id == bindparam("claimed_by")))
)
_TO_MOVE: Final = locking(
    interactions, (_I.session_id == bindparam("in_session")) & (_I.state == "open") & _I.account_id.is_(None)
)
_IN_SESSION = exists().where(sessions.c.id == _I.session_id, sessions.c.revoked_at.is_(None))
_END: Final = Statement(update(interactions).where(_IS_OPEN, _IN_SESSION))
_TOUCH: Final = Statement(update(interactions).where(_I.id == bindparam("interaction_id")).values(state=_I.state))
_FORGET: Final = Statement(delete(interactions).where(_I.expires_at <= bindparam("at")))


@dataclass(frozen=True, slots=True)
class StoredInteraction:
    """An interaction's row while it is open."""

    id: str
    session_id: str
    account_id: str | None
    """Once somebody has proved who they are in it, nobody else can go on with it (SES-07)."""
    txn: str
    request: Mapping[str, Any]
    evidence: tuple[Evidence, ...]
    credential: Mapping[str, Any] | None
    """What the signing service said of the credential, read once."""
    created_at: datetime
    expires_at: datetime
    alone: bool = False
    """Nothing else was under way in this browser when it was read; False: there may be something."""


def create(
    connection: Connection,
    seals: Sealer,
    *,
    interaction_id: str,
    txn: str,
    session_id: str,
    account_id: str | None,
    request: Mapping[str, Any],
    now: datetime,
    life_seconds: int,
    first: bool = False,
) -> StoredInteraction:
    """Begin an interaction; of those that the session has, only the :data:`MAX_OPEN` latest stay (DOS-04).

    The oldest go, and not the new one: a page that opens many in a person's browser could otherwise keep them out.

    :param first: the session began in this very transaction, so that it has no others.
    """
    at = epoch(now)
    if not first:
        _MAKE_ROOM.put_off(connection, {"in_session": session_id})
    values: dict[str, Any] = {
        "id": interaction_id,
        "session_id": session_id,
        "account_id": account_id,
        "txn": txn,
        "state": "open",
        "request": dict(request),
        "evidence": [],
        "credential": None,
        "created_at": at,
        "expires_at": at + life_seconds,
    }
    _BEGIN.put_off(connection, {**values, "seal": seals.seal(interactions, values)})
    expires_at = from_epoch(at + life_seconds)
    return StoredInteraction(
        interaction_id, session_id, account_id, txn, dict(request), (), None, from_epoch(at), expires_at
    )


def find(
    connection: Connection, seals: Sealer, interaction_id: str, session_id: str, now: datetime
) -> StoredInteraction | None:
    """The open interaction of that id in that browser's session, or None."""
    return find_later(connection, seals, interaction_id, session_id, now)()


def find_later(
    connection: Connection, seals: Sealer, interaction_id: str, session_id: str, now: datetime
) -> Callable[[], StoredInteraction | None]:
    """The same, asked for with what comes next."""
    given = {"interaction_id": interaction_id, "in_session": session_id, "at": epoch(now)}
    later = _FIND.put_off(connection, given)
    return lambda: _believed(seals, later())


def of_token_later(
    connection: Connection, seals: Sealer, interaction_id: str, token: str, now: datetime
) -> Callable[[str], StoredInteraction | None]:
    """As :func:`find`, of the session of a cookie's token, and asked for with what comes next: that session.

    :returns: gives it for the session's identifier, once it is known that the session lives.
    """
    later = _OF_TOKEN.put_off(
        connection, {"interaction_id": interaction_id, "token": hash_token(token), "at": epoch(now)}
    )

    def found(session_id: str) -> StoredInteraction | None:
        stored = _believed(seals, later())
        return stored if stored is not None and stored.session_id == session_id else None

    return found


def _believed(seals: Sealer, answer: Answer) -> StoredInteraction | None:
    row = answer.one_or_none()
    return None if row is None or not seals.holds(interactions, row) else replace(_stored(row), alone=row.alone)


def find_expired(
    connection: Connection, seals: Sealer, interaction_id: str, session_id: str
) -> StoredInteraction | None:
    """The interaction of that id in that browser's session which nobody ended before its time was over, or None.

    For whoever knows that :func:`find` has none.
    """
    given = {"interaction_id": interaction_id, "in_session": session_id}
    row = _FIND_EXPIRED(connection, given).one_or_none()
    return None if row is None or not seals.holds(interactions, row) else _stored(row)


def whose(connection: Connection, interaction_id: str, session_id: str) -> str | None:
    """The identifier of the relying party that asked for an interaction of that browser's session, or None.

    One that has ended has no seal any more: whatever rests on this has to be harmless with any relying party's.
    """
    row = _WHOSE(connection, {"interaction_id": interaction_id, "in_session": session_id}).one_or_none()
    return None if row is None else str(row.request["client_id"])


def of_session(
    connection: Connection, seals: Sealer, session_id: str, now: datetime
) -> tuple[StoredInteraction, ...]:
    """The open interactions of a browser's session, the latest first."""
    rows = _OF_SESSION(connection, {"in_session": session_id, "at": epoch(now)}).all()
    return tuple(_stored(row) for row in rows if seals.holds(interactions, row))


def _stored(row: Row[Any]) -> StoredInteraction:
    return StoredInteraction(
        id=row.id,
        session_id=row.session_id,
        account_id=row.account_id,
        txn=row.txn,
        request=row.request,
        evidence=tuple(Evidence.from_json(item) for item in row.evidence),
        credential=row.credential,
        created_at=from_epoch(row.created_at),
        expires_at=from_epoch(row.expires_at),
    )


def claim(
    connection: Connection, seals: Sealer, interaction_id: str, session_id: str, account_id: str
) -> StoredInteraction | None:
    """Somebody proved who they are in it: how it is now; None if it is somebody else's."""
    found: list[StoredInteraction] = []

    def taken(row: Row[Any]) -> dict[str, Any]:
        found.append(replace(_stored(row), session_id=session_id, account_id=account_id))
        return {"session_id": session_id, "account_id": account_id}

    given = {"interaction_id": interaction_id, "claimed_by": account_id}
    return found[0] if change(connection, seals, interactions, _TO_CLAIM, taken, **given) == 1 else None


def move_unclaimed(connection: Connection, seals: Sealer, old_session: str, new_session: str) -> None:
    """Another tab's interactions in which nobody has proved anything yet follow the browser to its new session."""
    values = {"session_id": new_session}
    change(connection, seals, interactions, _TO_MOVE, lambda _: values, in_session=old_session)


def add_evidence(
    connection: Connection, seals: Sealer, interaction_id: str, item: Evidence
) -> StoredInteraction:
    """Add evidence that is bound to this transaction (SES-06).

    :returns: the interaction as it is once the transaction is committed.
    :raises InteractionLost: it has ended.
    """
    found: list[StoredInteraction] = []

    def added(row: Row[Any]) -> dict[str, Any]:
        kept = [old for old in row.evidence if old["authenticator_id"] != item.authenticator_id]
        evidence = [*kept, item.to_json()][-_MAX_EVIDENCE:]
        found.append(replace(_stored(row), evidence=tuple(Evidence.from_json(each) for each in evidence)))
        return {"evidence": evidence}

    if change(connection, seals, interactions, _TO_CHANGE, added, interaction_id=interaction_id) != 1:
        raise InteractionLost("the interaction has ended")
    return found[0]


def set_credential(connection: Connection, seals: Sealer, interaction_id: str, credential: Mapping[str, Any]) -> None:
    """Keep what the signing service said of the credential."""
    values = {"credential": dict(credential)}
    change(connection, seals, interactions, _TO_CHANGE, lambda _: values, interaction_id=interaction_id)


def set_request(
    connection: Connection, seals: Sealer, interaction_id: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Keep what is asked in fuller words than when it began.

    :raises InteractionLost: it has ended, or says something else by now.
    """

    def worded(row: Row[Any]) -> dict[str, Any]:
        if row.request not in (before, after):
            raise InteractionLost("the interaction has been completed in another way")
        return {"request": dict(after)}

    if change(connection, seals, interactions, _TO_CHANGE, worded, interaction_id=interaction_id) != 1:
        raise InteractionLost("the interaction has ended")


def touch(connection: Connection, interaction_id: str) -> None:
    """Write the row as it is, with what comes next in the transaction."""
    _TOUCH.put_off(connection, {"interaction_id": interaction_id})


def close(connection: Connection, interaction_id: str) -> bool:
    """End an interaction; true for exactly one caller, who goes on to its finisher.

    False also where its session was ended: what was proved there may have been looked at before that (SES-03).
    """
    return close_later(connection, interaction_id)()


def close_later(connection: Connection, interaction_id: str) -> Callable[[], bool]:
    """The same, with what comes next: the caller rolls back what it wrote meanwhile where it is false."""
    ended = _END.put_off(connection, {"interaction_id": interaction_id, "state": "finished", "seal": NO_SEAL})
    return lambda: ended().rowcount == 1


def purge(connection: Connection, now: datetime) -> int:
    """Forget interactions that have been over for a while; returns how many."""
    return _FORGET(connection, {"at": epoch(now) - KEPT_SECONDS}).rowcount
