"""SignedAttributes: what others read in them, and what they are not made of."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms, core
from cryptography.hazmat.primitives.serialization import Encoding

from signing.sam.algorithms import SHA256, SHA512, algorithm_identifier
from signing.sam.errors import TemplateRefused
from signing.sam.tbs.cms import CmsSignature, PdfSignature
from signing.sam.tbs.common import COMMITMENTS, SignaturePolicy, Signer
from signing.sam.tbs.pdf import MeasuredPdf
from tests.documents import AT, Hand, cms_of

DOCUMENT = b"What is signed.\n"
POLICY = SignaturePolicy("2.999.1", SHA256, bytes(32))


def parsed(tbs: bytes) -> dict[str, Any]:
    """Attributes by name, each with its one value; read by asn1crypto, and the same octets when it writes them."""
    attributes = cms.CMSAttributes.load(tbs, strict=True)
    assert attributes.dump(force=True) == tbs
    found = {attribute["type"].native: attribute["values"] for attribute in attributes}
    assert len(found) == len(attributes)
    assert all(len(values) == 1 for values in found.values())
    return {name: values[0] for name, values in found.items()}


def test_asn1crypto_reads_what_the_template_has(hand_of_any_kind: Hand) -> None:
    hand = hand_of_any_kind
    built = CmsSignature(hand.digest(DOCUMENT)).build(hand.signer)
    found = parsed(built.tbs)
    assert set(found) == {
        "content_type", "message_digest", "signing_time", "signing_certificate_v2", "cms_algorithm_protection"
    }  # fmt: skip
    assert found["content_type"].native == "data"
    assert found["message_digest"].native == hand.digest(DOCUMENT)
    assert found["signing_time"].native == datetime.fromtimestamp(AT, UTC)
    (certificate,) = found["signing_certificate_v2"]["certs"]
    assert certificate["cert_hash"].native == hashlib.sha256(hand.der).digest()
    assert certificate["hash_algorithm"]["algorithm"].native == "sha256"
    protection = found["cms_algorithm_protection"]
    assert protection["digest_algorithm"]["algorithm"].native == hand.hash_name
    signature_algorithm = protection["signature_algorithm"].untag().dump()
    assert signature_algorithm == algorithm_identifier(hand.algorithm)
    assert built.signed_properties is None


@pytest.mark.parametrize("verify", [("-verify",), ("-verify", "-cades")])
def test_openssl_verifies_an_assembled_signature(
    tmp_path: Path, hand_of_any_kind: Hand, verify: tuple[str, ...]
) -> None:
    hand = hand_of_any_kind
    built = CmsSignature(hand.digest(DOCUMENT), "text/plain", None, "ProofOfApproval", POLICY).build(hand.signer)
    files = {
        "signature": cms_of(hand.der, hand.algorithm, built.tbs, hand.sign(hand.digest(built.tbs))),
        "document": DOCUMENT,
        "anchor": hand.certificate.public_bytes(Encoding.PEM),
    }
    for name, octets in files.items():
        (tmp_path / name).write_bytes(octets)

    def judged() -> int:
        return subprocess.run(
            [
                "openssl", "cms", *verify, "-binary", "-inform", "DER", "-in", "signature", "-content", "document",
                "-CAfile", "anchor", "-partial_chain", "-purpose", "any", "-out", "out", "-attime", str(AT + 60),
            ],
            cwd=tmp_path, check=False, capture_output=True,
        ).returncode  # fmt: skip

    assert judged() == 0
    (tmp_path / "document").write_bytes(DOCUMENT + b"!")
    assert judged() != 0


def test_pades_has_no_signing_time_and_the_ranges_digest(alice: Hand) -> None:
    measured = MeasuredPdf(bytes(32), alice.digest(b"range"), SHA256)
    template = PdfSignature(measured, "ProofOfOrigin", POLICY)
    found = parsed(template.build(alice.signer).tbs)
    assert set(found) == {
        "content_type", "message_digest", "signing_certificate_v2", "cms_algorithm_protection",
        "commitment_type", "signature_policy_identifier",
    }  # fmt: skip
    assert found["message_digest"].native == alice.digest(b"range")
    assert template.documents == (bytes(32),)


def test_a_pdf_measured_with_another_hash_function_is_refused(alice: Hand) -> None:
    with pytest.raises(TemplateRefused, match="another hash function"):
        PdfSignature(MeasuredPdf(bytes(64), bytes(64), SHA512)).build(alice.signer)


@pytest.mark.parametrize("commitment", COMMITMENTS)
def test_commitments_are_those_of_the_standard(alice: Hand, commitment: str) -> None:
    tbs = CmsSignature(bytes(32), commitment=commitment).build(alice.signer).tbs
    oid = core.ObjectIdentifier(f"1.2.840.113549.1.9.16.6.{COMMITMENTS[commitment]}").dump()
    kind = core.ObjectIdentifier("1.2.840.113549.1.9.16.2.16").dump()
    assert kind + bytes([0x31, len(oid) + 2, 0x30, len(oid)]) + oid in tbs


def test_media_type_description_and_policy_are_what_was_asked_for(alice: Hand) -> None:
    with_type = CmsSignature(bytes(32), mime_type="application/pdf").build(alice.signer).tbs
    name = core.UTF8String("application/pdf").dump()
    oid = core.ObjectIdentifier("0.4.0.1733.2.1").dump()
    assert oid + bytes([0x31, len(name)]) + name in with_type
    described = CmsSignature(bytes(32), description="Größe: 5 €", policy=POLICY).build(alice.signer).tbs
    hint = core.UTF8String("Größe: 5 €").dump() + core.ObjectIdentifier("1.2.840.113549.1.7.1").dump()
    oid = core.ObjectIdentifier("1.2.840.113549.1.9.16.2.4").dump()
    assert oid + bytes([0x31, len(hint) + 2, 0x30, len(hint)]) + hint in described
    policy = parsed(described)["signature_policy_identifier"].chosen
    assert policy["sig_policy_id"].native == "2.999.1"
    assert policy["sig_policy_hash"]["digest"].native == bytes(32)


@pytest.mark.parametrize(
    ("at", "written"),
    [
        (2_524_607_999, b"\x17\r491231235959Z"),
        (2_524_608_000, b"\x18\x0f20500101000000Z"),
    ],
)
def test_a_signing_time_is_written_in_the_form_of_its_year(alice: Hand, at: int, written: bytes) -> None:
    signer = Signer(alice.der, alice.algorithm, 256, at)
    assert written in CmsSignature(bytes(32)).build(signer).tbs


@pytest.mark.parametrize(
    "change",
    [
        {"document": bytes(31)},
        {"document": bytes(48)},
        {"mime_type": "text"},
        {"mime_type": "text/plain; charset=utf-8"},
        {"mime_type": "text/plain\n"},
        {"mime_type": "tеxt/plain"},
        {"mime_type": f"text/{'a' * 128}"},
        {"mime_type": "text/plain", "description": "both"},
        {"description": ""},
        {"description": "a" * 256},
        {"description": "two\nlines"},
        {"description": "nul\0"},
        {"description": "turned \u202eround"},
        {"description": "isolated \u2066"},
        {"description": "surrogate \ud800"},
        {"description": "private \ue000"},
        {"description": "line \u2028"},
        {"commitment": "ProofOfNothing"},
        {"commitment": "proofofapproval"},
        {"commitment": ""},
    ],
)
def test_SAD_09_what_the_template_does_not_take_is_refused(alice: Hand, change: dict[str, Any]) -> None:
    with pytest.raises(TemplateRefused):
        CmsSignature(**{"document": bytes(32), **change}).build(alice.signer)


@pytest.mark.parametrize(
    ("oid", "hash_alg", "digest"),
    [
        ("1", SHA256, bytes(32)),
        ("3.1.1", SHA256, bytes(32)),
        ("1.40.1", SHA256, bytes(32)),
        ("1.02.1", SHA256, bytes(32)),
        ("1.2.03", SHA256, bytes(32)),
        ("1.2.-3", SHA256, bytes(32)),
        ("1.2.٣", SHA256, bytes(32)),
        ("1.2.3 ", SHA256, bytes(32)),
        ("1.2.3\n", SHA256, bytes(32)),
        ("1.2." + "1." * 16 + "1", SHA256, bytes(32)),
        ("1.2.9999999999", SHA256, bytes(32)),
        ("1.2.3", "1.3.14.3.2.26", bytes(20)),
        ("1.2.3", SHA512, bytes(32)),
    ],
)
def test_a_policy_of_another_form_is_refused(oid: str, hash_alg: str, digest: bytes) -> None:
    with pytest.raises(TemplateRefused):
        SignaturePolicy(oid, hash_alg, digest)


def test_a_pdfs_commitment_is_looked_at_too() -> None:
    with pytest.raises(TemplateRefused):
        PdfSignature(MeasuredPdf(bytes(32), bytes(32), SHA256), "ProofOfNothing")


def test_attributes_are_nothing_else_that_is_signed(alice: Hand) -> None:
    # A SET; what else is signed (a request, a certificate, a TSTInfo, an OCSP response) is a SEQUENCE.
    assert CmsSignature(bytes(32)).build(alice.signer).tbs[0] == 0x31
