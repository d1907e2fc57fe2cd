"""Whether a value that the device made is a signature: nothing is released that is not (KEY-12)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from signing.errors import SigningError
from signing.sam.algorithms import SHA256, SHA384, SHA512, SignatureAlgorithm

HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    SHA256: hashes.SHA256(),
    SHA384: hashes.SHA384(),
    SHA512: hashes.SHA512(),
}


class ValueRefused(SigningError):
    """A value is no signature of the digest by the key."""

    code = "value_refused"


def verify_values(
    public_key: bytes, algorithm: SignatureAlgorithm, digests: tuple[bytes, ...], values: tuple[bytes, ...]
) -> None:
    """Verify each value with the public key.

    :param public_key: DER SubjectPublicKeyInfo, the one that the certificate certifies.
    :raises ValueRefused: another number of values, or one that does not verify.
    """
    if len(values) != len(digests):
        raise ValueRefused("the device answered with another number of values")
    key = _parsed(public_key)
    prehashed = Prehashed(HASHES[algorithm.hash_alg])
    try:
        for digest, value in zip(digests, values, strict=True):
            if isinstance(key, ec.EllipticCurvePublicKey) and algorithm.scheme == "ecdsa":
                key.verify(value, digest, ec.ECDSA(prehashed))
            elif isinstance(key, rsa.RSAPublicKey) and algorithm.scheme == "rsa-pss":
                pss = padding.PSS(padding.MGF1(HASHES[algorithm.hash_alg]), len(digest))
                key.verify(value, digest, pss, prehashed)
            elif isinstance(key, rsa.RSAPublicKey) and algorithm.scheme == "rsa-pkcs1-v1_5":
                key.verify(value, digest, padding.PKCS1v15(), prehashed)
            else:
                raise ValueRefused("the key is not of the kind that the algorithm needs")
    except InvalidSignature as error:
        raise ValueRefused("a value does not verify") from error


@lru_cache(maxsize=1024)
def _parsed(public_key: bytes) -> PublicKeyTypes:
    """Parsed once for many signatures."""
    return load_der_public_key(public_key)
