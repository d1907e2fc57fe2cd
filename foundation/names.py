"""Names in certificates, as text for people, logs and APIs."""

from __future__ import annotations

from typing import Final

from cryptography import x509

_DESCRIPTORS: Final = {
    x509.NameOID.SURNAME: "SN",
    x509.NameOID.GIVEN_NAME: "givenName",
    x509.NameOID.SERIAL_NUMBER: "serialNumber",
    x509.NameOID.ORGANIZATION_IDENTIFIER: "organizationIdentifier",
}
"""Descriptors registered for LDAP (RFC 4519) that RFC 4514's short list leaves out."""


def distinguished_name(name: x509.Name) -> str:
    """The string of RFC 4514, with a person's attributes by their descriptors and not by their OIDs."""
    return name.rfc4514_string(_DESCRIPTORS)
