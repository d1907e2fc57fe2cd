"""Verifying what a signer's device signed: raw ECDSA, and WebAuthn assertions (WebAuthn Level 3 7.2).

Only what a proof needs: no registration, no attestation, no extensions that would be relied on.  The whole is small,
because it stands inside the module that an evaluator reads.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any, Final, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from contract.errors import ProofInvalid
from foundation.errors import JoseError
from foundation.jose import VerificationKey, encode_base64url, parse_json_object

_TYPE: Final = "webauthn.get"
_HASH_OCTETS: Final = 32
_FIXED_OCTETS: Final = 37
"""rpIdHash, flags, signCount (6.1)."""
_USER_PRESENT: Final = 0x01
_USER_VERIFIED: Final = 0x04
_BACKUP_ELIGIBLE: Final = 0x08
_BACKED_UP: Final = 0x10
_ATTESTED: Final = 0x40
_EXTENSIONS: Final = 0x80
_COORDINATE_OCTETS: Final = 32


@dataclass(frozen=True, slots=True)
class ProofOrigin:
    """Where the pages are on which people approve with a passkey: never where they log in."""

    rp_id: str
    """A domain, such as ``approve.example.org``."""
    origin: str
    """Scheme, host and port, exactly as browsers write it."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an authenticator and a browser answered (WebAuthn Level 3 5.2.2)."""

    client_data: bytes
    """The octets of ``clientDataJSON``."""
    authenticator_data: bytes
    signature: bytes
    """DER for ECDSA."""


def verify_raw(key: VerificationKey, message: bytes, signature: bytes) -> None:
    """ECDSA on P-256 with SHA-256; the signature is r and s of 32 octets each (RFC 7518 3.4).

    :raises ProofInvalid: another kind of key, another length, or it does not verify.
    """
    public = _public(key)
    if not isinstance(public, EllipticCurvePublicKey) or len(signature) != 2 * _COORDINATE_OCTETS:
        raise ProofInvalid("the signature is not ECDSA on P-256 in the accepted form")
    r, s = (int.from_bytes(half, "big") for half in (signature[:_COORDINATE_OCTETS], signature[_COORDINATE_OCTETS:]))
    _check(public, encode_dss_signature(r, s), message)


def verify(key: VerificationKey, where: ProofOrigin, challenge: bytes, given: Assertion) -> int:
    """An assertion with user verification, made for this challenge at this place; returns its ``signCount``.

    The steps' numbers are those of WebAuthn Level 3 7.2.

    :raises ProofInvalid: with the first that fails.
    """
    # 9 to 14: what the browser says that it was asked, and where.
    _check_client_data(given.client_data, where, challenge)
    # 15 to 19: what the authenticator says.
    sign_count = _check_authenticator_data(given.authenticator_data, where)
    # 20, 21: both are what was signed.
    _check(_public(key), given.signature, given.authenticator_data + hashlib.sha256(given.client_data).digest())
    return sign_count


def _check_client_data(client_data: bytes, where: ProofOrigin, challenge: bytes) -> None:
    try:
        said: dict[str, Any] = parse_json_object(client_data)
    except JoseError as error:
        raise ProofInvalid("the client data is not a JSON object") from error
    if said.get("type") != _TYPE:
        raise ProofInvalid("the client data is of another type")
    given = said.get("challenge")
    if not isinstance(given, str) or not hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), encode_base64url(challenge).encode()
    ):
        raise ProofInvalid("the client data has another challenge")
    if said.get("origin") != where.origin:
        raise ProofInvalid("the client data has another origin")
    if said.get("crossOrigin", False) is not False or "topOrigin" in said:
        raise ProofInvalid("the proof was made inside another site's page")


def _check_authenticator_data(data: bytes, where: ProofOrigin) -> int:
    if len(data) < _FIXED_OCTETS:
        raise ProofInvalid("the authenticator data is too short")
    flags = data[_HASH_OCTETS]
    if not hmac.compare_digest(data[:_HASH_OCTETS], hashlib.sha256(where.rp_id.encode()).digest()):
        raise ProofInvalid("the authenticator data is of another relying party")
    if not flags & _USER_PRESENT or not flags & _USER_VERIFIED:
        raise ProofInvalid("the authenticator did not verify its user")
    if flags & _BACKED_UP and not flags & _BACKUP_ELIGIBLE:
        raise ProofInvalid("the authenticator data contradicts itself")
    # What follows is not read; it may only be there where the flags say that it is.
    if flags & _ATTESTED or (len(data) > _FIXED_OCTETS) != bool(flags & _EXTENSIONS):
        raise ProofInvalid("the authenticator data is not an assertion's")
    return int.from_bytes(data[_HASH_OCTETS + 1 : _FIXED_OCTETS], "big")


def _public(key: VerificationKey) -> EllipticCurvePublicKey | Ed25519PublicKey:
    if key.algorithm == "ES256":
        return cast("EllipticCurvePublicKey", key.key.public_key)
    if key.algorithm == "Ed25519":
        return cast("Ed25519PublicKey", key.key.public_key)
    raise ProofInvalid("a device's key is on P-256 or Ed25519")


def _check(public: EllipticCurvePublicKey | Ed25519PublicKey, signature: bytes, message: bytes) -> None:
    try:
        if isinstance(public, EllipticCurvePublicKey):
            public.verify(signature, message, ECDSA(SHA256()))
        else:
            public.verify(signature, message)
    except InvalidSignature as error:
        raise ProofInvalid("the signature does not verify") from error
