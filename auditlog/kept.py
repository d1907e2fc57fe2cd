"""Signed checkpoints in the chain's own database, and who makes them.

Beside the signatures, never on their way: records are read without any lock, and the chain is verified from the last
checkpoint on before another one is signed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection, Table, insert, select
from sqlalchemy.exc import IntegrityError

from auditlog.chain import EMPTY, Entry, Head, microseconds, verify
from auditlog.errors import ChainBroken, ChainTruncated, CheckpointInvalid, ProofInvalid
from auditlog.merkle import Frontier
from auditlog.notes import Point, compared, note_of, open_note
from auditlog.sql import AuditTables, read_entries, read_head
from foundation.clock import Clock

_TRIED: Final = 8
"""How many of the latest checkpoints are looked at for one that the key signed."""


@dataclass(frozen=True, slots=True)
class Made:
    """A checkpoint."""

    point: Point
    note: str


class CheckpointKey(Protocol):
    """What signs checkpoints."""

    def checkpoint_key(self) -> bytes:
        """DER SubjectPublicKeyInfo on P-256."""
        ...

    def sign_checkpoint(self, text: bytes) -> bytes:
        """ECDSA with SHA-256 over :data:`auditlog.chain.ORIGIN` and the text; DER."""
        ...


class Checkpointer:
    """Makes checkpoints of one chain.  Thread-safe; several processes may do so for one database."""

    def __init__(self, tables: AuditTables, origin: str, key: CheckpointKey, clock: Clock) -> None:
        self._tables = tables
        self._origin = origin
        self._key = key
        self._clock = clock
        self._lock = threading.Lock()
        self._last: Made | None = None
        self._frontier = Frontier.empty()

    def forget(self) -> None:
        """Operators have restored the database: go on from what it has."""
        with self._lock:
            self._last = None

    def make(
        self,
        reading: Callable[[], AbstractContextManager[Connection]],
        writing: Callable[[], AbstractContextManager[Connection]],
    ) -> Made | None:
        """Sign where the chain stands; where it stands there already, give back what was signed; None: it is empty.

        :param reading: a transaction that sees one moment.
        :param writing: a transaction that is committed at the end.
        :raises ChainBroken: it does not go on from the last checkpoint, or is not linked.
        """
        with self._lock:
            public_key = self._key.checkpoint_key()
            with reading() as connection:
                last, frontier = self._start(connection, public_key)
                start = EMPTY if last is None else last.point.head()
                head = _grown(connection, self._tables, start, frontier)
            if head == start:
                return last
            point = Point(self._origin, head.sequence, frontier.root(), head.hash, microseconds(self._clock.now()))
            note = note_of(point, public_key, self._key.sign_checkpoint(point.text().encode()))
            # What is given out is what anybody can verify, whatever the device did.
            made = Made(open_note(note, (public_key,)), note)
            # Another process may have signed the same, now or a moment ago: both are true, and one is enough.
            with suppress(IntegrityError), writing() as connection:
                _keep(connection, self._tables.checkpoints, made, frontier)
            self._last, self._frontier = made, frontier
            return made

    def _start(self, connection: Connection, public_key: bytes) -> tuple[Made | None, Frontier]:
        if self._last is not None:
            return self._last, Frontier(self._frontier.size, list(self._frontier.hashes))
        table = self._tables.checkpoints.c
        wanted = select(table.note, table.frontier).order_by(table.size.desc()).limit(_TRIED)
        for row in connection.execute(wanted):
            try:
                point, frontier = open_note(row.note, (public_key,)), Frontier.from_text(row.frontier)
            except (CheckpointInvalid, ProofInvalid):
                continue
            # The tree is remembered by somebody who may write the database; its root is signed.
            signed = (self._origin, frontier.size, frontier.root())
            if (point.origin, point.size, point.root) == signed:
                return Made(point, row.note), frontier
        return None, Frontier.empty()


def read_notes(connection: Connection, table: Table, after: int = -1) -> Iterator[tuple[int, str]]:
    """Sizes and notes of the checkpoints of a greater size, the smallest first."""
    wanted = select(table.c.size, table.c.note).where(table.c.size > after).order_by(table.c.size)
    yield from ((row.size, row.note) for row in connection.execute(wanted).all())


def _grown(connection: Connection, tables: AuditTables, start: Head, frontier: Frontier) -> Head:
    """Verify from ``start`` to the head row."""
    head = read_head(connection, tables.head)
    entries = _until(read_entries(connection, tables.entries, start.sequence), head)
    found = verify(compared(entries, (), frontier, start=start), start=start)
    if head.sequence < start.sequence:
        raise ChainTruncated(head.sequence + 1, "missing; a signed checkpoint knows of it")
    if found.sequence < head.sequence:
        raise ChainTruncated(found.sequence + 1, "missing; the head row knows of it")
    if found.hash != head.hash:
        raise ChainBroken(head.sequence, "is not the one of the head row")
    return found


def _until(entries: Iterator[Entry], head: Head) -> Iterator[Entry]:
    for entry in entries:
        if entry.sequence > head.sequence:
            return
        yield entry


def _keep(connection: Connection, table: Table, made: Made, frontier: Frontier) -> None:
    if connection.execute(select(table.c.size).where(table.c.size == made.point.size)).first() is None:
        values = {"size": made.point.size, "at": made.point.at, "note": made.note, "frontier": frontier.to_text()}
        connection.execute(insert(table), values)
