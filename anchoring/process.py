"""One round of the anchor process: verify, export, stamp, keep.

The chain's own database may be written by somebody who should not; this process only reads it.  What it found before
is the beginning of what it verifies now: a chain that was shortened or written anew up to there does not continue it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, MetaData
from sqlalchemy.exc import SQLAlchemyError

from anchoring import files
from anchoring.errors import AnchorError, DatabaseUnusable, NotStamped
from anchoring.files import AnchorFile
from anchoring.record import Anchor, imprint_of
from anchoring.settings import AnchorSettings
from auditlog.chain import EMPTY, Checkpoint, Entry, Head, verify
from auditlog.errors import AuditError, ChainBroken, ChainTruncated
from auditlog.sql import audit_tables, checkpoint, read_entries, read_head
from connectors.ports.tsa import TimestampAuthority, TsaError
from foundation import log
from foundation.clock import Clock

_TABLES: Final = audit_tables(MetaData())
_logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did."""

    records: int
    """How many records the chain has."""
    fresh: int
    """How many of them are new since the last anchor."""
    anchored: bool
    """Whether there was anything to anchor."""
    authority: str | None = None
    """Who stamped it."""


class Anchorer:
    """Anchors one chain.  Used by one thread."""

    def __init__(
        self, settings: AnchorSettings, engine: Engine, authorities: Sequence[TimestampAuthority], clock: Clock
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._authorities = tuple(authorities)
        self._clock = clock
        self._file = AnchorFile(settings.anchors_file)
        self._known: Head | None = None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else adds to the anchors meanwhile: rounds are made inside of it.

        :raises AnchorFileUnusable: another process does.
        """
        with self._file.alone():
            yield

    def once(self) -> Round:
        """A round.  The first verifies the whole chain against all anchors, later ones what is new.

        :raises ChainBroken: naming the first record that is not as it was.
        :raises AuditError: :raises DatabaseUnusable: the chain cannot be read.
        :raises AnchorFileUnusable: the anchors or the export cannot be written.
        :raises NotStamped: no authority answered; what was found is anchored by a later round.
        """
        anchors = self._file.read() if self._known is None else ()
        known = self._known or (_head_of(anchors[-1].checkpoint) if anchors else EMPTY)
        found = self._verified(known, [item.checkpoint for item in anchors])
        self._known = known
        if found.sequence == known.sequence:
            return Round(found.sequence, 0, anchored=False)
        if self._settings.export_dir is not None:
            self._export(self._settings.export_dir, known, found)
        made = checkpoint(found, self._clock.now())
        token, authority = self._stamped(made)
        self._file.add(Anchor(made, token))
        self._known = found
        return Round(found.sequence, found.sequence - known.sequence, anchored=True, authority=authority)

    def run(self, stop: threading.Event) -> None:
        """Rounds until told to stop.  What goes wrong is an alarm, and is tried again."""
        while True:
            try:
                done = self.once()
            except ChainBroken as error:
                fields = {"record": error.sequence, "reason": error.reason}
                _logger.critical("the audit chain is broken", extra={"fields": fields})
            except (AnchorError, AuditError) as error:
                _logger.error("the audit chain was not anchored", extra={"fields": {"cause": error.code}})
            else:
                if done.anchored:
                    fields = {"records": done.records, "fresh": done.fresh, "authority": done.authority or ""}
                    _logger.info("the audit chain was anchored", extra={"fields": fields})
            if stop.wait(self._settings.interval_seconds):
                return

    def _verified(self, known: Head, checkpoints: Sequence[Checkpoint]) -> Head:
        """The chain up to its head row: all of it where checkpoints are given, else what follows ``known``."""
        try:
            with self._engine.connect() as connection:
                # The head row first: records that are written meanwhile only make the chain longer.
                head = read_head(connection, _TABLES.head)
                start = EMPTY if checkpoints or known == EMPTY else known
                if start != EMPTY:
                    _check_still_there(connection, known)
                after = None if start == EMPTY else start.sequence
                found = verify(_until(connection, after, head), checkpoints, start=start)
        except SQLAlchemyError as error:
            # A driver's message may quote the URL with its password.
            raise DatabaseUnusable(f"the database cannot be read: {type(error).__name__}") from error
        if found.sequence < max(head.sequence, known.sequence):
            raise ChainTruncated(found.sequence + 1, "missing; the head row or an anchor knows of it")
        if found.hash != head.hash:
            raise ChainBroken(head.sequence, "is not the one of the head row")
        return found

    def _export(self, folder: Path, known: Head, found: Head) -> None:
        """Go on where the export ends: after a round without a stamp that is behind the last anchor."""
        last = files.exported(folder)
        after = known.sequence if last is None else last
        if after > found.sequence:
            raise ChainTruncated(found.sequence + 1, "missing; the export has it")
        files.export(folder, self._entries(after, found))

    def _entries(self, after: int, found: Head) -> Iterator[Entry]:
        try:
            with self._engine.connect() as connection:
                yield from _until(connection, after, found)
        except SQLAlchemyError as error:
            raise DatabaseUnusable(f"the database cannot be read: {type(error).__name__}") from error

    def _stamped(self, made: Checkpoint) -> tuple[bytes, str]:
        for authority in self._authorities:
            try:
                token = authority.stamp(imprint_of(made), "sha256")
            except TsaError as error:
                _logger.warning("an authority gave no stamp", extra={"fields": {"cause": error.code}})
            else:
                return token.der, token.authority
        raise NotStamped("no time-stamping authority gave a stamp")


def _head_of(point: Checkpoint) -> Head:
    return Head(point.sequence, point.hash)


def _until(connection: Connection, after: int | None, end: Head) -> Iterator[Entry]:
    """Records up to a head row that was read before; others may follow, but a head set back must not hide any."""
    last = end
    for entry in read_entries(connection, _TABLES.entries, after=after):
        if entry.sequence > last.sequence:
            last = read_head(connection, _TABLES.head)
            if entry.sequence > last.sequence:
                raise ChainBroken(entry.sequence, "stands after the head row")
        if entry.sequence > end.sequence:
            return
        yield entry


def _check_still_there(connection: Connection, known: Head) -> None:
    """:raises ChainBroken: the record that was anchored last is not there, or another is in its place."""
    there = next(iter(read_entries(connection, _TABLES.entries, after=known.sequence - 1)), None)
    if there is None or there.sequence != known.sequence:
        raise ChainTruncated(known.sequence, "missing; an anchor knows of it")
    if there.hash != known.hash:
        raise ChainBroken(known.sequence, "is not the one that was anchored: the chain was rewritten up to here")
