"""Statements that the hot paths ask, past the driver's cursors: prepared once on each connection, several in one go.

A cursor of the driver's looks up, for each statement anew, how to write its values, whether it is prepared and how to
read its rows, in Python: 60 µs and more, of which the protocol itself needs three.  Here each statement is text with
``$1`` and so on, its values go as text, and its rows come in binary form.
"""

from __future__ import annotations

import hashlib
import select
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGconn, PGresult
from sqlalchemy import Connection, PoolProxiedConnection
from sqlalchemy.pool import ConnectionPoolEntry

from signing.sam.errors import StoreUnavailable

Statement = tuple[str, tuple[Any, ...]]
"""SQL with placeholders, and what goes there: texts, integers and None."""
Rows = Sequence[Sequence[Any]]

_PREPARED: Final = "privyseal_prepared"
"""In a connection's ``info``: the statements that the server has prepared for it."""
_BINARY: Final = pq.Format.BINARY
_FAILED: Final = frozenset({pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE, pq.ExecStatus.PIPELINE_ABORTED})
_OUT_OF_STEP: Final = frozenset({"26000", "42P05", "0A000"})
"""SQLSTATE of a prepared statement that the server does not have, has already, or has for columns of other types."""


def configure(connection: Any, _entry: ConnectionPoolEntry) -> None:
    """For each new connection of the driver's, before it is used."""
    # The driver would forget all that is prepared on the server, not only what it prepared, with each transaction that
    # is rolled back.
    connection.prepare_threshold = None
    if connection.info.encoding != "utf-8":
        connection.execute("SET client_encoding TO 'UTF8'")
        connection.commit()


class Wire:
    """One connection, for one thread at a time."""

    def __init__(self, connection: Connection | PoolProxiedConnection) -> None:
        """:raises StoreUnavailable: it is none of psycopg's."""
        lent = connection.connection if isinstance(connection, Connection) else connection
        driver: Any = lent.dbapi_connection
        if not isinstance(driver, psycopg.Connection):
            raise StoreUnavailable("the connection is not psycopg's")
        self._lent = lent
        self._driver = driver
        self._prepared: set[str] = lent.info.setdefault(_PREPARED, set())

    @property
    def status(self) -> pq.TransactionStatus:
        """How the server's transaction is."""
        return pq.TransactionStatus(self._driver.pgconn.transaction_status)

    def one(self, text: str, values: tuple[Any, ...]) -> Rows:
        """Ask one statement, in whatever transaction there is; none: in one of its own.

        The wait is libpq's own, with Python's lock given away once.

        :raises psycopg.Error: the server refuses it, or the connection is lost.
        """
        server = self._driver.pgconn
        if text not in self._prepared:
            self._checked(server.prepare(_name(text), text.encode()))
            self._prepared.add(text)
        result = server.exec_prepared(_name(text), _all_bound(values), None, _BINARY)
        return rows_of(self._checked(result))

    def many(self, statements: Sequence[Statement]) -> list[PGresult]:
        """Send all, then wait for the answers to all; what fails keeps the server from executing the rest.

        :raises psycopg.Error: the first that the server refused; or the connection was lost, which is closed then.
        """
        bound = [(text, _all_bound(values)) for text, values in statements]
        try:
            answers = self._exchanged(self._driver.pgconn, bound)
        except BaseException:
            # Nobody knows any more which answer would be whose.
            self._driver.close()
            raise
        for _text, result in answers:
            self._checked(result)
        return [result for text, result in answers if text is None]

    def _checked(self, result: PGresult) -> PGresult:
        """:raises psycopg.Error: the server refused the statement."""
        if result.status in _FAILED:
            error = psycopg.errors.error_from_result(result)
            if error.sqlstate in _OUT_OF_STEP:
                # What it has prepared is not what we know of: the pool opens another connection for whoever is next.
                self._lent.invalidate(error, soft=True)
            raise error
        return result

    def _exchanged(
        self, server: PGconn, bound: Sequence[tuple[str, Any]]
    ) -> list[tuple[str | None, PGresult]]:
        """Results in order, each with the statement that it tells of being prepared, if it does."""
        sent: list[str | None] = []
        server.enter_pipeline_mode()
        for text, values in bound:
            name = _name(text)
            if text not in self._prepared and text not in sent:
                server.send_prepare(name, text.encode())
                sent.append(text)
            server.send_query_prepared(name, values, None, _BINARY)
            sent.append(None)
        server.pipeline_sync()
        _flush(server)
        poll = select.poll()
        poll.register(server.socket, select.POLLIN)
        answers = [(text, _answer(server, poll)) for text in sent]
        _result(server, poll)
        server.exit_pipeline_mode()
        self._prepared.update(
            text for text, result in answers if text is not None and result.status == pq.ExecStatus.COMMAND_OK
        )
        return answers


def rows_of(result: PGresult) -> Rows:
    """The rows; empty where a statement gives none.

    :raises psycopg.NotSupportedError: a column of a type that no statement here has.
    """
    count = result.ntuples
    if not count:
        return ()
    columns = [(number, _reader(result.ftype(number))) for number in range(result.nfields)]
    value = result.get_value
    return [
        [None if (octets := value(row, number)) is None else read(octets) for number, read in columns]
        for row in range(count)
    ]


def _answer(server: PGconn, poll: select.poll) -> PGresult:
    """The result of one statement, and the end of what belongs to it."""
    result = _result(server, poll)
    if result is None or _result(server, poll) is not None:
        raise psycopg.OperationalError("the server does not answer statement by statement")
    return result


def _result(server: PGconn, poll: select.poll) -> PGresult | None:
    while server.is_busy():
        poll.poll()
        server.consume_input()
    return server.get_result()


def _flush(server: PGconn) -> None:
    # The driver's connections do not block: what the kernel does not take at once is sent as it takes it, while what
    # the server has to say is taken in, which could otherwise wait for us as we for it.
    while server.flush():
        poll = select.poll()
        poll.register(server.socket, select.POLLIN | select.POLLOUT)
        if any(what & ~select.POLLOUT for _socket, what in poll.poll()):
            server.consume_input()


@lru_cache(maxsize=256)
def _name(text: str) -> bytes:
    """By which the server knows a statement once it is prepared."""
    return b"privyseal_" + hashlib.sha256(text.encode()).hexdigest()[:32].encode()


def _all_bound(values: tuple[Any, ...]) -> Any:
    # Any: the driver's types differ in whether a value may be NULL, and it takes None.
    return [_bound(value) for value in values]


def _bound(value: str | int | None) -> bytes | None:
    """:raises psycopg.DataError: a text has a NUL, which would end it unseen."""
    if value is None:
        return None
    if isinstance(value, int):
        return b"%d" % value
    if "\0" in value:
        raise psycopg.DataError("a text in the database has no NUL")
    return value.encode()


def _integer(octets: bytes) -> int:
    return int.from_bytes(octets, "big", signed=True)


_READERS: Final[dict[int, Callable[[bytes], Any]]] = {
    16: b"\x01".__eq__,
    17: bytes,
    20: _integer,
    21: _integer,
    23: _integer,
    25: bytes.decode,
    1043: bytes.decode,
}
"""By the type's OID: boolean, bytea, bigint, smallint, integer, text, varchar."""


def _reader(oid: int) -> Callable[[bytes], Any]:
    reader = _READERS.get(oid)
    if reader is None:
        raise psycopg.NotSupportedError("a column of a type that is not read here")
    return reader
