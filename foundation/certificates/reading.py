"""Certificates, read strictly, and parts of them."""

from __future__ import annotations

import hashlib
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from foundation.certificates.errors import CertificateRefused
from foundation.proxied import MAX_CERTIFICATE_OCTETS

_E = TypeVar("_E", bound=x509.ExtensionType)


def read(der: bytes) -> x509.Certificate:
    """A certificate, version 3, DER without anything behind it, of which every extension can be read.

    :raises CertificateRefused: anything else.
    """
    if len(der) > MAX_CERTIFICATE_OCTETS:
        raise CertificateRefused("malformed", f"larger than {MAX_CERTIFICATE_OCTETS} octets")
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.public_key()
        _ = (certificate.extensions, certificate.subject, certificate.issuer, certificate.signature_algorithm_oid)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise CertificateRefused("malformed", "the certificate cannot be read") from error
    if certificate.version is not x509.Version.v3:
        raise CertificateRefused("malformed", "the certificate is not of version 3")
    return certificate


def extension_of(extensions: x509.Extensions, kind: type[_E]) -> _E | None:
    """The extension of a kind, or None."""
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def identity(certificate: x509.Certificate) -> str:
    """Which certificate it is, whatever its signature's encoding: lower-case hex SHA-256.

    Issuer and serial number name it (RFC 5280, 4.1.2.2); the key says that two authorities of one name are not one.
    """
    issuer = certificate.issuer.public_bytes()
    serial = str(certificate.serial_number).encode()
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in (issuer, serial, key))).hexdigest()
