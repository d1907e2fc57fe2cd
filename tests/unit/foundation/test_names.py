"""Names in certificates, as text."""

from __future__ import annotations

from cryptography import x509

from foundation.names import distinguished_name


def test_a_persons_name_reads_as_one_and_what_separates_is_escaped() -> None:
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "BE"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "Alice, Example"),
            x509.NameAttribute(x509.NameOID.GIVEN_NAME, "Alice"),
            x509.NameAttribute(x509.NameOID.SURNAME, "Example"),
            x509.NameAttribute(x509.NameOID.SERIAL_NUMBER, "PNOBE-1"),
        ]
    )
    assert distinguished_name(name) == r"serialNumber=PNOBE-1,SN=Example,givenName=Alice,CN=Alice\, Example,C=BE"
