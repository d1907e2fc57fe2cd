"""A signer's proof key: as orders carry it and the module keeps it, and what it takes to change one.

The first key of a credential comes with the order that creates the credential, or with one of its own.  Whoever wants
another needs one that is there: its device signs a **change**, the second kind of thing that a proof can be about.
Else whoever holds the identity provider's key would bind a key of their own and prove with that.

Pure.  Vectors: ``tests/vectors/proof_key/``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from contract.assertion import ProofOrigin
from contract.errors import ProofInvalid
from contract.proof import Form, Proof, ProofKey, Proved, check_time, verify_octets
from foundation import claims as read
from foundation.errors import JoseError
from foundation.jose import VerificationKey, decode_base64url, encode_base64url, import_verification_key

DOMAIN: Final = b"privyseal-proof-key-1"
"""First field of every change: no statement begins with it."""
MAX_KEYS: Final = 4
"""Of one credential: a device, and others in case it is lost."""
MAX_CHANGE_SECONDS: Final = 3600
"""Between ``iat`` and ``exp`` of the proof for a change: an order is carried out by hand."""

_COMMON: Final = frozenset({"form", "jwk"})
_WEBAUTHN: Final = frozenset({"rp_id", "origin", "credential_id"})
_EVIDENCE: Final = frozenset({"attestation", "aaguid"})
_ALGORITHMS: Final[Mapping[str, frozenset[str]]] = {
    "mobile_id": frozenset({"ES256"}),
    "webauthn": frozenset({"ES256", "Ed25519"}),
}
_MAX_CREDENTIAL_ID: Final = 1023
_NAME: Final = re.compile(r"[a-z0-9-]{1,32}\Z")
_AAGUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """A device's public key, with where it may be used and what is known of the device."""

    key: VerificationKey
    """``kid`` is the thumbprint (RFC 7638), whatever anybody calls it."""
    origin: ProofOrigin | None = None
    """Where WebAuthn proofs are made; None: it is a Mobile ID key."""
    credential_id: bytes | None = None
    """What browsers find a passkey by (WebAuthn Level 3 4, credential id); None for Mobile ID."""
    attestation: str | None = None
    """Attestation statement format that came with the key (WebAuthn Level 3 8), kept as evidence and believed by
    nobody here."""
    aaguid: str | None = None
    """The make that the authenticator stated, a UUID in lower case."""

    @property
    def form(self) -> Form:
        """Which form its proofs have."""
        return "mobile_id" if self.origin is None else "webauthn"

    @property
    def kid(self) -> str:
        """Thumbprint (RFC 7638)."""
        return self.key.kid

    def trusted(self) -> ProofKey:
        """As proofs are verified with it."""
        return ProofKey(self.key, self.origin)


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a credential's proof keys; the one that is there signs it."""

    service: str
    """The module's identifier, ``aud`` of the order."""
    credential_id: str
    added: DeviceKey | None
    removed: str | None
    """Thumbprint of the key that goes."""


def to_json(key: DeviceKey) -> dict[str, Any]:
    """A key as orders carry it; :func:`from_json` gives the same one back."""
    jwk = key.key.key.as_dict(private=False)
    value: dict[str, Any] = {
        "form": key.form,
        "jwk": {name: jwk[name] for name in ("kty", "crv", "x", "y") if name in jwk},
    }
    if key.origin is not None:
        value |= {"rp_id": key.origin.rp_id, "origin": key.origin.origin}
    if key.credential_id is not None:
        value["credential_id"] = encode_base64url(key.credential_id)
    value |= {name: getattr(key, name) for name in _EVIDENCE if getattr(key, name) is not None}
    return value


def from_json(value: Mapping[str, Any]) -> DeviceKey:
    """Read a key strictly.

    :raises ProofInvalid: a member missing, unknown or out of bounds, or a key that is of no kind for its form.
    """
    try:
        return _read(value)
    except JoseError as error:
        raise ProofInvalid(str(error)) from error


def octets(key: DeviceKey) -> bytes:
    """A key in the one form in which it is kept and signed: JSON, names in order, without blanks."""
    return json.dumps(to_json(key), sort_keys=True, separators=(",", ":")).encode()


def from_octets(data: bytes) -> DeviceKey:
    """The key that :func:`octets` wrote.

    :raises ProofInvalid: anything else.
    """
    try:
        value = json.loads(data)
    except ValueError as error:
        raise ProofInvalid("the key is no JSON") from error
    if not isinstance(value, dict):
        raise ProofInvalid("the key is no object")
    found = from_json(value)
    if octets(found) != data:
        raise ProofInvalid("the key is not in the form in which it is written")
    return found


def change_octets(change: Change, proof: Proof) -> bytes:
    """The octets that are signed, or whose SHA-256 is the challenge.

    Every field is its length in four octets, most significant first, and its octets: :data:`DOMAIN`, service,
    credential, the added key's :func:`octets` or nothing, the removed key's thumbprint or nothing, the proof's display,
    iat and exp in decimal.  No two changes have the same octets, and none those of a statement.

    :raises ProofInvalid: nothing would change.
    """
    if change.added is None and change.removed is None:
        raise ProofInvalid("the change changes nothing")
    parts = [
        DOMAIN,
        change.service.encode(),
        change.credential_id.encode(),
        b"" if change.added is None else octets(change.added),
        (change.removed or "").encode(),
        proof.display,
        str(proof.iat).encode(),
        str(proof.exp).encode(),
    ]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def change_challenge(change: Change, proof: Proof) -> bytes:
    """The challenge of a WebAuthn proof for a change: SHA-256, 32 octets."""
    return hashlib.sha256(change_octets(change, proof)).digest()


def verify_change(proof: Proof, change: Change, trusted: ProofKey, now: datetime) -> Proved:
    """A device that the credential knows agreed to the change.

    :raises ProofInvalid: another device, another change, another time, or the signature does not verify.
    """
    check_time(proof, now, MAX_CHANGE_SECONDS)
    return verify_octets(proof, change_octets(change, proof), trusted)


def _read(value: Mapping[str, Any]) -> DeviceKey:
    form = read.text(value, "form", max_length=16)
    if form not in _ALGORITHMS:
        raise ProofInvalid("the key is for no form that is accepted")
    webauthn = form == "webauthn"
    read.check_members(value, _COMMON | (_WEBAUTHN if webauthn else frozenset()), _EVIDENCE)
    key = _key(read.mapping(value, "jwk"))
    if key.algorithm not in _ALGORITHMS[form]:
        raise ProofInvalid("the key is of no kind for its form")
    return DeviceKey(
        key=key,
        origin=ProofOrigin(read.text(value, "rp_id", max_length=253), read.text(value, "origin", max_length=300))
        if webauthn
        else None,
        credential_id=_credential_id(value) if webauthn else None,
        attestation=_matching(value, "attestation", _NAME),
        aaguid=_matching(value, "aaguid", _AAGUID),
    )


def _key(jwk: Mapping[str, Any]) -> VerificationKey:
    # However a JWK is written, one key has one thumbprint, and nothing of it but the key is kept.
    key = import_verification_key(import_verification_key(jwk).key.as_pem(private=False))
    return replace(key, kid=key.key.thumbprint())


def _credential_id(value: Mapping[str, Any]) -> bytes:
    found = decode_base64url(read.text(value, "credential_id", max_length=2 * _MAX_CREDENTIAL_ID).encode())
    if not 1 <= len(found) <= _MAX_CREDENTIAL_ID:
        raise ProofInvalid("the credential id has no length that one has")
    return found


def _matching(value: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str | None:
    if name not in value:
        return None
    found = read.text(value, name, max_length=64)
    if not form.match(found):
        raise ProofInvalid(f"{name} is not in its form")
    return found
