"""Keys and signature algorithms that the module offers, with their OIDs.

Defaults follow the ETSI-based policies in force: ECDSA P-256 and RSA-PSS with 3072 bits have no end date; RSA PKCS#1
v1.5 is made on request only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

KeyKind = Literal["EC", "RSA"]
SchemeName = Literal["ecdsa", "rsa-pss", "rsa-pkcs1-v1_5"]


@dataclass(frozen=True, slots=True)
class KeyProfile:
    """A kind of key that can be asked for in an order."""

    name: str
    kind: KeyKind
    bits: int
    """Curve size (EC) or modulus length (RSA), in bits."""
    curve: str | None
    """OID of the named curve, for EC."""
    schemes: tuple[SchemeName, ...]
    """What the key may be used for; one scheme a key, so that no key serves two paddings."""


KEY_PROFILES: Final[dict[str, KeyProfile]] = {
    profile.name: profile
    for profile in (
        KeyProfile("ec-p256", "EC", 256, "1.2.840.10045.3.1.7", ("ecdsa",)),
        KeyProfile("ec-p384", "EC", 384, "1.3.132.0.34", ("ecdsa",)),
        KeyProfile("rsa-3072-pss", "RSA", 3072, None, ("rsa-pss",)),
        KeyProfile("rsa-3072-pkcs1", "RSA", 3072, None, ("rsa-pkcs1-v1_5",)),
    )
}

SHA256: Final = "2.16.840.1.101.3.4.2.1"
SHA384: Final = "2.16.840.1.101.3.4.2.2"
SHA512: Final = "2.16.840.1.101.3.4.2.3"

RSA_ENCRYPTION: Final = "1.2.840.113549.1.1.1"
RSASSA_PSS: Final = "1.2.840.113549.1.1.10"


@dataclass(frozen=True, slots=True)
class SignatureAlgorithm:
    """A signature scheme with its hash function, as the device is asked for it."""

    scheme: SchemeName
    hash_alg: str
    """OID of the hash function of the digests."""
    salt_length: int | None = None
    """PSS only: octets of salt, equal to the digest's length (RFC 8017 9.1)."""
