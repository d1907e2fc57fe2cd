"""Whom a certificate may be for."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from devservices.errors import SubjectInvalid
from devservices.names import NaturalPerson, name_of, person_from_mapping, same_attributes


def test_a_person_becomes_a_name_with_the_attributes_of_en_319_412_2() -> None:
    person = person_from_mapping(
        {
            "common_name": "Ålice Example",
            "given_name": "Ålice",
            "surname": "Example",
            "serial_number": "PNOBE-1",
            "country": "BE",
        }
    )
    assert name_of(person).rfc4514_string() == (
        "2.5.4.5=PNOBE-1,2.5.4.4=Example,2.5.4.42=Ålice,CN=Ålice Example,C=BE"
    )


def test_absent_and_null_members_are_the_same() -> None:
    assert person_from_mapping({"common_name": "Alice", "country": None}) == NaturalPerson("Alice")


@pytest.mark.parametrize(
    ("subject", "complaint"),
    [
        ("Alice", "not an object"),
        (None, "not an object"),
        ({}, "common_name is missing"),
        ({"common_name": 7}, "not a string"),
        ({"common_name": "Alice", "title": "Queen"}, "unknown members"),
        ({"common_name": ""}, "empty"),
        ({"common_name": " Alice"}, "surrounding space"),
        ({"common_name": "A" * 65}, "longer than 64"),
        ({"common_name": "Alice\x00"}, "cannot be shown"),
        ({"common_name": "Alice\nExample"}, "cannot be shown"),
        ({"common_name": "ecilA \u202eAlice"}, "cannot be shown"),
        ({"common_name": "Alice", "country": "be"}, "two upper-case letters"),
        ({"common_name": "Alice", "country": "BEL"}, "two upper-case letters"),
        ({"common_name": "Alice", "serial_number": "PNOBE_1"}, "PrintableString"),
    ],
)
def test_a_subject_that_cannot_stand_in_a_certificate_is_refused(subject: object, complaint: str) -> None:
    with pytest.raises(SubjectInvalid, match=complaint):
        person_from_mapping(subject)


def _name(*pairs: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs])


def test_names_are_the_same_in_any_order_but_not_with_more_less_or_other_attributes() -> None:
    one = _name((NameOID.COMMON_NAME, "Alice"), (NameOID.COUNTRY_NAME, "BE"))
    assert same_attributes(one, _name((NameOID.COUNTRY_NAME, "BE"), (NameOID.COMMON_NAME, "Alice")))
    assert not same_attributes(one, _name((NameOID.COMMON_NAME, "Alice")))
    assert not same_attributes(one, _name((NameOID.COMMON_NAME, "alice"), (NameOID.COUNTRY_NAME, "BE")))
    assert not same_attributes(
        one, _name((NameOID.COMMON_NAME, "Alice"), (NameOID.COUNTRY_NAME, "BE"), (NameOID.COMMON_NAME, "Alice"))
    )


def test_a_multi_valued_rdn_is_never_the_same() -> None:
    multi = x509.Name(
        [
            x509.RelativeDistinguishedName(
                [x509.NameAttribute(NameOID.COMMON_NAME, "Alice"), x509.NameAttribute(NameOID.COUNTRY_NAME, "BE")]
            )
        ]
    )
    assert not same_attributes(multi, multi)
