"""Reading a request's JSON members, with the specification's own complaints."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

from signing.csc import errors
from signing.link.messages import MAX_OID_CHARACTERS, MAX_TOKEN_CHARACTERS

MAX_TEXT: Final = MAX_TOKEN_CHARACTERS
"""What the link takes; a SAD over 100 SHA-512 digests has about 12 KB."""
_SHORT: Final = 64
"""Octets that are encoded again as fast as their last ones."""
_OID: Final = re.compile(r"[0-2](?:\.(?:0|[1-9]\d{0,12})){1,24}\Z")


def required_text(body: Mapping[str, Any], name: str, max_length: int = MAX_TEXT) -> str:
    """A string that must be there.

    :raises errors.InvalidRequest: missing, of another type, empty or longer than ``max_length``.
    """
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise errors.missing_string(name)
    if len(value) > max_length:
        raise errors.invalid(name)
    return value


def optional_text(body: Mapping[str, Any], name: str, max_length: int = MAX_TEXT) -> str | None:
    """A string that may be absent or null.

    :raises errors.InvalidRequest: of another type, empty or longer than ``max_length``.
    """
    return None if body.get(name) is None else required_text(body, name, max_length)


def flag(body: Mapping[str, Any], name: str) -> bool:
    """A boolean that is false where absent or null.

    :raises errors.InvalidRequest: of another type.
    """
    value = body.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise errors.invalid(name)
    return value


def optional_integer(body: Mapping[str, Any], name: str) -> int | None:
    """An integer that may be absent or null.

    :raises errors.InvalidRequest: of another type.
    """
    value = body.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise errors.invalid(name)
    return value


def choice(body: Mapping[str, Any], name: str, allowed: tuple[str, ...], default: str) -> str:
    """One of several strings.

    :raises errors.InvalidRequest: another one.
    """
    value = body.get(name)
    if value is None:
        return default
    if value not in allowed:
        raise errors.invalid(name)
    return str(value)


def oid(body: Mapping[str, Any], name: str) -> str:
    """An object identifier in dotted form.

    :raises errors.InvalidRequest: missing, or not one.
    """
    value = required_text(body, name, MAX_OID_CHARACTERS)
    if not _OID.match(value):
        raise errors.invalid(name)
    return value


def optional_oid(body: Mapping[str, Any], name: str) -> str | None:
    """An object identifier in dotted form that may be absent or null.

    :raises errors.InvalidRequest: not one.
    """
    return None if body.get(name) is None else oid(body, name)


def base64_octets(text: str) -> bytes:
    """Octets from canonical base64 (RFC 4648 4).

    :raises ValueError: another alphabet, wrong padding, or bits left over that are not zero.
    """
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise ValueError("not base64") from error
    # Only the last four characters can say something in another way: the alphabet and the padding's place were looked
    # at.  A document is not encoded again for it.
    last = data if len(data) <= _SHORT else data[len(data) - (len(data) % 3 or 3) :]
    again = binascii.b2a_base64(last, newline=False).decode()
    if len(text) != 4 * -(-len(data) // 3) or not text.endswith(again):
        raise ValueError("not canonical base64")
    return data
