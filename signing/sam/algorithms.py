"""Keys and signature algorithms that the module offers, with their OIDs.

Defaults follow the ETSI-based policies in force: ECDSA P-256 and RSA-PSS with 3072 bits have no end date; RSA PKCS#1
v1.5 is made on request only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from foundation.der import SEQUENCE, der, object_identifier
from signing.sam.errors import AlgorithmNotAllowed

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


ECDSA_HASHES: Final[dict[str, str]] = {
    "1.2.840.10045.4.3.2": SHA256,
    "1.2.840.10045.4.3.3": SHA384,
    "1.2.840.10045.4.3.4": SHA512,
}
"""ecdsa-with-SHA256, -SHA384, -SHA512 (RFC 5758 3.2)."""

PKCS1_HASHES: Final[dict[str, str]] = {
    "1.2.840.113549.1.1.11": SHA256,
    "1.2.840.113549.1.1.12": SHA384,
    "1.2.840.113549.1.1.13": SHA512,
}
"""sha256WithRSAEncryption and so on (RFC 8017 A.2.4)."""

_SIGNED_HASHES: Final = frozenset({SHA256, SHA384, SHA512})
_DIGEST_OCTETS: Final[dict[str, int]] = {SHA256: 32, SHA384: 48, SHA512: 64}


def signature_algorithm(
    sign_algo: str, sign_algo_params: bytes | None, hash_alg: str | None, profile: KeyProfile
) -> SignatureAlgorithm:
    """What ``signatures/signHash`` asks for, as the device understands it (CSC API 2.0.0.2 clause 11.10).

    :param sign_algo: OID of the signature algorithm.
    :param sign_algo_params: DER of its parameters: required for RSASSA-PSS, refused for all others.
    :param hash_alg: OID of the hash function: required where ``sign_algo`` names none; where it names one and this
        contradicts it, the request is refused, although CSC would let it be ignored.
    :raises AlgorithmNotAllowed: unknown, contradictory, or not the scheme of the key.
    """
    if sign_algo in ECDSA_HASHES:
        algorithm = SignatureAlgorithm("ecdsa", ECDSA_HASHES[sign_algo])
    elif sign_algo in PKCS1_HASHES:
        algorithm = SignatureAlgorithm("rsa-pkcs1-v1_5", PKCS1_HASHES[sign_algo])
    elif sign_algo == RSA_ENCRYPTION and hash_alg in _SIGNED_HASHES:
        algorithm = SignatureAlgorithm("rsa-pkcs1-v1_5", hash_alg)
    elif sign_algo == RSASSA_PSS:
        hash_of_pss = _PSS_PARAMETERS.get(sign_algo_params or b"")
        if hash_of_pss is None:
            raise AlgorithmNotAllowed("the PSS parameters are absent or not accepted")
        algorithm = SignatureAlgorithm("rsa-pss", hash_of_pss, _DIGEST_OCTETS[hash_of_pss])
    else:
        raise AlgorithmNotAllowed("the signature algorithm is not offered, or lacks its hash function")
    if hash_alg not in (None, algorithm.hash_alg):
        raise AlgorithmNotAllowed("the hash function contradicts the signature algorithm")
    if sign_algo_params is not None and algorithm.scheme != "rsa-pss":
        raise AlgorithmNotAllowed("the signature algorithm has no parameters")
    if algorithm.scheme not in profile.schemes:
        raise AlgorithmNotAllowed("the key serves another scheme")
    return algorithm


def pss_parameters(hash_alg: str) -> bytes:
    """DER RSASSA-PSS-params with MGF1 over the same hash function and a salt of its length (RFC 4055 3.1)."""
    return _pss(hash_alg, with_null=(True, True))


def _pss(hash_alg: str, with_null: tuple[bool, bool]) -> bytes:
    outer, inner = (_sequence(object_identifier(hash_alg), b"\x05\x00" if null else b"") for null in with_null)
    mgf1 = _sequence(object_identifier("1.2.840.113549.1.1.8"), inner)
    salt = b"\x02\x01" + bytes([_DIGEST_OCTETS[hash_alg]])
    return _sequence(*(der(0xA0 + tag, body) for tag, body in enumerate((outer, mgf1, salt))))


def _sequence(*parts: bytes) -> bytes:
    return der(SEQUENCE, *parts)


@lru_cache(maxsize=16)
def algorithm_identifier(algorithm: SignatureAlgorithm) -> bytes:
    """DER AlgorithmIdentifier of a signature (RFC 5758 3.2, RFC 4055 3.1 and 5)."""
    if algorithm.scheme == "rsa-pss":
        return _sequence(object_identifier(RSASSA_PSS), pss_parameters(algorithm.hash_alg))
    table, parameters = (ECDSA_HASHES, b"") if algorithm.scheme == "ecdsa" else (PKCS1_HASHES, b"\x05\x00")
    (oid,) = (oid for oid, hash_alg in table.items() if hash_alg == algorithm.hash_alg)
    return _sequence(object_identifier(oid), parameters)


_PSS_PARAMETERS: Final[dict[bytes, str]] = {
    _pss(hash_alg, (outer, inner)): hash_alg
    for hash_alg in (SHA256, SHA384, SHA512)
    for outer in (True, False)
    for inner in (True, False)
}
"""Every encoding that is accepted, with its hash function: the strictest parser is a comparison.

RFC 4055 2.1 lets the NULL of a hash function's AlgorithmIdentifier be present or absent; trailerField is DEFAULT, so
DER leaves it out."""
