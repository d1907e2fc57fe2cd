"""Signed checkpoints: form, signature, and what they say of a chain."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from auditlog.chain import EMPTY, ORIGIN, Head, head_of, verify
from auditlog.errors import ChainBroken, ChainTruncated, CheckpointInvalid
from auditlog.merkle import Frontier, root_of
from auditlog.notes import (
    MAX_NOTE_CHARACTERS,
    Point,
    compared,
    key_from_pem,
    note_of,
    open_note,
    origin_of,
    read_note,
)
from tests.unit.auditlog.test_chain import chain

KEY = ec.generate_private_key(ec.SECP256R1())


def public(key: ec.EllipticCurvePrivateKey = KEY) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def point(count: int = 6, **changes: object) -> Point:
    entries = chain(count)
    root = root_of(entry.leaf() for entry in entries)
    last = head_of(entries[-1]) if entries else EMPTY
    return replace(Point("example/sam", last.sequence, root, last.hash, 7), **changes)  # type: ignore[arg-type] # fields of it


def signed(made: Point, key: ec.EllipticCurvePrivateKey = KEY) -> str:
    value = key.sign((ORIGIN + made.text()).encode(), ec.ECDSA(hashes.SHA256()))
    return note_of(made, public(key), value)


def test_a_note_comes_back_as_it_was_written() -> None:
    made = point()
    assert open_note(signed(made), [public(ec.generate_private_key(ec.SECP256R1())), public()]) == made
    assert read_note(signed(made)) == made
    first, second, third, *_ = signed(made).splitlines()
    assert (first, second) == ("privyseal-checkpoint/1/example/sam", "6")
    assert len(third) == 44
    assert origin_of("a realm/é", "idp") == "a%20realm%2F%C3%A9/idp"


def altered() -> Iterator[str]:
    note = signed(point())
    yield note.replace("\n6\n", "\n5\n")
    yield note.replace("at 7", "at 8")
    yield note.replace("example/sam\n6", "example/idp\n6")
    yield note.replace("example/sam ", "another/sam ")
    yield note.replace("\n6\n", "\n06\n")
    yield note.replace("\n6\n", "\n6\nmore\n")
    yield note.replace("\u2014", "-")
    yield note[:-2]
    yield note + "\n"
    yield note + "x" * MAX_NOTE_CHARACTERS
    yield signed(point(), ec.generate_private_key(ec.SECP256R1()))
    yield ""


@pytest.mark.parametrize("note", list(altered()))
def test_whatever_is_changed_the_note_is_refused(note: str) -> None:
    with pytest.raises(CheckpointInvalid):
        open_note(note, [public()])


def test_only_keys_on_p256_sign_checkpoints() -> None:
    def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
        return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    assert key_from_pem(pem(KEY)) == public()
    for data in (b"", b"-----BEGIN PUBLIC KEY-----", pem(ec.generate_private_key(ec.SECP384R1()))):
        with pytest.raises(CheckpointInvalid):
            key_from_pem(data)


def test_points_are_compared_with_the_chain_as_it_goes_by() -> None:
    entries, frontier = chain(), Frontier.empty()
    assert verify(compared(entries, [point(0), point(2), point(6)], frontier)).sequence == 6
    assert (frontier.size, frontier.root()) == (6, point().root)
    rest = Frontier.empty()
    for entry in entries[:2]:
        rest.add(entry.leaf())
    start = head_of(entries[1])
    assert verify(compared(entries[2:], [point(2), point(6)], rest, start=start), start=start).sequence == 6


@pytest.mark.parametrize(
    ("made", "record", "kind"),
    [
        (point(4, root=hashlib.sha256(b"").digest()), 4, ChainBroken),
        (point(4, hash="0" * 64), 4, ChainBroken),
        (point(0, hash="1" * 64), 0, ChainBroken),
        (point(6, size=7), 7, ChainTruncated),
    ],
)
def test_AUD_05_a_point_that_is_not_the_chains_is_named(made: Point, record: int, kind: type[ChainBroken]) -> None:
    with pytest.raises(ChainBroken) as found:
        verify(compared(chain(), [made], Frontier.empty()))
    assert (type(found.value), found.value.sequence) == (kind, record)
    assert made.head() == Head(made.size, made.hash)
