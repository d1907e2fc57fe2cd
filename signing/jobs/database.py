"""Engines of the jobs' database: SQLite for one machine, PostgreSQL for any number of web nodes."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, insert, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from foundation.errors import SettingsError
from signing.jobs.errors import JobsUnavailable
from signing.jobs.tables import SCHEMA_VERSION, metadata, state

_LOCK_SECONDS: Final = 5
_STATEMENT_SECONDS: Final = 10
_TABLES_LOCK: Final = 0x70734A6F
"""Advisory lock of PostgreSQL under which tables are made: two nodes may start at once."""


def open_database(url: str) -> Engine:
    """An engine.

    :raises SettingsError: another kind of database.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SettingsError(("the URL of the jobs' database cannot be read",)) from error
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(url)
    if parsed.drivername != "postgresql+psycopg":
        raise SettingsError(("the jobs' database must be SQLite or PostgreSQL through psycopg",))
    options = (
        f"-c timezone=UTC -c lock_timeout={_LOCK_SECONDS}s -c statement_timeout={_STATEMENT_SECONDS}s"
        f" -c idle_in_transaction_session_timeout={_STATEMENT_SECONDS}s"
    )
    return create_engine(
        url,
        isolation_level="READ COMMITTED",
        pool_timeout=_LOCK_SECONDS,
        pool_pre_ping=True,
        # An error's text must not quote what was written.
        hide_parameters=True,
        connect_args={"connect_timeout": _LOCK_SECONDS, "options": options},
    )


def make_tables(engine: Engine) -> None:
    """Make the tables where there are none.

    :raises JobsUnavailable: the database does not answer, or its tables are of another version.
    """
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _TABLES_LOCK})
            metadata.create_all(connection)
            version = connection.execute(select(state.c.schema_version)).scalar_one_or_none()
            if version is None:
                version = SCHEMA_VERSION
                connection.execute(insert(state).values(id=1, schema_version=version))
    except SQLAlchemyError as error:
        raise JobsUnavailable("the jobs' database does not answer") from error
    if version != SCHEMA_VERSION:
        raise JobsUnavailable(f"the jobs' tables are of version {version}, not {SCHEMA_VERSION}")


def _sqlite(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _LOCK_SECONDS}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # The driver's own idea of when a transaction begins is switched off; `begin` below decides.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={_LOCK_SECONDS * 1000}"):
            cursor.execute(f"PRAGMA {pragma}")
        # What was removed is gone from the file too, not only from the table.
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
