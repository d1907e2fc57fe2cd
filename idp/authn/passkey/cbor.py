"""A look at CBOR before it is parsed: only what authenticators send (CTAP 2.1, 8: no tags, no open ends, no depth).

The library's parser knows all of RFC 8949: numbers of any size, regular expressions, references.  None of that has a
place in what a stranger may send.
"""

from __future__ import annotations

from typing import Final

from idp.errors import PasskeyRefused

_MAX_DEPTH: Final = 4
_MAX_ITEMS: Final = 64
_ARGUMENT_OCTETS: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_TEXT, _BYTES, _ARRAY, _MAP, _SIMPLE = 3, 2, 4, 5, 7


def check(data: bytes, *, items: int = 1) -> None:
    """The octets are so many data items, and nothing follows.

    :raises PasskeyRefused: something else.
    """
    position = 0
    for _ in range(items):
        position = _skip(data, position, _MAX_DEPTH)
    if position != len(data):
        raise PasskeyRefused("malformed", "something follows after the last CBOR item")


def _skip(data: bytes, position: int, depth: int) -> int:
    """The position after the item that begins here."""
    if position >= len(data):
        raise PasskeyRefused("malformed", "CBOR ends early")
    major, low = data[position] >> 5, data[position] & 0x1F
    value, position = _argument(data, position + 1, low)
    if major in {_BYTES, _TEXT}:
        position += value
        if position > len(data):
            raise PasskeyRefused("malformed", "a CBOR string is longer than its message")
    elif major in {_ARRAY, _MAP}:
        if depth == 0 or value > _MAX_ITEMS:
            raise PasskeyRefused("malformed", "CBOR is nested too deep or too wide")
        for _ in range(value * (2 if major == _MAP else 1)):
            position = _skip(data, position, depth - 1)
    elif major > _MAP and (major != _SIMPLE or low not in {20, 21, 22}):
        raise PasskeyRefused("malformed", "CBOR with a tag, a float or an unknown simple value")
    return position


def _argument(data: bytes, position: int, low: int) -> tuple[int, int]:
    """The number after an initial octet, and the position after it."""
    if low < min(_ARGUMENT_OCTETS):
        return low, position
    length = _ARGUMENT_OCTETS.get(low)
    if length is None or position + length > len(data):
        raise PasskeyRefused("malformed", "CBOR of indefinite length, or cut off")
    return int.from_bytes(data[position : position + length], "big"), position + length
