"""Writing DER (X.690): the few forms that are written by hand here.  Reading it is a library's."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

SEQUENCE: Final = 0x30
SET: Final = 0x31
OCTET_STRING: Final = 0x04


def der(tag: int, *parts: bytes) -> bytes:
    """One element (X.690 10.1: the shortest form of the length)."""
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


@lru_cache(maxsize=256)
def object_identifier(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER (X.690 8.19); those that were written last are remembered, by their text.

    :param dotted: two arcs or more.
    """
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    octets = bytearray()
    for arc in (40 * first + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        octets += bytes(reversed(groups))
    return der(0x06, bytes(octets))


def set_of(elements: Iterable[bytes], tag: int = SET) -> bytes:
    """A SET OF (X.690 11.6: its elements in ascending order of their encodings).

    :param elements: encoded.
    :param tag: another one where it is implicitly tagged.
    """
    return der(tag, *sorted(elements))
