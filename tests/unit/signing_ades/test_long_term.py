"""PDFs with what validates them in them, and time-stamps over that; judged by pyHanko at the level's own process."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.ades.report import AdESIndeterminate, AdESPassed
from pyhanko.sign.validation import SignatureCoverageLevel

from foundation.clock import FixedClock, SystemClock
from signing.ades.errors import DocumentNotAcceptable, SignatureTooLarge
from signing.ades.long_term import TOKEN_OCTETS, with_document_timestamp, with_validation_data
from signing.ades.validation_data import ValidationData
from tests.documents import blank_pdf
from tests.trust import Trust, Unit, gathered, judged, signed_pdf
from tests.unit.signing_ades.test_pades import encrypted

_READER: Any = PdfFileReader
KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return Trust(tmp_path_factory.mktemp("trust"), FixedClock(SystemClock().now() - timedelta(hours=1)))


@pytest.fixture(scope="module")
def unit(trust: Trust) -> Unit:
    return trust.unit("unit")


@pytest.fixture(scope="module")
def chain(trust: Trust) -> tuple[bytes, ...]:
    return trust.signer(KEY)


@pytest.fixture(scope="module")
def stamped(trust: Trust, unit: Unit, chain: tuple[bytes, ...]) -> bytes:
    """Level B-T."""
    trust.clock.advance(1)
    return signed_pdf(blank_pdf(), KEY, chain, trust.clock.now(), unit)


@pytest.fixture(scope="module")
def validatable(trust: Trust, unit: Unit, chain: tuple[bytes, ...], stamped: bytes) -> bytes:
    """Level B-LT."""
    trust.clock.advance(1)
    return with_validation_data(stamped, gathered(trust, chain, unit))


@pytest.fixture(scope="module")
def archived(trust: Trust, unit: Unit, validatable: bytes) -> bytes:
    """Level B-LTA."""
    trust.clock.advance(1)
    return with_document_timestamp(validatable, lambda digest: unit.stamp(digest, "sha256").der)


def store(pdf: bytes) -> dict[str, list[bytes]]:
    """What stands in the document security store."""
    found = _READER(BytesIO(pdf)).root["/DSS"]
    return {name: [each.get_object().data for each in found[name]] for name in found if name != "/VRI"}


def test_the_store_has_what_validates_the_signature_and_what_was_signed_stays(
    trust: Trust, unit: Unit, chain: tuple[bytes, ...], stamped: bytes, validatable: bytes
) -> None:
    assert validatable.startswith(stamped)
    found = store(validatable)
    assert {*chain, unit.certificate} < {*found["/Certs"]}
    assert (len(found["/OCSPs"]), len(found["/CRLs"])) == (1, 1)
    assert "/VRI" not in _READER(BytesIO(validatable)).root["/DSS"]
    extensions = _READER(BytesIO(validatable)).root["/Extensions"]
    assert extensions["/ESIC"]["/BaseVersion"] == "/1.7"
    assert judged(validatable, trust.root, trust.clock.now()) is AdESPassed.OK


def test_what_is_in_the_store_is_not_put_there_again(
    trust: Trust, unit: Unit, chain: tuple[bytes, ...], validatable: bytes
) -> None:
    found = store(validatable)
    there = ValidationData(tuple(found["/Certs"]), tuple(found["/OCSPs"]), tuple(found["/CRLs"]))
    assert with_validation_data(validatable, there) == validatable
    trust.clock.advance(1)
    more = with_validation_data(validatable, gathered(trust, chain, unit))
    assert more.startswith(validatable)
    assert [len(found) for found in store(more).values()] == [len(found["/Certs"]), 2, 2]


def test_a_document_timestamp_is_over_the_whole_file(validatable: bytes, archived: bytes) -> None:
    assert archived.startswith(validatable)
    (last,) = _READER(BytesIO(archived)).embedded_timestamp_signatures
    assert last.sig_object["/SubFilter"] == "/ETSI.RFC3161"
    assert last.sig_object["/Type"] == "/DocTimeStamp"
    assert last.compute_integrity_info() is None
    assert last.coverage is SignatureCoverageLevel.ENTIRE_FILE
    _, before, after, rest = map(int, last.sig_object["/ByteRange"])
    covered = archived[:before] + archived[after : after + rest]
    stated = last.signed_data["encap_content_info"]["content"].parsed["message_imprint"]
    assert stated["hashed_message"].native == hashlib.sha256(covered).digest()


def test_without_revocation_data_the_signature_does_not_last(trust: Trust, unit: Unit, stamped: bytes) -> None:
    bare = with_document_timestamp(stamped, lambda digest: unit.stamp(digest, "sha256").der)
    assert isinstance(judged(bare, trust.root, trust.clock.now()), AdESIndeterminate)


def test_a_signature_of_another_person_comes_behind_an_archive_and_is_archived_too(
    trust: Trust, unit: Unit, archived: bytes
) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    second_chain = trust.signer(other)
    trust.clock.advance(1)
    twice = signed_pdf(archived, other, second_chain, trust.clock.now(), unit)
    trust.clock.advance(1)
    lasting = with_validation_data(twice, gathered(trust, second_chain, unit))
    lasting = with_document_timestamp(lasting, lambda digest: unit.stamp(digest, "sha256").der)
    assert lasting.startswith(archived)
    for place in range(2):
        assert judged(lasting, trust.root, trust.clock.now(), place=place) is AdESPassed.OK
    names = [each.field_name for each in _READER(BytesIO(lasting)).embedded_signatures]
    assert names == ["Signature1", "Timestamp1", "Signature2", "Timestamp2"]


@pytest.mark.parametrize("document", [b"", b"%PDF-1.7", blank_pdf()[:200], encrypted()])
def test_SIG_10_what_is_no_sound_pdf_takes_no_revision(document: bytes) -> None:
    with pytest.raises(DocumentNotAcceptable):
        with_validation_data(document, ValidationData())
    with pytest.raises(DocumentNotAcceptable):
        with_document_timestamp(document, lambda _digest: b"")


def test_validation_data_that_cannot_be_read_is_refused(stamped: bytes) -> None:
    for data in (ValidationData((b"x",)), ValidationData(ocsps=(b"x",)), ValidationData(crls=(b"x",))):
        with pytest.raises(DocumentNotAcceptable):
            with_validation_data(stamped, data)


def test_a_token_that_has_no_room_is_refused(stamped: bytes) -> None:
    assert with_document_timestamp(stamped, lambda _digest: bytes(TOKEN_OCTETS))
    with pytest.raises(SignatureTooLarge):
        with_document_timestamp(stamped, lambda _digest: bytes(TOKEN_OCTETS + 1))
