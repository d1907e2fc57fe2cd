"""A credential's key in the evidence, as the stand-alone script verifies it: made in the device, or brought into it."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from anchoring.standalone import Broken, Evidence
from tests.fakes.sam import Authority

ATTRIBUTES = ["LOCAL=FALSE", "SENSITIVE=TRUE"]


def evidence(event: str, **changes: Any) -> Evidence:
    """Of a credential with one record of its birth, and its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Alice")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    certificate = Authority().issue(request.public_bytes(Encoding.DER))
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    born = {
        "credential_id": "one",
        "public_key_sha256": hashlib.sha256(public).hexdigest(),
        "key_attributes": ATTRIBUTES,
        **changes,
    }
    linked = {"credential_id": "one", "certificate_sha256": hashlib.sha256(certificate).hexdigest()}
    made = Evidence.__new__(Evidence)
    made.openssl = "openssl"
    made.intents = [{"credential_id": "one"}]
    made.sam = [(event, born), ("credential.activated", linked)]
    shown = {"public_key": base64.b64encode(public).decode(), "certificates": [base64.b64encode(certificate).decode()]}
    made.sam_part = {"attachments": {"credentials": {"one": shown}}}
    return made


@pytest.mark.parametrize(
    ("event", "said"),
    [("credential.created", ATTRIBUTES), ("credential.imported", ["imported,", *ATTRIBUTES])],
)
def test_a_key_that_came_from_elsewhere_is_told_apart(event: str, said: list[str]) -> None:
    found = evidence(event)
    found.verify_keys()
    assert found.attributes == said


@pytest.mark.parametrize("change", [{"public_key_sha256": "00" * 32}, {"key_attributes": ["SENSITIVE=FALSE"]}])
def test_an_imported_key_is_held_to_the_same(change: dict[str, Any]) -> None:
    with pytest.raises(Broken, match="key of credential one"):
        evidence("credential.imported", **change).verify_keys()
