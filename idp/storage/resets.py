"""Proposals to reset a person's factors, which a second administrator has still to confirm.

Rows are sealed: whoever writes to the database has nobody's factors reset.  What ends a row takes its seal away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import JSON, BigInteger, Column, Connection, ForeignKey, Row, String, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from foundation.clock import epoch, from_epoch
from idp.authn.resets import ResetFactor, ResetProposal
from idp.errors import ResetRefused
from idp.storage.models import metadata
from idp.storage.seal import NO_SEAL, Sealer

LIFE: Final = timedelta(hours=24)
"""How long a proposal waits for a second administrator."""

reset_proposals: Final = Table(
    "reset_proposals",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account_id", String(64), ForeignKey("accounts.id"), nullable=False),
    Column("factors", JSON, nullable=False),
    Column("reason", String(255), nullable=False),
    # The account while it is open: one proposal about one person.
    Column("live_slot", String(64), unique=True),
    Column("proposed_by", String(64), ForeignKey("accounts.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("decided_by", String(64)),
    Column("decided_at", BigInteger),
    Column("seal", String(64), nullable=False, default=""),
    info={
        "sealed": ("id", "account_id", "factors", "reason", "live_slot", "proposed_by", "created_at", "expires_at")
    },
)
_R: Final = reset_proposals.c


@dataclass(frozen=True, slots=True)
class NewReset:
    """What an administrator proposes."""

    id: str
    account_id: str
    factors: tuple[ResetFactor, ...]
    reason: str
    proposed_by: str


def propose(connection: Connection, seals: Sealer, new: NewReset, now: datetime) -> ResetProposal:
    """Propose a reset.

    :raises ResetRefused: a proposal about that person is open.
    """
    _close_expired(connection, now)
    values: dict[str, Any] = {
        "id": new.id,
        "account_id": new.account_id,
        "factors": [[item.id, item.kind] for item in new.factors],
        "reason": new.reason,
        "live_slot": new.account_id,
        "proposed_by": new.proposed_by,
        "created_at": epoch(now),
        "expires_at": epoch(now + LIFE),
    }
    try:
        with connection.begin_nested():
            seal = seals.seal(reset_proposals, values)
            connection.execute(insert(reset_proposals).values(**values, state="open", seal=seal))
    except IntegrityError as error:
        raise ResetRefused("open", "a proposal about that person is open") from error
    return _proposal(values)


def waiting(connection: Connection, seals: Sealer, now: datetime) -> tuple[ResetProposal, ...]:
    """Proposals that can still be confirmed, oldest first."""
    query = select(reset_proposals).where(_R.state == "open", _R.expires_at > epoch(now))
    rows = connection.execute(query.order_by(_R.created_at, _R.id)).all()
    return tuple(_proposal(row._mapping) for row in rows if seals.holds(reset_proposals, row))


def find(connection: Connection, seals: Sealer, proposal_id: str) -> ResetProposal | None:
    """The open proposal of that identifier, expired or not; None if there is none, or it was altered."""
    query = select(reset_proposals).where(_R.id == proposal_id, _R.state == "open")
    row: Row[Any] | None = connection.execute(query).one_or_none()
    return None if row is None or not seals.holds(reset_proposals, row) else _proposal(row._mapping)


def decide(
    connection: Connection, proposal_id: str, state: Literal["confirmed", "rejected"], by: str, now: datetime
) -> bool:
    """End a proposal, once; False if it has ended."""
    changed = connection.execute(
        update(reset_proposals)
        .where(_R.id == proposal_id, _R.state == "open", _R.seal != NO_SEAL)
        .values(state=state, live_slot=None, decided_by=by, decided_at=epoch(now), seal=NO_SEAL)
    )
    return changed.rowcount == 1


def _close_expired(connection: Connection, now: datetime) -> None:
    connection.execute(
        update(reset_proposals)
        .where(_R.state == "open", _R.expires_at <= epoch(now))
        .values(state="expired", live_slot=None, seal=NO_SEAL)
    )


def _proposal(row: Mapping[Any, Any]) -> ResetProposal:
    return ResetProposal(
        id=row["id"],
        account_id=row["account_id"],
        factors=tuple(ResetFactor(*item) for item in row["factors"]),
        reason=row["reason"],
        proposed_by=row["proposed_by"],
        created_at=from_epoch(row["created_at"]),
        expires_at=from_epoch(row["expires_at"]),
    )
