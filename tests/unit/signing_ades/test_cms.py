"""SignedData by our hand, octet for octet against pyHanko's, and before openssl."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import algos, cms
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.sign.signers import ExternalSigner
from pyhanko_certvalidator.registry import SimpleCertificateStore

from foundation.der import SET, der
from signing.ades.cms import SignedByModule, room_for, signed_data
from signing.ades.errors import AttributesInvalid
from signing.sam.algorithms import SHA256, SHA384, SHA512, SignatureAlgorithm, algorithm_identifier
from signing.sam.tbs.cms import CmsSignature
from tests.documents import Hand, Key, hand

CONTENT = b"What is signed.\r\n"
_STORE: Any = SimpleCertificateStore
RSA_KEY = rsa.generate_private_key(65537, 3072)
ALGORITHMS: dict[str, tuple[Key, SignatureAlgorithm]] = {
    "P-256": (ec.generate_private_key(ec.SECP256R1()), SignatureAlgorithm("ecdsa", SHA256)),
    "P-384": (ec.generate_private_key(ec.SECP384R1()), SignatureAlgorithm("ecdsa", SHA384)),
    "RSA-PSS": (RSA_KEY, SignatureAlgorithm("rsa-pss", SHA256, 32)),
    "RSA-PKCS1": (RSA_KEY, SignatureAlgorithm("rsa-pkcs1-v1_5", SHA512)),
}


@pytest.fixture(params=ALGORITHMS)
def signer(request: pytest.FixtureRequest) -> Hand:
    return hand(*ALGORITHMS[request.param])


def signed_by(hand: Hand, *others: bytes, content: bytes = CONTENT) -> SignedByModule:
    built = CmsSignature(hand.digest(content), commitment="ProofOfApproval").build(hand.signer)
    return SignedByModule(built.tbs, hand.sign(hand.digest(built.tbs)), (hand.der, *others))


def by_pyhanko(hand: Hand, signed: SignedByModule, content: bytes | None) -> bytes:
    store = _STORE()
    store.register_multiple([asn1_x509.Certificate.load(each) for each in signed.chain])
    writer = ExternalSigner(
        signing_cert=asn1_x509.Certificate.load(hand.der),
        cert_registry=store,
        signature_value=signed.value,
        signature_mechanism=algos.SignedDigestAlgorithm.load(algorithm_identifier(hand.algorithm)),
        embed_roots=True,
    )
    info = asyncio.run(
        writer.async_sign_prescribed_attributes(hand.hash_name, cms.CMSAttributes.load(signed.attributes))
    )
    data = info["content"]
    # It writes a NULL after the hash function, which RFC 5754 2 says should be left out.
    bare = algos.DigestAlgorithm.load(der(0x30, algos.DigestAlgorithmId(hand.hash_name).dump()))
    data["digest_algorithms"] = [bare]
    data["signer_infos"][0]["digest_algorithm"] = bare
    if content is not None:
        data["encap_content_info"] = {"content_type": "data", "content": content}
    data["certificates"] = [asn1_x509.Certificate.load(each) for each in signed.chain]
    return bytes(info.dump(force=True))


@pytest.mark.parametrize("content", [None, CONTENT], ids=["detached", "attached"])
def test_the_octets_are_those_that_pyhanko_writes(signer: Hand, content: bytes | None) -> None:
    other = hand(ec.generate_private_key(ec.SECP256R1()), SignatureAlgorithm("ecdsa", SHA256)).der
    signed = signed_by(signer, other)
    assert signed_data(signed, content=content) == by_pyhanko(signer, signed, content)


@pytest.mark.parametrize("attached", [False, True], ids=["detached", "attached"])
def test_openssl_verifies_it_as_cades(signer: Hand, tmp_path: Path, attached: bool) -> None:
    (tmp_path / "content").write_bytes(CONTENT)
    (tmp_path / "root").write_bytes(signer.certificate.public_bytes(Encoding.PEM))
    made = signed_data(signed_by(signer), content=CONTENT if attached else None)
    (tmp_path / "signature").write_bytes(made)
    command = ["openssl", "cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", "signature"]
    command += ["-CAfile", "root", "-purpose", "any", "-out", "out"]
    # The test's certificates are as old as the moment of the test's signatures.
    command += ["-attime", "1780000000"] + ([] if attached else ["-content", "content"])
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "out").read_bytes() == CONTENT
    (tmp_path / "content").write_bytes(b"Something else.\r\n")
    (tmp_path / "signature").write_bytes(made.replace(CONTENT, b"Something else.\r\n"))
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode != 0


def test_it_is_der_and_its_certificates_stand_in_order(signer: Hand) -> None:
    others = [hand(ec.generate_private_key(ec.SECP256R1()), SignatureAlgorithm("ecdsa", SHA256)).der for _ in range(3)]
    made = signed_data(signed_by(signer, *others))
    parsed = cms.ContentInfo.load(made, strict=True)
    assert parsed.dump(force=True) == made
    found = [item.dump() for item in parsed["content"]["certificates"]]
    assert found == sorted([signer.der, *others])


def test_a_timestamp_stands_in_the_unsigned_attributes(signer: Hand) -> None:
    token = cms.ContentInfo({"content_type": "data", "content": b"any"}).dump()
    (info,) = cms.ContentInfo.load(signed_data(signed_by(signer), timestamp=token))["content"]["signer_infos"]
    (attribute,) = info["unsigned_attrs"]
    assert attribute["type"].native == "signature_time_stamp_token"
    assert [value.dump() for value in attribute["values"]] == [token]


def test_SIG_04_attributes_of_another_certificate_are_refused(signer: Hand) -> None:
    other = hand(ec.generate_private_key(ec.SECP256R1()), SignatureAlgorithm("ecdsa", SHA256))
    signed = signed_by(signer)
    with pytest.raises(AttributesInvalid):
        signed_data(SignedByModule(signed.attributes, signed.value, (other.der,)))


def test_SIG_04_what_was_read_of_one_signer_is_not_taken_for_another(signer: Hand) -> None:
    other = hand(ec.generate_private_key(ec.SECP384R1()), SignatureAlgorithm("ecdsa", SHA384))
    for each in (signer, other, signer):
        (info,) = cms.ContentInfo.load(signed_data(signed_by(each)))["content"]["signer_infos"]
        certificate = asn1_x509.Certificate.load(each.der)
        assert info["sid"].chosen["serial_number"].native == certificate.serial_number
        assert info["digest_algorithm"]["algorithm"].native == each.hash_name
    # Both attributes were seen just now, in good company.
    signed = signed_by(other)
    with pytest.raises(AttributesInvalid):
        signed_data(SignedByModule(signed.attributes, signed.value, (signer.der,)))


def test_SIG_04_an_attribute_that_is_there_twice_is_refused(signer: Hand) -> None:
    signed = signed_by(signer)
    attributes = [each.dump() for each in cms.CMSAttributes.load(signed.attributes)]
    for each in attributes:
        with pytest.raises(AttributesInvalid):
            signed_data(SignedByModule(der(SET, *attributes, each), signed.value, signed.chain))


@pytest.mark.parametrize("attributes", [b"", b"\x30\x00", der(SET), der(SET, b"\x30\x03\x02\x01\x01"), b"\x31\x05ab"])
def test_what_is_no_signed_attributes_is_refused(attributes: bytes) -> None:
    signer = hand(*ALGORITHMS["P-256"])
    with pytest.raises(AttributesInvalid):
        signed_data(SignedByModule(attributes, b"value", (signer.der,)))


def test_the_room_is_enough_and_not_much_more(signer: Hand) -> None:
    signed = signed_by(signer)
    token = cms.ContentInfo({"content_type": "data", "content": bytes(5000)}).dump()
    room = room_for(signed.chain, signature_octets=len(signed.value), timestamp_octets=len(token))
    assert len(signed_data(signed, timestamp=token)) <= room <= len(signed_data(signed, timestamp=token)) + 2500
