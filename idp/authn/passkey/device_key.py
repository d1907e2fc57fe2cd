"""A passkey that is to approve signatures, as the signature activation module knows it.  Pure."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from webauthn.helpers import decode_credential_public_key, decoded_public_key_to_cryptography

from contract import proof_key
from contract.assertion import ProofOrigin
from contract.errors import ProofInvalid
from contract.proof_key import DeviceKey
from foundation.jose import import_verification_key
from idp.authn.passkey.foreign import translated
from idp.authn.passkey.record import Passkey
from idp.errors import PasskeyRefused

ALGORITHMS = (-8, -7)
"""COSE identifiers (RFC 9053 2.1, 2.2) of what approves: EdDSA on Ed25519, ES256 on P-256."""


def device_key(passkey: Passkey, where: ProofOrigin) -> DeviceKey:
    """A passkey that was just made, with what its authenticator stated.

    :raises PasskeyRefused: ``algorithm``: of a kind that approves nothing.
    """
    with translated("key"):
        public = decoded_public_key_to_cryptography(decode_credential_public_key(passkey.public_key))
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    made = DeviceKey(
        import_verification_key(pem), where, passkey.credential_id, passkey.format, passkey.aaguid.lower()
    )
    try:
        # Read as it will be: named by its thumbprint, of a kind that proves.
        return proof_key.from_json(proof_key.to_json(made))
    except ProofInvalid as error:
        raise PasskeyRefused("algorithm", "a key of a kind that approves nothing") from error
