"""The development TSA: what it stamps and what it rejects (RFC 3161 clause 2.4.2)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import core, tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from devservices.ca import UnsafeDevelopmentCertificateAuthority
from devservices.errors import StateUnusable
from devservices.tsa import UnsafeDevelopmentTsa, prepare
from foundation.clock import FixedClock

IMPRINT = hashlib.sha256(b"a signature").digest()


@pytest.fixture
def tsa(
    authority: UnsafeDevelopmentCertificateAuthority, tmp_path: Path, clock: FixedClock
) -> UnsafeDevelopmentTsa:
    del authority  # its state directory is what counts
    prepare(tmp_path / "tsa", tmp_path / "ca", clock)
    return UnsafeDevelopmentTsa(tmp_path / "tsa", clock)


def query(algorithm: str = "sha256", imprint: bytes = IMPRINT, **members: Any) -> bytes:
    return bytes(
        tsp.TimeStampReq(
            {
                "version": members.pop("version", "v1"),
                "message_imprint": {"hash_algorithm": {"algorithm": algorithm}, "hashed_message": imprint},
                "cert_req": True,
                **members,
            }
        ).dump()
    )


def test_a_token_carries_imprint_nonce_policy_and_whole_seconds(tsa: UnsafeDevelopmentTsa, clock: FixedClock) -> None:
    response = tsp.TimeStampResp.load(tsa.answer(query(nonce=2**63 + 5)))
    assert response["status"]["status"].native == "granted"
    info = response["time_stamp_token"]["content"]["encap_content_info"]["content"].parsed
    assert info["message_imprint"]["hashed_message"].native == IMPRINT
    assert info["nonce"].native == 2**63 + 5
    assert info["policy"].native == "2.999.1.2"
    assert info["gen_time"].native == clock.now().replace(microsecond=0)


def test_a_token_names_its_signer_by_sha_256_and_once(tsa: UnsafeDevelopmentTsa) -> None:
    token = tsp.TimeStampResp.load(tsa.answer(query()))["time_stamp_token"]
    signed = token["content"]
    (signer,) = signed["signer_infos"]
    (certificate,) = (each.chosen for each in signed["certificates"])
    attributes = {each["type"].native: each["values"] for each in signer["signed_attrs"]}
    assert "signing_certificate" not in attributes
    assert attributes["signing_certificate_v2"][0]["certs"][0]["cert_hash"].native == certificate.sha256
    key = x509.load_der_x509_certificate(certificate.dump()).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    attributes_der = b"\x31" + signer["signed_attrs"].dump()[1:]
    key.verify(signer["signature"].native, attributes_der, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize(
    ("request_der", "failure"),
    [
        (b"", "bad_data_format"),
        (b"hello", "bad_data_format"),
        (query() + b"\x00", "bad_data_format"),
        (query(version=2), "bad_request"),
        (query("sha1", b"d" * 20), "bad_alg"),
        (query("md5", b"d" * 16), "bad_alg"),
        (query(imprint=b"d" * 31), "bad_data_format"),
        (query("sha512", IMPRINT), "bad_data_format"),
        (query(req_policy="1.2.3.4"), "unaccepted_policy"),
        (
            query(extensions=[{"extn_id": "2.999.9", "critical": False, "extn_value": b"\x05\x00"}]),
            "unaccepted_extensions",
        ),
    ],
    ids=[
        "empty", "text", "trailing", "version", "sha1", "md5", "short imprint", "wrong length", "policy", "extension"
    ],
)  # fmt: skip
def test_what_rfc_3161_wants_rejected_is_rejected_without_a_token(
    tsa: UnsafeDevelopmentTsa, request_der: bytes, failure: str
) -> None:
    status = tsp.PKIStatusInfo.load(core.Sequence.load(tsa.answer(request_der))[0].dump())
    assert status["status"].native == "rejection"
    assert status["fail_info"].native == {failure}


def test_our_own_policy_may_be_asked_for(tsa: UnsafeDevelopmentTsa) -> None:
    response = tsp.TimeStampResp.load(tsa.answer(query(req_policy="2.999.1.2")))
    assert response["status"]["status"].native == "granted"


@pytest.mark.usefixtures("tsa")
def test_the_units_certificate_is_of_the_one_development_root(
    authority: UnsafeDevelopmentCertificateAuthority, tmp_path: Path
) -> None:
    certificate = x509.load_pem_x509_certificate((tmp_path / "tsa" / "tsa.crt").read_bytes())
    certificate.verify_directly_issued_by(authority.certificate("root"))
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert usage.critical
    assert [oid.dotted_string for oid in usage.value] == ["1.3.6.1.5.5.7.3.8"]


@pytest.mark.usefixtures("authority")
def test_a_second_start_keeps_the_certificate_and_a_new_root_replaces_it(tmp_path: Path, clock: FixedClock) -> None:
    UnsafeDevelopmentCertificateAuthority(tmp_path / "ca2", "http://127.0.0.1:8403", clock=clock)
    prepare(tmp_path / "tsa", tmp_path / "ca", clock)
    first = (tmp_path / "tsa" / "tsa.crt").read_bytes()
    prepare(tmp_path / "tsa", tmp_path / "ca", clock)
    assert (tmp_path / "tsa" / "tsa.crt").read_bytes() == first
    prepare(tmp_path / "tsa", tmp_path / "ca2", clock)
    assert (tmp_path / "tsa" / "tsa.crt").read_bytes() != first


def test_without_a_development_ca_there_is_no_tsa(tmp_path: Path, clock: FixedClock) -> None:
    with pytest.raises(StateUnusable, match="no development CA here yet"):
        prepare(tmp_path / "tsa", tmp_path / "nowhere", clock)
