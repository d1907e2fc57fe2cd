"""PAdES in two halves: what comes out verifies, and nothing else does."""

from __future__ import annotations

import hashlib
import io
import pickle
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import copy_into_new_writer

from examples.errors import PdfNotAcceptableError, SignatureValueError
from examples.pdf_signing import (
    Prepared,
    assemble,
    check_acceptable,
    load_certificates,
    make_sample_pdf,
    prepare,
    verify,
)
from foundation.clock import FixedClock, SystemClock
from signing.csc.document_requests import ARCHIVED, BASIC, STAMPED, VALIDATABLE
from tests.trust import Trust
from tests.unit.examples.certificates import Signer, make_signer, pem
from tests.unit.signing_csc.test_document_assembly import KEY, Desk


@pytest.fixture(scope="module")
def signer() -> Signer:
    return make_signer()


@pytest.fixture(scope="module")
def prepared(signer: Signer) -> Prepared:
    return prepare(make_sample_pdf(), signer.chain)


@pytest.fixture(scope="module")
def signed(signer: Signer, prepared: Prepared) -> bytes:
    return assemble(prepared, signer.sign_digest(prepared.dtbsr))


def embedded(pdf: bytes) -> Any:
    return PdfFileReader(io.BytesIO(pdf)).embedded_regular_signatures[-1]


def test_a_signed_pdf_verifies_against_its_root_and_covers_the_whole_file(signer: Signer, signed: bytes) -> None:
    verdict = verify(signed, [signer.root])
    assert (verdict.intact, verdict.valid, verdict.trusted, verdict.bottom_line) == (True, True, True, True)
    assert verdict.coverage == "ENTIRE_FILE"
    assert verdict.signer == "Alice Example"
    assert verdict.subfilter == "/ETSI.CAdES.detached"
    assert verdict.signed_at is not None
    assert verdict.problem == ""


def test_the_signed_attributes_are_those_of_pades_baseline_b(signer: Signer, signed: bytes) -> None:
    attributes = embedded(signed).signer_info["signed_attrs"]
    kinds = {attribute["type"].native for attribute in attributes}
    assert {"content_type", "message_digest", "signing_certificate_v2"} <= kinds
    assert "signing_time" not in kinds  # EN 319 142-1 clause 6.3: the time stands in the dictionary's /M
    reference = next(each for each in attributes if each["type"].native == "signing_certificate_v2")
    digest = reference["values"][0]["certs"][0]["cert_hash"].native
    assert digest == hashlib.sha256(signer.certificate).digest()


def test_what_the_person_approves_is_the_digest_of_the_attributes_in_the_pdf(prepared: Prepared, signed: bytes) -> None:
    attributes = embedded(signed).signer_info["signed_attrs"].untag().dump()
    assert attributes == prepared.signed_attributes
    assert hashlib.sha256(attributes).digest() == prepared.dtbsr
    assert isinstance(cms.CMSAttributes.load(prepared.signed_attributes), cms.CMSAttributes)


def test_a_prepared_pdf_survives_storage(signer: Signer, prepared: Prepared) -> None:
    restored = pickle.loads(pickle.dumps(prepared))
    assert restored == prepared
    assert verify(assemble(restored, signer.sign_digest(restored.dtbsr)), [signer.root]).bottom_line


def test_a_changed_byte_in_a_signed_pdf_is_noticed(signer: Signer, signed: bytes) -> None:
    tampered = signed.replace(b"twelve euros", b"eleven euros")
    assert tampered != signed
    verdict = verify(tampered, [signer.root])
    assert not verdict.intact
    assert not verdict.bottom_line
    assert "changed" in verdict.problem


def test_a_page_changed_in_a_later_revision_is_noticed(signer: Signer, signed: bytes) -> None:
    writer = IncrementalPdfFileWriter(io.BytesIO(signed))
    page = writer.root["/Pages"]["/Kids"][0]
    page["/Contents"] = writer.add_object(generic.StreamObject(stream_data=b""))
    writer.update_container(page)
    output = io.BytesIO()
    writer.write(output)  # type: ignore[no-untyped-call] # pyHanko leaves it without annotations
    verdict = verify(output.getvalue(), [signer.root])
    assert verdict.intact  # the signed revision itself is as it was
    assert verdict.coverage == "ENTIRE_REVISION"
    assert not verdict.bottom_line


def test_a_value_made_by_another_key_is_refused(prepared: Prepared) -> None:
    with pytest.raises(SignatureValueError):
        assemble(prepared, make_signer().sign_digest(prepared.dtbsr))


def test_a_value_over_another_digest_is_refused(signer: Signer, prepared: Prepared) -> None:
    with pytest.raises(SignatureValueError):
        assemble(prepared, signer.sign_digest(bytes(32)))


def test_a_value_in_raw_form_is_refused(prepared: Prepared) -> None:
    with pytest.raises(SignatureValueError):
        assemble(prepared, bytes(64))


def test_another_root_does_not_trust_the_signature(signed: bytes) -> None:
    verdict = verify(signed, [make_signer().root])
    assert verdict.intact
    assert verdict.valid
    assert not verdict.trusted
    assert not verdict.bottom_line


def test_no_root_at_all_trusts_nothing(signed: bytes) -> None:
    assert not verify(signed, []).bottom_line


def test_revocation_information_that_is_missing_fails_hard_when_asked(signer: Signer, signed: bytes) -> None:
    verdict = verify(signed, [signer.root], hard_fail=True)
    assert not verdict.trusted
    assert not verdict.bottom_line


def test_a_second_signature_leaves_the_first_intact(signer: Signer, signed: bytes) -> None:
    second = make_signer(name="Another Signer")
    again = prepare(signed, second.chain)
    both = assemble(again, second.sign_digest(again.dtbsr))
    assert verify(both, [second.root]).signer == "Another Signer"
    assert verify(both, [second.root]).bottom_line
    assert len(PdfFileReader(io.BytesIO(both)).embedded_regular_signatures) == 2
    assert verify(signed, [signer.root]).bottom_line


@pytest.mark.parametrize(
    ("key", "pss", "sign_algo", "digest"),
    [
        (ec.generate_private_key(ec.SECP384R1()), False, "1.2.840.10045.4.3.3", "sha384"),
        (rsa.generate_private_key(65537, 2048), False, "1.2.840.113549.1.1.11", "sha256"),
        (rsa.generate_private_key(65537, 2048), True, "1.2.840.113549.1.1.10", "sha256"),
    ],
    ids=["P-384", "RSA-PKCS1", "RSA-PSS"],
)
def test_other_keys_sign_with_the_algorithm_that_fits(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, pss: bool, sign_algo: str, digest: str
) -> None:
    signer = make_signer(key)
    prepared = prepare(make_sample_pdf(), signer.chain, prefer_pss=pss)
    assert (prepared.sign_algo, prepared.digest_algorithm) == (sign_algo, digest)
    assert (prepared.sign_algo_params is not None) == pss
    assert verify(assemble(prepared, signer.sign_digest(prepared.dtbsr, pss)), [signer.root]).bottom_line


def test_the_sample_is_one_page_and_always_the_same() -> None:
    sample = make_sample_pdf()
    assert sample == make_sample_pdf()
    reader = PdfFileReader(io.BytesIO(sample))
    assert reader.root["/Pages"]["/Count"] == 1
    check_acceptable(sample)


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>no</html>", b"%PDF-1.7\nand then nothing", make_sample_pdf()[:600], b"%PDF-1.4\n" + b"\x00" * 5000],
    ids=["empty", "html", "header only", "cut off", "zeros"],
)
def test_what_is_no_sound_pdf_is_refused(content: bytes) -> None:
    with pytest.raises(PdfNotAcceptableError):
        check_acceptable(content)


def encrypted_sample() -> bytes:
    writer = copy_into_new_writer(PdfFileReader(io.BytesIO(make_sample_pdf())))
    writer.encrypt(owner_pass="owner", user_pass="user")  # type: ignore[no-untyped-call] # pyHanko leaves it without annotations
    output = io.BytesIO()
    writer.write(output)  # type: ignore[no-untyped-call] # pyHanko leaves it without annotations
    return output.getvalue()


def test_an_encrypted_pdf_is_refused_with_the_reason() -> None:
    with pytest.raises(PdfNotAcceptableError, match="protected by a password"):
        check_acceptable(encrypted_sample())


def test_a_pdf_without_signature_has_no_verdict(signer: Signer) -> None:
    with pytest.raises(PdfNotAcceptableError, match="no signature"):
        verify(make_sample_pdf(), [signer.root])


def test_certificates_are_read_from_pem_and_der(signer: Signer) -> None:
    assert load_certificates(pem(signer.certificate) + pem(signer.root)) == [signer.certificate, signer.root]
    assert load_certificates(signer.root) == [signer.root]
    with pytest.raises(ValueError, match="no certificate"):
        load_certificates(b"-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n")


@pytest.mark.parametrize(
    ("level", "named"),
    [(BASIC, "B-B"), (STAMPED, "B-T"), (VALIDATABLE, "B-LT"), (ARCHIVED, "B-LTA")],
)
def test_the_level_is_that_of_what_is_in_the_file_and_what_lasts_is_judged_by_the_file_alone(
    tmp_path: Path, level: str, named: str
) -> None:
    trust = Trust(tmp_path, FixedClock(SystemClock().now() - timedelta(hours=1)))
    desk = Desk(trust, trust.unit("unit"), trust.signer(KEY))
    trust.clock.advance(1)
    made = desk.assemble(level)
    verdict = verify(made.octets, [trust.root])
    assert (verdict.level, verdict.bottom_line, verdict.problem) == (named, True, "")
    assert verdict.revocation_checked is (named in {"B-LT", "B-LTA"})
    assert (verdict.stamped_at is None) is (named == "B-B")
    assert not verify(made.octets, [make_signer().root]).bottom_line
