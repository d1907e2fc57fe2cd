"""What fits together (profile, algorithm, digest lengths) and what is encoded around the raw mechanisms.

Pure: no PKCS#11 here.  PKCS#11 tokens differ in which combined mechanisms they have (SoftHSM2 2.6 has no
CKM_ECDSA_SHA256), so only the raw ones are used and the encodings around them are made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from signing.sam.algorithms import KEY_PROFILES, SHA256, SHA384, SHA512, KeyProfile, SignatureAlgorithm
from signing.sam.ports import OperationNotPermitted

DIGEST_LENGTHS: Final[dict[str, int]] = {SHA256: 32, SHA384: 48, SHA512: 64}
"""Octets of a digest, by the OID of its hash function.  What is not listed (SHA-1, MD5) is not signed."""

MAX_DIGESTS: Final = 1000
"""In one call: more would hold a worker for longer than the deadline."""

_DIGEST_INFO_PREFIXES: Final[dict[str, bytes]] = {
    SHA256: bytes.fromhex("3031300d060960864801650304020105000420"),
    SHA384: bytes.fromhex("3041300d060960864801650304020205000430"),
    SHA512: bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""DER of ``DigestInfo`` up to the digest (RFC 8017 9.2, note 1)."""


def profile_named(name: str) -> KeyProfile:
    """The profile that a wrapped key was made for.

    :raises OperationNotPermitted: there is none of that name.
    """
    profile = KEY_PROFILES.get(name)
    if profile is None:
        raise OperationNotPermitted("the key's profile is not known")
    return profile


def check_fits(profile: KeyProfile, algorithm: SignatureAlgorithm, digests: Sequence[bytes]) -> None:
    """Refuse what the key must not be asked for, before the device is troubled with it.

    :raises OperationNotPermitted: scheme not of the profile, hash function not offered, a digest of another
        length than the hash function's, salt of another length (RFC 8017 9.1: here always the digest's), no or
        too many digests.
    """
    if algorithm.scheme not in profile.schemes:
        raise OperationNotPermitted(f"a key of profile {profile.name} does not serve {algorithm.scheme}")
    length = DIGEST_LENGTHS.get(algorithm.hash_alg)
    if length is None:
        raise OperationNotPermitted("the hash function is not offered")
    salt = (None, length) if algorithm.scheme == "rsa-pss" else (None,)
    if algorithm.salt_length not in salt:
        raise OperationNotPermitted("the salt's length does not fit the scheme and hash function")
    if not 0 < len(digests) <= MAX_DIGESTS:
        raise OperationNotPermitted(f"from 1 to {MAX_DIGESTS} digests are signed at a time")
    if any(len(digest) != length for digest in digests):
        raise OperationNotPermitted("a digest's length is not that of the hash function")


def digest_info(hash_alg: str, digest: bytes) -> bytes:
    """DER ``DigestInfo`` of RSASSA-PKCS1-v1_5 (RFC 8017 9.2); CKM_RSA_PKCS adds the padding around it."""
    return _DIGEST_INFO_PREFIXES[hash_alg] + digest


def ecdsa_input(profile: KeyProfile, digest: bytes) -> bytes:
    """The leftmost octets of the digest, as many as the group order has (FIPS 186-5 6.4.1).

    Tokens are not at one on whether they truncate by themselves or answer CKR_DATA_LEN_RANGE.
    """
    return digest[: profile.bits // 8]


def ecdsa_der(raw: bytes) -> bytes:
    """DER ``Ecdsa-Sig-Value`` (RFC 3279 2.2.3) of CKM_ECDSA's r and s, which have equal lengths."""
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
