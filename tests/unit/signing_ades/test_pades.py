"""PDFs prepared, signed by the module's template, filled, and judged by pyHanko."""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import suppress
from datetime import UTC, datetime
from io import BytesIO
from random import Random
from typing import Any

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import copy_into_new_writer
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.validation import SignatureCoverageLevel, async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from signing.ades import pades
from signing.ades.cms import SignedByModule, room_for, signed_data
from signing.ades.errors import AdesError, DocumentNotAcceptable, SignatureTooLarge
from signing.ades.fields import Place
from signing.ades.pades import PreparedPdf, Stated, Wanted
from signing.sam.algorithms import SHA256, SignatureAlgorithm
from signing.sam.tbs.cms import PdfSignature
from signing.sam.tbs.pdf import ByteRangeDigest, PdfClaim
from tests.documents import AT, Hand, blank_pdf, hand

_READER: Any = PdfFileReader
MOMENT = datetime.fromtimestamp(AT, UTC)
PSS = SignatureAlgorithm("rsa-pss", SHA256, 32)
ECDSA = SignatureAlgorithm("ecdsa", SHA256)


@pytest.fixture(scope="module")
def signer() -> Hand:
    return hand(ec.generate_private_key(ec.SECP256R1()), ECDSA)


def prepared(document: bytes, signer: Hand, stated: Stated | None = None, **wanted: Any) -> PreparedPdf:
    room = room_for([signer.der], signature_octets=400)
    wish = Wanted(stated=stated or Stated(), **wanted)
    return pades.prepare(document, signer.der, hash_name=signer.hash_name, room=room, at=MOMENT, wanted=wish)


def signed(document: bytes, signer: Hand, **more: Any) -> bytes:
    """As the activation module does it."""
    made = prepared(document, signer, **more)
    claim = PdfClaim(pades.digest(document, signer.hash_name), made.approved_octets, made.byte_range)
    measuring = ByteRangeDigest(claim, signer.algorithm.hash_alg)
    for chunk in made.chunks():
        measuring.feed(chunk)
    built = PdfSignature(measuring.finish()).build(signer.signer)
    value = signer.sign(signer.digest(built.tbs))
    return made.filled(signed_data(SignedByModule(built.tbs, value, (signer.der,))))


def verdicts(pdf: bytes, *signers: Hand) -> list[Any]:
    context = ValidationContext(
        trust_roots=[asn1_x509.Certificate.load(each.der) for each in signers],
        allow_fetching=False,
        moment=signers[0].certificate.not_valid_before_utc.replace(microsecond=0),
    )
    found = _READER(BytesIO(pdf)).embedded_signatures
    return [asyncio.run(async_validate_pdf_signature(each, context)) for each in found]


@pytest.mark.parametrize("algorithm", [ECDSA, PSS], ids=["ECDSA", "PSS"])
def test_a_signed_pdf_is_valid_and_wholly_covered(algorithm: SignatureAlgorithm) -> None:
    key = generate_private_key(65537, 3072) if algorithm is PSS else ec.generate_private_key(ec.SECP256R1())
    signer, document = hand(key, algorithm), blank_pdf()
    pdf = signed(document, signer, stated=Stated("Approved", "Brussels", "+32 2 000 00 00"))
    (verdict,) = verdicts(pdf, signer)
    assert verdict.bottom_line
    assert verdict.coverage is SignatureCoverageLevel.ENTIRE_FILE
    assert pdf.startswith(document)
    (embedded,) = _READER(BytesIO(pdf)).embedded_signatures
    said = {name: str(embedded.sig_object[name]) for name in ("/Reason", "/Location", "/ContactInfo", "/SubFilter")}
    assert said == {
        "/Reason": "Approved",
        "/Location": "Brussels",
        "/ContactInfo": "+32 2 000 00 00",
        "/SubFilter": "/ETSI.CAdES.detached",
    }


def test_SIG_09_a_second_signature_leaves_the_first_as_it_was(signer: Hand) -> None:
    other = hand(ec.generate_private_key(ec.SECP256R1()), ECDSA)
    once = signed(blank_pdf(), signer)
    twice = signed(once, other)
    assert twice.startswith(once)
    first, second = verdicts(twice, signer, other)
    assert first.bottom_line
    assert second.bottom_line
    assert first.modification_level is ModificationLevel.FORM_FILLING
    assert second.coverage is SignatureCoverageLevel.ENTIRE_FILE


def test_a_certification_allows_further_signatures_and_says_so(signer: Hand) -> None:
    pdf = signed(blank_pdf(), signer, certify=True)
    other = hand(ec.generate_private_key(ec.SECP256R1()), ECDSA)
    with pytest.raises(DocumentNotAcceptable):
        prepared(pdf, signer, certify=True)
    assert all(verdict.bottom_line for verdict in verdicts(signed(pdf, other), signer, other))
    assert _READER(BytesIO(pdf)).root["/Perms"]["/DocMDP"]


def encrypted() -> bytes:
    writer: Any = copy_into_new_writer(_READER(BytesIO(blank_pdf())))
    writer.encrypt("owner", "user")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"%PDF-1.7",
        b"plain text",
        b"%PDF-1.7\nstartxref\n99999999\n%%EOF",
        blank_pdf()[:200],
        encrypted(),
    ],
    ids=["empty", "header", "text", "nowhere", "cut", "encrypted"],
)
def test_SIG_10_what_is_no_sound_pdf_is_refused_in_words(signer: Hand, document: bytes) -> None:
    with pytest.raises(DocumentNotAcceptable) as refused:
        prepared(document, signer)
    assert str(refused.value)


TOKENS = (b"/Kids", b"/Parent", b"/Fields", b"/Pages", b"/Annots", b"null", b"<<", b"[", b"1 0 R", b"99 0 R", b"-1")


@pytest.mark.parametrize("seed", range(4))
def test_SIG_10_whatever_is_changed_in_a_pdf_it_is_prepared_or_refused_in_words(signer: Hand, seed: int) -> None:
    random = Random(seed)
    whole = signed(blank_pdf(), signer, place=Place("One", box=(50, 50, 200, 100)))
    for _ in range(60):
        changed = bytearray(whole)
        for _ in range(random.randint(1, 3)):
            at, put = random.randrange(len(changed)), random.choice((*TOKENS, random.randbytes(1)))
            changed[at : at + len(put)] = put
        with suppress(AdesError):
            made = prepared(bytes(changed), signer, place=Place("Two", box=(50, 200, 200, 300)))
            assert made.octets.startswith(changed)


@pytest.mark.parametrize("wanted", [{}, {"certify": True}], ids=["plain", "certified"])
def test_DOS_06_a_document_is_free_as_soon_as_its_revision_is_made(signer: Hand, wanted: dict[str, Any]) -> None:
    document = bytes(bytearray(blank_pdf()))
    prepared(document, signer, **wanted)
    gc.collect()
    gc.disable()
    try:
        before = sys.getrefcount(document)
        prepared(document, signer, **wanted)
        assert sys.getrefcount(document) == before
    finally:
        gc.enable()


def test_a_signature_that_has_no_room_is_refused(signer: Hand) -> None:
    made = pades.prepare(blank_pdf(), signer.der, hash_name="sha256", room=100, at=MOMENT)
    assert made.filled(bytes(100))
    with pytest.raises(SignatureTooLarge):
        made.filled(bytes(101))


def test_the_signature_is_valid_at_the_moment_of_the_tests(signer: Hand) -> None:
    assert signer.certificate.not_valid_before_utc.timestamp() < AT < signer.certificate.not_valid_after_utc.timestamp()
