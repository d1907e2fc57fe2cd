"""Pictures made octet by octet, for visible signatures."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

Row = Callable[[int], bytes]


def chunk(kind: bytes, content: bytes) -> bytes:
    """One of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    width: int, height: int, row: Row, *, colour: int = 2, depth: int = 8, interlace: int = 0, more: bytes = b""
) -> bytes:
    """A PNG.

    :param row: a row's filter and filtered octets.
    :param more: chunks before the rows.
    """
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    rows = zlib.compress(b"".join(row(number) for number in range(height)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def grey(width: int, height: int, **more: Any) -> bytes:
    """A PNG of one grey."""
    return png(width, height, lambda _: b"\0" + b"\x80" * width, colour=0, **more)


def segment(marker: int, content: bytes) -> bytes:
    """One of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def jpeg(width: int = 8, height: int = 8, *, before: bytes = b"", frame: int = 0xC0, components: int = 1) -> bytes:
    """A grey JPEG of 8 by 8 blocks: an honest one has 8 or 16 pixels a side.

    :param before: segments before the frame's.
    """
    blocks = -(-width // 8) * -(-height // 8)
    # One code of one bit for each table: a block is DC difference 0 (0) and end of block (0).
    bits = "0" * (2 * blocks)
    bits += "1" * (-len(bits) % 8)
    coded = int(bits, 2).to_bytes(len(bits) // 8, "big")
    table = bytes([1] + [0] * 15 + [0])
    described = b"".join(bytes([number + 1, 0x11, 0]) for number in range(components))
    return b"".join(
        (
            b"\xff\xd8",
            before,
            segment(0xDB, b"\0" + bytes([16] * 64)),
            segment(frame, struct.pack(">BHHB", 8, height, width, components) + described),
            segment(0xC4, b"\0" + table),
            segment(0xC4, b"\x10" + table),
            segment(0xDA, bytes([1, 1, 0, 0, 63, 0])),
            coded,
            b"\xff\xd9",
        )
    )
