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
from anchoring.errors import AnchorError, AnchorFileUnusable, DatabaseUnusable, NotStamped
from anchoring.files import AnchorFile
from anchoring.record import Anchor, imprint_of
from anchoring.settings import AnchorSettings
from auditlog.chain import EMPTY, Checkpoint, Entry, Head, verify
from auditlog.errors import AuditError, ChainBroken, ChainTruncated, CheckpointInvalid
from auditlog.kept import Made, read_notes
from auditlog.merkle import Frontier
from auditlog.notes import compared, key_from_pem, open_note, read_note
from auditlog.sql import audit_tables, checkpoint, read_entries, read_head
from connectors.ports.tsa import TimestampAuthority, TsaError
from foundation import log
from foundation.clock import Clock
from foundation.termination import Termination

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
        self._keys = tuple(_key(path) for path in settings.checkpoint_keys)
        self._anchored: Head | None = None
        self._noted = -1
        self._verified = EMPTY
        self._frontier = Frontier.empty()

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
        anchors = self._file.read() if self._anchored is None else ()
        known = self._anchored or (_head_of(anchors[-1].checkpoint) if anchors else EMPTY)
        noted = max([self._noted, *(read_note(item.note).size for item in anchors if item.note)])
        found, note = self._verify(known, [item.checkpoint for item in anchors], noted)
        self._anchored, self._noted = known, noted
        if found.sequence == known.sequence and note is None:
            return Round(found.sequence, 0, anchored=False)
        if self._settings.export_dir is not None:
            self._export(self._settings.export_dir, known, found)
        made = checkpoint(found, self._clock.now())
        text = "" if note is None else note.note
        token, authority = self._stamped(imprint_of(made, text))
        self._file.add(Anchor(made, token, text))
        self._anchored = found
        self._noted = noted if note is None else note.point.size
        return Round(found.sequence, found.sequence - known.sequence, anchored=True, authority=authority)

    def run(self, stop: threading.Event | Termination) -> None:
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

    def _verify(self, known: Head, checkpoints: Sequence[Checkpoint], noted: int) -> tuple[Head, Made | None]:
        """The chain up to its head row: all of it in the first round, later what is new.

        :returns: where it ends, and the latest signed checkpoint of a size above ``noted``.
        """
        start, frontier = self._verified, Frontier(self._frontier.size, list(self._frontier.hashes))
        try:
            with self._engine.connect() as connection:
                # Before the records: what is written meanwhile only makes the chain longer.
                notes = self._notes(connection, start.sequence)
                head = read_head(connection, _TABLES.head)
                if start != EMPTY:
                    _check_still_there(connection, start)
                after = None if start == EMPTY else start.sequence
                points = [made.point for made in notes]
                entries = compared(_until(connection, after, head), points, frontier, start=start)
                found = verify(entries, checkpoints, start=start)
        except SQLAlchemyError as error:
            # A driver's message may quote the URL with its password.
            raise DatabaseUnusable(f"the database cannot be read: {type(error).__name__}") from error
        if found.sequence < max(head.sequence, known.sequence):
            raise ChainTruncated(found.sequence + 1, "missing; the head row or an anchor knows of it")
        if found.hash != head.hash:
            raise ChainBroken(head.sequence, "is not the one of the head row")
        self._verified, self._frontier = found, frontier
        return found, notes[-1] if notes and notes[-1].point.size > noted else None

    def _notes(self, connection: Connection, start: int) -> tuple[Made, ...]:
        """Signed checkpoints from where this round begins; one that came later than records after it has a successor.

        :raises CheckpointInvalid: one is none, or signed by another key than those of the settings.
        """
        found = read_notes(connection, _TABLES.checkpoints, start - 1)
        notes = tuple(Made(open_note(text, self._keys) if self._keys else read_note(text), text) for _, text in found)
        if any(made.point.size < start for made in notes):
            raise CheckpointInvalid("a signed checkpoint stands in the place of another")
        return tuple(sorted(notes, key=lambda made: made.point.size))

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

    def _stamped(self, imprint: bytes) -> tuple[bytes, str]:
        for authority in self._authorities:
            try:
                token = authority.stamp(imprint, "sha256")
            except TsaError as error:
                _logger.warning("an authority gave no stamp", extra={"fields": {"cause": error.code}})
            else:
                return token.der, token.authority
        raise NotStamped("no time-stamping authority gave a stamp")


def _key(path: Path) -> bytes:
    """:raises AnchorFileUnusable: the file cannot be read.  :raises CheckpointInvalid: it holds no such key."""
    try:
        return key_from_pem(path.read_bytes())
    except OSError as error:
        raise AnchorFileUnusable(f"{path}: cannot be read ({error.strerror})") from error


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
