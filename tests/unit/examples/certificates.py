"""A root and a signer, made on the spot."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from foundation.clock import SystemClock

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Signer:
    """A key with its certificate, and the root that issued it."""

    key: Key = field(repr=False)
    certificate: bytes
    root: bytes

    @property
    def chain(self) -> tuple[bytes, bytes]:
        return self.certificate, self.root

    def sign_digest(self, digest: bytes, pss: bool = False) -> bytes:
        """What a remote key does: sign a digest that somebody else computed."""
        algorithm = utils.Prehashed({32: hashes.SHA256(), 48: hashes.SHA384()}[len(digest)])
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(digest, ec.ECDSA(algorithm))
        scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        if pss:
            scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        return self.key.sign(digest, scheme, algorithm)


def make_signer(key: Key | None = None, name: str = "Alice Example") -> Signer:
    """A signer under a fresh root; P-256 unless a key is given."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = _certificate("Development root", root_key.public_key(), "Development root", root_key, ca=True)
    leaf = _certificate(name, key.public_key(), "Development root", root_key, ca=False)
    return Signer(key, leaf, root)


def pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def sha256_base64(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _certificate(
    subject: str,
    public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
) -> bytes:
    now: datetime = SystemClock().now().astimezone(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(_usage(ca), critical=True)
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.DER)


def _usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=not ca,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
