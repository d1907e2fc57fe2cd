"""What became of messages with codes: which gateway took which, and what it said of it since.

Neither text nor address is here.  A row goes when its challenge is forgotten.  A code that was sent to an address which
is to be bound belongs to no authenticator yet: whose it is, and whether it was used, stands in a table of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
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
from sqlalchemy.dialects import postgresql, sqlite

from connectors.ports.messaging import Delivery, DeliveryState, Receipt
from foundation.clock import epoch, from_epoch
from idp.storage.models import authenticators, metadata, otp_challenges
from idp.storage.statements import Statement

otp_messages: Final = Table(
    "otp_messages",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("challenge_id", String(64), nullable=False, index=True),
    Column("gateway", String(64), nullable=False),
    Column("reference", String(255), nullable=False),
    Column("state", String(16), nullable=False),
    Column("sent_at", BigInteger, nullable=False, index=True),
    Column("changed_at", BigInteger, nullable=False),
    Column("asked", Integer, nullable=False, default=0),
    # Null: the gateway is not asked again.
    Column("ask_at", BigInteger, index=True),
    Index("ix_otp_messages_reference", "reference", "gateway"),
)

binding_codes: Final = Table(
    "binding_codes",
    metadata,
    Column("challenge_id", String(64), primary_key=True),
    Column("account_id", String(64), ForeignKey("accounts.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("used", Boolean, nullable=False, default=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

UNKNOWN: Final = "unknown"
"""State of a message of which the gateway did not say whether it took it."""
_ASK_AFTER: Final = (10, 30, 120, 600)
"""Seconds after it was sent, at which a gateway is asked."""
_DAY_SECONDS: Final = 25 * 60 * 60
# Made once: it is asked every other second, whether or not there is anything.
_DUE: Final = Statement(
    select(otp_messages)
    .where(otp_messages.c.ask_at <= bindparam("at"))
    .order_by(otp_messages.c.ask_at)
    .limit(bindparam("most", type_=Integer))
)
_ADD: Final = Statement(insert(otp_messages))
_CLAIM: Final = Statement(
    update(otp_messages).where(otp_messages.c.id == bindparam("which"), otp_messages.c.asked == bindparam("so_far"))
)
_ANSWERED: Final = Statement(update(otp_messages).where(otp_messages.c.id == bindparam("which")))


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that went out."""

    id: str
    challenge_id: str
    delivery: Delivery
    state: str
    """A :class:`DeliveryState`, or :data:`UNKNOWN`."""
    sent_at: datetime
    changed_at: datetime
    asked: int


def add(
    connection: Connection, message_id: str, challenge_id: str, delivery: Delivery | None, now: datetime
) -> None:
    """A message went out.

    :param delivery: None: the gateway did not say whether it took it.
    """
    at = epoch(now)
    askable = delivery is not None and delivery.reference != ""
    _ADD.put_off(
        connection,
        {
            "id": message_id,
            "challenge_id": challenge_id,
            "gateway": "" if delivery is None else delivery.gateway[:64],
            "reference": "" if delivery is None else delivery.reference[:255],
            "state": UNKNOWN if delivery is None else DeliveryState.PENDING.value,
            "sent_at": at,
            "changed_at": at,
            "asked": 0,
            "ask_at": at + _ASK_AFTER[0] if askable else None,
        },
    )


def bind_by(
    connection: Connection, challenge_id: str, *, account_id: str, kind: str, expires_at: datetime
) -> None:
    """A code went out, for the first time or again, to an address that is to be bound."""
    adding = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(binding_codes)
    row = {"challenge_id": challenge_id, "account_id": account_id, "kind": kind, "expires_at": epoch(expires_at)}
    connection.execute(adding.values(**row, used=False).on_conflict_do_nothing())


def bound_by(connection: Connection, challenge_id: str) -> None:
    """That code was typed, and was right."""
    connection.execute(
        update(binding_codes).where(binding_codes.c.challenge_id == challenge_id).values(used=True)
    )


def told(connection: Connection, receipt: Receipt, now: datetime) -> bool:
    """A gateway said what became of a message; False where there is none that waits for it."""
    changed = connection.execute(
        update(otp_messages)
        .where(
            otp_messages.c.reference == receipt.reference,
            otp_messages.c.gateway == receipt.gateway,
            otp_messages.c.state == DeliveryState.PENDING.value,
            otp_messages.c.sent_at > epoch(now) - _DAY_SECONDS,
        )
        .values(state=receipt.state.value, changed_at=epoch(now), **_no_more(receipt.state))
    )
    return changed.rowcount > 0


def due(connection: Connection, now: datetime, limit: int) -> tuple[Sent, ...]:
    """Messages about which a gateway is to be asked now."""
    return tuple(_sent(row) for row in _DUE(connection, {"at": epoch(now), "most": limit}).all())


def claim(connection: Connection, sent: Sent, now: datetime) -> bool:
    """Take the next question; False where another process did."""
    asked = sent.asked + 1
    later = epoch(sent.sent_at) + _ASK_AFTER[asked] if asked < len(_ASK_AFTER) else None
    ask_at = None if later is None else max(later, epoch(now) + 1)
    given = {"which": sent.id, "so_far": sent.asked, "asked": asked, "ask_at": ask_at}
    return _CLAIM(connection, given).rowcount == 1


def answered(connection: Connection, message_id: str, state: DeliveryState | None, now: datetime) -> None:
    """A gateway answered; None: it cannot be asked about this message."""
    values: dict[str, Any] = {"ask_at": None}
    if state is not None:
        values = {"state": state.value, "changed_at": epoch(now), **_no_more(state)}
    _ANSWERED.put_off(connection, {"which": message_id, **values})


def _no_more(state: DeliveryState) -> dict[str, Any]:
    return {} if state is DeliveryState.PENDING else {"ask_at": None}


def of_account(connection: Connection, account_id: str, limit: int) -> tuple[tuple[Sent, str], ...]:
    """The newest messages to a person, each with the kind of authenticator that it was for."""
    kind = func.coalesce(authenticators.c.kind, binding_codes.c.kind).label("kind")
    rows = connection.execute(
        select(otp_messages, kind)
        .outerjoin_from(otp_messages, otp_challenges, otp_challenges.c.id == otp_messages.c.challenge_id)
        .outerjoin(authenticators, authenticators.c.id == otp_challenges.c.authenticator_id)
        .outerjoin(binding_codes, binding_codes.c.challenge_id == otp_messages.c.challenge_id)
        .where((authenticators.c.account_id == account_id) | (binding_codes.c.account_id == account_id))
        .order_by(otp_messages.c.sent_at.desc(), otp_messages.c.id)
        .limit(limit)
    ).all()
    return tuple((_sent(row), row.kind) for row in rows)


def conversion(connection: Connection, now: datetime, seconds: int) -> tuple[int, int]:
    """Of the codes by text message that ended of late, how many there were, and how many were used.

    Those for numbers that are to be bound count too: whoever pumps chooses numbers there (OTP-07).
    """
    at = epoch(now)
    rows = connection.execute(
        select(otp_challenges.c.state, func.count())
        .join_from(otp_challenges, authenticators, authenticators.c.id == otp_challenges.c.authenticator_id)
        .where(
            authenticators.c.kind == "sms_otp",
            otp_challenges.c.sends > 0,
            otp_challenges.c.expires_at > at - seconds,
            (otp_challenges.c.state != "live") | (otp_challenges.c.expires_at <= at),
        )
        .group_by(otp_challenges.c.state)
    ).all()
    counts = {state: int(count) for state, count in rows}
    codes = binding_codes.c
    for used, count in connection.execute(
        select(codes.used, func.count())
        .where(codes.kind == "sms_otp", codes.expires_at > at - seconds, codes.used | (codes.expires_at <= at))
        .group_by(codes.used)
    ):
        state = "used" if used else "expired"
        counts[state] = counts.get(state, 0) + int(count)
    return sum(counts.values()), counts.get("used", 0)


def purge(connection: Connection, now: datetime) -> int:
    """Forget messages of challenges that are forgotten; returns how many."""
    connection.execute(delete(binding_codes).where(binding_codes.c.expires_at < epoch(now) - _DAY_SECONDS))
    return connection.execute(delete(otp_messages).where(otp_messages.c.sent_at < epoch(now) - _DAY_SECONDS)).rowcount


def _sent(row: Row[Any]) -> Sent:
    return Sent(
        id=row.id,
        challenge_id=row.challenge_id,
        delivery=Delivery(row.reference, row.gateway),
        state=row.state,
        sent_at=from_epoch(row.sent_at),
        changed_at=from_epoch(row.changed_at),
        asked=row.asked,
    )
