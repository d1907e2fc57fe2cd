"""Evidence: records of a chain, each shown to be under a signed checkpoint, without the records of others.

A part is what one process gives of an event that it has records of: the checkpoint, the records with their paths in the
Merkle tree, and attachments, each of which a record names by its SHA-256.  ``docs/evidence.md`` describes the form;
``anchoring/standalone.py`` verifies it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Table, or_, select

from auditlog.chain import Entry, verify
from auditlog.errors import CheckpointInvalid, EvidenceMissing
from auditlog.merkle import Frontier, proofs
from auditlog.notes import Point, compared, read_note
from auditlog.sql import AuditTables, read_entries

FORMAT: Final = "privyseal-evidence-part-1"


@dataclass(frozen=True, slots=True)
class Found:
    """A record as it is searched for."""

    sequence: int
    event: str
    fields: Mapping[str, Any]


def search(
    connection: Connection, entries: Table, texts: Collection[str], wanted: Callable[[Found], bool]
) -> Iterator[Found]:
    """Records that have one of the texts somewhere, and are wanted; in order.

    Reads over the whole table: this is for an operator, now and then.

    :param texts: as values stand in records; what finds too much, ``wanted`` leaves out.
    """
    likely = or_(*(entries.c.fields.contains(json.dumps(text)[1:-1], autoescape=True) for text in texts))
    query = select(entries.c.sequence, entries.c.event, entries.c.fields).where(likely).order_by(entries.c.sequence)
    for row in connection.execute(query):
        found = Found(row.sequence, row.event, json.loads(row.fields))
        if wanted(found):
            yield found


def part(
    connection: Connection,
    tables: AuditTables,
    *,
    note: str,
    sequences: Collection[int],
    attachments: Mapping[str, Any],
    anchor: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The part, with the chain verified up to the checkpoint on the way.

    :param note: a signed checkpoint over all of the records.
    :param anchor: the line of the file of anchors that has this note, with its time-stamp.
    :raises ChainBroken: the chain is not whole, or not the one of the checkpoint.
    :raises CheckpointInvalid: the checkpoint is before one of the records.
    """
    point, chosen = read_note(note), frozenset(sequences)
    if chosen and max(chosen) > point.size:
        raise CheckpointInvalid("the checkpoint is from before one of the records")
    leaves: list[bytes] = []
    kept: list[Entry] = []

    def noted(entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            leaves.append(entry.leaf())
            if entry.sequence in chosen:
                kept.append(entry)
            yield entry

    read = noted(_until(read_entries(connection, tables.entries), point))
    verify(compared(read, (point,), Frontier.empty()))
    paths = proofs(leaves, [entry.sequence - 1 for entry in kept])
    made = {
        "format": FORMAT,
        "checkpoint": note,
        "records": [
            {
                "sequence": entry.sequence,
                "at": entry.at,
                "event": entry.event,
                "fields": entry.fields,
                "path": [each.hex() for each in paths[entry.sequence - 1]],
            }
            for entry in kept
        ],
        "attachments": dict(attachments),
    }
    return made if anchor is None else {**made, "anchor": dict(anchor)}


def stamped(lines: Iterable[str], least: int) -> Mapping[str, Any] | None:
    """The first anchor (a line of the anchor process's file) whose signed checkpoint has so many records, or None.

    :raises EvidenceMissing: a line is none.
    """
    for line in lines:
        try:
            anchor = json.loads(line)
            if "note" in anchor and read_note(anchor["note"]).size >= least:
                return anchor if isinstance(anchor, dict) else None
        except (ValueError, TypeError, CheckpointInvalid) as error:
            raise EvidenceMissing("a line of the anchors cannot be read") from error
    return None


def _until(entries: Iterable[Entry], point: Point) -> Iterator[Entry]:
    for entry in entries:
        if entry.sequence > point.size:
            return
        yield entry
