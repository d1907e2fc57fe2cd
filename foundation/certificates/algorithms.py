"""Which keys and signatures certificates, revocation lists and OCSP answers may stand on.

An allow-list: SHA-256 or better; RSA from 2048 bits, NIST and Brainpool curves from 256 bits, Edwards curves (ETSI TS
119 312; NIST SP 800-131A).
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from foundation.certificates.errors import CertificateRefused

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
"""Verifying costs the square of it."""
_CURVES: Final = (
    ec.SECP256R1, ec.SECP384R1, ec.SECP521R1, ec.BrainpoolP256R1, ec.BrainpoolP384R1, ec.BrainpoolP512R1,
)  # fmt: skip
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512, hashes.SHA3_256, hashes.SHA3_384, hashes.SHA3_512)
Signed = x509.Certificate | x509.CertificateRevocationList


def check_key(key: object) -> None:
    """Whether a public key is strong enough.

    :raises CertificateRefused: ``algorithm``.
    """
    if isinstance(key, rsa.RSAPublicKey):
        strong = MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS and key.public_numbers().e >= 65537
    elif isinstance(key, ec.EllipticCurvePublicKey):
        strong = isinstance(key.curve, _CURVES)
    else:
        strong = isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey))
    if not strong:
        raise CertificateRefused("algorithm", "a key of a kind or length that is not accepted")


def check_hash(algorithm: hashes.HashAlgorithm | None, key: object) -> None:
    """Whether a signature's hash is; Edwards curves have none of their own.

    :param key: the signer's.
    :raises CertificateRefused: ``algorithm``.
    """
    edwards = isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey))
    if not (isinstance(algorithm, _HASHES) or (algorithm is None and edwards)):
        raise CertificateRefused("algorithm", "a signature with a hash that is not accepted")


def check_signature(signed: Signed, signer: object) -> None:
    """Whether the algorithm of a certificate's or list's signature, and its signer's key, are accepted.

    :raises CertificateRefused: ``algorithm``.
    """
    try:
        algorithm = signed.signature_hash_algorithm
    except UnsupportedAlgorithm as error:
        raise CertificateRefused("algorithm", "a signature of an unknown kind") from error
    check_key(signer)
    check_hash(algorithm, signer)
