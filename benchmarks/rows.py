"""Many credentials that are like one: each with an id and an owner of its own, and with its own MAC.  Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Final

TEMPLATE_ID: Final = "0" * 32
TEMPLATE_OWNER: Final = "the person of the template"


def id_of(number: int) -> str:
    """Spread over the index, as random ones are."""
    return hashlib.sha256(f"credential {number}".encode()).hexdigest()[:32]


def owner_of(number: int) -> str:
    """An account id."""
    return f"person-{number:08}"


def octets_of(template: bytes, number: int) -> bytes:
    """What a row's MAC is made over (:func:`signing.sam.credential.mac_octets`), by those of the row it is like.

    :raises ValueError: the template's id or owner is not in it exactly once.
    """
    for name, value in ((TEMPLATE_ID, id_of(number)), (TEMPLATE_OWNER, owner_of(number))):
        before = json.dumps(name).encode()
        if template.count(before) != 1:
            raise ValueError("not a template's octets")
        template = template.replace(before, json.dumps(value).encode())
    return template
