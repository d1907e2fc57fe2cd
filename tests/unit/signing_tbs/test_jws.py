"""The signing input of JAdES: joserfc verifies what it signs, with a payload and without."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey, RSAKey
from joserfc.registry import HeaderParameter

from signing.sam.algorithms import SHA384, SignatureAlgorithm
from signing.sam.errors import DigestNotAuthorized, TemplateRefused
from signing.sam.tbs.common import Signer
from signing.sam.tbs.jws import MAX_PAYLOAD_OCTETS, JwsDocument, JwsPayload, JwsSignature
from tests.documents import AT, Hand, raw

ALGORITHMS = {"p256": "ES256", "p384": "ES384", "pss": "PS256", "pkcs1": "RS512"}


def header_of(tbs: bytes) -> dict[str, Any]:
    """The protected header; its octets are the only ones that this JSON has here."""
    encoded, _, payload = tbs.partition(b".")
    assert payload == b""
    octets = urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
    header: dict[str, Any] = json.loads(octets)
    assert json.dumps(header, sort_keys=True, separators=(",", ":")).encode() == octets
    return header


@pytest.mark.parametrize(("scheme", "name"), ALGORITHMS.items())
def test_joserfc_verifies_an_assembled_signature(hands: dict[str, Hand], scheme: str, name: str) -> None:
    hand = hands[scheme]
    references = tuple(JwsDocument(hand.digest(bytes([n])), f"file-{n}.bin", "application/x-any") for n in range(3))
    tbs = JwsSignature(references, "ProofOfApproval").build(hand.signer).tbs
    header = header_of(tbs)
    assert header["alg"] == name
    value = raw(hand, hand.sign(hand.digest(tbs)))
    public = hand.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key = (ECKey if name.startswith("ES") else RSAKey).import_key(public)
    known = {each: HeaderParameter(each, lambda _value: None) for each in ("b64", "iat", "sigD", "srCms")}
    registry = jws.JWSRegistry(header_registry=known, algorithms=[name], strict_check_header=False)
    changed = JwsSignature(references, "ProofOfReceipt").build(hand.signer)
    registry.max_header_length = len(tbs) + 10
    token = tbs + b"." + urlsafe_b64encode(value).rstrip(b"=")
    assert jws.deserialize_compact(token, key, registry=registry).payload == b""
    with pytest.raises(BadSignatureError):
        jws.deserialize_compact(token.replace(tbs, changed.tbs), key, registry=registry)


def test_the_header_names_certificate_time_and_documents(alice: Hand) -> None:
    references = (JwsDocument(alice.digest(b"1"), "a/b%20c.pdf", "application/pdf"),)
    header = header_of(JwsSignature(references).build(alice.signer).tbs)
    encoded = urlsafe_b64encode(hashlib.sha256(alice.der).digest()).rstrip(b"=").decode()
    assert header == {
        "alg": "ES256",
        "b64": False,
        "crit": ["b64", "sigD"],
        "iat": AT,
        "sigD": {
            "mId": "http://uri.etsi.org/19182/ObjectIdByURIHash",
            "hashM": "S256",
            "hashV": [urlsafe_b64encode(alice.digest(b"1")).rstrip(b"=").decode()],
            "pars": ["a/b%20c.pdf"],
            "ctys": ["application/pdf"],
        },
        "x5t#S256": encoded,
    }


def test_a_curve_with_the_hash_function_of_another_has_no_name(hands: dict[str, Hand]) -> None:
    hand = hands["p256"]
    signer = Signer(hand.der, SignatureAlgorithm("ecdsa", SHA384), 256, AT)
    with pytest.raises(TemplateRefused, match="no name"):
        JwsSignature((JwsDocument(bytes(48), "a", "a/b"),)).build(signer)


PAYLOAD = b'{"amount":"5.00","to":"Example"}'


@pytest.mark.parametrize(("scheme", "name"), ALGORITHMS.items())
def test_joserfc_verifies_a_signature_with_its_payload(hands: dict[str, Hand], scheme: str, name: str) -> None:
    hand = hands[scheme]
    template = JwsPayload(hand.digest(PAYLOAD), PAYLOAD, "application/json", "ProofOfApproval")
    assert template.documents == (hand.digest(PAYLOAD),)
    tbs = template.build(hand.signer).tbs
    public = hand.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key = (ECKey if name.startswith("ES") else RSAKey).import_key(public)
    known = {each: HeaderParameter(each, lambda _value: None) for each in ("iat", "srCms")}
    registry = jws.JWSRegistry(header_registry=known, algorithms=[name], strict_check_header=True)
    token = tbs + b"." + urlsafe_b64encode(raw(hand, hand.sign(hand.digest(tbs)))).rstrip(b"=")
    found = jws.deserialize_compact(token, key, registry=registry)
    assert found.payload == PAYLOAD
    assert found.headers().keys() == {"alg", "cty", "iat", "srCms", "x5t#S256"}


@pytest.mark.parametrize("payload", [PAYLOAD + b" ", b"!" + PAYLOAD[1:], PAYLOAD[:-1]])
def test_SAD_09_a_payload_that_is_not_the_approved_document_is_refused(alice: Hand, payload: bytes) -> None:
    with pytest.raises(DigestNotAuthorized):
        JwsPayload(alice.digest(PAYLOAD), payload, "application/json").build(alice.signer)


@pytest.mark.parametrize(
    "change",
    [
        {"payload": b""},
        {"payload": bytes(MAX_PAYLOAD_OCTETS + 1)},
        {"document": bytes(31)},
        {"document": bytes(64)},
        {"mime_type": "json"},
        {"commitment": "none"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_SAD_09_a_payload_that_the_template_does_not_take_is_refused(alice: Hand, change: dict[str, Any]) -> None:
    right = {"document": alice.digest(PAYLOAD), "payload": PAYLOAD, "mime_type": "a/b"}
    with pytest.raises(TemplateRefused):
        JwsPayload(**{**right, **change}).build(alice.signer)


@pytest.mark.parametrize(
    "change",
    [
        {"uri": "https://example.org/"},
        {"uri": "../a"},
        {"uri": 'a"'},
        {"uri": ""},
        {"uri": "a\x7f"},
        {"mime_type": "pdf"},
        {"mime_type": 'a/b","alg":"none'},
        {"document": bytes(31)},
        {"document": bytes(64)},
    ],
)
def test_SAD_09_a_document_that_the_template_does_not_take_is_refused(alice: Hand, change: dict[str, Any]) -> None:
    right = {"document": bytes(32), "uri": "a", "mime_type": "a/b"}
    with pytest.raises(TemplateRefused):
        JwsSignature((JwsDocument(**{**right, **change}),)).build(alice.signer)


@pytest.mark.parametrize(
    "change",
    [
        {"references": ()},
        {"references": (JwsDocument(bytes(32), "a", "a/b"),) * 2},
        {"references": tuple(JwsDocument(bytes(32), str(n), "a/b") for n in range(101))},
        {"commitment": "none"},
    ],
)
def test_SAD_09_a_signature_that_the_template_does_not_take_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(TemplateRefused):
        JwsSignature(**{"references": (JwsDocument(bytes(32), "a", "a/b"),), **change})
