"""The chain in a database, written in the caller's transaction.

The head row is what serialises writers, so it is locked last: whatever else a transaction may have to wait for comes
before it, and the commit soon after.  On PostgreSQL it is ``SELECT ... FOR UPDATE``; on SQLite the
caller's transaction has to begin with ``BEGIN IMMEDIATE``, which excludes every other writer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    case,
    insert,
    select,
    update,
)

from auditlog.catalogue import Catalogue
from auditlog.chain import EMPTY, Checkpoint, Entry, Fields, Head, append, head_of, microseconds
from auditlog.errors import ChainNotReady

_HEAD: Final = 1
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class AuditTables:
    """The tables of a chain."""

    entries: Table
    head: Table
    checkpoints: Table
    """Signed checkpoints; :mod:`auditlog.kept`."""


def audit_tables(metadata: MetaData) -> AuditTables:
    """Define a chain's tables in the metadata of a process's own database."""
    entries = Table(
        "audit_entries",
        metadata,
        Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
        Column("at", BigInteger, nullable=False),
        Column("event", String(64), nullable=False),
        Column("fields", Text, nullable=False),
        Column("previous", String(64), nullable=False, unique=True),
        Column("hash", String(64), nullable=False),
    )
    head = Table(
        "audit_head",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("sequence", BigInteger, nullable=False),
        Column("hash", String(64), nullable=False),
    )
    checkpoints = Table(
        "audit_checkpoints",
        metadata,
        Column("size", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
        Column("at", BigInteger, nullable=False),
        Column("note", Text, nullable=False),
        Column("frontier", Text, nullable=False),
    )
    return AuditTables(entries, head, checkpoints)


@dataclass(frozen=True, slots=True)
class Written:
    """A record that is to be written."""

    event: str
    fields: Fields
    at: datetime


Ask = Callable[[Connection, Mapping[str, Any] | Sequence[Mapping[str, Any]]], Any]
"""Asks a statement with values of its parameters, or once with each of several; gives a result as SQLAlchemy does."""


def asked(statement: Any) -> Ask:
    """As SQLAlchemy asks it."""
    return lambda connection, given: connection.execute(statement, given)


def _counted(move: Ask) -> Ask:
    """What moves the head, and sees whether it did.

    :raises ChainNotReady: it did not.
    """

    def moved(connection: Connection, given: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Any:
        result = move(connection, given)
        if result.rowcount != 1:
            raise ChainNotReady("the audit chain's head moved under its lock")
        return result

    return moved


class AuditLog:
    """A chain in a database."""

    def __init__(
        self,
        tables: AuditTables,
        catalogue: Catalogue,
        prepare: Callable[[Any], Ask] = asked,
        put_off: Callable[[Any], Ask] | None = None,
    ) -> None:
        """
        :param prepare: makes of a statement what asks it, for whoever has a quicker way.
        :param put_off: the same for what may be asked together with the next one of the transaction, or its commit.
            A head that moved under its lock is then told by the database, as a violation of what its column takes.
        """
        self._catalogue = catalogue
        self._entries = tables.entries
        self._head = tables.head
        # Built once: the hot path of a signature writes two records.
        head = select(tables.head.c.sequence, tables.head.c.hash).where(tables.head.c.id == _HEAD)
        self._lock = prepare(head.with_for_update())
        self._insert = (put_off or prepare)(insert(tables.entries))
        unmoved = tables.head.c.sequence == bindparam("before")
        if put_off is None:
            self._move = _counted(
                prepare(
                    update(tables.head)
                    .where(tables.head.c.id == _HEAD, unmoved)
                    .values(sequence=bindparam("after"), hash=bindparam("moved_to"))
                )
            )
        else:
            # Nobody waits to hear how many rows it changed, so it fails by itself: the column takes no NULL.
            self._move = put_off(
                update(tables.head)
                .where(tables.head.c.id == _HEAD)
                .values(sequence=case((unmoved, bindparam("after", type_=BigInteger))), hash=bindparam("moved_to"))
            )

    def initialise(self, connection: Connection) -> None:
        """Begin a chain where there is none."""
        if connection.execute(select(self._head.c.id)).first() is None:
            connection.execute(insert(self._head).values(id=_HEAD, sequence=EMPTY.sequence, hash=EMPTY.hash))

    def append(self, connection: Connection, event: str, fields: Fields, at: datetime) -> Entry:
        """Write a record; the last statement of a transaction before its commit.

        :raises EventRefused: not in the catalogue.
        :raises ChainNotReady: there is no head row, or it changed although it was locked.
        """
        self.check(event, fields)
        (entry,) = self.extend(connection, self.lock(connection), (Written(event, fields, at),))
        return entry

    def check(self, event: str, fields: Fields) -> None:
        """Whether a record may be written, before anything else is: one that may not ends a whole transaction.

        :raises EventRefused: not in the catalogue.
        """
        self._catalogue.check(event, fields)

    def extend(self, connection: Connection, before: Head, records: Sequence[Written]) -> tuple[Entry, ...]:
        """Write records, one after another, which :meth:`check` has seen; the last statements before the commit.

        :param before: what :meth:`lock` gave in the same transaction.
        :param records: at least one.
        :raises ChainNotReady: the head changed although it was locked.
        """
        entries = entries_after(before, records)
        head = head_of(entries[-1])
        self._insert(
            connection,
            [
                {
                    "sequence": entry.sequence,
                    "at": entry.at,
                    "event": entry.event,
                    "fields": entry.fields,
                    "previous": entry.previous,
                    "hash": entry.hash,
                }
                for entry in entries
            ],
        )
        self._move(connection, {"before": before.sequence, "after": head.sequence, "moved_to": head.hash})
        return entries

    def lock(self, connection: Connection) -> Head:
        """Where the chain ends, with nobody else writing to it until the end of the transaction.

        :raises ChainNotReady: there is no head row.
        """
        row = self._lock(connection, {}).first()
        if row is None:
            raise ChainNotReady("the audit chain has no head")
        return Head(row.sequence, row.hash)

    def head(self, connection: Connection) -> Head:
        """Where the chain ends by its head row.

        :raises ChainNotReady: there is none.
        """
        return read_head(connection, self._head)


def entries_after(before: Head, records: Sequence[Written]) -> tuple[Entry, ...]:
    """Records, each behind the one before; the first behind ``before``.

    :raises ChainBroken: the head's hash is none.
    """
    entries: list[Entry] = []
    for record in records:
        entries.append(append(before, record.event, record.fields, record.at))
        before = head_of(entries[-1])
    return tuple(entries)


def read_head(connection: Connection, table: Table) -> Head:
    """The head row.

    :raises ChainNotReady: there is none.
    """
    row = connection.execute(select(table.c.sequence, table.c.hash).where(table.c.id == _HEAD)).first()
    if row is None:
        raise ChainNotReady("the audit chain has no head")
    return Head(row.sequence, row.hash)


def read_entries(connection: Connection, table: Table, after: int | None = None) -> Iterator[Entry]:
    """Records in order, a page at a time.

    :param after: only those with a greater sequence number; None: all, with any below the first that a chain can have,
        which somebody else wrote.
    """
    columns = (table.c.sequence, table.c.at, table.c.event, table.c.fields, table.c.previous, table.c.hash)
    wanted = select(*columns).order_by(table.c.sequence).limit(_PAGE)
    while True:
        page = connection.execute(wanted if after is None else wanted.where(table.c.sequence > after)).all()
        for row in page:
            yield Entry(row.sequence, row.at, row.event, row.fields, row.previous, row.hash)
        if len(page) < _PAGE:
            return
        after = page[-1].sequence


def checkpoint(head: Head, at: datetime) -> Checkpoint:
    """A checkpoint of a head, to be kept outside the database."""
    return Checkpoint(head.sequence, head.hash, microseconds(at))
