"""Recovery codes that have not been used.  A row is a keyed hash; using a code deletes it, so it is used once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, ForeignKey, String, Table, delete, func, insert, select

from foundation.clock import epoch
from idp.storage.models import authenticators, metadata

recovery_codes: Final = Table(
    "recovery_codes",
    metadata,
    # HMAC under a key outside the database, over account, authenticator and code: nobody can put one here without it.
    Column("digest", String(64), primary_key=True),
    Column("authenticator_id", String(64), ForeignKey("authenticators.id"), nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
)
_R: Final = recovery_codes.c


def keep(connection: Connection, account_id: str, authenticator_id: str, digests: Iterable[str], now: datetime) -> None:
    """Keep the codes of a new authenticator; all earlier ones of the account are forgotten."""
    owned = select(authenticators.c.id).where(authenticators.c.account_id == account_id)
    connection.execute(delete(recovery_codes).where(_R.authenticator_id.in_(owned)))
    rows = [{"digest": one, "authenticator_id": authenticator_id, "created_at": epoch(now)} for one in digests]
    connection.execute(insert(recovery_codes), rows)


def use(connection: Connection, authenticator_id: str, digest: str) -> bool:
    """Use a code up: of two at once, one succeeds (OTP-04)."""
    own = (_R.digest == digest) & (_R.authenticator_id == authenticator_id)
    return connection.execute(delete(recovery_codes).where(own)).rowcount == 1


def left(connection: Connection, authenticator_id: str) -> int:
    """How many have not been used."""
    query = select(func.count()).select_from(recovery_codes).where(_R.authenticator_id == authenticator_id)
    return connection.execute(query).scalar_one()
