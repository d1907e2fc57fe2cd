"""The typeface of visible signatures: measured, and cut to the glyphs that a text needs (ISO 32000-2 9.6.3, 9.7, 9.9).

``data/DejaVuSans.ttf`` is DejaVu Sans 2.37 with Latin, Greek and Cyrillic letters; its licence is beside it.  A cut
keeps the numbers of its glyphs and empties the outlines that nobody needs, so that no table has to be renumbered.  No
text is shaped here: what the typeface has no letter for cannot be shown, and is refused.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Final

NAME: Final = "DejaVuSans"
_KEPT: Final = (b"glyf", b"head", b"hhea", b"hmtx", b"loca", b"maxp")
"""Tables that a TrueType program in a PDF has (ISO 32000-2 9.9.1); none with instructions, as the file has none."""
_CHECKSUM_OF_FILE: Final = 0xB1B0AFBA
_COMPOSITE: Final = struct.Struct(">HH")
_ARGUMENTS_ARE_WORDS, _ONE_SCALE, _MORE, _TWO_SCALES, _FOUR_SCALES = 0x1, 0x8, 0x20, 0x40, 0x80


@dataclass(frozen=True, slots=True)
class Typeface:
    """A TrueType file, taken apart (OpenType 1.9)."""

    tables: Mapping[bytes, bytes] = field(repr=False)
    glyphs: Mapping[str, int] = field(repr=False)
    """Number of each character's glyph."""
    widths: tuple[int, ...] = field(repr=False)
    """By glyph, in thousandths of the type size."""
    offsets: tuple[int, ...] = field(repr=False)
    """Of each glyph's outline in ``glyf``, and where the last one ends."""
    box: tuple[int, int, int, int]
    """Of all glyphs, in thousandths."""
    ascent: int
    descent: int
    """Below the base line: negative."""

    def lacks(self, text: str) -> bool:
        """Whether there is a character in the text that cannot be shown."""
        return not self.glyphs.keys() >= set(text)

    def width(self, text: str) -> int:
        """In thousandths of the type size."""
        return sum(self.widths[self.glyphs[character]] for character in text)

    def encoded(self, text: str) -> bytes:
        """The string operand for a font with the encoding Identity-H, in hexadecimal."""
        return b"<" + b"".join(b"%04X" % self.glyphs[character] for character in text) + b">"

    def cut(self, text: str) -> Cut:
        """The file with nothing but what that text needs."""
        used = {self.glyphs[character]: character for character in sorted(set(text))}
        needed = self._closure({0, *used})
        outlines, offsets = bytearray(), [0]
        for glyph in range(len(self.offsets) - 1):
            if glyph in needed:
                outlines += self._outline(glyph)
                outlines += bytes(-len(outlines) % 4)
            offsets.append(len(outlines))
        tables = {name: self.tables[name] for name in _KEPT}
        tables[b"glyf"] = bytes(outlines)
        tables[b"loca"] = struct.pack(f">{len(offsets)}I", *offsets)
        # indexToLocFormat 1, and the checksum that is set at last.
        tables[b"head"] = tables[b"head"][:8] + bytes(4) + tables[b"head"][12:50] + b"\0\1" + tables[b"head"][52:]
        # Six letters tell cuts of one typeface from one another (ISO 32000-2 9.9.2).
        tag = "".join(chr(65 + octet % 26) for octet in hashlib.sha256(repr(sorted(used)).encode()).digest()[:6])
        return Cut(f"{tag}+{NAME}", _file(tables), used)

    def _outline(self, glyph: int) -> bytes:
        return self.tables[b"glyf"][self.offsets[glyph] : self.offsets[glyph + 1]]

    def _closure(self, glyphs: Iterable[int]) -> set[int]:
        """With what composite glyphs are made of."""
        waiting, found = list(glyphs), set[int]()
        while waiting:
            glyph = waiting.pop()
            if glyph not in found:
                found.add(glyph)
                waiting.extend(_components(self._outline(glyph)))
        return found


@dataclass(frozen=True, slots=True)
class Cut:
    """A typeface with some of its glyphs."""

    name: str
    program: bytes = field(repr=False)
    characters: Mapping[int, str]
    """By glyph."""

    def to_unicode(self) -> bytes:
        """A CMap by which readers find the text again (ISO 32000-2 9.10.3)."""
        pairs = [b"<%04X> <%s>" % (glyph, text.encode("utf-16-be").hex().encode()) for glyph, text in self._sorted()]
        blocks = [pairs[start : start + 100] for start in range(0, len(pairs), 100)]
        lines = [
            b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap",
            b"/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def",
            b"/CMapName /Adobe-Identity-UCS def /CMapType 2 def",
            b"1 begincodespacerange <0000> <FFFF> endcodespacerange",
            *(b"%d beginbfchar\n%s\nendbfchar" % (len(block), b"\n".join(block)) for block in blocks),
            b"endcmap CMapName currentdict /CMap defineresource pop end end",
        ]
        return b"\n".join(lines)

    def _sorted(self) -> list[tuple[int, str]]:
        return sorted(self.characters.items())


@lru_cache(maxsize=1)
def typeface() -> Typeface:
    """The one that is shipped."""
    return read((resources.files("signing.ades") / "data" / "DejaVuSans.ttf").read_bytes())


def read(octets: bytes) -> Typeface:
    """A TrueType file with outlines and a character map of format 4."""
    tables = _tables(octets)
    head, hhea = tables[b"head"], tables[b"hhea"]
    units, (long_offsets,) = struct.unpack_from(">H", head, 18)[0], struct.unpack_from(">h", head, 50)
    count, (metrics,) = struct.unpack_from(">H", tables[b"maxp"], 4)[0], struct.unpack_from(">H", hhea, 34)
    if long_offsets:
        offsets = struct.unpack_from(f">{count + 1}I", tables[b"loca"])
    else:
        offsets = tuple(2 * each for each in struct.unpack_from(f">{count + 1}H", tables[b"loca"]))
    advances = [struct.unpack_from(">H", tables[b"hmtx"], 4 * glyph)[0] for glyph in range(metrics)]
    advances += advances[-1:] * (count - metrics)

    def scaled(value: int) -> int:
        return round(value * 1000 / int(units))

    left, bottom, right, top = map(scaled, struct.unpack_from(">4h", head, 36))
    ascent, descent = map(scaled, struct.unpack_from(">2h", hhea, 4))
    return Typeface(
        tables,
        _character_map(tables[b"cmap"]),
        tuple(map(scaled, advances)),
        offsets,
        (left, bottom, right, top),
        ascent,
        descent,
    )


def _tables(octets: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">H", octets, 4)
    entries = [struct.unpack_from(">4sIII", octets, 12 + 16 * index) for index in range(count)]
    return {name: octets[offset : offset + length] for name, _, offset, length in entries}


def _character_map(cmap: bytes) -> dict[str, int]:
    (count,) = struct.unpack_from(">H", cmap, 2)
    starts = {struct.unpack_from(">I", cmap, 8 + 8 * index)[0] for index in range(count)}
    start = next(each for each in sorted(starts) if struct.unpack_from(">H", cmap, each)[0] == 4)
    segments = struct.unpack_from(">H", cmap, start + 6)[0] // 2
    at = start + 14
    ends = struct.unpack_from(f">{segments}H", cmap, at)
    firsts = struct.unpack_from(f">{segments}H", cmap, at + 2 * segments + 2)
    deltas = struct.unpack_from(f">{segments}h", cmap, at + 4 * segments + 2)
    ranges_at = at + 6 * segments + 2
    ranges = struct.unpack_from(f">{segments}H", cmap, ranges_at)
    found: dict[str, int] = {}
    for index in range(segments):
        for code in range(firsts[index], min(ends[index], 0xFFFE) + 1):
            glyph = code
            if ranges[index]:
                (glyph,) = struct.unpack_from(
                    ">H", cmap, ranges_at + 2 * index + ranges[index] + 2 * (code - firsts[index])
                )
            if glyph and (glyph + deltas[index]) % 65536:
                found[chr(code)] = (glyph + deltas[index]) % 65536
    return found


def _components(outline: bytes) -> Iterable[int]:
    """Glyphs that a composite one is made of (``glyf``, numberOfContours below zero)."""
    if len(outline) < 10 or struct.unpack_from(">h", outline)[0] >= 0:
        return
    at, flags = 10, _MORE
    while flags & _MORE:
        flags, glyph = _COMPOSITE.unpack_from(outline, at)
        yield glyph
        at += 4 + (4 if flags & _ARGUMENTS_ARE_WORDS else 2)
        at += 2 if flags & _ONE_SCALE else 4 if flags & _TWO_SCALES else 8 if flags & _FOUR_SCALES else 0


def _file(tables: Mapping[bytes, bytes]) -> bytes:
    count = len(tables)
    power = 1 << (count.bit_length() - 1)
    directory = struct.pack(">IHHHH", 0x00010000, count, 16 * power, power.bit_length() - 1, 16 * (count - power))
    at, body = 12 + 16 * count, bytearray()
    for name, content in sorted(tables.items()):
        directory += struct.pack(">4sIII", name, _checksum(content), at + len(body), len(content))
        if name == b"head":
            adjustment = at + len(body) + 8
        body += content + bytes(-len(content) % 4)
    made = bytearray(directory + body)
    struct.pack_into(">I", made, adjustment, (_CHECKSUM_OF_FILE - _checksum(bytes(made))) % (1 << 32))
    return bytes(made)


def _checksum(content: bytes) -> int:
    padded = content + bytes(-len(content) % 4)
    words: tuple[int, ...] = struct.unpack(f">{len(padded) // 4}I", padded)
    return sum(words) % (1 << 32)
