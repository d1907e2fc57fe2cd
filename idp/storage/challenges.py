"""Challenges: messages with one-time codes that are on their way.  The database decides every race."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from foundation.clock import epoch, from_epoch
from idp.authn.otp import DAY, HOUR, Binding, Sent, Standing, check_may_send, check_usable, matches
from idp.errors import OtpLocked
from idp.settings import OtpSettings
from idp.storage import authenticators
from idp.storage.authenticators import Authenticator
from idp.storage.models import otp_challenges

_C = otp_challenges.c
# Made once: putting a statement together takes longer than the database's answer.
_BY_SLOT: Final = select(otp_challenges).where(
    _C.live_slot == bindparam("slot"),
    _C.session_id == bindparam("in_session"),
    _C.intent_sha256 == bindparam("intent"),
    _C.expires_at > bindparam("at"),
)
_BY_TXN: Final = (
    select(otp_challenges)
    .where(
        _C.txn == bindparam("of_txn"),
        _C.session_id == bindparam("in_session"),
        _C.state == "live",
        _C.expires_at > bindparam("at"),
    )
    .order_by(_C.sent_at.desc(), _C.created_at.desc())
)
_IN_SESSION: Final = (
    select(otp_challenges)
    .where(_C.session_id == bindparam("in_session"), _C.state == "live", _C.expires_at > bindparam("at"))
    .order_by(_C.sent_at.desc(), _C.created_at.desc())
)
_WRONG: Final = select(func.coalesce(func.sum(_C.failures), 0)).where(
    _C.authenticator_id == bindparam("owned"), _C.created_at >= bindparam("since")
)
_MESSAGES: Final = select(func.coalesce(func.sum(_C.sends), 0)).where(
    _C.authenticator_id == bindparam("owned"), _C.created_at > bindparam("after")
)
_OPEN: Final = insert(otp_challenges)
_FORGET: Final = delete(otp_challenges).where(_C.expires_at < bindparam("at"))


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a code is asked for; of each purpose one code is live."""

    authenticator_id: str
    session_id: str
    txn: str
    intent_sha256: str

    @property
    def slot(self) -> str:
        """The value that is unique among live challenges."""
        return f"{self.authenticator_id}:{self.txn}"


@dataclass(frozen=True, slots=True)
class Challenge:
    """A live challenge."""

    id: str
    purpose: Purpose
    failures: int
    sent: Sent

    @property
    def binding(self) -> Binding:
        """What the code is derived from."""
        purpose = self.purpose
        return Binding(self.id, purpose.authenticator_id, purpose.session_id, purpose.txn, purpose.intent_sha256)


class Verdict(Enum):
    """What became of a code that was typed."""

    ACCEPTED = "accepted"
    WRONG = "wrong"
    DEAD = "dead"
    LOCKED = "locked"


def standing(connection: Connection, item: Authenticator, now: datetime) -> Standing:
    """What happened to an authenticator so far."""
    # A success does not begin the day anew: whoever guesses need only wait for the person to sign something (OTP-02).
    since = epoch(now - DAY) + 1
    wrong = connection.execute(_WRONG, {"owned": item.id, "since": since}).scalar_one()
    messages = connection.execute(_MESSAGES, {"owned": item.id, "after": epoch(now - HOUR)}).scalar_one()
    return Standing(item.disabled, item.not_before, item.failures, int(wrong), int(messages))


def live(connection: Connection, purpose: Purpose, now: datetime) -> Challenge | None:
    """The live challenge of a purpose: of this very session, transaction and content."""
    given = {"slot": purpose.slot, "in_session": purpose.session_id, "intent": purpose.intent_sha256, "at": epoch(now)}
    row = connection.execute(_BY_SLOT, given).one_or_none()
    return None if row is None else _challenge(row)


def latest(connection: Connection, session_id: str, txn: str, now: datetime) -> Challenge | None:
    """The live challenge of a transaction that was sent last, whatever its authenticator."""
    rows = connection.execute(_BY_TXN, {"of_txn": txn, "in_session": session_id, "at": epoch(now)}).all()
    return _challenge(rows[0]) if rows else None


def in_session(connection: Connection, session_id: str, now: datetime) -> tuple[Challenge, ...]:
    """All live challenges of a session, whatever they are for, the one that was sent last first."""
    rows = connection.execute(_IN_SESSION, {"in_session": session_id, "at": epoch(now)}).all()
    return tuple(_challenge(row) for row in rows)


def open_or_resend(
    connection: Connection, purpose: Purpose, *, new_id: str, now: datetime, limits: OtpSettings
) -> Challenge:
    """Make a challenge, or take the live one of the same purpose, and count one message.  Sending is the caller's.

    :raises OtpLocked: the authenticator may not be used.
    :raises OtpCoolDown: no message may go out yet.
    """
    item = authenticators.lock(connection, purpose.authenticator_id)
    found = live(connection, purpose, now)
    check_may_send(standing(connection, item, now), None if found is None else found.sent, now, limits)
    at = epoch(now)
    if found is not None:
        connection.execute(update(otp_challenges).where(_C.id == found.id).values(sent_at=at, sends=_C.sends + 1))
        sent = Sent(found.sent.sends + 1, from_epoch(at), found.sent.expires_at)
        return Challenge(found.id, purpose, found.failures, sent)
    # What else is in the slot has expired, or was made for another session or content: it is never to be right again.
    _close(connection, "expired", at, _C.live_slot == purpose.slot)
    values = {
        "id": new_id,
        "authenticator_id": purpose.authenticator_id,
        "session_id": purpose.session_id,
        "txn": purpose.txn,
        "intent_sha256": purpose.intent_sha256,
        "state": "live",
        "live_slot": purpose.slot,
        "failures": 0,
        "sends": 1,
        "created_at": at,
        "sent_at": at,
        "expires_at": at + limits.lifetime_seconds,
    }
    connection.execute(_OPEN, values)
    sent = Sent(1, from_epoch(at), from_epoch(at) + timedelta(seconds=limits.lifetime_seconds))
    return Challenge(new_id, purpose, 0, sent)


def not_sent(connection: Connection, challenge_id: str) -> None:
    """The gateway refused the message: another try need not wait, and will carry the same code (OTP-09).

    Not for a gateway that gave no answer: it may have delivered the message, which then counts (OTP-07).
    """
    connection.execute(update(otp_challenges).where(_C.id == challenge_id).values(sent_at=0, sends=_C.sends - 1))


def attempt(
    connection: Connection, purpose: Purpose, typed: str, *, key: bytes, now: datetime, limits: OtpSettings
) -> tuple[Verdict, str | None]:
    """Judge a code that was typed, and count; returns the verdict and the challenge's id.

    Nothing is raised, so that the caller commits what was counted.

    1. The authenticator is usable.  2. There is a live challenge of this purpose.  3. The code is right.
    4. Using it up succeeds: of two that come at once, one does (OTP-04).
    """
    item = authenticators.lock(connection, purpose.authenticator_id)
    try:
        check_usable(standing(connection, item, now), now, limits)
    except OtpLocked:
        return Verdict.LOCKED, None
    found = live(connection, purpose, now)
    if found is None:
        close_expired(connection, purpose.session_id, purpose.txn, now)
        return Verdict.DEAD, None
    if found.failures >= limits.max_wrong:
        return Verdict.DEAD, found.id
    if not matches(key, found.binding, typed):
        _count_wrong(connection, found, now, limits)
        dead = found.failures + 1 >= limits.max_wrong
        return (Verdict.DEAD if dead else Verdict.WRONG), found.id
    if not _close(connection, "used", epoch(now), (_C.id == found.id) & (_C.failures < limits.max_wrong)):
        return Verdict.DEAD, found.id
    authenticators.succeeded(connection, item.id, now)
    return Verdict.ACCEPTED, found.id


def close_expired(connection: Connection, session_id: str, txn: str, now: datetime) -> None:
    """Somebody was told that a code has expired: it stays so, should the clock be set back."""
    which = (_C.session_id == session_id) & (_C.txn == txn) & (_C.expires_at <= epoch(now))
    _close(connection, "expired", epoch(now), which)


def _count_wrong(connection: Connection, found: Challenge, now: datetime, limits: OtpSettings) -> None:
    connection.execute(update(otp_challenges).where(_C.id == found.id).values(failures=_C.failures + 1))
    _close(connection, "failed", epoch(now), (_C.id == found.id) & (_C.failures >= limits.max_wrong))
    authenticators.failed(connection, found.purpose.authenticator_id, now, most=limits.max_wrong_ever)


def _close(connection: Connection, state: str, at: int, which: Any) -> bool:
    """Take live challenges out of their slots; whether there was one."""
    closed = connection.execute(
        update(otp_challenges)
        .where(_C.state == "live", which)
        .values(state=state, live_slot=None, closed_at=at)
    )
    return closed.rowcount > 0


def purge(connection: Connection, now: datetime) -> int:
    """Forget challenges that no limit looks at any more; returns how many."""
    return connection.execute(_FORGET, {"at": epoch(now - DAY) - 3600}).rowcount


def _challenge(row: Row[Any]) -> Challenge:
    purpose = Purpose(row.authenticator_id, row.session_id, row.txn, row.intent_sha256)
    sent = Sent(row.sends, from_epoch(row.sent_at), from_epoch(row.expires_at))
    return Challenge(row.id, purpose, row.failures, sent)
