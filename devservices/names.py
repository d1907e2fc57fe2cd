"""Distinguished names of natural persons (ETSI EN 319 412-2 clause 4.2.4), built and compared. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

from devservices.errors import SubjectInvalid

MAX_ATTRIBUTE_LENGTH = 64
"""ub-common-name and ub-serial-number of RFC 5280 appendix A; used for all attributes here."""

PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]+")
"""PrintableString (X.680), which RFC 5280 asks of serialNumber."""

COUNTRY = re.compile(r"[A-Z]{2}")


@dataclass(frozen=True, slots=True)
class NaturalPerson:
    """Whom a certificate is for, as the authenticated caller named them."""

    common_name: str
    given_name: str | None = None
    surname: str | None = None
    serial_number: str | None = None
    """A semantics identifier such as ``PNOBE-85073003328`` (ETSI EN 319 412-1 clause 5.1.3); not checked further."""
    country: str | None = None
    """ISO 3166-1 alpha-2, upper case."""


FIELDS = {
    "country": NameOID.COUNTRY_NAME,
    "common_name": NameOID.COMMON_NAME,
    "given_name": NameOID.GIVEN_NAME,
    "surname": NameOID.SURNAME,
    "serial_number": NameOID.SERIAL_NUMBER,
}
"""The members of a subject object in the order in which they stand in the name."""


def person_from_mapping(subject: object) -> NaturalPerson:
    """Read a subject object as it comes over the wire; a member may be absent or null, except ``common_name``.

    :raises SubjectInvalid: another shape, an unknown member, a value that cannot stand in a certificate.
    """
    if not isinstance(subject, Mapping):
        raise SubjectInvalid("the subject is not an object")
    unknown = sorted(str(name) for name in subject if name not in FIELDS)
    if unknown:
        raise SubjectInvalid(f"unknown members in the subject: {', '.join(unknown)}")
    values: dict[str, str | None] = {}
    for name in FIELDS:
        value = subject.get(name)
        if value is not None and not isinstance(value, str):
            raise SubjectInvalid(f"{name} is not a string")
        values[name] = value
    common_name = values.pop("common_name")
    if common_name is None:
        raise SubjectInvalid("common_name is missing")
    person = NaturalPerson(common_name=common_name, **values)
    name_of(person)
    return person


def name_of(person: NaturalPerson) -> x509.Name:
    """The distinguished name of a person.

    :raises SubjectInvalid: an attribute is empty, too long, has control characters or surrounding space, or is
        outside the characters its type allows.
    """
    attributes = []
    for field, oid in FIELDS.items():
        value = getattr(person, field)
        if value is not None:
            _check(field, value)
            attributes.append(x509.NameAttribute(oid, value))
    return x509.Name(attributes)


def _check(field: str, value: str) -> None:
    if not value or value != value.strip() or len(value) > MAX_ATTRIBUTE_LENGTH:
        raise SubjectInvalid(f"{field} is empty, has surrounding space or is longer than {MAX_ATTRIBUTE_LENGTH}")
    if any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for character in value):
        raise SubjectInvalid(f"{field} has characters that cannot be shown")
    if field == "country" and not COUNTRY.fullmatch(value):
        raise SubjectInvalid("country is not two upper-case letters")
    if field == "serial_number" and not PRINTABLE.fullmatch(value):
        raise SubjectInvalid("serial_number has characters outside PrintableString")


def same_attributes(one: x509.Name, other: x509.Name) -> bool:
    """Whether two names carry the same attributes, each once, in any order, none in a multi-valued RDN.

    Values are compared exactly: a name that differs in case or spacing is another name here, which is stricter than
    RFC 5280 clause 7.1.
    """
    if any(len(rdn) != 1 for name in (one, other) for rdn in name.rdns):
        return False
    pairs = [sorted((attribute.oid.dotted_string, attribute.value) for attribute in name) for name in (one, other)]
    return pairs[0] == pairs[1]
