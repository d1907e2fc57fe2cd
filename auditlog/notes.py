"""Signed checkpoints: notes in the text form of C2SP ``tlog-checkpoint`` and ``signed-note``.

Pure.  A note's text is the origin, the size and the Merkle tree's root (RFC 6962 2.1, base64), then two extension
lines: the chain's hash, and the time.  An empty line, and the signature: ECDSA on P-256 with SHA-256 over the text, in
DER, behind the first four octets of the SHA-256 of the public key.  ``docs/audit-events.md`` shows one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from auditlog.chain import EMPTY, ORIGIN, Entry, Head, head_of
from auditlog.errors import ChainBroken, ChainTruncated, CheckpointInvalid, CheckpointNotSigned
from auditlog.merkle import Frontier

MAX_NOTE_CHARACTERS: Final = 2048
_TEXT: Final = re.compile(
    re.escape(ORIGIN) + r"(?P<origin>[!-*,-~]{1,255})\n"
    r"(?P<size>0|[1-9][0-9]{0,18})\n"
    r"(?P<root>[A-Za-z0-9+/]{43}=)\n"
    r"chain (?P<hash>[0-9a-f]{64})\n"
    r"at (?P<at>0|[1-9][0-9]{0,18})\n\Z"
)
_SIGNATURE: Final = re.compile(r"\u2014 (?P<name>[!-*,-~]+) (?P<value>[A-Za-z0-9+/]{1,256}={0,2})\n\Z")
_ID: Final = 4


@dataclass(frozen=True, slots=True)
class Point:
    """What a checkpoint says."""

    origin: str
    """Whose chain: what comes after :data:`auditlog.chain.ORIGIN`, such as ``example/sam``."""
    size: int
    """How many records."""
    root: bytes
    """Of the Merkle tree of their leaves, 32 octets."""
    hash: str
    """Of the last record, in hexadecimal."""
    at: int
    """Unix time in microseconds, by the signer's clock."""

    def head(self) -> Head:
        """Where the chain stood."""
        return Head(self.size, self.hash)

    def text(self) -> str:
        """What comes after :data:`auditlog.chain.ORIGIN` in the octets that are signed."""
        root = base64.b64encode(self.root).decode()
        return f"{self.origin}\n{self.size}\n{root}\nchain {self.hash}\nat {self.at}\n"


def origin_of(name: str, side: str) -> str:
    """The origin of an installation's chain.

    :param name: of the installation; what cannot stand in an origin is percent-encoded.
    :param side: ``sam`` or ``idp``.
    """
    return f"{quote(name, safe='')}/{side}"


def note_of(point: Point, public_key: bytes, signature: bytes) -> str:
    """The note.

    :param public_key: DER SubjectPublicKeyInfo of the key that signed.
    :param signature: over the origin's first words and :meth:`Point.text`; DER.
    """
    value = base64.b64encode(_key_id(public_key) + signature).decode()
    return f"{ORIGIN}{point.text()}\n\u2014 {ORIGIN}{point.origin} {value}\n"


def read_note(note: str) -> Point:
    """What a note says, its signature not looked at.

    :raises CheckpointInvalid: it is none.
    """
    return _parts(note)[0]


def open_note(note: str, public_keys: Iterable[bytes]) -> Point:
    """What a note says, with its signature verified.

    :param public_keys: DER SubjectPublicKeyInfo, P-256; any may have signed.
    :raises CheckpointInvalid: it is none.
    :raises CheckpointNotSigned: none of the keys signed it.
    """
    point, signed, value = _parts(note)
    for public_key in public_keys:
        if value[:_ID] != _key_id(public_key):
            continue
        try:
            key = load_der_public_key(public_key)
            if isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(value[_ID:], signed.encode(), ec.ECDSA(hashes.SHA256()))
                return point
        except (InvalidSignature, ValueError):
            continue
    raise CheckpointNotSigned(f"the checkpoint at record {point.size} is signed by none of the keys")


def key_from_pem(data: bytes) -> bytes:
    """DER SubjectPublicKeyInfo of a key that signs checkpoints.

    :raises CheckpointInvalid: it is none on P-256.
    """
    try:
        key = load_pem_public_key(data)
    except ValueError as error:
        raise CheckpointInvalid("a key for checkpoints cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CheckpointInvalid("a key for checkpoints is on P-256")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def compared(
    entries: Iterable[Entry], points: Iterable[Point], frontier: Frontier, *, start: Head = EMPTY
) -> Iterator[Entry]:
    """The records, each compared with what checkpoints say of it once whoever takes them has verified it.

    For :func:`auditlog.chain.verify`.

    :param points: none before ``start``.
    :param frontier: of the tree up to ``start``; goes on with the records.
    :raises ChainBroken: a record is not the one of a checkpoint.
    :raises ChainTruncated: a checkpoint knows of a record that is not there.
    """
    expected: dict[int, list[Point]] = {}
    for point in points:
        expected.setdefault(point.size, []).append(point)
    head = start
    _check(head, frontier, expected.pop(head.sequence, ()))
    for entry in entries:
        yield entry
        frontier.add(entry.leaf())
        head = head_of(entry)
        _check(head, frontier, expected.pop(head.sequence, ()))
    if expected:
        raise ChainTruncated(head.sequence + 1, f"missing; a signed checkpoint knows of {max(expected)} records")


def _check(head: Head, frontier: Frontier, points: Iterable[Point]) -> None:
    for point in points:
        if (point.hash, point.root) != (head.hash, frontier.root()):
            reason = "is not the one of a signed checkpoint: the chain was rewritten up to here"
            raise ChainBroken(head.sequence, reason)


def _parts(note: str) -> tuple[Point, str, bytes]:
    text, _, signature = note[:MAX_NOTE_CHARACTERS].rpartition("\n\n")
    found, signed = _TEXT.match(text + "\n"), _SIGNATURE.match(signature)
    if found is None or signed is None or signed["name"] != ORIGIN + found["origin"]:
        raise CheckpointInvalid("a signed checkpoint is not in its form")
    try:
        root = base64.b64decode(found["root"], validate=True)
        value = base64.b64decode(signed["value"], validate=True)
    except binascii.Error as error:
        raise CheckpointInvalid("a signed checkpoint is not in base64") from error
    return Point(found["origin"], int(found["size"]), root, found["hash"], int(found["at"])), text + "\n", value


def _key_id(public_key: bytes) -> bytes:
    return hashlib.sha256(public_key).digest()[:_ID]
