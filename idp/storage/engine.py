"""Opening the identity provider's database: SQLite on one machine, PostgreSQL for more."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from foundation.errors import SettingsError
from idp.errors import NotInitialised, SchemaMismatch
from idp.settings import SQLITE_IN_PRODUCTION
from idp.storage.models import SCHEMA_VERSION, metadata, schema_version

_BUSY_MILLISECONDS: Final = 10_000
_OWNER_ONLY: Final = 0o600
_READS: Final = "privyseal_reads_only"


def open_engine(url: str, *, production: bool = False) -> Engine:
    """An engine with a connection pool; nothing is opened yet.

    :raises SettingsError: SQLite, in production: the URL may come from a file that the settings only name.
    """
    parsed = make_url(url)
    # An error's text must not quote what was written: hide_parameters.
    if parsed.get_backend_name() != "sqlite":
        driver = parsed.set(drivername="postgresql+psycopg")
        return create_engine(driver, pool_pre_ping=True, hide_parameters=True)
    if production:
        raise SettingsError((SQLITE_IN_PRODUCTION,))
    engine = create_engine(parsed, connect_args={"timeout": _BUSY_MILLISECONDS / 1000}, hide_parameters=True)
    event.listen(engine, "do_connect", _own_sqlite_file)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _own_sqlite_file(_dialect: Any, _entry: object, arguments: Sequence[Any], _options: object) -> None:
    """Make a file that is not there yet its owner's only; SQLite gives the files beside it the same mode."""
    if arguments[0].startswith((":memory:", "file:")):
        return
    # One that is there stays as it is, and SQLite says what is wrong with a path that cannot be opened.
    with suppress(OSError):
        os.close(os.open(arguments[0], os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ONLY))


def _prepare_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    # The driver must not begin transactions of its own: _begin_sqlite does.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MILLISECONDS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads first and writes later fails at once when another wrote in between, whatever
    # the busy timeout; so every transaction that may write takes the write lock when it begins.
    deferred = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN DEFERRED" if deferred else "BEGIN IMMEDIATE")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads, and on SQLite waits for no writer."""
    with engine.execution_options(**{_READS: True}).begin() as connection:
        yield connection


def create_tables(engine: Engine) -> None:
    """Make what is missing; harmless when all is there.

    :raises SchemaMismatch: the tables are of another version.
    """
    metadata.create_all(engine)
    with engine.begin() as connection:
        found = connection.execute(select(schema_version.c.version)).scalar_one_or_none()
        if found is None:
            connection.execute(insert(schema_version).values(id=1, version=SCHEMA_VERSION))
        elif found != SCHEMA_VERSION:
            raise SchemaMismatch(f"the database has version {found}, this program needs {SCHEMA_VERSION}")


def check_schema(engine: Engine) -> None:
    """The tables are there, and of this program's version.

    :raises NotInitialised: there are none, or the database cannot be reached.
    :raises SchemaMismatch: they are of another version.
    """
    try:
        with reading(engine) as connection:
            found = connection.execute(select(schema_version.c.version)).scalar_one_or_none()
    except SQLAlchemyError as error:
        raise NotInitialised("the database cannot be used: run `privyseal idp init`") from error
    if found != SCHEMA_VERSION:
        raise SchemaMismatch(f"the database has version {found}, this program needs {SCHEMA_VERSION}")
