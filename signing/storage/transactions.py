"""Transactions on the module's database: what was committed, what was not, and what nobody can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, Row, Select
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from signing.sam.errors import CommitUnknown, StoreUnavailable
from signing.storage.engine import READ_ONLY
from signing.storage.wire import Rows, Wire


class Transactions:
    """One database, read and written.  Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        options: dict[str, Any] = {READ_ONLY: True}
        if self.postgresql:
            # One statement sees one moment by itself; without a transaction around it two ways to the server are saved.
            options["isolation_level"] = "AUTOCOMMIT"
        self._single_reads = engine.execution_options(**options)

    @property
    def postgresql(self) -> bool:
        """Whether it is PostgreSQL; else it is SQLite."""
        return self.engine.dialect.name == "postgresql"

    def rows(
        self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, object] | None = None
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        """Read; once more on a new connection where the pool's had died with the server that it was to.

        :raises StoreUnavailable: the database cannot be read.
        """
        try:
            return self._read_once(statement, parameters)
        except StoreUnavailable as error:
            if not _connection_died(error):
                raise
        return self._read_once(statement, parameters)

    def _read_once(
        self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, object] | None
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        try:
            with self._single_reads.connect() as connection:
                return connection.execute(statement, parameters or {}).all()
        except SQLAlchemyError as error:
            raise StoreUnavailable("the database cannot be read") from error

    def quick(self, text: str, values: tuple[Any, ...]) -> Rows | None:
        """Read by one statement in a transaction of its own, on PostgreSQL: SQLAlchemy costs twenty times the database.

        :returns: None where the connection was lost, as all of the pool may be: :meth:`rows` then looks after them.
        :raises StoreUnavailable: the database cannot be read.
        """
        try:
            lent = self.engine.raw_connection()
        except SQLAlchemyError as error:
            raise StoreUnavailable("the database cannot be read") from error
        try:
            return Wire(lent).one(text, values)
        except psycopg.Error as error:
            if lent.dbapi_connection is not None and getattr(lent.dbapi_connection, "closed", True):
                lent.invalidate()
                return None
            raise StoreUnavailable("the database cannot be read") from error
        finally:
            lent.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Several reads.

        :raises StoreUnavailable: the database cannot be read.
        """
        try:
            with self.engine.connect().execution_options(**{READ_ONLY: True}) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreUnavailable("the database cannot be read") from error

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Reads that all see one moment; on SQLite a transaction's reads do so anyway.

        :raises StoreUnavailable: the database cannot be read.
        """
        options: dict[str, Any] = {READ_ONLY: True}
        if self.postgresql:
            options["isolation_level"] = "REPEATABLE READ"
        try:
            with self.engine.connect().execution_options(**options) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreUnavailable("the database cannot be read") from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, committed at the end.

        :raises StoreUnavailable: nothing was committed.
        :raises CommitUnknown: the commit was sent, and what came back was not that it was done.
        :raises IntegrityError: a constraint: for the caller, who knows which.
        """
        try:
            with self.engine.connect() as connection:
                transaction = connection.begin()
                try:
                    yield connection
                except BaseException:
                    with suppress(SQLAlchemyError):  # a connection that is gone has rolled back
                        transaction.rollback()
                    raise
                try:
                    transaction.commit()
                except SQLAlchemyError as error:
                    raise CommitUnknown("the commit was not answered") from error
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise StoreUnavailable("the database cannot be written") from error


def _connection_died(error: StoreUnavailable) -> bool:
    return isinstance(error.__cause__, DBAPIError) and error.__cause__.connection_invalidated
