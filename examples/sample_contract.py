"""A one-page contract to try signing with, drawn with the fourteen standard fonts of ISO 32000-1 clause 9.6.2.2."""

from __future__ import annotations

import hashlib

_PAGE = (595, 842)
_LEFT = 72
_INK = "0.11 0.14 0.20"
_MUTED = "0.40 0.44 0.52"
_ACCENT = "0.10 0.34 0.45"

_FONTS = {
    "Title": "Helvetica-Bold",
    "Head": "Helvetica-Bold",
    "Small": "Helvetica",
    "Text": "Times-Roman",
    "Emph": "Times-Italic",
}

_CLAUSES = (
    ("1", "Subject", (
        "The Provider keeps the Client's contracts in safe custody and makes them available",
        "to the Client at any time, complete, legible and in the form in which they were signed.",
    )),
    ("2", "Term", (
        "This agreement begins on the day on which the Client signs it. It runs for twelve months",
        "and continues from month to month until one party ends it by written notice of thirty days.",
    )),
    ("3", "Fee", (
        "The fee is twelve euros a month, due on the first working day of each month. It does not",
        "change during the first twelve months.",
    )),
    ("4", "Confidentiality", (
        "The Provider opens a document only at the Client's request. This duty outlasts the agreement.",
    )),
    ("5", "Signature", (
        "The parties agree that this document is signed electronically. The signature binds the",
        "Client to exactly this text: any later change to the file is evident to anyone who checks it.",
    )),
)  # fmt: skip


def make_sample_pdf() -> bytes:
    """An unsigned A4 page: a service agreement between Alice Example and Example Contracts. Always the same bytes."""
    drawing = "\n".join(_drawing()).encode("cp1252")
    fonts = " ".join(f"/{alias} {number} 0 R" for number, alias in enumerate(_FONTS, start=6))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /Lang (en) >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {_PAGE[0]} {_PAGE[1]}] /Contents 4 0 R"
        f" /Resources << /Font << {fonts} >> >> >>".encode("ascii"),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawing), drawing),
        b"<< /Title (Service agreement) /Author (Example Contracts) >>",
        *(
            f"<< /Type /Font /Subtype /Type1 /BaseFont /{base_font} /Encoding /WinAnsiEncoding >>".encode("ascii")
            for base_font in _FONTS.values()
        ),
    ]
    return _file(objects)


def _file(objects: list[bytes]) -> bytes:
    """Header, body, cross-reference table and trailer (ISO 32000-1 clause 7.5); the first object is the catalog."""
    data = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(data)
    identifier = hashlib.sha256(data).hexdigest()[:32].encode("ascii")
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        data += b"%010d 00000 n \n" % offset
    data += b"trailer\n<< /Size %d /Root 1 0 R /Info 5 0 R /ID [<%s> <%s>] >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        identifier,
        identifier,
        start,
    )
    return bytes(data)


def _text(at: tuple[float, float], font: tuple[str, float], text: str, colour: str = _INK, spacing: float = 0) -> str:
    x, y = at
    face, size = font
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"BT {colour} rg /{face} {size} Tf {spacing} Tc 1 0 0 1 {x} {y} Tm ({escaped}) Tj ET"


def _rule(
    y: float, start: float = _LEFT, end: float = _PAGE[0] - _LEFT, width: float = 0.6, colour: str = _MUTED
) -> str:
    return f"{colour} RG {width} w {start} {y} m {end} {y} l S"


def _drawing() -> list[str]:
    """The page's content stream (ISO 32000-1 clause 8 and 9), top to bottom."""
    right = 330
    parts = [
        f"{_ACCENT} rg 0 {_PAGE[1] - 10} {_PAGE[0]} 10 re f",
        _text((_LEFT, 772), ("Head", 9), "EXAMPLE CONTRACTS", _ACCENT, 1.4),
        _text((431, 772), ("Small", 9), "Agreement 2026-0001", _MUTED),
        _text((_LEFT, 722), ("Title", 27), "Service agreement"),
        _text((_LEFT, 700), ("Emph", 13), "for the safe keeping of documents", _MUTED),
        _rule(680),
        _text((_LEFT, 658), ("Head", 8), "PROVIDER", _MUTED, 1),
        _text((_LEFT, 641), ("Text", 12.5), "Example Contracts"),
        _text((_LEFT, 626), ("Text", 12.5), "rp.localhost"),
        _text((right, 658), ("Head", 8), "CLIENT", _MUTED, 1),
        _text((right, 641), ("Text", 12.5), "Alice Example"),
        _text((right, 626), ("Text", 12.5), "alice@example.org"),
        _rule(606),
    ]
    y = 576.0
    for number, title, lines in _CLAUSES:
        parts.append(_text((_LEFT, y), ("Head", 11), number, _ACCENT))
        parts.append(_text((_LEFT + 24, y), ("Head", 11), title))
        y -= 18
        for line in lines:
            parts.append(_text((_LEFT + 24, y), ("Text", 11.2), line))
            y -= 15.5
        y -= 14
    parts += [
        _rule(150, _LEFT, 265, 0.8, _INK),
        _text((_LEFT, 136), ("Small", 8.5), "For the Provider: Example Contracts", _MUTED),
        _rule(150, right, _PAGE[0] - _LEFT, 0.8, _INK),
        _text((right, 136), ("Small", 8.5), "The Client: Alice Example (signed electronically)", _MUTED),
        _rule(76),
        _text(
            (_LEFT, 60), ("Small", 8), "A sample made for trying remote signatures. It creates no obligation.", _MUTED
        ),
        _text((481, 60), ("Small", 8), "Page 1 of 1", _MUTED),
    ]
    return parts
