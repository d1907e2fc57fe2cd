"""Pages of a PDF as pictures, by PDFium: what runs in a confined process, for one file.

A page is drawn as it would be printed, with what forms and annotations show: a signer signs what stands on paper, not
what a viewer offers on its screen.  The library is built without a JavaScript engine and without XFA.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any, Final

import pypdfium2 as pdfium
from pypdfium2 import raw

from foundation.sandbox import serve

VERSION: Final = f"pdfium/{pdfium.PDFIUM_INFO.version.partition('@')[0]}"
"""The library's, as far as a picture depends on it."""
_WHITE: Final = (255, 255, 255, 255)
_FAULTS: Final[dict[int | None, str]] = {
    raw.FPDF_ERR_PASSWORD: "encrypted",
    raw.FPDF_ERR_SECURITY: "encrypted",
    raw.FPDF_ERR_FORMAT: "not_a_pdf",
}
_PNG_HEAD: Final = b"\x89PNG\r\n\x1a\n"
_EIGHT_BITS_RGB: Final = bytes((8, 2, 0, 0, 0))
"""Depth, colour type, and the only methods there are (PNG 11.2.2)."""
_LEVEL: Final = 6


def work(document: bytes, argument: bytes) -> bytes:
    """One question about one file.

    :param argument: JSON: ``{}`` for how many pages there are; ``page`` (from 1), ``width`` and ``max_pixels`` for one.
    :returns: a line of JSON, ``fault`` in it if there is no answer; behind it the PNG, if one was asked for.
    """
    asked: dict[str, int] = json.loads(argument)
    try:
        opened = pdfium.PdfDocument(document)
    except pdfium.PdfiumError as error:
        return _answer(fault=_FAULTS.get(getattr(error, "err_code", None), "malformed"))
    pages = len(opened)
    if "page" not in asked:
        return _answer(pages=pages, renderer=VERSION)
    if not 1 <= asked["page"] <= pages:
        return _answer(fault="no_page")
    try:
        return _picture(opened, asked["page"], asked["width"], asked["max_pixels"])
    except pdfium.PdfiumError:
        return _answer(fault="malformed")


def _answer(png: bytes = b"", **members: Any) -> bytes:
    return json.dumps(members).encode() + b"\n" + png


def _picture(opened: Any, number: int, width: int, max_pixels: int) -> bytes:
    opened.init_forms()
    page = opened[number - 1]
    scale = _scale(page.get_width(), page.get_height(), width, max_pixels)
    bitmap = page.render(scale=scale, optimize_mode="print", fill_color=_WHITE, rev_byteorder=True, draw_annots=True)
    rows = memoryview(bitmap.buffer).cast("B")
    octets = bitmap.width * bitmap.n_channels
    if bitmap.n_channels != len("RGB"):
        return _answer(fault="malformed")
    lines = b"".join(b"\0" + rows[at : at + octets] for at in range(0, bitmap.height * bitmap.stride, bitmap.stride))
    return _answer(_png(bitmap.width, bitmap.height, lines), width=bitmap.width, height=bitmap.height)


def _scale(page_width: float, page_height: float, width: int, max_pixels: int) -> float:
    """From points to pixels: so wide, and never more pixels, whatever form the page has."""
    page_width, page_height = max(page_width, 1.0), max(page_height, 1.0)
    scale = width / page_width
    # Sides are rounded up: one pixel more of each.
    if (page_width * scale + 1) * (page_height * scale + 1) > max_pixels:
        longest = max_pixels / 4 / max(page_width, page_height)
        scale = min(scale, (max_pixels / (page_width * page_height)) ** 0.5, longest)
    return scale


def _png(width: int, height: int, lines: bytes) -> bytes:
    """RGB with eight bits a sample; each line begins with its filter, which is none."""
    head = struct.pack(">II", width, height) + _EIGHT_BITS_RGB
    return _PNG_HEAD + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(lines, _LEVEL)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


if __name__ == "__main__":
    serve(work)
