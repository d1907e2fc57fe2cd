"""The driver's connections and cursors, with less to and fro: what can wait is sent with what comes next.

A transaction's BEGIN, and statements whose answers nobody needs yet, are kept back until something is asked or the
transaction is committed, and then go to the server with it: one way there and back for all of them (libpq's pipeline
mode).  The server carries them out one after another, as if each had been sent by itself, and none behind one that
fails.
"""

from __future__ import annotations

import functools
import json
import select
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import psycopg
from psycopg import pq
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.types.json import set_json_loads

_OK: Final = frozenset({pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK})
_EITHER: Final = select.POLLIN | select.POLLOUT

Bound = Sequence[Any]
"""Values of a statement's placeholders: octets in text form, or None."""


class StatementFailed(Exception):
    """A statement that was kept back was refused when it was sent."""

    def __init__(self, sql: str, error: psycopg.Error) -> None:
        super().__init__(sql)
        self.sql = sql
        self.error = error


class Asked:
    """A statement that is kept back or was sent."""

    __slots__ = ("bound", "name", "result", "sql")

    def __init__(self, sql: str, name: bytes = b"", bound: Bound = ()) -> None:
        """:param name: under which it is prepared; empty: it is not, and has no values."""
        self.sql = sql
        self.name = name
        self.bound = bound
        self.result: pq.abc.PGresult | None = None
        """Once it was sent."""

    def send(self, server: pq.abc.PGconn) -> None:
        """Hand it to libpq."""
        if self.name:
            server.send_query_prepared(self.name, self.bound)
        else:
            server.send_query_params(self.sql.encode(), None)


class Driver(psycopg.Connection[Any]):
    """Says begin, commit and rollback without a cursor, and nothing where there is nothing to begin or to end."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.prepared: set[bytes] = set()
        """Names of what the server has prepared for it."""
        self._kept_back: list[Asked] = []

    @property
    def idle(self) -> bool:
        """Whether the server is in no transaction, as far as anybody knows here."""
        return self.pgconn.transaction_status == pq.TransactionStatus.IDLE

    def begin(self, *, snapshot: bool = False) -> None:
        """Begin a transaction with whatever is asked first.

        :param snapshot: its reads all see one moment, and it writes nothing.
        """
        # What is read behind a lock has to be seen as it is then, whatever the server or the role has as its default.
        level = "REPEATABLE READ, READ ONLY" if snapshot else "READ COMMITTED"
        self._kept_back = [Asked(f"BEGIN ISOLATION LEVEL {level}")]

    def commit(self) -> None:
        """As PEP 249 has it; the transaction is over, also where nothing was committed.

        :raises psycopg.Error: also that of a statement which was kept back; nothing is committed then.
        """
        if self.idle and not any(asked.name for asked in self._kept_back):
            self._kept_back = []  # nothing but its beginning
        elif self._kept_back:
            self._kept_back.append(Asked("COMMIT"))
            try:
                self.send_kept_back()
            except psycopg.Error:
                # The server has not come to COMMIT, and nobody rolls back what they take to be over.
                if not self.closed:
                    self.rollback()
                raise
        elif self._command(b"COMMIT").command_status == b"ROLLBACK":
            # So the server answers where a statement had failed, and somebody went on in spite of it.
            raise psycopg.errors.InFailedSqlTransaction("a statement had failed: nothing was committed")

    def rollback(self) -> None:
        """As PEP 249 has it; what was kept back is never sent."""
        self._kept_back = []
        if not self.idle:
            self._command(b"ROLLBACK")

    def prepare(self, name: bytes, sql: str) -> None:
        """Have the server prepare a statement, for as long as the connection stands.

        :raises psycopg.Error: it is refused.
        """
        result = self.pgconn.prepare(name, sql.encode())
        if result.status not in _OK:
            raise self._error(result)
        self.prepared.add(name)

    def keep_back(self, asked: Asked) -> None:
        """Send a statement with what comes next in its transaction."""
        self._kept_back.append(asked)

    def forget_kept_back(self) -> None:
        """What was kept back and not sent is nobody's any more."""
        self._kept_back = []

    def ask(self, asked: Asked) -> pq.abc.PGresult:
        """The answer to a statement that is prepared; what was kept back goes with it, before it.

        :raises psycopg.Error: it is refused.
        :raises StatementFailed: one that was kept back is.
        """
        if self._kept_back:
            self._kept_back.append(asked)
            self._send(asked)
        else:
            asked.result = self.pgconn.exec_prepared(asked.name, asked.bound)
        if asked.result is not None and asked.result.status not in _OK:
            raise self._error(asked.result)
        return checked(asked)

    def send_kept_back(self) -> None:
        """Send what was kept back, if there is anything.

        :raises psycopg.Error: a statement is refused.
        """
        if self._kept_back:
            try:
                self._send(None)
            except StatementFailed as failed:
                raise failed.error from failed

    def _send(self, last: Asked | None) -> None:
        sent, self._kept_back = self._kept_back, []
        done = False
        try:
            self._exchange(sent)
            done = True
        finally:
            if not done:
                self.pgconn.finish()  # nobody knows which answers are still to come
        for asked in sent:
            if asked is not last and asked.result is not None and asked.result.status not in _OK:
                raise StatementFailed(asked.sql, self._error(asked.result))

    def _exchange(self, sent: Sequence[Asked]) -> None:
        """One way to the server and back.  Python's lock is free while it waits: another thread may hold what the
        server waits for."""
        server = self.pgconn
        # For the time being: libpq would otherwise wait for room in the socket with Python's lock held.
        server.nonblocking = 1
        server.enter_pipeline_mode()
        for asked in sent:
            asked.send(server)
        server.pipeline_sync()
        while server.flush():
            self._wait(_EITHER)
        for asked in sent:
            asked.result = self._next()
            self._next()  # the end of its results
        self._next()  # the end of all of them
        server.exit_pipeline_mode()
        server.nonblocking = 0

    def _next(self) -> pq.abc.PGresult | None:
        server = self.pgconn
        while server.is_busy():
            self._wait(select.POLLIN)
        return server.get_result()

    def _wait(self, for_what: int) -> None:
        """For the server to send something, or also for room for what is sent to it."""
        socket = select.poll()
        socket.register(self.pgconn.socket, for_what)
        socket.poll()
        self.pgconn.consume_input()

    def _error(self, result: pq.abc.PGresult) -> psycopg.Error:
        """What a refusal is raised as.  libpq gives no SQLSTATE where nobody is at the other end: the driver would take
        that for an error of no kind, and whoever goes on without the database waits for an operational one."""
        found = psycopg.errors.error_from_result(result)
        lost = self.closed and not isinstance(found, psycopg.OperationalError)
        return psycopg.OperationalError("the connection is lost") if lost else found

    def _command(self, command: bytes) -> pq.abc.PGresult:
        result = self.pgconn.exec_(command)
        if result.status not in _OK:
            raise self._error(result)
        return result


_scanned: Final = json.JSONDecoder().raw_decode


def _document(octets: str | bytes) -> Any:
    """What JSON says, without the looks for its encoding and for white space around it that :func:`json.loads` begins
    and ends with: a column's text has neither, as it is written here.

    :raises ValueError: it is none.
    """
    text = octets if isinstance(octets, str) else octets.decode()
    try:
        found, end = _scanned(text)
    except ValueError:
        return json.loads(text)
    return found if end == len(text) else json.loads(text)


class _Reading:
    """How a reader reads: as the driver does, but for JSON."""

    connection = None

    def __init__(self) -> None:
        self.adapters = AdaptersMap(psycopg.adapters)
        set_json_loads(_document, self)


class _Reader(threading.local):
    """The driver's reader of values.  A thread's: whoever reads what came may have given the connection back."""

    def __init__(self) -> None:
        self.values = Transformer(_READING)


_READING: Final = _Reading()
_reader: Final = _Reader()


def rows(result: pq.abc.PGresult, make: Callable[[Sequence[Any]], Any]) -> list[Any]:
    """A result's rows, each made of its values as the driver reads their types; texts are in UTF-8."""
    reader = _reader.values
    reader.set_pgresult(result)
    try:
        return reader.load_rows(0, result.ntuples, make)
    finally:
        reader.set_pgresult(None)  # nothing of an answer stays behind


def checked(asked: Asked) -> pq.abc.PGresult:
    """The answer of what was sent.

    :raises psycopg.Error: it is refused, or was not sent.
    """
    if asked.result is None:
        raise psycopg.InterfaceError("the statement was not sent: its transaction was rolled back")
    if asked.result.status not in _OK:
        raise psycopg.errors.error_from_result(asked.result)
    return asked.result


class DriverCursor(psycopg.Cursor[Any]):
    """What SQLAlchemy's own statements go through: first goes what was kept back.

    Describes a result's columns when somebody looks at them: SQLAlchemy, which knows them from the statement, asks
    every time whether there are any, and the description takes as long as the rest of the driver's work.
    """

    def execute(self, *arguments: Any, **options: Any) -> Any:
        """As PEP 249 has it."""
        cast("Driver", self.connection).send_kept_back()
        return super().execute(*arguments, **options)

    def executemany(self, *arguments: Any, **options: Any) -> None:
        """As PEP 249 has it."""
        cast("Driver", self.connection).send_kept_back()
        super().executemany(*arguments, **options)

    @property
    def description(self) -> list[psycopg.Column] | None:
        """As PEP 249 has it."""
        result = self.pgresult
        if result is None or not result.nfields:
            return super().description

        def read() -> list[psycopg.Column]:
            if self.pgresult is not result:
                raise psycopg.InterfaceError("the result whose columns are asked for is gone")
            return super(DriverCursor, self).description or []

        return cast("list[psycopg.Column]", _Columns(read))


class DriverServerCursor(psycopg.ServerCursor[Any]):
    """The same for a result that stays on the server, and comes in parts."""

    def execute(self, *arguments: Any, **options: Any) -> Any:
        """As PEP 249 has it."""
        cast("Driver", self.connection).send_kept_back()
        return super().execute(*arguments, **options)


class _Columns(Sequence[psycopg.Column]):
    def __init__(self, read: Callable[[], Sequence[psycopg.Column]]) -> None:
        self._read = functools.cache(read)

    def __getitem__(self, index: Any) -> Any:
        return self._read()[index]

    def __len__(self) -> int:
        return len(self._read())

    def __bool__(self) -> bool:
        return True
