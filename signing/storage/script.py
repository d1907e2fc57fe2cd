"""Several statements, one way to the server and back.

What a statement costs on PostgreSQL is mostly the way there, the wait, and what lies on top of the driver: so the
ledger's statements are sent together in the protocol's pipeline mode, past SQLAlchemy and the driver's cursors
(:mod:`signing.storage.wire`), on a connection of SQLAlchemy's pool.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from signing.sam.errors import CommitUnknown, StoreUnavailable
from signing.storage.wire import Rows, Statement, Wire, rows_of

# What a lock was waited for has to be seen behind it, whatever the server or the role has as its default.
_BEGIN: Final[Statement] = ("BEGIN ISOLATION LEVEL READ COMMITTED", ())
COMMIT: Final[Statement] = ("COMMIT", ())


class Script(Protocol):
    """The statements of one transaction.

    Each call may raise IntegrityError or DataError (:mod:`sqlalchemy.exc`): nothing is committed then.
    """

    def ask(self, statements: Sequence[Statement]) -> list[Rows]:
        """Execute; the rows of each, empty where a statement has none."""
        ...

    def finish(self, statements: Sequence[Statement]) -> None:
        """Execute the last ones, and commit.

        :raises DBAPIError: the server answered with an error: nothing is committed.
        :raises CommitUnknown: they were sent with the commit, and what came back tells neither that all was done nor
            that nothing was.
        """
        ...


def script_on(connection: Connection) -> Script:
    """The one for the database."""
    if connection.dialect.name == "postgresql":
        return _Pipelined(connection)
    return _OneByOne(connection)


class _OneByOne:
    """On SQLite, where there is no way to save; whoever began the transaction commits it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ask(self, statements: Sequence[Statement]) -> list[Rows]:
        return [self._rows(*statement) for statement in statements]

    def finish(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            self._rows(*statement)

    def _rows(self, text: str, parameters: tuple[Any, ...]) -> Rows:
        done = self._connection.exec_driver_sql(text, parameters or None)
        return done.all() if done.returns_rows else ()


class _Pipelined:
    """On PostgreSQL."""

    def __init__(self, connection: Connection) -> None:
        self._wire = Wire(connection)

    def ask(self, statements: Sequence[Statement]) -> list[Rows]:
        with _translated():
            return [rows_of(result) for result in self._sent(statements)]

    def finish(self, statements: Sequence[Statement]) -> None:
        try:
            # What fails before the commit keeps it from being executed: the server then skips to the end.
            results = self._sent((*statements, COMMIT))
        except psycopg.Error as error:
            if isinstance(error, (psycopg.IntegrityError, psycopg.DataError)) or self._is_refused(error):
                raise _as_sqlalchemys(error) from error
            raise CommitUnknown("the commit was not answered") from error
        # A transaction that had failed before is rolled back by its COMMIT, which is no error, but says so.
        if results[-1].command_status == b"ROLLBACK":
            raise StoreUnavailable("the server rolled the transaction back")
        if self._wire.status is not TransactionStatus.IDLE:
            raise CommitUnknown("the transaction is still open after its commit")

    def _is_refused(self, error: psycopg.Error) -> bool:
        """Whether an error is the server's word that nothing is committed.

        It says ERROR, not FATAL, and how the transaction is after all that was sent: failed and open where a statement
        was refused, since a COMMIT that is executed leaves none open; over where the COMMIT was.
        """
        if self._wire.status is TransactionStatus.INERROR:
            return True
        return self._wire.status is TransactionStatus.IDLE and error.diag.severity_nonlocalized == "ERROR"

    def _sent(self, statements: Sequence[Statement]) -> list[PGresult]:
        """The results of the statements, in a transaction that begins with the first of them."""
        if self._wire.status is not TransactionStatus.IDLE:
            return self._wire.many(statements)
        return self._wire.many((_BEGIN, *statements))[1:]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise _as_sqlalchemys(error) from error


def _as_sqlalchemys(error: psycopg.Error) -> BaseException:
    """As if SQLAlchemy had sent the statement; without its text and parameters, which may be what was to be written."""
    return DBAPIError.instance(None, None, error, psycopg.Error, hide_parameters=True)
