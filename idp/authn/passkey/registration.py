"""Judging a new passkey (WebAuthn 7.1)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from webauthn import verify_registration_response
from webauthn.helpers import (
    aaguid_to_string,
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    parse_cbor,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import AttestationFormat, AuthenticatorData

from foundation.errors import JoseError
from foundation.jose import import_verification_key
from idp.authn.passkey import cbor
from idp.authn.passkey.answer import Registration, authenticator_data, check_client_data
from idp.authn.passkey.attestation import Trust, is_attested
from idp.authn.passkey.foreign import translated
from idp.authn.passkey.options import ALGORITHMS, RelyingParty
from idp.authn.passkey.record import Passkey
from idp.errors import PasskeyRefused

_KINDS: Final = {
    COSEAlgorithmIdentifier.ECDSA_SHA_256: "ES256",
    COSEAlgorithmIdentifier.EDDSA: "Ed25519",
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256: "PS256",
}
"""What :func:`foundation.jose.import_verification_key` calls a key that may carry the algorithm."""
_FORMATS: Final = ("none", "packed", "fido-u2f", "tpm", "apple", "android-key")
"""``android-safetynet`` has been shut down by its maker; ``compound`` is not known to the library."""
_RSA_BITS: Final = range(2048, 4097)


@dataclass(frozen=True, slots=True)
class Made:
    """A passkey that was just made."""

    passkey: Passkey
    counter: int


def verify(
    party: RelyingParty,
    answer: Registration,
    *,
    challenge: bytes,
    user_handle: bytes,
    require_uv: bool,
    trust: Trust,
    now: datetime,
) -> Made:
    """What an answer registers.  That the challenge is used once, and the credential id is new, is the caller's.

    1. The browser's part: type, challenge, origin.  2. The authenticator's part: our site, somebody present, verified
    where that is needed.  3. The key: of a kind that was asked for, and strong.  4. The attestation statement, and all
    of it once more, by the library.  5. Whether the make is proved.

    :raises PasskeyRefused: with the cause.
    """
    check_client_data(answer.client_data, "webauthn.create", challenge, party)
    form, statement, octets = _attestation(answer.attestation_object)
    data = authenticator_data(octets, party, require_uv=require_uv)
    held = data.attested_credential_data
    if held is None or not hmac.compare_digest(held.credential_id, answer.credential_id):
        raise PasskeyRefused("malformed", "the authenticator names another credential than the browser, or none")
    _check_key(held.credential_public_key)
    aaguid = aaguid_to_string(held.aaguid)
    with translated("attestation"):
        verify_registration_response(
            credential=answer.plain,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            require_user_verification=require_uv,
            supported_pub_key_algs=list(ALGORITHMS),
            # The library has roots of its own for these makes and refuses others; which of them counts is decided here.
            pem_root_certs_bytes_by_fmt={
                AttestationFormat(name): trust.pem_roots(aaguid) for name in ("tpm", "apple", "android-key")
            },
        )
    attested = is_attested(trust, aaguid, statement, form, now)
    passkey = _passkey(answer, data, user_handle, form, attested=attested)
    return Made(passkey, data.sign_count)


def _attestation(octets: bytes) -> tuple[str, dict[str, Any], bytes]:
    cbor.check(octets)
    with translated("malformed"):
        value = parse_cbor(octets)
        form, statement, data = value["fmt"], value["attStmt"], value["authData"]
    if form not in _FORMATS or not isinstance(statement, dict) or not isinstance(data, bytes) or len(value) != 3:
        raise PasskeyRefused("attestation", "an attestation object of an unknown form (WebAuthn 6.5.4)")
    return form, statement, data


def _check_key(octets: bytes) -> None:
    """A key of an algorithm that was asked for, on its curve (WebAuthn 5.8.5), of the strength of our own keys."""
    with translated("key"):
        decoded = decode_credential_public_key(octets)
        kind = _KINDS.get(decoded.alg)
        if kind is None:
            raise PasskeyRefused("algorithm", "a key for an algorithm that was not asked for")
        public = decoded_public_key_to_cryptography(decoded)
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        if isinstance(public, RSAPublicKey) and public.key_size not in _RSA_BITS:
            raise PasskeyRefused("key", "an RSA key of less than 2048 or more than 4096 bits")
    try:
        found = import_verification_key(pem).algorithm
    except JoseError as error:
        raise PasskeyRefused("key", "a key that is not accepted from anybody") from error
    if found != kind:
        raise PasskeyRefused("key", "the key is of another kind than its algorithm")


def _passkey(
    answer: Registration, data: AuthenticatorData, user_handle: bytes, form: str, *, attested: bool
) -> Passkey:
    held = data.attested_credential_data
    if held is None:
        raise PasskeyRefused("malformed", "there is no credential")
    return Passkey(
        credential_id=held.credential_id,
        public_key=held.credential_public_key,
        user_handle=user_handle,
        aaguid=aaguid_to_string(held.aaguid),
        transports=answer.transports,
        format=form,
        user_verified=data.flags.uv,
        backup_eligible=data.flags.be,
        attested=attested,
        backed_up=data.flags.bs,
    )
