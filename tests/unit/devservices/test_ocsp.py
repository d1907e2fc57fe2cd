"""The OCSP responder: what it answers and what it declines (RFC 6960, RFC 5019)."""

from __future__ import annotations

import pytest
from asn1crypto import ocsp as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from devservices.ca import UnsafeDevelopmentCertificateAuthority
from devservices.ocsp import OcspResponder
from foundation.clock import FixedClock
from tests.unit.devservices.conftest import issuance

Ca = UnsafeDevelopmentCertificateAuthority
Key = ec.EllipticCurvePrivateKey


@pytest.fixture
def leaf(authority: Ca, key: Key) -> x509.Certificate:
    return x509.load_der_x509_certificate(authority.issue(issuance(key))[0])


@pytest.fixture
def responder(authority: Ca, clock: FixedClock) -> OcspResponder:
    return OcspResponder(authority, clock)


def ask(
    leaf: x509.Certificate,
    issuer: x509.Certificate,
    algorithm: hashes.HashAlgorithm | None = None,
    nonce: bytes | None = None,
) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, algorithm or hashes.SHA1())
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_a_good_certificate_is_good_under_every_usual_certid_hash(
    responder: OcspResponder, authority: Ca, leaf: x509.Certificate, algorithm: hashes.HashAlgorithm, clock: FixedClock
) -> None:
    answer = ocsp.load_der_ocsp_response(responder.answer(ask(leaf, authority.certificate("issuing"), algorithm)))
    assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert answer.serial_number == leaf.serial_number
    assert answer.hash_algorithm.name == algorithm.name
    assert answer.this_update_utc == clock.now().replace(microsecond=0)
    assert answer.certificates == [authority.responder("issuing").certificate]
    key = answer.certificates[0].public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))


def test_the_root_answers_for_its_own_certificates_by_its_own_delegate(
    responder: OcspResponder, authority: Ca, leaf: x509.Certificate
) -> None:
    root, issuing = authority.certificate("root"), authority.certificate("issuing")
    answer = ocsp.load_der_ocsp_response(responder.answer(ask(issuing, root)))
    assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert answer.certificates == [authority.responder("root").certificate]
    strange = ocsp.load_der_ocsp_response(responder.answer(ask(leaf, root)))
    assert strange.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED, "of the other authority"


def test_no_time_in_an_answer_has_fractions_of_a_second(
    responder: OcspResponder, authority: Ca, leaf: x509.Certificate
) -> None:
    answer = asn1.OCSPResponse.load(responder.answer(ask(leaf, authority.certificate("issuing"))))
    data = answer.basic_ocsp_response["tbs_response_data"]
    single = data["responses"][0]
    for time in (data["produced_at"], single["this_update"], single["next_update"]):
        assert len(time.contents) == len(b"20260301120000Z")


def test_a_revoked_certificate_is_revoked_at_once_with_time_and_reason(
    responder: OcspResponder, authority: Ca, leaf: x509.Certificate, clock: FixedClock
) -> None:
    authority.revoke(leaf.public_bytes(Encoding.DER), "keyCompromise")
    answer = ocsp.load_der_ocsp_response(responder.answer(ask(leaf, authority.certificate("issuing"))))
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert answer.revocation_time_utc == clock.now().replace(microsecond=0)
    assert answer.revocation_reason is x509.ReasonFlags.key_compromise


def test_PKI_02_a_serial_that_was_never_given_out_is_unknown(
    responder: OcspResponder, authority: Ca, leaf: x509.Certificate
) -> None:
    issuer = authority.certificate("issuing")
    asked = ocsp.load_der_ocsp_request(ask(leaf, issuer))
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        asked.issuer_name_hash, asked.issuer_key_hash, leaf.serial_number + 1, hashes.SHA1()
    )
    answer = ocsp.load_der_ocsp_response(responder.answer(builder.build().public_bytes(Encoding.DER)))
    assert answer.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


@pytest.mark.parametrize("length", [1, 16, 32, 128])
def test_PKI_02_the_nonce_is_echoed(
    responder: OcspResponder, authority: Ca, leaf: x509.Certificate, length: int
) -> None:
    nonce = bytes(range(length))
    answer = ocsp.load_der_ocsp_response(
        responder.answer(ask(leaf, authority.certificate("issuing"), nonce=nonce))
    )
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce


@pytest.mark.parametrize("length", [0, 129])
def test_a_nonce_of_an_illegal_length_is_a_malformed_request(
    responder: OcspResponder, authority: Ca, leaf: x509.Certificate, length: int
) -> None:
    answer = responder.answer(ask(leaf, authority.certificate("issuing"), nonce=b"n" * length))
    assert status_of(answer) is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def status_of(answer: bytes) -> ocsp.OCSPResponseStatus:
    return ocsp.load_der_ocsp_response(answer).response_status


@pytest.mark.parametrize("request_der", [b"", b"hello", b"\x30\x80", b"\x30\x03\x02\x01\x05"])
def test_what_is_no_request_is_answered_as_malformed(responder: OcspResponder, request_der: bytes) -> None:
    assert status_of(responder.answer(request_der)) is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_an_unknown_critical_extension_is_answered_as_malformed(
    responder: OcspResponder, authority: Ca, leaf: x509.Certificate
) -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.999.9"), b"\x05\x00")
    for critical, expected in (
        (True, ocsp.OCSPResponseStatus.MALFORMED_REQUEST),
        (False, ocsp.OCSPResponseStatus.SUCCESSFUL),
    ):
        builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, authority.certificate("issuing"), hashes.SHA1())
        request = builder.add_extension(unknown, critical=critical).build().public_bytes(Encoding.DER)
        assert status_of(responder.answer(request)) is expected


def test_a_certificate_of_another_issuer_is_not_ours_to_answer_for(
    responder: OcspResponder, authority: Ca, leaf: x509.Certificate
) -> None:
    root = authority.certificate("root")
    assert status_of(responder.answer(ask(leaf, root))) is ocsp.OCSPResponseStatus.UNAUTHORIZED


def test_several_certificates_in_one_request_are_declined(responder: OcspResponder) -> None:
    one = {
        "req_cert": {
            "hash_algorithm": {"algorithm": "sha1"},
            "issuer_name_hash": b"n" * 20,
            "issuer_key_hash": b"k" * 20,
            "serial_number": 1,
        }
    }
    request = asn1.OCSPRequest({"tbs_request": {"request_list": [one, one]}}).dump()
    assert status_of(responder.answer(request)) is ocsp.OCSPResponseStatus.UNAUTHORIZED
