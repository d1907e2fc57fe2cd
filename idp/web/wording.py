"""Digests, algorithms and times as people can read and compare them."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

from idp.web.language import ngettext

_HASH_NAMES: Final = {
    "2.16.840.1.101.3.4.2.1": "SHA-256",
    "2.16.840.1.101.3.4.2.2": "SHA-384",
    "2.16.840.1.101.3.4.2.3": "SHA-512",
    "2.16.840.1.101.3.4.2.8": "SHA3-256",
    "2.16.840.1.101.3.4.2.9": "SHA3-384",
    "2.16.840.1.101.3.4.2.10": "SHA3-512",
}
_GROUP: Final = 4
_IN_SECONDS: Final = 120
"""Waiting for no longer than this is said in seconds: nobody makes a quarter of an hour of 900 of them."""


def grouped(digest: bytes) -> tuple[str, ...]:
    """Hexadecimal in groups of four digits: eyes compare groups, not lines."""
    text = digest.hex()
    return tuple(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def hash_name(oid: str) -> str:
    """The usual name of a hash function; its OID if it has none here."""
    return _HASH_NAMES.get(oid, oid)


def common_name(subject: str) -> str:
    """The common name of a distinguished name written as in RFC 4514; the whole if it has none.

    For display only: values with escapes are shown as they are written.
    """
    for part in subject.replace("\\,", "\0").split(","):
        key, _, value = part.strip().partition("=")
        if key.upper() == "CN" and value:
            return value.replace("\0", ",")
    return subject


def validity(text: str) -> datetime | None:
    """The time of a GeneralizedTime such as ``20260101000000Z``; None if it is of another form."""
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S%z")
    except ValueError:
        return None


def duration(seconds: int) -> str:
    """How long somebody has to wait, never less than it is."""
    if seconds <= _IN_SECONDS:
        return ngettext("%(num)d second", "%(num)d seconds", seconds)
    return ngettext("%(num)d minute", "%(num)d minutes", math.ceil(seconds / 60))


_BROWSERS: Final = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def device_name(user_agent: str) -> str:
    """A browser and its system as people call them; empty if neither is known.

    What a browser says of itself is not to be relied on: it only helps a person to recognise their own.
    """
    found = [next((name for mark, name in known if mark in user_agent), "") for known in (_BROWSERS, _SYSTEMS)]
    return " · ".join(name for name in found if name)
