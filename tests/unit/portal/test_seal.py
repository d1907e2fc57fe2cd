"""What is sealed opens with its key, in its place, unchanged; and not otherwise."""

from __future__ import annotations

import secrets

import pytest

from portal.errors import KeyFileUnusable, SealBroken
from portal.store.seal import Sealer

SECRET = b"s" * 32


@pytest.fixture
def seal() -> Sealer:
    return Sealer(SECRET, secrets.token_bytes)


def test_a_sealed_value_opens_in_its_own_place_only(seal: Sealer) -> None:
    sealed = seal.seal(b"a lease", "document", "d1", "alice", "original")
    assert seal.open(sealed, "document", "d1", "alice", "original") == b"a lease"
    for elsewhere in (("document", "d2", "alice", "original"), ("document", "d1", "bob", "original"),
                      ("document", "d1", "alice", "signed"), ("document", "d1alice", "original")):  # fmt: skip
        with pytest.raises(SealBroken):
            seal.open(sealed, *elsewhere)


def test_a_changed_or_cut_value_and_another_key_are_refused(seal: Sealer) -> None:
    sealed = seal.seal(b"a lease", "document")
    assert b"lease" not in sealed
    for broken in (b"", sealed[:11], sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(SealBroken):
            seal.open(broken, "document")
    with pytest.raises(SealBroken):
        Sealer(b"t" * 32, secrets.token_bytes).open(sealed, "document")


def test_the_same_value_is_never_sealed_to_the_same_octets(seal: Sealer) -> None:
    assert len({seal.seal(b"a lease", "document") for _ in range(10)}) == 10


def test_a_mark_tells_nothing_without_the_key(seal: Sealer) -> None:
    assert seal.mark("owner", "alice") == seal.mark("owner", "alice")
    others = {seal.mark("browser", "alice"), seal.mark("owner", "bob"), Sealer(b"t" * 32, bytes).mark("owner", "alice")}
    assert seal.mark("owner", "alice") not in others


def test_a_short_key_is_refused() -> None:
    with pytest.raises(KeyFileUnusable):
        Sealer(b"s" * 31, secrets.token_bytes)
