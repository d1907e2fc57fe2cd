"""Whose a certificate is: which account its attributes may name, by the rules of its trust anchor."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from idp.authn.certificate.facts import CertificateFacts
from idp.certificate_settings import Attribute

_SEMANTIC: Final = re.compile(r"(?:PAS|IDC|PNO|TAX|TIN|[A-Z]{2}:)[A-Z]{2}-[\x21-\x7e]{1,60}\Z", re.ASCII)
"""A natural person's semantics identifier (ETSI EN 319 412-1, 5.1.3)."""
_MAX_NAME: Final = 256


@dataclass(frozen=True, slots=True)
class Claim:
    """A value that must be equal to one account's, in the account's own form."""

    column: Literal["serial_number", "username"]
    value: str


def claims(facts: CertificateFacts, allowed: Iterable[Attribute]) -> tuple[Claim, ...]:
    """What of a certificate names accounts; all accounts that any of it names must be one and the same.

    Values are compared whole: no wildcard, no part of a name.  A serial number names somebody only if it says what
    kind of number of which country it is: a bare one may be anybody's elsewhere.
    """
    found: dict[Claim, None] = {}
    for attribute in allowed:
        if attribute == "serial_number":
            number = facts.serial_number or ""
            if _SEMANTIC.match(number):
                found[Claim("serial_number", number)] = None
            continue
        names = facts.upns if attribute == "upn" else facts.emails
        found.update((Claim("username", _canonical(name)), None) for name in names if _usable(name))
    return tuple(found)


def _canonical(name: str) -> str:
    """As user names are kept: NFC, lower case."""
    return unicodedata.normalize("NFC", name).lower()


def _usable(name: str) -> bool:
    return 0 < len(name) <= _MAX_NAME and name.isascii() and name.isprintable() and name == name.strip()
