"""A database set back: all its tables, or some, as they were before (SQLite and PostgreSQL)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, delete, insert, select

from signing.storage.tables import metadata

Copy = Mapping[str, Sequence[Mapping[str, Any]]]


def copy_tables(engine: Engine) -> Copy:
    """All rows of all tables."""
    with engine.connect() as connection:
        return {
            table.name: [dict(row._mapping) for row in connection.execute(select(table))]
            for table in metadata.sorted_tables
        }


def put_back(engine: Engine, copy: Copy, tables: Collection[str] | None = None) -> None:
    """The tables as they were in the copy; all of them unless some are named."""
    chosen = [table for table in metadata.sorted_tables if tables is None or table.name in tables]
    with engine.begin() as connection:
        for table in reversed(chosen):
            connection.execute(delete(table))
        for table in chosen:
            if rows := copy[table.name]:
                connection.execute(insert(table), [dict(row) for row in rows])
