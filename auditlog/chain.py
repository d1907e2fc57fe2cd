"""The chain: each record's hash covers the record and the hash before it.

Pure.  Changing, removing, reordering or inserting a record breaks the chain at that record.  Whoever can write the
whole chain can also write another one, or a shorter one: that is found against a :class:`Checkpoint` kept elsewhere.

Hashes are as of RFC 6962 2.1, SHA-256 with a prefix that keeps leaves and nodes apart. A leaf is over ``0x00``,
:data:`DOMAIN` and a JSON array ``[sequence, at, event, fields]`` without blanks and in ASCII, where ``fields`` is the
record's own JSON text; its hash is the node ``0x01``, the hash before, its leaf.  Appending costs two hashes however
long the chain is; :mod:`auditlog.merkle` makes a tree of the same leaves, which shows one record without the others.
Ten lines in any language verify the chain (``docs/audit-events.md``).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from auditlog.errors import ChainBroken, ChainTruncated, CheckpointInvalid
from foundation.clock import from_epoch
from foundation.json_text import encoder

DOMAIN: Final = b"privyseal-audit-2\n"
LEAF: Final = b"\x00"
NODE: Final = b"\x01"
ORIGIN: Final = "privyseal-checkpoint/1/"
"""How the text of every signed checkpoint begins (:mod:`auditlog.notes`)."""
GENESIS: Final = "0" * 64
"""What stands before the first record."""

Value = str | int | bool | None | Sequence[str]
Fields = Mapping[str, Value]
_HEX: Final = re.compile(r"[0-9a-f]{64}\Z")
_CANONICAL: Final = encoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_COMPACT: Final = encoder(separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Entry:
    """A record."""

    sequence: int
    """From 1, without gaps."""
    at: int
    """Unix time in microseconds by the writer's clock; may go back where the clock was set back (AUD-09)."""
    event: str
    fields: str
    """Canonical JSON object: members sorted, no blanks, ASCII."""
    previous: str
    """Hash of the record before, in hexadecimal."""
    hash: str

    def leaf(self) -> bytes:
        """The record's leaf, 32 octets: what it says, without where it stands behind another."""
        return _leaf(self.sequence, self.at, self.event, self.fields)


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends."""

    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A head that was written down outside the database."""

    sequence: int
    hash: str
    at: int
    """Unix time in microseconds."""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps({"sequence": self.sequence, "hash": self.hash, "at": self.at}, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Checkpoint:
        """Read what :meth:`to_json` wrote.

        :raises CheckpointInvalid: anything else.
        """
        try:
            value = json.loads(line)
        except ValueError as error:
            raise CheckpointInvalid("a checkpoint is one line of JSON") from error
        if not isinstance(value, dict) or value.keys() != {"sequence", "hash", "at"}:
            raise CheckpointInvalid("a checkpoint has sequence, hash and at")
        sequence, digest, at = value["sequence"], value["hash"], value["at"]
        if type(sequence) is not int or type(at) is not int or sequence < 0 or at < 0:
            raise CheckpointInvalid("a checkpoint's sequence and at are whole numbers")
        if not isinstance(digest, str) or not _HEX.match(digest):
            raise CheckpointInvalid("a checkpoint's hash is 64 hexadecimal digits")
        return cls(sequence, digest, at)


EMPTY: Final = Head(0, GENESIS)


def microseconds(at: datetime) -> int:
    """Unix time in microseconds of an aware time."""
    return (at - from_epoch(0)) // timedelta(microseconds=1)


def append(head: Head, event: str, fields: Fields, at: datetime) -> Entry:
    """The record that follows ``head``.

    :raises ChainBroken: the head's hash is none.
    """
    text = _CANONICAL(dict(fields))
    sequence, when = head.sequence + 1, microseconds(at)
    return Entry(sequence, when, event, text, head.hash, _hash(sequence, when, event, text, head.hash))


def head_of(entry: Entry) -> Head:
    """The head of a chain that ends with this record."""
    return Head(entry.sequence, entry.hash)


def verify(entries: Iterable[Entry], checkpoints: Iterable[Checkpoint] = (), *, start: Head = EMPTY) -> Head:
    """Verify a chain, from its first record or from where somebody verified it before.

    :param checkpoints: kept outside the database that ``entries`` come from; none before ``start``.
    :param start: where the record before the first of ``entries`` stands.
    :returns: the head found.
    :raises ChainBroken: naming the first record that was changed, inserted, moved, or stands where one was removed.
    :raises ChainTruncated: a checkpoint knows of a record that is not there.
    """
    expected: dict[int, set[str]] = {}
    for checkpoint in checkpoints:
        expected.setdefault(checkpoint.sequence, set()).add(checkpoint.hash)
    head = start
    _check_checkpoints(head, expected)
    for entry in entries:
        # 1. No gap, nothing twice, nothing moved.
        if entry.sequence != head.sequence + 1:
            raise ChainBroken(head.sequence + 1, f"missing; the next one found is {entry.sequence}")
        # 2. It follows the record before.
        if entry.previous != head.hash:
            raise ChainBroken(entry.sequence, "does not follow the record before it")
        # 3. It is as it was written.
        if entry.hash != _hash(entry.sequence, entry.at, entry.event, entry.fields, entry.previous):
            raise ChainBroken(entry.sequence, "was changed after it was written")
        head = head_of(entry)
        # 4. It is the one that was written down elsewhere.
        _check_checkpoints(head, expected)
    # 5. Nothing that was written down elsewhere is missing.
    if expected:
        raise ChainTruncated(head.sequence + 1, f"missing; a checkpoint knows of {max(expected)} records")
    return head


def _check_checkpoints(head: Head, expected: dict[int, set[str]]) -> None:
    known = expected.pop(head.sequence, None)
    if known is not None and known != {head.hash}:
        raise ChainBroken(head.sequence, "is not the one of the checkpoint: the chain was rewritten up to here")


def _hash(sequence: int, at: int, event: str, fields: str, previous: str) -> str:
    try:
        before = bytes.fromhex(previous)
    except ValueError as error:
        raise ChainBroken(sequence, "stands behind something that is no hash") from error
    return hashlib.sha256(NODE + before + _leaf(sequence, at, event, fields)).hexdigest()


def _leaf(sequence: int, at: int, event: str, fields: str) -> bytes:
    record = _COMPACT([sequence, at, event, fields]).encode()
    return hashlib.sha256(LEAF + DOMAIN + record).digest()
