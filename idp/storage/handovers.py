"""Hand-overs: a certificate that was accepted where certificates are presented, on its way to the page that asked.

The two are different hosts, and the second has no cookie of the first.  So what was seen waits here, under the hash of
a code that went into the very browser that presented it; it is good once, for the session that asked and what it asked
for (SES-07).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Column, Connection, String, Table, delete, insert, select, update

from foundation.clock import epoch
from idp.storage.hashes import hash_token
from idp.storage.models import metadata
from idp.storage.seal import NO_SEAL, Sealer

MAX_OPEN: Final = 3
"""Of one session; the oldest go (DOS-04)."""

handovers: Final = Table(
    "certificate_handovers",
    metadata,
    # The SHA-256 of the code.
    Column("id", String(64), primary_key=True),
    Column("session_id", String(64), nullable=False, index=True),
    # ``interaction`` or ``enrolment``, and which.
    Column("purpose", String(16), nullable=False),
    Column("target", String(64), nullable=False),
    # What stands in the certificate.
    Column("facts", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("seal", String(64), nullable=False, default=""),
    info={"sealed": ("id", "session_id", "purpose", "target", "facts", "created_at", "expires_at")},
)
_H: Final = handovers.c


@dataclass(frozen=True, slots=True)
class Handover:
    """Who may take it, and for what."""

    session_id: str
    purpose: str
    target: str


def leave(
    connection: Connection,
    seals: Sealer,
    code: str,
    handover: Handover,
    facts: Mapping[str, Any],
    *,
    now: datetime,
    life_seconds: int,
) -> None:
    """Keep what was seen under the hash of a code; only the session's latest :data:`MAX_OPEN` stay."""
    mine = _H.session_id == handover.session_id
    latest = select(_H.id).where(mine).order_by(_H.created_at.desc(), _H.id).limit(MAX_OPEN - 1)
    kept = tuple(connection.execute(latest).scalars())
    connection.execute(delete(handovers).where(mine, _H.id.not_in(kept)))
    connection.execute(delete(handovers).where(_H.expires_at <= epoch(now)))
    values: dict[str, Any] = {
        "id": hash_token(code),
        "session_id": handover.session_id,
        "purpose": handover.purpose,
        "target": handover.target,
        "facts": dict(facts),
        "created_at": epoch(now),
        "expires_at": epoch(now) + life_seconds,
    }
    connection.execute(insert(handovers).values(**values, seal=seals.seal(handovers, values)))


def take(connection: Connection, seals: Sealer, code: str, wanted: Handover, now: datetime) -> dict[str, Any] | None:
    """What was seen, once; None: there is nothing under this code for this session and purpose.

    A code that comes to the wrong session is spent all the same: it has left the browser that it was made for.
    """
    row = connection.execute(select(handovers).where(_H.id == hash_token(code), _H.seal != NO_SEAL)).one_or_none()
    if row is None:
        return None
    ended = connection.execute(
        update(handovers).where(_H.id == row.id, _H.seal == row.seal).values(seal=NO_SEAL, facts={})
    )
    found = Handover(row.session_id, row.purpose, row.target)
    if ended.rowcount != 1 or not seals.holds(handovers, row) or found != wanted or row.expires_at <= epoch(now):
        return None
    facts: dict[str, Any] = row.facts
    return facts
