"""The signer's proof in a signature's evidence, as the stand-alone script verifies it: the published vectors."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from anchoring.standalone import Broken, Evidence, base64url, pem_of
from contract.sad import EvidenceClaim, PolicyClaim, Sad
from signing.sam.evidence import sad_record
from signing.sam.proof import proof_record

VECTORS = Path(__file__).parents[2] / "vectors" / "proof"
KEYS = json.loads((VECTORS / "keys.json").read_text())


def vector(kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / kind / f"{name}.json").read_text())
    return found


def verify(found: dict[str, Any], **changes: Any) -> bool:
    """As the record of a signature would have it."""
    claims = found["sad"]
    sad = Sad(
        **{
            **claims,
            "dtbsr": tuple(base64url(each) for each in claims["dtbsr"]),
            "amr": tuple(claims["amr"]),
            "evidence": tuple(EvidenceClaim(**each) for each in claims["evidence"]),
            "policy": PolicyClaim(**claims["policy"]),
            "signer_proof": found["signer_proof"],
        }
    )
    intent = {
        **sad_record(sad, "token"),
        **proof_record(sad),
        "client_id": sad.client_id,
        "credential_id": sad.credential_id,
        "hash_alg": sad.hash_alg,
        "jti": sad.jti,
        **changes,
    }
    form = found["signer_proof"]["form"]
    place = {"rp_id": KEYS["rp_id"], "origin": KEYS["origin"]} if form == "webauthn" else {}
    trusted = [
        {"form": form, "jwk": {name: key[name] for name in ("kty", "crv", "x", "y") if name in key}, **place}
        for key in KEYS["keys"]
    ]
    shown = {"proof_keys": [base64.b64encode(json.dumps(each).encode()).decode() for each in trusted]}
    evidence = Evidence.__new__(Evidence)
    evidence.openssl, evidence.txn = "openssl", sad.txn
    evidence.issued = {sad.jti: {"digests": [each.hex() for each in sad.dtbsr]}}
    evidence.sam_part = {"attachments": {"credentials": {sad.credential_id: shown}}}
    return evidence.verify_proof(intent)


@pytest.mark.parametrize("name", sorted(path.stem for path in (VECTORS / "valid").glob("*.json")))
def test_a_proof_that_the_module_took_verifies_years_later(name: str) -> None:
    assert verify(vector("valid", name))


@pytest.mark.parametrize(
    "name",
    [
        "mobile-id-altered-display",
        "mobile-id-forged",
        "mobile-id-other-aud",
        "mobile-id-other-client",
        "mobile-id-other-credential",
        "mobile-id-other-fewer",
        "mobile-id-other-hash-type",
        "mobile-id-other-one-bit",
        "mobile-id-other-order",
        "mobile-id-other-txn",
        "mobile-id-refused",
        "mobile-id-other-kid",
        "webauthn-altered-exp",
        "webauthn-challenge",
        "webauthn-create",
        "webauthn-forged",
        "webauthn-not-verified",
        "webauthn-origin-port",
    ],
)
def test_a_proof_of_something_else_is_named(name: str) -> None:
    with pytest.raises(Broken, match="signer's proof"):
        verify(vector("invalid", name))


def test_a_proof_that_is_not_the_records_is_none() -> None:
    found = vector("valid", "mobile-id-clock-ahead")
    with pytest.raises(Broken, match="not the one of its record"):
        verify(found, proof_sha256=hashlib.sha256(b"").hexdigest())
    with pytest.raises(ValueError, match="kind"):
        pem_of({"kty": "EC", "crv": "P-384", "x": "", "y": ""})
