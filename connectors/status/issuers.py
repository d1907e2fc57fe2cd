"""Certificates of issuers, from where a certificate says that they are (RFC 5280 4.2.2.1)."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates
from cryptography.x509.oid import AuthorityInformationAccessOID

from foundation.certificates.errors import CertificateRefused, NotChecked
from foundation.certificates.reading import extension_of, read

MAX_ADDRESSES: Final = 3
_MAX_CERTIFICATES: Final = 5


def issuer_addresses(certificate: x509.Certificate) -> tuple[str, ...]:
    """Where its issuer's certificate is (id-ad-caIssuers); over HTTP, and at most :data:`MAX_ADDRESSES`."""
    access = extension_of(certificate.extensions, x509.AuthorityInformationAccess) or ()
    found = [
        item.access_location.value
        for item in access
        if item.access_method == AuthorityInformationAccessOID.CA_ISSUERS
        and isinstance(item.access_location, x509.UniformResourceIdentifier)
        and item.access_location.value.lower().startswith(("http:", "https:"))
    ]
    return tuple(found[:MAX_ADDRESSES])


def read_issuers(answer: bytes) -> tuple[bytes, ...]:
    """The certificates of an answer: one, or a "certs-only" CMS message with several (RFC 5280 4.2.2.1), DER.

    :raises NotChecked: it is neither, or has more than anybody needs.
    """
    try:
        found = [read(answer)]
    except CertificateRefused:
        found = _of_message(answer)
    return tuple(item.public_bytes(Encoding.DER) for item in found)


def _of_message(answer: bytes) -> list[x509.Certificate]:
    try:
        found = load_der_pkcs7_certificates(answer)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise NotChecked("malformed", "an issuer's certificate cannot be read") from error
    if not 0 < len(found) <= _MAX_CERTIFICATES:
        raise NotChecked("malformed", "there are too many issuers' certificates, or none")
    return found
