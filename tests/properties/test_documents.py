"""Laws of the examination of documents: it never trips, and no octet that was signed can be another."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from documents.errors import DocumentRefused
from documents.examine import examine
from signing.sam.algorithms import SHA256, SignatureAlgorithm
from tests import hostile
from tests.documents import blank_pdf, hand
from tests.properties.examples import examples

SIGNED: Final = hostile.signed(
    hostile.shadow_before(), hand(ec.generate_private_key(ec.SECP256R1()), SignatureAlgorithm("ecdsa", SHA256))
)
_HOLE: Final = (SIGNED.index(b"/Contents <"), SIGNED.index(b">", SIGNED.index(b"/Contents <")))
COVERED: Final = (*range(_HOLE[0]), *range(_HOLE[1] + 1, len(SIGNED)))
SEEDS: Final = (SIGNED, blank_pdf(), hostile.linearised(), *(make() for make in hostile.FINDINGS.values()))
PIECES: Final = st.sampled_from(
    (b"<<", b">>", b"[", b"]", b"(", b"/", b"null", b"-1", b"9" * 30, b"1 0 R", b"3 0 R", b"stream", b"endobj", b"\0")
) | st.binary(min_size=1, max_size=4)


def refused(document: bytes) -> bool:
    try:
        examine(document)
    except DocumentRefused:
        return True
    return False


@settings(max_examples=examples(200), deadline=None)
@given(seed=st.sampled_from(SEEDS), places=st.lists(st.tuples(st.floats(0, 1), PIECES), min_size=1, max_size=4))
def test_DOS_06_whatever_is_written_over_a_document_it_is_examined_or_refused(
    seed: bytes, places: list[tuple[float, bytes]]
) -> None:
    document = bytearray(seed)
    for share, piece in places:
        start = int(share * (len(document) - len(piece)))
        document[start : start + len(piece)] = piece
    refused(bytes(document))


@settings(max_examples=examples(200), deadline=None)
@given(place=st.sampled_from(COVERED), octet=st.integers(0, 255))
def test_SIG_02_no_octet_that_a_signature_covers_can_be_another(place: int, octet: int) -> None:
    altered = bytearray(SIGNED)
    altered[place] = octet
    assert refused(bytes(altered)) != (altered == SIGNED)
