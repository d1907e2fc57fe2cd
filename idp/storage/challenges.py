"""Challenges: messages with one-time codes that are on their way.  The database decides every race."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Row, bindparam, case, delete, func, insert, select, update

from foundation.clock import epoch, from_epoch
from idp.authn.otp import DAY, HOUR, Binding, Sent, Standing, check_may_send, check_usable, matches
from idp.errors import NoSuchFactor, OtpLocked
from idp.settings import OtpSettings
from idp.storage import authenticators
from idp.storage.authenticators import Authenticator
from idp.storage.models import otp_challenges
from idp.storage.statements import Statement

_C = otp_challenges.c
# Made once: putting a statement together takes longer than the database's answer.
_BY_SLOT: Final = Statement(
    select(otp_challenges).where(
        _C.live_slot == bindparam("slot"),
        _C.session_id == bindparam("in_session"),
        _C.intent_sha256 == bindparam("intent"),
        _C.expires_at > bindparam("at"),
    )
)
_BY_TXN: Final = Statement(
    select(otp_challenges)
    .where(
        _C.txn == bindparam("of_txn"),
        _C.session_id == bindparam("in_session"),
        _C.state == "live",
        _C.expires_at > bindparam("at"),
    )
    .order_by(_C.sent_at.desc(), _C.created_at.desc())
)
_IN_SESSION: Final = Statement(
    select(otp_challenges)
    .where(_C.session_id == bindparam("in_session"), _C.state == "live", _C.expires_at > bindparam("at"))
    .order_by(_C.sent_at.desc(), _C.created_at.desc())
)
_COUNTS: Final = Statement(
    select(
        func.coalesce(func.sum(_C.failures), 0, type_=BigInteger).label("wrong"),
        func.coalesce(func.sum(case((_C.created_at > bindparam("after"), _C.sends))), 0, type_=BigInteger).label(
            "messages"
        ),
    ).where(_C.authenticator_id == bindparam("owned"), _C.created_at >= bindparam("since"))
)
"""Of one authenticator; ``after`` is not before ``since``."""
_OPEN: Final = Statement(insert(otp_challenges))
_SEND_AGAIN: Final = Statement(update(otp_challenges).where(_C.id == bindparam("which")).values(sends=_C.sends + 1))
_NOT_SENT: Final = Statement(update(otp_challenges).where(_C.id == bindparam("which")).values(sends=_C.sends - 1))
_COUNT_WRONG: Final = Statement(
    update(otp_challenges).where(_C.id == bindparam("which")).values(failures=_C.failures + 1)
)
_IS_LIVE = _C.state == "live"
_CLOSE_SLOT: Final = Statement(update(otp_challenges).where(_IS_LIVE, _C.live_slot == bindparam("slot")))
_CLOSE_EXPIRED: Final = Statement(
    update(otp_challenges).where(
        _IS_LIVE,
        _C.session_id == bindparam("in_session"),
        _C.txn == bindparam("of_txn"),
        _C.expires_at <= bindparam("at"),
    )
)
_USE_UP: Final = Statement(
    update(otp_challenges).where(_IS_LIVE, _C.id == bindparam("which"), _C.failures < bindparam("most"))
)
_GIVE_UP: Final = Statement(
    update(otp_challenges).where(_IS_LIVE, _C.id == bindparam("which"), _C.failures >= bindparam("most"))
)
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


def _locked(
    connection: Connection, purpose: Purpose, now: datetime
) -> tuple[Authenticator, Standing, Challenge | None]:
    """The purpose's authenticator, locked until the transaction ends, what happened to it so far, and the purpose's
    live challenge: both read behind the lock, and asked for together with it.

    :raises NoSuchFactor: there is no such authenticator.
    """
    # A success does not begin the day anew: whoever guesses need only wait for the person to sign something (OTP-02).
    since, after = epoch(now - DAY) + 1, epoch(now - HOUR)
    own = authenticators.locked_later(connection, purpose.authenticator_id)
    counts = _COUNTS.put_off(connection, {"owned": purpose.authenticator_id, "since": since, "after": after})
    live = live_later(connection, purpose, now)
    item = own()
    if item is None:
        raise NoSuchFactor("there is no such authenticator")
    (counted,) = counts().all()
    so_far = Standing(item.disabled, item.not_before, item.failures, int(counted.wrong), int(counted.messages))
    return item, so_far, live()


def live_later(connection: Connection, purpose: Purpose, now: datetime) -> Callable[[], Challenge | None]:
    """The live challenge of a purpose: of this session, transaction and content, asked for with what comes next."""
    given = {"slot": purpose.slot, "in_session": purpose.session_id, "intent": purpose.intent_sha256, "at": epoch(now)}
    later = _BY_SLOT.put_off(connection, given)

    def found() -> Challenge | None:
        row = later().one_or_none()
        return None if row is None else _challenge(row)

    return found


def latest(connection: Connection, session_id: str, txn: str, now: datetime) -> Challenge | None:
    """The live challenge of a transaction that was sent last, whatever its authenticator."""
    return latest_later(connection, session_id, txn, now)()


def latest_later(
    connection: Connection, session_id: str, txn: str, now: datetime
) -> Callable[[], Challenge | None]:
    """The same, asked for with what comes next."""
    later = _BY_TXN.put_off(connection, {"of_txn": txn, "in_session": session_id, "at": epoch(now)})

    def found() -> Challenge | None:
        row = later().first()
        return None if row is None else _challenge(row)

    return found


def in_session(connection: Connection, session_id: str, now: datetime) -> tuple[Challenge, ...]:
    """All live challenges of a session, whatever they are for, the one that was sent last first."""
    rows = _IN_SESSION(connection, {"in_session": session_id, "at": epoch(now)}).all()
    return tuple(_challenge(row) for row in rows)


def open_or_resend(
    connection: Connection, purpose: Purpose, *, new_id: str, now: datetime, limits: OtpSettings
) -> Challenge:
    """Make a challenge, or take the live one of the same purpose, and count one message.  Sending is the caller's.

    :raises OtpLocked: the authenticator may not be used.
    :raises OtpCoolDown: no message may go out yet.
    """
    _, so_far, found = _locked(connection, purpose, now)
    check_may_send(so_far, None if found is None else found.sent, now, limits)
    at = epoch(now)
    if found is not None:
        _SEND_AGAIN.put_off(connection, {"which": found.id, "sent_at": at})
        sent = Sent(found.sent.sends + 1, from_epoch(at), found.sent.expires_at)
        return Challenge(found.id, purpose, found.failures, sent)
    # What else is in the slot has expired, or was made for another session or content: it is never to be right again.
    _CLOSE_SLOT.put_off(connection, {"slot": purpose.slot, **_closed("expired", at)})
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
        "closed_at": None,
    }
    _OPEN.put_off(connection, values)
    sent = Sent(1, from_epoch(at), from_epoch(at) + timedelta(seconds=limits.lifetime_seconds))
    return Challenge(new_id, purpose, 0, sent)


def not_sent(connection: Connection, challenge_id: str) -> None:
    """The gateway refused the message: another try need not wait, and will carry the same code (OTP-09).

    Not for a gateway that gave no answer: it may have delivered the message, which then counts (OTP-07).
    """
    _NOT_SENT.put_off(connection, {"which": challenge_id, "sent_at": 0})


def attempt(
    connection: Connection, purpose: Purpose, typed: str, *, key: bytes, now: datetime, limits: OtpSettings
) -> tuple[Verdict, str | None]:
    """Judge a code that was typed, and count; returns the verdict and the challenge's id.

    Nothing is raised, so that the caller commits what was counted.

    1. The authenticator is usable.  2. There is a live challenge of this purpose.  3. The code is right.
    4. Using it up succeeds: of two that come at once, one does (OTP-04).
    """
    item, so_far, found = _locked(connection, purpose, now)
    try:
        check_usable(so_far, now, limits)
    except OtpLocked:
        return Verdict.LOCKED, None
    if found is None:
        close_expired(connection, purpose.session_id, purpose.txn, now)
        return Verdict.DEAD, None
    if found.failures >= limits.max_wrong:
        return Verdict.DEAD, found.id
    if not matches(key, found.binding, typed):
        _count_wrong(connection, found, now, limits)
        dead = found.failures + 1 >= limits.max_wrong
        return (Verdict.DEAD if dead else Verdict.WRONG), found.id
    given = {"which": found.id, "most": limits.max_wrong, **_closed("used", epoch(now))}
    if _USE_UP(connection, given).rowcount != 1:
        return Verdict.DEAD, found.id
    authenticators.succeeded(connection, item.id, now)
    return Verdict.ACCEPTED, found.id


def close_expired(connection: Connection, session_id: str, txn: str, now: datetime) -> None:
    """Somebody was told that a code has expired: it stays so, should the clock be set back."""
    given = {"in_session": session_id, "of_txn": txn, "at": epoch(now)}
    _CLOSE_EXPIRED.put_off(connection, {**given, **_closed("expired", epoch(now))})


def _count_wrong(connection: Connection, found: Challenge, now: datetime, limits: OtpSettings) -> None:
    _COUNT_WRONG.put_off(connection, {"which": found.id})
    given = {"which": found.id, "most": limits.max_wrong, **_closed("failed", epoch(now))}
    _GIVE_UP.put_off(connection, given)
    authenticators.failed(connection, found.purpose.authenticator_id, now, most=limits.max_wrong_ever)


def _closed(state: str, at: int) -> dict[str, Any]:
    """What a challenge is that is live no more: out of its slot."""
    return {"state": state, "live_slot": None, "closed_at": at}


def purge(connection: Connection, now: datetime) -> int:
    """Forget challenges that no limit looks at any more; returns how many."""
    return connection.execute(_FORGET, {"at": epoch(now - DAY) - 3600}).rowcount


def _challenge(row: Row[Any]) -> Challenge:
    purpose = Purpose(row.authenticator_id, row.session_id, row.txn, row.intent_sha256)
    sent = Sent(row.sends, from_epoch(row.sent_at), from_epoch(row.expires_at))
    return Challenge(row.id, purpose, row.failures, sent)
