"""Reading the audit chain, the latest records first, and the decisions that its records name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, select

from auditlog.chain import Entry
from foundation.clock import from_epoch
from idp.storage.audit import TABLES
from idp.storage.models import decisions

EXPORTED: Final = 10_000
"""Records in one export; the command line has no limit (``privyseal audit export``)."""
_ORIGIN: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Record:
    """A record of the chain."""

    sequence: int
    at: datetime
    event: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision of the policy that was acted on."""

    id: str
    at: datetime
    txn: str
    account_id: str
    client_id: str
    action: str
    outcome: str
    policy_name: str
    policy_sha256: str
    detail: Mapping[str, Any]


def page(
    connection: Connection, *, event: str = "", containing: str = "", before: int | None = None, limit: int = 50
) -> tuple[Record, ...]:
    """Records, the latest first.

    :param event: its name, or how its name begins.
    :param containing: a value that one of the fields has, or a part of it.
    :param before: only those with a smaller sequence number.
    """
    entries = TABLES.entries
    query = select(entries).order_by(entries.c.sequence.desc()).limit(limit)
    if event:
        query = query.where(entries.c.event.startswith(event, autoescape=True))
    if containing:
        # As JSON writes it: the column holds canonical JSON.
        query = query.where(entries.c.fields.contains(json.dumps(containing)[1:-1], autoescape=True))
    if before is not None:
        query = query.where(entries.c.sequence < before)
    return tuple(_record(row) for row in connection.execute(query))


def export(connection: Connection, after: int, limit: int = EXPORTED) -> tuple[Entry, ...]:
    """Whole records with their hashes, in order, from the one after a sequence number."""
    entries = TABLES.entries
    query = select(entries).where(entries.c.sequence > after).order_by(entries.c.sequence).limit(limit)
    return tuple(
        Entry(row.sequence, row.at, row.event, row.fields, row.previous, row.hash) for row in connection.execute(query)
    )


def decision(connection: Connection, decision_id: str) -> Recorded | None:
    """A recorded decision; None if there is none of that identifier."""
    row = connection.execute(select(decisions).where(decisions.c.id == decision_id)).one_or_none()
    if row is None:
        return None
    return Recorded(
        row.id,
        from_epoch(row.at),
        row.txn,
        row.account_id,
        row.client_id,
        row.action,
        row.effect,
        row.policy_name,
        row.policy_sha256,
        row.detail,
    )


def _record(row: Any) -> Record:
    return Record(row.sequence, _ORIGIN + timedelta(microseconds=row.at), row.event, json.loads(row.fields))
