"""Makes the vectors of the signer's proof, with fixed keys: ``python -m tests.vectors.proof.make``.

``keys.json`` has the devices' public keys and the origin; ``valid/`` and ``invalid/`` have a file a vector: the SAD's
claims, the proof's claim, the time of verification, the statement's octets, and the reason.  The ECDSA signatures
differ from run to run; everything else is fixed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import OKPKey

from contract import proof as proofs
from contract import sad as sads
from contract.assertion import ProofOrigin
from contract.errors import ProofInvalid
from contract.proof import Proof, ProofKey, Statement, WebAuthnParts
from contract.sad import Sad
from foundation.jose import SigningKey, encode_base64url
from tests.vectors.sad.make import FOREIGN, IAT, PINNED, SAD, digest, signing_key

HERE = Path(__file__).parent
WHERE = ProofOrigin("approve.example.org", "https://approve.example.org")
# The public examples of RFC 8037 appendix A; the two on P-256 are those of the SAD vectors.
ED25519 = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
_ED25519 = OKPKey.import_key({**ED25519})
DEVICE = replace(signing_key(PINNED, ""), kid=signing_key(PINNED, "").key.thumbprint())
OTHER = replace(signing_key(FOREIGN, ""), kid=signing_key(FOREIGN, "").key.thumbprint())
EDWARDS = SigningKey(_ED25519.thumbprint(), "Ed25519", _ED25519)
DISPLAY = digest("Example Contracts asks for your signature: Rental contract.pdf")
NOW = IAT + 5
UP, UV, BE, BS, AT, ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80


@dataclass(frozen=True, slots=True)
class Vector:
    """A proof for a SAD, at a time."""

    name: str
    reason: str
    sad: Sad
    claim: Mapping[str, Any]
    key: SigningKey
    now: int = NOW


def sign(key: SigningKey, message: bytes, *, raw: bool) -> bytes:
    """What a device answers.

    :param raw: r and s in place of DER.
    """
    private: Any = key.key.private_key
    if key.algorithm == "Ed25519":
        signature: bytes = private.sign(message)
        return signature
    der: bytes = private.sign(message, ECDSA(SHA256()))
    r, s = decode_dss_signature(der)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") if raw else der


def blank(key: SigningKey, **changes: Any) -> Proof:
    """A proof without its signature."""
    values: dict[str, Any] = {"kid": key.kid, "iat": IAT, "exp": IAT + 300, "display": DISPLAY, "signature": b""}
    return Proof(**{**values, **changes})


def mobile(key: SigningKey = DEVICE, sad: Sad = SAD, statement: Statement | None = None, **changes: Any) -> Proof:
    """A proof of the Mobile ID form."""
    made = blank(key, **changes)
    message = proofs.statement_octets(statement or proofs.statement_of(sad, made))
    return replace(made, signature=sign(key, message, raw=True))


def client_data(asked: bytes, **changes: Any) -> bytes:
    """As Chromium writes it."""
    said = {
        "type": "webauthn.get",
        "challenge": encode_base64url(asked),
        "origin": WHERE.origin,
        "crossOrigin": False,
    }
    return json.dumps({**said, **changes}, separators=(",", ":")).encode()


def authenticator_data(rp_id: str = WHERE.rp_id, flags: int = UP | UV, count: int = 7, more: bytes = b"") -> bytes:
    """WebAuthn Level 3 6.1."""
    return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + count.to_bytes(4, "big") + more


def webauthn(
    key: SigningKey = DEVICE,
    sad: Sad = SAD,
    *,
    said: Mapping[str, Any] | None = None,
    data: bytes | None = None,
    statement: Statement | None = None,
    **changes: Any,
) -> Proof:
    """A proof of the WebAuthn form."""
    made = blank(key, **changes)
    challenge = proofs.challenge_of(statement or proofs.statement_of(sad, made))
    parts = WebAuthnParts(client_data(challenge, **(said or {})), data or authenticator_data())
    message = parts.authenticator_data + hashlib.sha256(parts.client_data).digest()
    return replace(made, signature=sign(key, message, raw=False), webauthn=parts)


def valid() -> Iterator[Vector]:
    """Proofs that verify."""
    for form, made in (("mobile-id", mobile), ("webauthn", webauthn)):
        yield Vector(form, "an approval", SAD, proofs.to_claim(made()), DEVICE)
        document = replace(SAD, hash_type="sdr")
        yield Vector(f"{form}-sdr", "digests of documents", document, proofs.to_claim(made(sad=document)), DEVICE)
        last = proofs.to_claim(made())
        yield Vector(f"{form}-last-second", "exp is the first second refused", SAD, last, DEVICE, IAT + 299)
        ahead = proofs.to_claim(made(iat=NOW + 60, exp=NOW + 360))
        yield Vector(f"{form}-clock-ahead", "a device's clock may be a minute ahead", SAD, ahead, DEVICE)
    yield Vector("webauthn-ed25519", "another kind of key", SAD, proofs.to_claim(webauthn(EDWARDS)), EDWARDS)
    synced = webauthn(data=authenticator_data(flags=UP | UV | BE | BS, count=0))
    yield Vector("webauthn-synced", "a passkey that is backed up", SAD, proofs.to_claim(synced), DEVICE)
    extended = webauthn(data=authenticator_data(flags=UP | UV | ED, more=b"\xa0"))
    yield Vector("webauthn-extensions", "extensions, which are not read", SAD, proofs.to_claim(extended), DEVICE)
    unknown = webauthn(said={"other_keys_can_be_added_here": "as browsers do"})
    yield Vector("webauthn-unknown-member", "client data may say more", SAD, proofs.to_claim(unknown), DEVICE)


def invalid() -> Iterator[Vector]:
    """Proofs that are refused."""
    yield from _about_something_else()
    yield from _by_somebody_else()
    yield from _at_another_time()
    yield from _of_another_form()
    yield from _assertions()


def _about_something_else() -> Iterator[Vector]:
    flipped = (bytes([SAD.dtbsr[0][0] ^ 1]) + SAD.dtbsr[0][1:], *SAD.dtbsr[1:])
    others: dict[str, Mapping[str, Any]] = {
        "aud": {"aud": "urn:privyseal:sam:another"},
        "txn": {"txn": "txn-another"},
        "client": {"client_id": "another-client"},
        "credential": {"credential_id": "another-credential"},
        "hash-type": {"hash_type": "sdr"},
        "one-bit": {"dtbsr": flipped},
        "order": {"dtbsr": tuple(reversed(SAD.dtbsr))},
        "fewer": {"dtbsr": SAD.dtbsr[:1], "sign_count": 1},
        "more": {"dtbsr": (*SAD.dtbsr, SAD.dtbsr[0]), "sign_count": len(SAD.dtbsr) + 1},
        "no-digests": {"dtbsr": (), "sign_count": 1},
    }
    for form, made in (("mobile-id", mobile), ("webauthn", webauthn)):
        claim = proofs.to_claim(made())
        for name, changes in others.items():
            sad = replace(SAD, **changes)
            yield Vector(f"{form}-other-{name}", f"made for a SAD with another {name}", sad, claim, DEVICE)
        others_of_proof: dict[str, Any] = {"display": digest("another text"), "iat": IAT + 1, "exp": IAT + 299}
        for name, value in others_of_proof.items():
            altered = proofs.to_claim(replace(made(), **{name: value}))
            yield Vector(f"{form}-altered-{name}", f"{name} was changed after signing", SAD, altered, DEVICE)
        refused = replace(proofs.statement_of(SAD, blank(DEVICE)), decision="refuse")
        yield Vector(f"{form}-refused", "the person refused", SAD, proofs.to_claim(made(statement=refused)), DEVICE)


def _by_somebody_else() -> Iterator[Vector]:
    for form, made in (("mobile-id", mobile), ("webauthn", webauthn)):
        yield Vector(f"{form}-other-kid", "another device", SAD, proofs.to_claim(made(OTHER)), DEVICE)
        forged = proofs.to_claim(replace(made(OTHER), kid=DEVICE.kid))
        yield Vector(f"{form}-forged", "another device under this one's name", SAD, forged, DEVICE)
        damaged = made()
        damaged = replace(damaged, signature=damaged.signature[:-1] + bytes([damaged.signature[-1] ^ 1]))
        yield Vector(f"{form}-damaged", "one bit of the signature", SAD, proofs.to_claim(damaged), DEVICE)
        empty = {**proofs.to_claim(made()), "signature": ""}
        yield Vector(f"{form}-unsigned", "no signature", SAD, empty, DEVICE)
    message = proofs.statement_octets(proofs.statement_of(SAD, mobile()))
    der = replace(mobile(), signature=sign(DEVICE, message, raw=False))
    yield Vector("mobile-id-der", "DER in place of r and s", SAD, proofs.to_claim(der), DEVICE)
    zero = replace(mobile(), signature=bytes(64))
    yield Vector("mobile-id-zero", "r and s are 0", SAD, proofs.to_claim(zero), DEVICE)
    yield Vector("mobile-id-ed25519", "Mobile ID is on P-256", SAD, proofs.to_claim(mobile(EDWARDS)), EDWARDS)


def _at_another_time() -> Iterator[Vector]:
    for form, made in (("mobile-id", mobile), ("webauthn", webauthn)):
        claim = proofs.to_claim(made())
        yield Vector(f"{form}-expired", "exp is the first second refused", SAD, claim, DEVICE, IAT + 300)
        yield Vector(f"{form}-future", "61 seconds ahead", SAD, claim, DEVICE, IAT - 61)
        long = proofs.to_claim(made(exp=IAT + 601))
        yield Vector(f"{form}-too-long", "a life of more than 600 seconds", SAD, long, DEVICE)
        none = proofs.to_claim(made(exp=IAT))
        yield Vector(f"{form}-no-life", "exp is not after iat", SAD, none, DEVICE, IAT - 1)


def _of_another_form() -> Iterator[Vector]:
    claim, assertion = proofs.to_claim(mobile()), proofs.to_claim(webauthn())
    yield Vector("unknown-form", "no such form", SAD, {**claim, "form": "sms"}, DEVICE)
    yield Vector("unknown-member", "a member that nobody checks", SAD, {**claim, "extra": 1}, DEVICE)
    mixed = {**assertion, "form": "mobile_id"}
    yield Vector("mobile-id-with-client-data", "members of the other form", SAD, mixed, DEVICE)
    for name in assertion:
        less = {key: value for key, value in assertion.items() if key != name}
        yield Vector(f"missing-{name.replace('_', '-')}", f"{name} is missing", SAD, less, DEVICE)
    yield Vector("short-display", "display is not 32 octets", SAD, {**claim, "display": "AAAA"}, DEVICE)
    yield Vector("padded", "base64 with padding", SAD, {**claim, "signature": claim["signature"] + "=="}, DEVICE)


def _assertions() -> Iterator[Vector]:
    data, said = authenticator_data, webauthn
    for name, reason, made in (
        ("create", "a registration is no assertion", said(said={"type": "webauthn.create"})),
        ("payment", "another type", said(said={"type": "payment.get"})),
        ("origin", "made where people log in", said(said={"origin": "https://idp.example.org"})),
        ("origin-slash", "an origin has no path", said(said={"origin": f"{WHERE.origin}/"})),
        ("origin-port", "another port", said(said={"origin": f"{WHERE.origin}:8443"})),
        ("plain", "without TLS", said(said={"origin": "http://approve.example.org"})),
        ("cross-origin", "inside another site's page", said(said={"crossOrigin": True})),
        ("top-origin", "inside another site's page", said(said={"topOrigin": "https://evil.example.org"})),
        ("challenge", "another challenge", said(said={"challenge": encode_base64url(bytes(32))})),
        ("challenge-padded", "not base64url", said(said={"challenge": encode_base64url(bytes(32)) + "="})),
        ("challenge-number", "not a string", said(said={"challenge": 1})),
        ("rp-id", "another relying party identifier", said(data=data("idp.example.org"))),
        ("not-present", "nobody was there", said(data=data(flags=UV))),
        ("not-verified", "the user was not verified", said(data=data(flags=UP))),
        ("backed-up-ineligible", "backed up and not eligible", said(data=data(flags=UP | UV | BS))),
        ("attested", "attested data in an assertion", said(data=data(flags=UP | UV | AT, more=bytes(18)))),
        ("trailing", "octets that no flag announces", said(data=data(more=b"\xa0"))),
        ("no-extensions", "announced extensions are missing", said(data=data(flags=UP | UV | ED))),
        ("short", "too short", said(data=data()[:-1])),
    ):
        yield Vector(f"webauthn-{name}", reason, SAD, proofs.to_claim(made), DEVICE)
    good = webauthn()
    swapped = proofs.to_claim(good) | {"client_data": encode_base64url(b"[]")}
    yield Vector("webauthn-not-an-object", "client data is an object", SAD, swapped, DEVICE)
    twice = client_data(proofs.challenge_of(proofs.statement_of(SAD, good)))[:-1] + b',"type":"webauthn.get"}'
    doubled = proofs.to_claim(good) | {"client_data": encode_base64url(twice)}
    yield Vector("webauthn-member-twice", "a member twice", SAD, doubled, DEVICE)


def content(vector: Vector) -> dict[str, Any]:
    """A vector's file."""
    found: dict[str, Any] = {
        "reason": vector.reason,
        "now": vector.now,
        "kid": vector.key.kid,
        "sad": sads._to_claims(vector.sad),
        "signer_proof": dict(vector.claim),
    }
    try:
        statement = proofs.statement_of(vector.sad, proofs.from_claim(vector.claim))
        found["statement"] = proofs.statement_octets(statement).hex()
    except ProofInvalid:
        found["statement"] = None
    return found


def trusted(key: SigningKey, *, form: str) -> ProofKey:
    """As the module knows the device."""
    return ProofKey(key.verification_key(), WHERE if form == "webauthn" else None)


def main() -> None:
    """Write all files anew."""
    keys = [key.verification_key().as_jwk() for key in (DEVICE, EDWARDS)]
    origin = {"rp_id": WHERE.rp_id, "origin": WHERE.origin}
    (HERE / "keys.json").write_text(json.dumps({"keys": keys, **origin}, indent=2) + "\n")
    for folder, vectors in (("valid", valid()), ("invalid", invalid())):
        (HERE / folder).mkdir(exist_ok=True)
        for old in (HERE / folder).glob("*.json"):
            old.unlink()
        for vector in vectors:
            (HERE / folder / f"{vector.name}.json").write_text(json.dumps(content(vector), indent=2) + "\n")


if __name__ == "__main__":
    main()
