"""Which algorithm a key is asked for, and whether the value that came back is what was asked.  Pure."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from .errors import NotUsableError, SignatureWrongError, UsageError

RSA_ENCRYPTION: Final = "1.2.840.113549.1.1.1"
RSASSA_PSS: Final = "1.2.840.113549.1.1.10"
HASH_OIDS: Final = {
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
_ECDSA: Final = {"sha256": "1.2.840.10045.4.3.2", "sha384": "1.2.840.10045.4.3.3", "sha512": "1.2.840.10045.4.3.4"}
_RSA: Final = {
    "sha256": "1.2.840.113549.1.1.11",
    "sha384": "1.2.840.113549.1.1.12",
    "sha512": "1.2.840.113549.1.1.13",
}
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_CURVE_HASH: Final = {"secp384r1": "sha384", "secp521r1": "sha512"}


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a key is to sign."""

    hash_name: str
    """`sha256`, `sha384` or `sha512`."""
    sign_algo: str
    """OID for `signAlgo`."""
    sign_algo_params: bytes | None = None
    """DER for `signAlgoParams`; only RSASSA-PSS has some."""

    @property
    def hash_oid(self) -> str:
        """OID for `hashAlgorithmOID`."""
        return HASH_OIDS[self.hash_name]

    @property
    def digest_size(self) -> int:
        """In octets."""
        return _HASHES[self.hash_name].digest_size

    @property
    def params_base64(self) -> str | None:
        """As `signAlgoParams` has it."""
        return None if self.sign_algo_params is None else base64.b64encode(self.sign_algo_params).decode("ascii")


def scheme_for(certificate: bytes, offered: tuple[str, ...], hash_name: str | None = None) -> Scheme:
    """The strongest scheme that a key offers: PSS before PKCS #1 v1.5, the hash function that fits the curve.

    :param certificate: DER, the signer's.
    :param offered: `key.algo` of the credential.
    :raises NotUsableError: none that this client knows.
    :raises UsageError: no such hash function.
    """
    if hash_name is not None and hash_name not in HASH_OIDS:
        raise UsageError(f"{hash_name!r} is not one of {', '.join(HASH_OIDS)}")
    key = x509.load_der_x509_certificate(certificate).public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        name = hash_name or _CURVE_HASH.get(key.curve.name, "sha256")
        if not offered or _ECDSA[name] in offered:
            return Scheme(name, _ECDSA[name])
    elif isinstance(key, rsa.RSAPublicKey):
        name = hash_name or "sha256"
        if RSASSA_PSS in offered:
            return Scheme(name, RSASSA_PSS, pss_parameters(name))
        if not offered or _RSA[name] in offered:
            return Scheme(name, _RSA[name])
        if RSA_ENCRYPTION in offered:
            return Scheme(name, RSA_ENCRYPTION)
    raise NotUsableError("the credential offers no algorithm that this client knows")


def pss_parameters(hash_name: str) -> bytes:
    """RSASSA-PSS-params (RFC 8017 appendix A.2.3) with MGF1 over the same hash function, the salt as long as it."""
    number = {"sha256": 1, "sha384": 2, "sha512": 3}[hash_name]
    hash_algorithm = _tlv(0x30, _tlv(0x06, bytes.fromhex("6086480165030402") + bytes([number])) + b"\x05\x00")
    mgf = _tlv(0x30, _tlv(0x06, bytes.fromhex("2a864886f70d010108")) + hash_algorithm)
    salt = _tlv(0x02, bytes([_HASHES[hash_name].digest_size]))
    return _tlv(0x30, _tlv(0xA0, hash_algorithm) + _tlv(0xA1, mgf) + _tlv(0xA2, salt))


def verify(certificate: bytes, scheme: Scheme, digest: bytes, value: bytes) -> None:
    """See that a value is the certificate's key's signature of a digest.

    :raises SignatureWrongError: it is not.
    """
    key = x509.load_der_x509_certificate(certificate).public_key()
    used = _HASHES[scheme.hash_name]
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(value, digest, ec.ECDSA(Prehashed(used)))
        elif isinstance(key, rsa.RSAPublicKey):
            pad: padding.AsymmetricPadding = padding.PKCS1v15()
            if scheme.sign_algo == RSASSA_PSS:
                pad = padding.PSS(padding.MGF1(used), used.digest_size)
            key.verify(value, digest, pad, Prehashed(used))
        else:
            raise SignatureWrongError("the certificate's key is of a kind that this client does not know")
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as e:
        raise SignatureWrongError("a value is not a signature of its digest by the certificate's key") from e


def _tlv(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content
