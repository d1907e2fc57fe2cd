"""Opening the identity provider's database: SQLite on one machine, PostgreSQL for more."""

from __future__ import annotations

import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, cast

import psycopg
from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event, insert, inspect, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from foundation.errors import SettingsError
from idp.errors import NotInitialised, SchemaMismatch
from idp.settings import SQLITE_IN_PRODUCTION
from idp.storage.driver import Driver, DriverCursor, DriverServerCursor
from idp.storage.models import ADDED_TO_SINCE, SCHEMA_VERSION, metadata, schema_version
from idp.storage.statements import READS, refused

_BUSY_MILLISECONDS: Final = 10_000
_OWNER_ONLY: Final = 0o600
_SNAPSHOT: Final = "privyseal_snapshot"
_USED: Final = "privyseal_used_at"
_MOST_PARKED: Final = 4
"""For reading, and as many for writing: little more than half of the pool's five connections and ten more."""
_TRUSTED_SECONDS: Final = 1.0
"""A connection that was used so short a time ago is taken to stand; otherwise a ping is sent first."""


def open_engine(url: str, *, production: bool = False) -> Engine:
    """An engine with a connection pool; nothing is opened yet.

    :raises SettingsError: SQLite, in production: the URL may come from a file that the settings only name.
    """
    parsed = make_url(url)
    # An error's text must not quote what was written: hide_parameters.
    if parsed.get_backend_name() != "sqlite":
        return _postgresql(parsed)
    if production:
        raise SettingsError((SQLITE_IN_PRODUCTION,))
    engine = create_engine(parsed, connect_args={"timeout": _BUSY_MILLISECONDS / 1000}, hide_parameters=True)
    event.listen(engine, "do_connect", _own_sqlite_file)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql(url: URL) -> Engine:
    engine = create_engine(url.set(drivername="postgresql+psycopg"), hide_parameters=True)
    event.listen(engine, "do_connect", _connect_postgresql)
    event.listen(engine, "connect", _prepare_postgresql)
    event.listen(engine, "begin", _begin_postgresql)
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", _look_after(engine.dialect))
    _parked.begin(engine)
    _parked_writers.begin(engine)
    return engine


def _connect_postgresql(_dialect: Any, _entry: object, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    return Driver.connect(*arguments, **options)


def _prepare_postgresql(connection: Any, _entry: ConnectionPoolEntry) -> None:
    # The driver would begin a transaction with every first statement: _begin_postgresql does, where there is to be one.
    connection.autocommit = True
    connection.cursor_factory = DriverCursor
    connection.server_cursor_factory = DriverServerCursor
    # What is asked often prepares itself (idp.storage.statements).  The driver would forget all that is prepared, not
    # only what it prepared, whenever a transaction is rolled back.
    connection.prepare_threshold = None
    # What statements send of their own (idp.storage.statements) is UTF-8, whatever the server would take it for.
    if connection.info.encoding != "utf-8":
        connection.execute("SET client_encoding TO 'UTF8'")


def _begin_postgresql(connection: Connection) -> None:
    # Each statement of what only reads is a transaction of its own: at READ COMMITTED it sees what is committed when
    # it begins, with BEGIN and COMMIT around it too.
    if not connection.get_execution_options().get(READS, False):
        try:
            driver = cast("Driver", connection.connection.dbapi_connection)
            driver.begin(snapshot=connection.get_execution_options().get(_SNAPSHOT, False))
        except psycopg.Error as error:
            raise refused(connection, "BEGIN", error) from error


def _note_use(_connection: Any, entry: ConnectionPoolEntry) -> None:
    entry.info[_USED] = time.monotonic()


def _look_after(dialect: Dialect) -> Callable[[Any, ConnectionPoolEntry, Any], None]:
    """What sees whether a connection still stands before it is used again, where nobody has used it just now."""

    def look(connection: Any, entry: ConnectionPoolEntry, _proxy: Any) -> None:
        used = entry.info.get(_USED)
        if used is None or time.monotonic() - used < _TRUSTED_SECONDS:
            return
        try:
            stands = dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            raise DisconnectionError("the connection is lost") from error
        if not stands:
            raise DisconnectionError("the connection is lost")

    return look


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
    deferred = connection.get_execution_options().get(READS, False)
    connection.exec_driver_sql("BEGIN DEFERRED" if deferred else "BEGIN IMMEDIATE")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads, and on SQLite waits for no writer."""
    if engine.dialect.name == "postgresql":
        # There is nothing to begin: see _begin_postgresql, which SQLAlchemy's own statements come to.
        connection = _parked.take(engine) or engine.connect().execution_options(**{READS: True})
        try:
            yield connection
        finally:
            _parked.put_back(engine, connection)
        return
    with engine.connect() as connection, connection.execution_options(**{READS: True}).begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """What ``engine.begin()`` is, for what is written with every sign-in."""
    if engine.dialect.name != "postgresql":
        with engine.begin() as connection:
            yield connection
        return
    connection = _parked_writers.take(engine) or engine.connect()
    try:
        with connection.begin():
            yield connection
    finally:
        _parked_writers.put_back(engine, connection)


class _Parked:
    """Connections that wait for the next who wants one, since a request reads half a dozen times and writes twice.

    To take one from the pool and to give it back costs more than most of what is read.  A few stay out of it, each used
    by one thread at a time; one that nobody used for a moment goes back, so that the pool looks after it.
    """

    def __init__(self) -> None:
        self._lots: weakref.WeakKeyDictionary[Engine, list[tuple[float, Connection]]] = weakref.WeakKeyDictionary()

    def begin(self, engine: Engine) -> None:
        """Park connections of an engine from now on, until it is disposed of."""
        lot: list[tuple[float, Connection]] = []
        self._lots[engine] = lot
        event.listen(engine, "engine_disposed", lambda _engine: self._clear(lot, for_good=True))

    def take(self, engine: Engine) -> Connection | None:
        """One that was used a moment ago, or None."""
        lot = self._lots.get(engine, _NOBODY)
        try:
            used, connection = lot.pop()
        except IndexError:
            return None
        if time.monotonic() - used < _TRUSTED_SECONDS:
            return connection
        connection.close()
        self._clear(lot)
        return None

    def put_back(self, engine: Engine, connection: Connection) -> None:
        """Park it; where it is not as it came, or there are enough, it goes back to the pool."""
        lot = self._lots.get(engine)
        spoilt = connection.closed or connection.invalidated
        # SQLAlchemy begins something for each statement of its own, which the pool ends.
        if lot is None or len(lot) >= _MOST_PARKED or spoilt or connection.in_transaction():
            connection.close()
            return
        driver = cast("Driver", connection.connection.dbapi_connection)
        driver.forget_kept_back()
        if driver.idle:
            lot.append((time.monotonic(), connection))
        else:  # whatever SQLAlchemy takes it for: the pool ends what the server is in
            connection.close()

    @staticmethod
    def _clear(lot: list[tuple[float, Connection]], *, for_good: bool = False) -> None:
        with suppress(IndexError):
            while True:
                _used, connection = lot.pop()
                if for_good:  # its pool is no more: nobody would close it there
                    connection.invalidate()
                connection.close()


_NOBODY: Final[list[tuple[float, Connection]]] = []
_parked: Final = _Parked()
_parked_writers: Final = _Parked()


def for_snapshot(engine: Engine) -> Engine:
    """The engine with transactions whose reads all see one moment; for reading only."""
    # On PostgreSQL not the option of single reads, which have no transaction; on SQLite they have one.
    return engine.execution_options(**{_SNAPSHOT if engine.dialect.name == "postgresql" else READS: True})


def create_tables(engine: Engine) -> None:
    """Make what is missing, also what this version adds to an earlier one's tables; harmless when all is there.

    :raises SchemaMismatch: the tables are of a version that no others can be added to; nothing was changed.
    """
    with engine.begin() as connection:
        found = _version(connection) if inspect(connection).has_table(schema_version.name) else None
        if found is not None and not ADDED_TO_SINCE <= found <= SCHEMA_VERSION:
            raise _mismatch(found)
        metadata.create_all(connection)
        for table in metadata.sorted_tables:
            for index in table.indexes:  # of a table that was there, those are not made with it
                index.create(connection, checkfirst=True)
        if found is None:
            connection.execute(insert(schema_version).values(id=1, version=SCHEMA_VERSION))
        elif found != SCHEMA_VERSION:
            connection.execute(update(schema_version).values(version=SCHEMA_VERSION))


def check_schema(engine: Engine) -> None:
    """The tables are there, and of this program's version.

    :raises NotInitialised: there are none, or the database cannot be reached.
    :raises SchemaMismatch: they are of another version.
    """
    try:
        with reading(engine) as connection:
            found = _version(connection)
    except SQLAlchemyError as error:
        raise NotInitialised("the database cannot be used: run `privyseal idp init`") from error
    if found != SCHEMA_VERSION:
        raise _mismatch(found)


def _version(connection: Connection) -> int | None:
    return connection.execute(select(schema_version.c.version)).scalar_one_or_none()


def _mismatch(found: int | None) -> SchemaMismatch:
    text = f"the database has version {found}, this program needs {SCHEMA_VERSION}"
    if found is None or ADDED_TO_SINCE <= found < SCHEMA_VERSION:
        return SchemaMismatch(f"{text}: stop every node and run `privyseal idp init`, which adds what is missing")
    if found > SCHEMA_VERSION:
        return SchemaMismatch(f"{text}: it belongs to a later program")
    return SchemaMismatch(f"{text}; before the first release there is no way from one to the other: begin anew")
