"""What a browser sends back: JSON of WebAuthn 5.1.8 and 5.1.9, read strictly and within bounds."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from webauthn.helpers import parse_authenticator_data
from webauthn.helpers.structs import AuthenticatorData

from foundation.errors import JoseError
from foundation.jose import decode_base64url, encode_base64url, parse_json_object
from idp.authn.passkey import cbor
from idp.authn.passkey.foreign import translated
from idp.authn.passkey.options import RelyingParty
from idp.errors import PasskeyRefused

MAX_ANSWER: Final = 48 * 1024
"""Characters; the largest attestations are a TPM's, of some 8 KiB."""
MAX_CREDENTIAL_ID: Final = 1023
"""WebAuthn 7.1, step 25."""
_MAX_OCTETS: Final[Mapping[str, int]] = {
    "rawId": MAX_CREDENTIAL_ID,
    "clientDataJSON": 4096,
    "attestationObject": 24 * 1024,
    "authenticatorData": 4096,
    "signature": 1024,
    "userHandle": 64,
}
TRANSPORTS: Final = ("usb", "nfc", "ble", "smart-card", "hybrid", "internal")
"""WebAuthn 5.8.4."""
_FIXED_OCTETS: Final = 37
"""Hash of the RP ID, flags, counter (WebAuthn 6.1)."""
_AT, _ED = 0x40, 0x80


@dataclass(frozen=True, slots=True)
class Registration:
    """The answer to ``navigator.credentials.create()``."""

    credential_id: bytes
    client_data: bytes
    attestation_object: bytes
    transports: tuple[str, ...]

    @property
    def plain(self) -> dict[str, Any]:
        """For the library: what it verifies, and nothing that only the browser says."""
        return _plain(self.credential_id, clientDataJSON=self.client_data, attestationObject=self.attestation_object)


@dataclass(frozen=True, slots=True)
class Assertion:
    """The answer to ``navigator.credentials.get()``."""

    credential_id: bytes
    client_data: bytes
    authenticator_data: bytes
    signature: bytes
    user_handle: bytes | None

    @property
    def plain(self) -> dict[str, Any]:
        """For the library: what it verifies, and nothing that only the browser says."""
        return _plain(
            self.credential_id,
            clientDataJSON=self.client_data,
            authenticatorData=self.authenticator_data,
            signature=self.signature,
        )


def _plain(credential_id: bytes, **response: bytes) -> dict[str, Any]:
    name = encode_base64url(credential_id)
    members = {key: encode_base64url(octets) for key, octets in response.items()}
    return {"id": name, "rawId": name, "type": "public-key", "response": members}


def lookup(credential_id: bytes) -> str:
    """By what a passkey is found: lower-case hexadecimal SHA-256 of its credential id."""
    return hashlib.sha256(credential_id).hexdigest()


def read_registration(text: str) -> Registration:
    """The answer of a browser that made a passkey.

    :raises PasskeyRefused: ``too_large`` or ``malformed``.
    """
    credential_id, response = _read(text)
    stated = response.get("transports", [])
    transports = tuple(name for name in TRANSPORTS if isinstance(stated, list) and name in stated)
    return Registration(
        credential_id, _octets(response, "clientDataJSON"), _octets(response, "attestationObject"), transports
    )


def read_assertion(text: str) -> Assertion:
    """The answer of a browser that used a passkey.

    :raises PasskeyRefused: ``too_large`` or ``malformed``.
    """
    credential_id, response = _read(text)
    handle = None if response.get("userHandle") is None else _octets(response, "userHandle")
    return Assertion(
        credential_id,
        _octets(response, "clientDataJSON"),
        _octets(response, "authenticatorData"),
        _octets(response, "signature"),
        handle,
    )


def _read(text: str) -> tuple[bytes, Mapping[str, Any]]:
    if len(text) > MAX_ANSWER:
        raise PasskeyRefused("too_large", "the answer is longer than any passkey's")
    whole = _object(text)
    response = whole.get("response")
    if whole.get("type") != "public-key" or not isinstance(response, dict) or whole.get("id") != whole.get("rawId"):
        raise PasskeyRefused("malformed", "not a public key credential in JSON (WebAuthn 5.1)")
    return _octets(whole, "rawId"), response


def _object(data: str | bytes) -> dict[str, Any]:
    try:
        return parse_json_object(data)
    except JoseError as error:
        raise PasskeyRefused("malformed", "not a JSON object in the strict form") from error


def _octets(values: Mapping[str, Any], name: str) -> bytes:
    text = values.get(name)
    if not isinstance(text, str):
        raise PasskeyRefused("malformed", f"{name} is missing")
    if len(text) > (_MAX_OCTETS[name] * 4 + 2) // 3:
        raise PasskeyRefused("too_large", f"{name} is longer than any passkey's")
    try:
        return decode_base64url(text.encode("utf-8", "surrogatepass"))
    except JoseError as error:
        raise PasskeyRefused("malformed", f"{name} is not base64url without padding") from error


def check_client_data(octets: bytes, kind: str, challenge: bytes, party: RelyingParty) -> None:
    """What the browser says that it did (WebAuthn 7.1, steps 5 to 10; 7.2, steps 8 to 14).

    :param kind: ``webauthn.create`` or ``webauthn.get``.
    :raises PasskeyRefused: ``malformed``, ``type``, ``challenge`` or ``origin``.
    """
    data = _object(octets)
    if data.get("type") != kind:
        raise PasskeyRefused("type", "the answer belongs to another ceremony")
    given = data.get("challenge")
    expected = encode_base64url(challenge).encode()
    if not isinstance(given, str) or not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected):
        raise PasskeyRefused("challenge", "the answer is to another challenge")
    # Nothing of ours is framed (frame-ancestors 'none'), so an answer from inside another site's page is none of ours.
    if data.get("origin") != party.origin or data.get("crossOrigin", False) is not False or "topOrigin" in data:
        raise PasskeyRefused("origin", "the answer was made on another site's page")


def authenticator_data(octets: bytes, party: RelyingParty, *, require_uv: bool) -> AuthenticatorData:
    """What the authenticator says (WebAuthn 7.1, steps 14 to 18; 7.2, steps 15 to 19).

    :raises PasskeyRefused: ``malformed``, ``rp_id``, ``presence``, ``user_verification`` or ``backup_flags``.
    """
    if len(octets) < _FIXED_OCTETS:
        raise PasskeyRefused("malformed", "authenticator data is too short")
    _check_tail(octets)
    with translated("malformed"):
        data = parse_authenticator_data(octets)
    if not hmac.compare_digest(data.rp_id_hash, hashlib.sha256(party.id.encode()).digest()):
        raise PasskeyRefused("rp_id", "the passkey belongs to another site")
    if not data.flags.up:
        raise PasskeyRefused("presence", "nobody was present")
    if require_uv and not data.flags.uv:
        raise PasskeyRefused("user_verification", "the authenticator did not verify its user")
    if data.flags.bs and not data.flags.be:
        raise PasskeyRefused("backup_flags", "a passkey that cannot be copied was copied")
    return data


def _check_tail(octets: bytes) -> None:
    """The CBOR after the fixed part: a public key after 18 octets and the credential id, then extensions."""
    flags, position, items = octets[32], _FIXED_OCTETS, 0
    if flags & _AT:
        length = int.from_bytes(octets[position + 16 : position + 18], "big")
        if length > MAX_CREDENTIAL_ID:
            raise PasskeyRefused("too_large", "the credential id is longer than 1023 octets")
        position, items = position + 18 + length, 1
    if flags & _ED:
        items += 1
    cbor.check(octets[position:], items=items)
