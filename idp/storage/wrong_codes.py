"""Wrong codes of the last day, by account and kind: no success takes any of them back (OTP-02)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, ForeignKey, Index, String, Table, delete, func, insert, select

from foundation.clock import epoch
from idp.authn.codes import DAY_SECONDS
from idp.storage.models import metadata

wrong_codes: Final = Table(
    "wrong_codes",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account_id", String(64), ForeignKey("accounts.id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("ix_wrong_codes_counting", "account_id", "kind", "at"),
)
_W: Final = wrong_codes.c


def count(connection: Connection, account_id: str, kind: str, now: datetime) -> int:
    """How many there were within 24 hours; call it while the rows of the account's authenticators are locked."""
    query = select(func.count()).select_from(wrong_codes)
    mine = (_W.account_id == account_id) & (_W.kind == kind) & (_W.at > epoch(now) - DAY_SECONDS)
    return connection.execute(query.where(mine)).scalar_one()


def add(connection: Connection, wrong_id: str, account_id: str, kind: str, now: datetime) -> None:
    """Count one, and forget those of this account that no longer count."""
    old = (_W.account_id == account_id) & (_W.at <= epoch(now) - DAY_SECONDS)
    connection.execute(delete(wrong_codes).where(old))
    connection.execute(insert(wrong_codes).values(id=wrong_id, account_id=account_id, kind=kind, at=epoch(now)))
