"""Key pairs of users: how they are generated, and how it is seen that a key is of its profile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pkcs11 import Attribute, KeyType
from pkcs11.exceptions import PKCS11Error

from signing.sam.algorithms import KeyProfile
from signing.scdev.objects import EC_PARAMETERS, P256
from signing.scdev.refused import refusal

KEY_TYPES: Final = {"EC": KeyType.EC, "RSA": KeyType.RSA}

_PUBLIC: Final[dict[Any, Any]] = {
    Attribute.TOKEN: False,
    Attribute.ENCRYPT: False,
    Attribute.WRAP: False,
    Attribute.VERIFY: True,
}


def generate(session: Any, profile: KeyProfile, private: Mapping[Any, Any]) -> tuple[Any, Any]:
    """A key pair; the public key is a session object.

    :raises Refused: the token did not make one; nothing else makes one instead (KEY-13).
    """
    try:
        return _generate(session, profile, dict(private))
    except PKCS11Error as error:
        raise refusal(error, "C_GenerateKeyPair", sent=False) from error


def _generate(session: Any, profile: KeyProfile, private: dict[Any, Any]) -> tuple[Any, Any]:
    if profile.kind == "RSA":
        return session.generate_keypair(  # type: ignore[no-any-return] # untyped in the library
            KeyType.RSA, profile.bits, public_template=_PUBLIC, private_template=private
        )
    curve = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: EC_PARAMETERS[profile.curve or P256]}, local=True
    )
    public = {kind: value for kind, value in _PUBLIC.items() if kind is not Attribute.ENCRYPT}
    return curve.generate_keypair(  # type: ignore[no-any-return] # untyped in the library
        public_template=public, private_template=private
    )


def public_parts(public: Any, profile: KeyProfile) -> list[bytes]:
    """The EC point (DER OCTET STRING), or modulus and exponent."""
    if profile.kind == "EC":
        return [public[Attribute.EC_POINT]]
    return [public[Attribute.MODULUS], public[Attribute.PUBLIC_EXPONENT]]


def is_of(private: Any, profile: KeyProfile) -> bool:
    """Whether a private key is on the profile's curve, or has its modulus' length."""
    if profile.kind == "EC":
        return bytes(private[Attribute.EC_PARAMS]) == EC_PARAMETERS[profile.curve or P256]
    return int.from_bytes(private[Attribute.MODULUS], "big").bit_length() == profile.bits
