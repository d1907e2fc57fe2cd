"""PNG and JPEG files as image XObjects (ISO 32000-2 8.9.5), for visible signatures.

No image library meets a stranger's file here.  Of a JPEG the segments that make the picture are copied and their forms
checked, its pixels are never decoded; what else is in it (Exif, comments, what follows its end) is left out.  A PNG
is inflated up to the length that its header announces, and unfiltered where its alpha channel has to be taken out.
Sources: ISO/IEC 10918-1 annex B, PNG (third edition) clauses 5, 9, 10 and 11.2.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from signing.ades.errors import AppearanceNotAcceptable

MAX_PICTURE_OCTETS: Final = 1024 * 1024
"""Of the file."""
MAX_PICTURE_PIXELS: Final = 4_000_000
MAX_TRANSPARENT_PIXELS: Final = 200_000
"""Of a picture whose alpha channel has to be taken out, octet by octet."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By PNG colour type."""
_DEPTHS: Final = {0: {1, 2, 4, 8}, 2: {8}, 3: {1, 2, 4, 8}, 4: {8}, 6: {8}}
"""Those that are taken; 16 bits a sample are not."""
_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended sequential and progressive, with Huffman coding: what every reader of PDFs decodes."""
_SCAN, _END, _ADOBE = 0xDA, 0xD9, 0xEE
_COPIED: Final = frozenset({*_FRAMES, 0xC4, 0xDB, 0xDD, _SCAN})
"""With tables, restart interval and scans."""
_RESTARTS: Final = range(0xD0, 0xD8)
_MAX_SCANS: Final = 64


@dataclass(frozen=True, slots=True)
class Picture:
    """An image XObject's dictionary and data."""

    width: int
    """Pixels, as ``height``."""
    height: int
    entries: Mapping[str, Any]
    """Of its dictionary, without those of every image; texts are names."""
    data: bytes = field(repr=False)
    mask: bytes | None = field(default=None, repr=False)
    """Deflated alpha channel, 8 bits a pixel."""


def picture(octets: bytes) -> Picture:
    """:raises AppearanceNotAcceptable: no PNG or JPEG, damaged, too large, or of a kind that is not taken."""
    if len(octets) > MAX_PICTURE_OCTETS:
        raise AppearanceNotAcceptable("the picture's file is too large")
    try:
        if octets.startswith(_PNG):
            return _png(octets)
        if octets.startswith(_JPEG):
            return _jpeg(octets)
    except (struct.error, IndexError, zlib.error) as error:
        raise AppearanceNotAcceptable("the picture is damaged") from error
    raise AppearanceNotAcceptable("the picture is neither PNG nor JPEG")


def _check_size(width: int, height: int, most: int = MAX_PICTURE_PIXELS) -> None:
    if not width or not height or width * height > most:
        raise AppearanceNotAcceptable("the picture has no pixels, or too many")


def _jpeg(octets: bytes) -> Picture:
    kept, frames, scans, transform = bytearray(b"\xff\xd8"), list[bytes](), 0, 1
    for marker, content, scan in _segments(octets):
        if marker == _ADOBE and content.startswith(b"Adobe") and len(content) >= 12:
            transform = content[11]
        if marker in _FRAMES:
            frames.append(content)
        if marker in _COPIED:
            kept += struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content + scan
        scans += marker == _SCAN
    if len(frames) != 1 or not 1 <= scans <= _MAX_SCANS:
        raise AppearanceNotAcceptable("the picture is damaged")
    bits, height, width, components = struct.unpack_from(">BHHB", frames[0])
    _check_size(width, height)
    if bits != 8 or components not in {1, 3} or len(frames[0]) != 6 + 3 * components:
        raise AppearanceNotAcceptable("the picture is neither grey nor in three colours of 8 bits")
    entries: dict[str, Any] = {
        "/ColorSpace": "/DeviceGray" if components == 1 else "/DeviceRGB",
        "/BitsPerComponent": 8,
        "/Filter": "/DCTDecode",
        # What the Adobe segment said, which is left out (ISO 32000-2 table 13).
        "/DecodeParms": {"/ColorTransform": min(transform, 1)},
    }
    return Picture(width, height, entries, bytes(kept + b"\xff\xd9"))


def _segments(octets: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Markers, their segments' contents and the coded data after them, up to the end of the image."""
    at = 2
    while True:
        if octets[at] != 0xFF:
            raise AppearanceNotAcceptable("the picture is damaged")
        while octets[at] == 0xFF:
            at += 1
        marker, at = octets[at], at + 1
        if marker == _END:
            return
        (length,) = struct.unpack_from(">H", octets, at)
        start, at = at + 2, at + length
        if length < 2 or at > len(octets):
            raise AppearanceNotAcceptable("the picture is damaged")
        end = _end_of_scan(octets, at) if marker == _SCAN else at
        yield marker, octets[start:at], octets[at:end]
        at = end


def _end_of_scan(octets: bytes, at: int) -> int:
    """Where coded data end: at a marker that is no restart; an octet 255 of theirs is followed by 0."""
    while True:
        at = octets.find(b"\xff", at)
        if at < 0 or at + 1 >= len(octets):
            raise AppearanceNotAcceptable("the picture is damaged")
        if octets[at + 1] and octets[at + 1] not in _RESTARTS:
            return at
        at += 2


@dataclass(frozen=True, slots=True)
class _Header:
    width: int
    height: int
    depth: int
    colour: int

    @property
    def row(self) -> int:
        """Octets of a row, without its filter's."""
        return (self.width * self.depth * _CHANNELS[self.colour] + 7) // 8


def _png(octets: bytes) -> Picture:
    header, palette, coded = _chunks(octets)
    transparent = header.colour in {4, 6}
    _check_size(header.width, header.height, MAX_TRANSPARENT_PIXELS if transparent else MAX_PICTURE_PIXELS)
    rows = _inflated(coded, (header.row + 1) * header.height)
    if max(rows[:: header.row + 1]) > 4:
        raise AppearanceNotAcceptable("the picture is damaged")
    if transparent:
        return _without_alpha(header, rows)
    colours = 3 if header.colour == 2 else 1
    entries: dict[str, Any] = {
        "/ColorSpace": _space(header, palette),
        "/BitsPerComponent": header.depth,
        "/Filter": "/FlateDecode",
        # PNG's own filters, row by row (ISO 32000-2 7.4.4.4).
        "/DecodeParms": {
            "/Predictor": 15,
            "/Colors": colours,
            "/BitsPerComponent": header.depth,
            "/Columns": header.width,
        },
    }
    return Picture(header.width, header.height, entries, zlib.compress(rows))


def _space(header: _Header, palette: bytes) -> Any:
    if header.colour != 3:
        return "/DeviceGray" if header.colour == 0 else "/DeviceRGB"
    if not palette or len(palette) % 3 or len(palette) > 3 * (1 << header.depth):
        raise AppearanceNotAcceptable("the picture is damaged")
    return ["/Indexed", "/DeviceRGB", len(palette) // 3 - 1, palette]


def _chunks(octets: bytes) -> tuple[_Header, bytes, bytes]:
    """Header, palette and coded rows."""
    at, header, palette, coded = len(_PNG), None, b"", bytearray()
    while True:
        length, kind = struct.unpack_from(">I4s", octets, at)
        if at + 12 + length > len(octets):
            raise AppearanceNotAcceptable("the picture is damaged")
        content = octets[at + 8 : at + 8 + length]
        if zlib.crc32(octets[at + 4 : at + 8 + length]) != struct.unpack_from(">I", octets, at + 8 + length)[0]:
            raise AppearanceNotAcceptable("the picture is damaged")
        at += 12 + length
        if (kind == b"IHDR") is (header is not None):
            raise AppearanceNotAcceptable("the picture is damaged")
        if header is None:
            header = _header(content)
        elif kind == b"PLTE":
            palette = content
        elif kind == b"IDAT":
            coded += content
        elif kind == b"IEND":
            return header, palette, bytes(coded)
        elif kind == b"tRNS":
            raise AppearanceNotAcceptable("a picture is transparent by an alpha channel, or not at all")


def _header(content: bytes) -> _Header:
    width, height, depth, colour, compression, filters, interlace = struct.unpack(">IIBBBBB", content)
    if depth not in _DEPTHS.get(colour, ()) or compression or filters or interlace:
        raise AppearanceNotAcceptable("the picture has 16 bits a sample, is interlaced, or damaged")
    _check_size(width, height)
    return _Header(width, height, depth, colour)


def _inflated(coded: bytes, octets: int) -> bytes:
    inflating = zlib.decompressobj()
    # One more than there may be, so that it is seen where there is more (DOS-01).
    rows = inflating.decompress(coded, octets + 1)
    if len(rows) != octets:
        raise AppearanceNotAcceptable("the picture is not as large as it says")
    return rows


def _without_alpha(header: _Header, rows: bytes) -> Picture:
    channels, width = _CHANNELS[header.colour], header.width
    plain = _unfiltered(rows, header.row, channels)
    colours = bytearray(width * header.height * (channels - 1))
    for channel in range(channels - 1):
        colours[channel :: channels - 1] = plain[channel::channels]
    space = "/DeviceGray" if channels == 2 else "/DeviceRGB"
    entries = {"/ColorSpace": space, "/BitsPerComponent": 8, "/Filter": "/FlateDecode"}
    alpha = zlib.compress(plain[channels - 1 :: channels])
    return Picture(width, header.height, entries, zlib.compress(bytes(colours)), alpha)


def _unfiltered(rows: bytes, length: int, step: int) -> bytes:
    """Rows without their filters (PNG 9.2); ``step``: octets of a pixel."""
    made, above = bytearray(), bytes(length)
    for start in range(0, len(rows), length + 1):
        row = bytearray(rows[start + 1 : start + 1 + length])
        _unfilter(rows[start], row, above, step)
        made += row
        above = bytes(row)
    return bytes(made)


def _unfilter(kind: int, row: bytearray, above: bytes, step: int) -> None:
    if kind == 2:
        row[:] = bytes((octet + up) & 0xFF for octet, up in zip(row, above, strict=True))
    elif kind:
        for at in range(len(row)):
            left, corner = (row[at - step], above[at - step]) if at >= step else (0, 0)
            row[at] = (row[at] + _PREDICTED[kind](left, above[at], corner)) & 0xFF


def _paeth(left: int, up: int, corner: int) -> int:
    estimate = left + up - corner
    from_left, from_up, from_corner = abs(estimate - left), abs(estimate - up), abs(estimate - corner)
    if from_left <= from_up and from_left <= from_corner:
        return left
    return up if from_up <= from_corner else corner


_PREDICTED: Final[Mapping[int, Callable[[int, int, int], int]]] = {
    1: lambda left, _up, _corner: left,
    3: lambda left, up, _corner: (left + up) // 2,
    4: _paeth,
}
