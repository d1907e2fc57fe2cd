"""A PDF's range, digested while it streams: others judge the signed file, and a web tier that lies is refused."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import x509 as asn1_x509
from hypothesis import given, settings
from hypothesis import strategies as st
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from signing.link.frames import MAX_FOLLOWING_OCTETS
from signing.sam.algorithms import SHA256, SHA384
from signing.sam.errors import DigestNotAuthorized, SamError, TemplateRefused
from signing.sam.tbs.cms import PdfSignature
from signing.sam.tbs.pdf import (
    MAX_HOLE_OCTETS,
    MAX_PDF_OCTETS,
    MAX_REVISION_OCTETS,
    ByteRangeDigest,
    MeasuredPdf,
    PdfClaim,
    measured,
)
from tests.documents import Hand, PreparedPdf, blank_pdf, cms_of, prepared_pdf
from tests.vectors.tbs.make import document, prepared


@dataclass(frozen=True, slots=True)
class Told:
    """What a web tier says and sends."""

    claim: PdfClaim
    octets: bytes

    def measured(self, chunk: int = 4096) -> MeasuredPdf:
        """What the module makes of it."""
        digest = ByteRangeDigest(self.claim, SHA256)
        for start in range(0, len(self.octets), chunk):
            digest.feed(self.octets[start : start + chunk])
        return digest.finish()


@pytest.fixture(scope="module")
def approved() -> bytes:
    return blank_pdf()


@pytest.fixture(scope="module")
def empty(hands: dict[str, Hand], approved: bytes) -> PreparedPdf:
    return prepared_pdf(approved, hands["p256"])


@pytest.fixture
def truth(hands: dict[str, Hand], approved: bytes, empty: PreparedPdf) -> Told:
    claim = PdfClaim(hands["p256"].digest(approved), empty.approved_octets, empty.byte_range)
    return Told(claim, empty.octets)


def judged_by_pyhanko(signed: bytes, hand: Hand) -> Any:
    """Its status of the file's signature."""
    reader: Any = PdfFileReader
    anchor = asn1_x509.Certificate.load(hand.der)
    context = ValidationContext(trust_roots=[anchor], allow_fetching=False)
    (signature,) = reader(BytesIO(signed)).embedded_signatures
    return asyncio.run(async_validate_pdf_signature(signature, context))


@pytest.mark.parametrize("scheme", ["p256", "p384", "pss", "pkcs1"])
def test_pyhanko_and_poppler_verify_a_file_with_our_digest(
    tmp_path: Path, hands: dict[str, Hand], approved: bytes, scheme: str
) -> None:
    hand = hands[scheme]
    pdf = prepared_pdf(approved, hand)
    digest = ByteRangeDigest(
        PdfClaim(hand.digest(approved), pdf.approved_octets, pdf.byte_range), hand.algorithm.hash_alg
    )
    digest.feed(pdf.octets)
    built = PdfSignature(digest.finish(), "ProofOfApproval").build(hand.signer)
    signed = pdf.filled(cms_of(hand.der, hand.algorithm, built.tbs, hand.sign(hand.digest(built.tbs))))
    status = judged_by_pyhanko(signed, hand)
    assert (status.intact, status.valid, status.trusted, status.bottom_line) == (True, True, True, True)
    assert status.coverage.name == "ENTIRE_FILE"
    (tmp_path / "signed.pdf").write_bytes(signed)
    said = subprocess.run(["pdfsig", "-nocert", "signed.pdf"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Signature is Valid" in said.stdout
    assert "Total document signed" in said.stdout


def test_a_second_signature_goes_over_a_file_that_was_signed(hands: dict[str, Hand], approved: bytes) -> None:
    file, signers = approved, (hands["p256"], hands["pss"])
    for number, hand in enumerate(signers):
        pdf = prepared_pdf(file, hand, field=f"Signature{number}")
        digest = ByteRangeDigest(
            PdfClaim(hand.digest(file), pdf.approved_octets, pdf.byte_range), hand.algorithm.hash_alg
        )
        digest.feed(pdf.octets)
        built = PdfSignature(digest.finish()).build(hand.signer)
        file = pdf.filled(cms_of(hand.der, hand.algorithm, built.tbs, hand.sign(hand.digest(built.tbs))))
    reader: Any = PdfFileReader
    embedded = reader(BytesIO(file)).embedded_signatures
    assert len(embedded) == 2
    for signature, hand in zip(embedded, signers, strict=True):
        context = ValidationContext(trust_roots=[asn1_x509.Certificate.load(hand.der)], allow_fetching=False)
        assert asyncio.run(async_validate_pdf_signature(signature, context)).bottom_line


@pytest.mark.parametrize("chunk", [1, 7, 1000, 4096, 1_000_000])
def test_chunks_of_any_size_give_the_same_digest(truth: Told, alice: Hand, empty: PreparedPdf, chunk: int) -> None:
    _, before, after, _ = empty.byte_range
    expected = alice.digest(empty.octets[:before] + empty.octets[after:])
    assert truth.measured(chunk) == MeasuredPdf(truth.claim.document, expected, SHA256)


def test_memory_does_not_grow_with_the_document(hands: dict[str, Hand], empty: PreparedPdf) -> None:
    hand, more = hands["p256"], 8 * 1024 * 1024
    large = b"%PDF-1.7\n" + bytes(more)
    revision = empty.octets[empty.approved_octets :]
    grown = len(large) - empty.approved_octets
    _, before, after, rest = empty.byte_range
    range_ = (0, before + grown, after + grown, rest)
    said = b"[0 %d %d %d]" % range_[1:]
    revision = revision.replace(b"[0 %d %d %d]" % empty.byte_range[1:], said)
    longer = len(revision) - (len(empty.octets) - empty.approved_octets)
    claim = PdfClaim(hand.digest(large), len(large), (*range_[:3], rest + longer))
    digest = ByteRangeDigest(claim, SHA256)
    for start in range(0, len(large), 65536):
        digest.feed(large[start : start + 65536])
    assert len(digest._revision) == 0
    digest.feed(revision[: before - empty.approved_octets])
    assert len(digest._revision) < 4096


Lie = Callable[[Told], Told]


def _octet(truth: Told, at: int, octet: bytes) -> bytes:
    assert truth.octets[at : at + 1] != octet
    return truth.octets[:at] + octet + truth.octets[at + 1 :]


def _range(truth: Told, before: int, after: int, rest: int) -> Told:
    """Another range, said to the module and not in the file: by how much its numbers differ."""
    first, *others = truth.claim.byte_range
    changed = (first, others[0] + before, others[1] + after, others[2] + rest)
    return replace(truth, claim=replace(truth.claim, byte_range=changed))


def _said(truth: Told, old: bytes, new: bytes) -> Told:
    assert old in truth.octets[truth.claim.approved_octets :]
    assert len(old) == len(new)
    return replace(truth, octets=truth.octets.replace(old, new))


def _another_range_in_the_file(truth: Told) -> Told:
    numbers = b"%d %d %d" % truth.claim.byte_range[1:]
    other = b"%d %d %d" % (truth.claim.byte_range[1] - 1, *truth.claim.byte_range[2:])
    return _said(truth, numbers, other)


LIES: dict[str, tuple[Lie, type[SamError]]] = {
    "another document's digest": (
        lambda t: replace(t, claim=replace(t.claim, document=bytes(32))),
        DigestNotAuthorized,
    ),
    "one bit of the document": (lambda t: replace(t, octets=_octet(t, 20, b"\0")), DigestNotAuthorized),
    "its first octet": (lambda t: replace(t, octets=_octet(t, 0, b"!")), DigestNotAuthorized),
    "its last octet": (
        lambda t: replace(t, octets=_octet(t, t.claim.approved_octets - 1, b"!")),
        DigestNotAuthorized,
    ),
    "an octet before it": (lambda t: replace(t, octets=b" " + t.octets[:-1]), DigestNotAuthorized),
    "a shorter document": (
        lambda t: replace(t, claim=replace(t.claim, approved_octets=t.claim.approved_octets - 1)),
        DigestNotAuthorized,
    ),
    "a longer document": (
        lambda t: replace(t, claim=replace(t.claim, approved_octets=t.claim.approved_octets + 1)),
        DigestNotAuthorized,
    ),
    "a file that ends early": (lambda t: replace(t, octets=t.octets[:-1]), TemplateRefused),
    "a file that ends within the document": (lambda t: replace(t, octets=t.octets[:100]), TemplateRefused),
    "nothing at all": (lambda t: replace(t, octets=b""), TemplateRefused),
    "an octet after the end": (lambda t: replace(t, octets=t.octets + b"\n"), TemplateRefused),
    "something in the hole": (
        lambda t: replace(t, octets=_octet(t, t.claim.byte_range[1] + 50, b"a")),
        TemplateRefused,
    ),
    "no hexadecimal in the hole": (
        lambda t: replace(t, octets=_octet(t, t.claim.byte_range[1] + 50, b">")),
        TemplateRefused,
    ),
    "a hole without its beginning": (
        lambda t: replace(t, octets=_octet(t, t.claim.byte_range[1], b"(")),
        TemplateRefused,
    ),
    "a hole without its end": (
        lambda t: replace(t, octets=_octet(t, t.claim.byte_range[2] - 1, b"0")),
        TemplateRefused,
    ),
    "a hole that begins earlier": (lambda t: _range(t, -1, 0, 0), TemplateRefused),
    "a hole that begins later": (lambda t: _range(t, 1, 0, 0), TemplateRefused),
    "a hole that ends earlier": (lambda t: _range(t, 0, -1, 1), TemplateRefused),
    "a hole that ends later": (lambda t: _range(t, 0, 1, -1), TemplateRefused),
    "a range beyond the end": (lambda t: _range(t, 0, 0, 1), TemplateRefused),
    "a range that ends early": (lambda t: _range(t, 0, 0, -1), TemplateRefused),
    "another range in the file": (_another_range_in_the_file, TemplateRefused),
    "no range in the file": (lambda t: _said(t, b"/ByteRange", b"/BiteRange"), TemplateRefused),
    "a range of three numbers": (lambda t: _said(t, b"/ByteRange [0 ", b"/ByteRange [. "), TemplateRefused),
    "a hole that is no Contents": (lambda t: _said(t, b"/Contents <", b"/Kontents <"), TemplateRefused),
    "two ranges in the file": (lambda t: _said(t, b"/SubFilter", b"/ByteRange"), TemplateRefused),
}


@pytest.mark.parametrize(("lie", "error"), LIES.values(), ids=LIES)
@pytest.mark.parametrize("chunk", [13, 4096])
def test_SAD_09_a_pdf_that_is_not_what_was_said_is_refused(
    truth: Told, lie: Lie, error: type[SamError], chunk: int
) -> None:
    with pytest.raises(error):
        lie(truth).measured(chunk)


@pytest.mark.parametrize(
    ("approved", "byte_range"),
    [
        (100, (1, 200, 300, 50)),
        (0, (0, 200, 300, 50)),
        (200, (0, 200, 300, 50)),
        (201, (0, 200, 300, 50)),
        (100, (0, 50, 150, 50)),
        (100, (0, 200, 203, 50)),
        (100, (0, 200, 200, 50)),
        (100, (0, 300, 200, 50)),
        (100, (0, 200, 300, 0)),
        (100, (0, 200, 201 + MAX_HOLE_OCTETS, 50)),
        (100, (0, 200, 300, MAX_REVISION_OCTETS)),
        (MAX_PDF_OCTETS - 100, (0, MAX_PDF_OCTETS - 90, MAX_PDF_OCTETS - 50, 51)),
    ],
)
def test_SAD_09_a_range_that_covers_something_else_is_refused(
    approved: int, byte_range: tuple[int, int, int, int]
) -> None:
    with pytest.raises(TemplateRefused):
        PdfClaim(bytes(32), approved, byte_range)


def test_ranges_at_their_bounds_are_taken() -> None:
    PdfClaim(bytes(32), 1, (0, 2, 6, 1))
    PdfClaim(bytes(32), 100, (0, 200, 200 + MAX_HOLE_OCTETS, 50))
    assert PdfClaim(bytes(32), 100, (0, 200, 300, MAX_REVISION_OCTETS - 200)).octets == MAX_REVISION_OCTETS + 100
    largest = PdfClaim(bytes(32), MAX_PDF_OCTETS - 100, (0, MAX_PDF_OCTETS - 90, MAX_PDF_OCTETS - 50, 50))
    assert largest.octets == MAX_PDF_OCTETS == MAX_FOLLOWING_OCTETS


def test_a_digest_of_another_hash_function_is_refused(truth: Told) -> None:
    for hash_alg in (SHA384, "2.16.840.1.101.3.4.2.8", "1.3.14.3.2.26"):
        with pytest.raises(TemplateRefused):
            ByteRangeDigest(truth.claim, hash_alg)


FILE, RANGE = prepared(64)
APPROVED = document()


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_SAD_09_a_pdf_changed_anywhere_is_refused_or_still_the_approved_one_with_all_the_rest_digested(
    data: Any,
) -> None:
    octets, numbers, approved = bytearray(FILE), list(RANGE), len(APPROVED)
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(octets) - 1))
        kind = data.draw(st.sampled_from(("flip", "insert", "delete")))
        if kind == "flip":
            octets[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "insert":
            octets[at:at] = data.draw(st.binary(min_size=1, max_size=3))
        else:
            del octets[at]
    for _ in range(data.draw(st.integers(0, 2))):
        place = data.draw(st.integers(0, 3))
        numbers[place] = max(0, numbers[place] + data.draw(st.integers(-3, 3)))
    approved += data.draw(st.integers(-2, 2))
    digest = hashlib.sha256(APPROVED).digest()
    try:
        claim = PdfClaim(digest, approved, (numbers[0], numbers[1], numbers[2], numbers[3]))
        found = Told(claim, bytes(octets)).measured(data.draw(st.integers(1, 400)))
    except SamError:
        return
    _, before, after, rest = claim.byte_range
    assert bytes(octets[: len(APPROVED)]) == APPROVED
    assert after + rest == len(octets)
    assert octets[before:after] == b"<" + b"0" * (after - before - 2) + b">"
    assert found.message_digest == hashlib.sha256(octets[:before] + octets[after:]).digest()


@pytest.mark.parametrize("chunk", [1, 7, 4096, 1 << 20])
def test_files_that_follow_one_another_are_each_digested_as_alone(truth: Told, chunk: int) -> None:
    both = truth.octets * 2
    chunks = [both[at : at + chunk] for at in range(0, len(both), chunk)]
    assert list(measured([truth.claim] * 2, SHA256, chunks)) == [truth.measured()] * 2


@pytest.mark.parametrize("change", [-1, 1])
def test_SAD_09_files_that_are_not_as_long_as_said_are_refused(truth: Told, change: int) -> None:
    both = truth.octets * 2
    with pytest.raises(TemplateRefused):
        list(measured([truth.claim] * 2, SHA256, [(both + b"x")[: len(both) + change]]))


def test_SAD_09_the_second_of_two_files_has_to_be_the_approved_one_as_well(truth: Told) -> None:
    lie = bytearray(truth.octets)
    lie[20] ^= 1
    with pytest.raises(DigestNotAuthorized):
        list(measured([truth.claim] * 2, SHA256, [truth.octets, bytes(lie)]))
