"""Makes the vectors of changes of proof keys, with fixed keys: ``python -m tests.vectors.proof_key.make``.

A file a vector: the change, the proof's claim, the second in which it is verified, the octets that were signed where
there are any, and the reason.  Keys and origin are those of ``tests/vectors/proof/keys.json``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from contract import proof as proofs
from contract import proof_key
from contract.assertion import ProofOrigin
from contract.errors import ProofInvalid
from contract.proof import Proof, WebAuthnParts
from contract.proof_key import Change, DeviceKey
from foundation.jose import SigningKey, encode_base64url
from tests.vectors.proof.make import (
    DEVICE,
    EDWARDS,
    OTHER,
    WHERE,
    authenticator_data,
    blank,
    client_data,
    mobile,
    sign,
    webauthn,
)
from tests.vectors.sad.make import IAT

HERE = Path(__file__).parent
NOW = IAT + 5
SERVICE = "urn:privyseal:sam:example"
CREDENTIAL = "credential-1"


def device(key: SigningKey = OTHER, where: ProofOrigin | None = WHERE, **changes: Any) -> DeviceKey:
    """A device's key."""
    made = DeviceKey(
        key.verification_key(),
        where,
        None if where is None else b"\x01" * 32,
        None if where is None else "none",
        None if where is None else "00000000-0000-0000-0000-000000000000",
    )
    return replace(made, **changes)


ADDED = device()
CHANGE = Change(SERVICE, CREDENTIAL, ADDED, DEVICE.kid)


@dataclass(frozen=True, slots=True)
class Vector:
    """A proof for a change, at a time, by a device that was there."""

    name: str
    reason: str
    claim: Mapping[str, Any]
    trusted: DeviceKey
    change: Change = CHANGE
    now: int = NOW


def by_mobile(key: SigningKey = DEVICE, change: Change = CHANGE, **changes: Any) -> Proof:
    """A change that a Mobile ID device agreed to."""
    made = blank(key, **changes)
    return replace(made, signature=sign(key, proof_key.change_octets(change, made), raw=True))


def by_passkey(
    key: SigningKey = DEVICE, change: Change = CHANGE, *, origin: str = WHERE.origin, **changes: Any
) -> Proof:
    """A change that a passkey agreed to."""
    made = blank(key, **changes)
    said = client_data(proof_key.change_challenge(change, made), origin=origin)
    parts = WebAuthnParts(said, authenticator_data())
    message = parts.authenticator_data + hashlib.sha256(parts.client_data).digest()
    return replace(made, signature=sign(key, message, raw=False), webauthn=parts)


def trusted_for(form: str, key: SigningKey = DEVICE) -> DeviceKey:
    """As the module knows the device that was there."""
    return device(key, WHERE if form == "webauthn" else None)


def valid() -> Iterator[Vector]:
    """Changes that a device agreed to."""
    for form, made in (("mobile_id", by_mobile), ("webauthn", by_passkey)):
        trusted = trusted_for(form)
        for name, change in (
            ("replace", CHANGE),
            ("add", replace(CHANGE, removed=None)),
            ("add-mobile-id", Change(SERVICE, CREDENTIAL, device(where=None), None)),
            ("add-ed25519", Change(SERVICE, CREDENTIAL, device(EDWARDS), None)),
            ("remove", replace(CHANGE, added=None)),
        ):
            claim = proofs.to_claim(made(change=change))
            yield Vector(f"{form}-{name}", name, claim, trusted, change)
        long = proofs.to_claim(made(exp=IAT + 3600))
        yield Vector(f"{form}-an-hour", "an order is carried out by hand", long, trusted)


def invalid() -> Iterator[Vector]:
    """Changes that are refused."""
    for form, made in (("mobile_id", by_mobile), ("webauthn", by_passkey)):
        trusted, claim = trusted_for(form), proofs.to_claim(made())
        for name, change in (
            ("service", replace(CHANGE, service="urn:privyseal:sam:another")),
            ("credential", replace(CHANGE, credential_id="credential-2")),
            ("added", replace(CHANGE, added=device(EDWARDS))),
            ("added-origin", replace(CHANGE, added=device(where=replace(WHERE, origin="https://x.example.org")))),
            ("added-credential-id", replace(CHANGE, added=device(credential_id=b"\x02" * 32))),
            ("added-nothing", replace(CHANGE, added=None)),
            ("removed", replace(CHANGE, removed=OTHER.kid)),
            ("removed-nothing", replace(CHANGE, removed=None)),
            ("nothing", Change(SERVICE, CREDENTIAL, None, None)),
        ):
            yield Vector(f"{form}-other-{name}", f"agreed to another change: {name}", claim, trusted, change)
        theirs = proofs.to_claim(made(OTHER))
        yield Vector(f"{form}-new-key", "the new key agrees to itself", theirs, trusted)
        forged = {**theirs, "kid": DEVICE.kid}
        yield Vector(f"{form}-forged", "the new key under the other's name", forged, trusted)
        yield Vector(f"{form}-expired", "exp is the first second refused", claim, trusted, now=IAT + 300)
        yield Vector(f"{form}-future", "61 seconds ahead", claim, trusted, now=IAT - 61)
        long = proofs.to_claim(made(exp=IAT + 3601))
        yield Vector(f"{form}-too-long", "a life of more than an hour", long, trusted)
        shown = {**claim, "display": encode_base64url(bytes(32))}
        yield Vector(f"{form}-display", "another text was shown", shown, trusted)
    signature = proofs.to_claim(mobile())
    yield Vector("mobile_id-statement", "the approval of a signature is no change", signature, trusted_for("mobile_id"))
    signature = proofs.to_claim(webauthn())
    yield Vector("webauthn-statement", "the approval of a signature is no change", signature, trusted_for("webauthn"))
    login = proofs.to_claim(by_passkey(origin="https://idp.example.org"))
    yield Vector("webauthn-origin", "made where people log in", login, trusted_for("webauthn"))


def content(vector: Vector) -> dict[str, Any]:
    """A vector's file."""
    change = vector.change
    try:
        octets = proof_key.change_octets(change, proofs.from_claim(vector.claim)).hex()
    except ProofInvalid:
        octets = None
    return {
        "reason": vector.reason,
        "now": vector.now,
        "trusted": proof_key.to_json(vector.trusted),
        "change": {
            "service": change.service,
            "credential_id": change.credential_id,
            "added": None if change.added is None else proof_key.to_json(change.added),
            "removed": change.removed,
        },
        "proof": dict(vector.claim),
        "octets": octets,
    }


def main() -> None:
    """Write all files anew."""
    for folder, vectors in (("valid", valid()), ("invalid", invalid())):
        (HERE / folder).mkdir(exist_ok=True)
        for old in (HERE / folder).glob("*.json"):
            old.unlink()
        for vector in vectors:
            (HERE / folder / f"{vector.name}.json").write_text(json.dumps(content(vector), indent=2) + "\n")


if __name__ == "__main__":
    main()
