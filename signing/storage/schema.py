"""Whether a database is this module's, and can be relied on."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import insert, select, text

from auditlog.sql import AuditLog
from foundation.clock import epoch
from signing.sam.errors import StateRefused, StoreUnavailable
from signing.storage.tables import SCHEMA_VERSION, anchored, metadata, state
from signing.storage.transactions import Transactions


def initialise(transactions: Transactions, chain: AuditLog, realm: str, now: datetime) -> None:
    """Make the tables and their first rows; does nothing where they are.

    :raises StateRefused: they are another realm's or another version's.
    """
    with transactions.writing() as connection:
        metadata.create_all(connection)
        chain.initialise(connection)
        if connection.execute(select(state.c.id)).first() is None:
            first = {"id": 1, "schema_version": SCHEMA_VERSION, "realm": realm, "epoch": 1}
            connection.execute(insert(state), {**first, "epoch_not_before": epoch(now)})
            connection.execute(insert(anchored), {"id": 1, "number": 0})
    check(transactions, realm)


def check(transactions: Transactions, realm: str) -> None:
    """Whether this is the database of that realm, in this version's schema.

    :raises StateRefused: it is not.
    """
    try:
        rows = transactions.rows(select(state.c.schema_version, state.c.realm))
    except StoreUnavailable as error:
        raise StateRefused("the database cannot be used, or `privyseal sam init` was not run") from error
    if not rows:
        raise StateRefused("the database has no state: run `privyseal sam init`")
    row = rows[0]
    if row.schema_version != SCHEMA_VERSION:
        found = f"the database has schema {row.schema_version}, and this version needs {SCHEMA_VERSION}"
        raise StateRefused(f"{found}; before the first release there is no way from one to the other: begin anew")
    if row.realm != realm:
        raise StateRefused("the database belongs to another realm")


def check_durability(transactions: Transactions) -> None:
    """Whether a commit that was answered survives a loss of power: the ledger stands on it.

    :raises StateRefused: PostgreSQL was told not to care.
    """
    if not transactions.postgresql:
        return  # the engine sets SQLite's own switch
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        with transactions.reading() as connection:
            value = connection.execute(text("SELECT current_setting(:name)"), {"name": setting}).scalar_one()
        if value == "off":
            raise StateRefused(f"PostgreSQL runs with {setting} off: commits would not survive a loss of power")
