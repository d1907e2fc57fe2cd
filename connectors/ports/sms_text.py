"""How much of a text message a text takes: GSM's alphabet of 7 bits, or UCS-2 (3GPP TS 23.038), in segments."""

from __future__ import annotations

import unicodedata
from typing import Final

BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The default alphabet by code point (TS 23.038 6.2.1); 0x1b escapes to :data:`EXTENSION`."""
EXTENSION: Final = {"\f": 0x0A, "^": 0x14, "{": 0x28, "}": 0x29, "\\": 0x2F, "[": 0x3C, "~": 0x3D, "]": 0x3E, "|": 0x40,
                    "€": 0x65}  # fmt: skip
"""The extension table (TS 23.038 6.2.1.1): two septets each."""
ESCAPE: Final = 0x1B
SEPTETS: Final = 160
SEPTETS_OF_MANY: Final = 153
"""In each of several segments: the header of 6 octets takes 7 septets (TS 23.040 9.2.3.24.1)."""
UNITS: Final = 70
"""UTF-16 code units."""
UNITS_OF_MANY: Final = 67
_CODES: Final = {character: bytes([code]) for code, character in enumerate(BASIC) if code != ESCAPE} | {
    character: bytes([ESCAPE, code]) for character, code in EXTENSION.items()
}
_LOOKALIKES: Final = str.maketrans({
    "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "«": '"', "»": '"', "\u2013": "-", "\u2014": "-",
    "\u2026": "...", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "œ": "oe", "Œ": "OE",
})  # fmt: skip


def gsm_codes(text: str) -> tuple[bytes, ...] | None:
    """Each character's septets, one an octet; None where the alphabet lacks one."""
    codes = [_CODES.get(character) for character in text]
    known = [code for code in codes if code is not None]
    return tuple(known) if len(known) == len(codes) else None


def segments(text: str) -> int:
    """How many messages a text takes on the air."""
    codes = gsm_codes(text)
    sizes = [len(code) for code in codes] if codes is not None else [len(item) // 2 for item in ucs2_codes(text)]
    single, many = (SEPTETS, SEPTETS_OF_MANY) if codes is not None else (UNITS, UNITS_OF_MANY)
    return 1 if sum(sizes) <= single else len(split(sizes, many))


def ucs2_codes(text: str) -> tuple[bytes, ...]:
    """Each character's octets; one outside the basic plane is a surrogate pair, which telephones read."""
    return tuple(character.encode("utf-16-be") for character in text)


def split(sizes: list[int], most: int) -> list[tuple[int, int]]:
    """Begin and end of each part that holds ``most`` at most, no character cut in two."""
    parts, begin, held = [], 0, 0
    for at, size in enumerate(sizes):
        if held + size > most:
            parts.append((begin, at))
            begin, held = at, 0
        held += size
    return [*parts, (begin, len(sizes))]


def plain(text: str) -> str:
    """The text with accents that the alphabet lacks left out, where that takes fewer segments; else as it is.

    Spanish, French and German stay readable without them, and one letter of UCS-2 more than halves what a message
    holds.  Digits and everything else of ASCII stay as they are.
    """
    if gsm_codes(text) is not None:
        return text
    folded = "".join(_plain(character) for character in text.translate(_LOOKALIKES))
    return folded if gsm_codes(folded) is not None and segments(folded) < segments(text) else text


def _plain(character: str) -> str:
    if character in _CODES:
        return character
    base = unicodedata.normalize("NFD", character)[0]
    return base if base in _CODES else character
