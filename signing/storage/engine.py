"""Engines whose transactions mean what the ledger needs them to mean.

SQLite: write-ahead log, ``synchronous=FULL`` (a commit that was answered survives a loss of power), every writing
transaction begins with ``BEGIN IMMEDIATE``, so that it never fails half-way for a lock.  PostgreSQL: READ COMMITTED
with explicit row locks, ``synchronous_commit`` on whatever the server's default, and limits on waiting.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from signing.sam.errors import StateRefused
from signing.storage import wire

READ_ONLY: Final = "privyseal_read_only"
"""Execution option of a connection that will not write: on SQLite its transaction does not take the write lock."""

LOCK_SECONDS: Final = 5
"""How long a statement waits for another transaction."""
STATEMENT_SECONDS: Final = 10
CONNECT_SECONDS: Final = 5


def open_engine(url: str, *, pool_size: int = 8) -> Engine:
    """An engine for the module's database.

    :param url: ``sqlite:///path`` or ``postgresql+psycopg://...``.
    :raises StateRefused: another kind of database.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StateRefused("the database URL cannot be read") from error
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    if parsed.drivername == "postgresql+psycopg":
        return _postgresql(parsed, pool_size)
    raise StateRefused("the database must be SQLite or PostgreSQL through psycopg")


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": LOCK_SECONDS},
        pool_size=8,
        max_overflow=32,
        # An error's text must not quote what was written.
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # The driver's own idea of when a transaction begins is switched off; `begin` below decides.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={LOCK_SECONDS * 1000}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get(READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _postgresql(url: URL, pool_size: int) -> Engine:
    engine = create_engine(
        url,
        isolation_level="READ COMMITTED",
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=LOCK_SECONDS,
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "options": (
                f"-c synchronous_commit=on -c timezone=UTC -c lock_timeout={LOCK_SECONDS}s"
                f" -c statement_timeout={STATEMENT_SECONDS}s"
                f" -c idle_in_transaction_session_timeout={STATEMENT_SECONDS}s"
            ),
        },
    )
    event.listen(engine, "connect", wire.configure)
    return engine
