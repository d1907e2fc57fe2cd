"""Certificates, read strictly, and parts of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from foundation.certificates.errors import CertificateRefused
from foundation.errors import SettingsError
from foundation.proxied import MAX_CERTIFICATE_OCTETS

_NEVER_REVOKED: Final = (x509.ObjectIdentifier("2.5.29.56"), x509.ObjectIdentifier("0.4.0.194121.2.1"))
_E = TypeVar("_E", bound=x509.ExtensionType)


# By the very octets, from which all of it follows; nothing is remembered of what is refused.
@lru_cache(maxsize=256)
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


def read_anchors(files: Iterable[Path], where: str) -> tuple[x509.Certificate, ...]:
    """Trust anchors from PEM files, each once.

    :param where: the setting's name, for the errors.
    :raises foundation.errors.SettingsError: a file cannot be read, or has no certificates of authorities alone; all
        of them are named.
    """
    faults: list[str] = []
    found: list[x509.Certificate] = []
    for number, path in enumerate(files):
        try:
            inside = x509.load_pem_x509_certificates(path.read_bytes())
            found += [read(each.public_bytes(Encoding.DER)) for each in inside]
        except (OSError, ValueError, UnsupportedAlgorithm, CertificateRefused):
            faults.append(f"{where}.{number}: {path}: there are no certificates that can be read")
    for anchor in found:
        basic = extension_of(anchor.extensions, x509.BasicConstraints)
        if basic is None or not basic.ca:
            faults.append(f"{where}: {anchor.subject.rfc4514_string()} is no authority's certificate")
    if faults:
        raise SettingsError(tuple(faults))
    return tuple(dict.fromkeys(found))


def extension_of(extensions: x509.Extensions, kind: type[_E]) -> _E | None:
    """The extension of a kind, or None."""
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


@lru_cache(maxsize=256)
def is_never_revoked(certificate: x509.Certificate) -> bool:
    """Whether an end entity's certificate says that nothing will ever be said of its revocation: it lives too briefly.

    noRevAvail (RFC 9608) and id-etsi-ext-valassured-ST-certs (ETSI EN 319 412-1, 5.2).  RFC 9608, 4: an authority's
    certificate cannot say so.
    """
    basic = extension_of(certificate.extensions, x509.BasicConstraints)
    return not (basic is not None and basic.ca) and any(each.oid in _NEVER_REVOKED for each in certificate.extensions)


@lru_cache(maxsize=256)
def identity(certificate: x509.Certificate) -> str:
    """Which certificate it is, whatever its signature's encoding: lower-case hex SHA-256.

    Issuer and serial number name it (RFC 5280, 4.1.2.2); the key says that two authorities of one name are not one.
    """
    issuer = certificate.issuer.public_bytes()
    serial = str(certificate.serial_number).encode()
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in (issuer, serial, key))).hexdigest()
