"""What a visible signature shows: text, a picture, a QR code; laid out in its box and drawn (ISO 32000-2 12.5.5).

Nobody vouches for what is shown: a reader that verifies the signature says who signed.  Texts are refused where they
could make another one be seen (SIG-11): controls, marks of direction, letters that the typeface lacks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import segno

from signing.ades.errors import AppearanceNotAcceptable
from signing.ades.pictures import Picture, picture
from signing.ades.typeface import Typeface, typeface

MAX_TEXT_CHARACTERS: Final = 500
MAX_LINES: Final = 12
MAX_QR_OCTETS: Final = 600
MIN_BOX: Final = 8.0
"""Points, each side."""
_MARGIN: Final = 2.0
_LARGEST, _SMALLEST, _STEP = 14.0, 4.0, 0.5
"""Type sizes, points."""
_LEADING: Final = 1.2
_PLACEHOLDER: Final = re.compile(r"\{(name|time|reason|location)\}")
_DEFAULT: Final = "{name}\n{time}\n{reason}\n{location}"


@dataclass(frozen=True, slots=True)
class Look:
    """What is wished to be shown."""

    text: str | None = None
    """Lines; ``{name}``, ``{time}``, ``{reason}`` and ``{location}`` are replaced, a line of nothing but absent ones
    left out."""
    image: bytes | None = field(default=None, repr=False)
    """PNG or JPEG."""
    qr: str | None = None
    """Content of the QR code."""

    def __bool__(self) -> bool:
        """Whether anything is wished."""
        return (self.text, self.image, self.qr) != (None, None, None)


@dataclass(frozen=True, slots=True)
class Facts:
    """What texts may name."""

    name: str
    """Of the certificate's subject."""
    at: datetime
    """Aware; as the signature dictionary says it."""
    reason: str | None = None
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Drawing:
    """A form XObject's content and what it needs; coordinates from the lower left corner of the box."""

    width: float
    height: float
    content: bytes
    text: str
    """All that is shown in letters, for the typeface's cut."""
    picture: Picture | None


@dataclass(frozen=True, slots=True)
class _Area:
    left: float
    bottom: float
    width: float
    height: float


def draw(look: Look, facts: Facts, width: float, height: float) -> Drawing:
    """Lay out and draw.

    With nothing wished the name, the time and what is stated are shown.  A QR code stands on the right, a picture on
    the left of the text or alone.

    :param width: points, as ``height``.
    :raises AppearanceNotAcceptable: the box is too small, or something cannot be shown.
    """
    if min(width, height) < MIN_BOX:
        raise AppearanceNotAcceptable("the box is too small")
    shown = None if look.image is None else picture(look.image)
    lines = _lines(look if look else Look(_DEFAULT), facts)
    area = _Area(_MARGIN, _MARGIN, width - 2 * _MARGIN, height - 2 * _MARGIN)
    content = []
    if look.qr is not None:
        side = min(area.width, area.height)
        content.append(_qr(look.qr, area.left + area.width - side, area.bottom + (area.height - side) / 2, side))
        area = _Area(area.left, area.bottom, area.width - side - _MARGIN, area.height)
    if shown is not None:
        share = _Area(area.left, area.bottom, area.width * 0.4 if lines else area.width, area.height)
        content.append(_fitted(shown, share))
        if lines:
            taken = share.width + _MARGIN
            area = _Area(area.left + taken, area.bottom, area.width - taken, area.height)
    if lines:
        content.append(_set(lines, area, typeface()))
    return Drawing(width, height, b"q\n" + b"\n".join(content) + b"\nQ", "".join(lines), shown)


def check_text(text: str) -> None:
    """:raises AppearanceNotAcceptable: too long, or with something in it that is no letter, space or line's end.

    Letters that the typeface lacks are found when the text is set.
    """
    lines = text.split("\n")
    if not text.strip() or len(text) > MAX_TEXT_CHARACTERS or len(lines) > MAX_LINES:
        raise AppearanceNotAcceptable("the text is empty or too long")
    if not all(line.isprintable() for line in lines):
        raise AppearanceNotAcceptable("there is something in the text that is not seen")


def _lines(look: Look, facts: Facts) -> list[str]:
    if look.text is None:
        return []
    check_text(look.text)
    values: Mapping[str, str | None] = {
        "name": facts.name,
        "time": facts.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "reason": facts.reason,
        "location": facts.location,
    }
    lines = []
    for line in look.text.split("\n"):
        # Replaced once: what a name or reason says is no placeholder.
        said = _PLACEHOLDER.sub(lambda found: values[found[1]] or "", line)
        if said.strip() or said == line:
            lines.append(unicodedata.normalize("NFC", said))
    if any(not line.isprintable() or typeface().lacks(line) for line in lines):
        raise AppearanceNotAcceptable("there are letters in the text that cannot be shown")
    return lines


def _set(lines: list[str], area: _Area, face: Typeface) -> bytes:
    """The lines, in the largest type in which they fit."""
    size = _LARGEST
    while size >= _SMALLEST:
        broken = _broken(lines, area.width * 1000 / size, face)
        if broken is not None and len(broken) * size * _LEADING <= area.height:
            return _written(broken, area, size, face)
        size -= _STEP
    raise AppearanceNotAcceptable("the text does not fit into the box")


def _broken(lines: list[str], room: float, face: Typeface) -> list[str] | None:
    """Lines broken between words; None: a word is too wide."""
    made = []
    for line in lines:
        current = ""
        for word in line.split(" "):
            if face.width(word) > room:
                return None
            longer = f"{current} {word}" if current else word
            if face.width(longer) > room:
                made.append(current)
                longer = word
            current = longer
        made.append(current)
    return made


def _written(lines: list[str], area: _Area, size: float, face: Typeface) -> bytes:
    top = area.bottom + (area.height + len(lines) * size * _LEADING) / 2
    base = top - size * face.ascent / 1000
    shown = b" T* ".join(face.encoded(line) + b" Tj" for line in lines)
    return b"BT 0 g /F1 %s Tf %s TL %s Td %s ET" % (
        _numbers(size),
        _numbers(size * _LEADING),
        _numbers(area.left, base),
        shown,
    )


def _fitted(shown: Picture, area: _Area) -> bytes:
    """The picture, as large as it fits, in the middle."""
    if min(area.width, area.height) <= 0:
        raise AppearanceNotAcceptable("the box is too small")
    scale = min(area.width / shown.width, area.height / shown.height)
    width, height = shown.width * scale, shown.height * scale
    left, bottom = area.left + (area.width - width) / 2, area.bottom + (area.height - height) / 2
    return b"q %s cm /Im1 Do Q" % _numbers(width, 0, 0, height, left, bottom)


def _qr(content: str, left: float, bottom: float, side: float) -> bytes:
    """The code's dark modules, row by row, on white (ISO/IEC 18004), with its quiet zone."""
    if not content.isprintable() or not 0 < len(content.encode()) <= MAX_QR_OCTETS:
        raise AppearanceNotAcceptable("the QR code's content is empty, too long, or not one line")
    try:
        code = segno.make_qr(content, error="m")
    except (segno.DataOverflowError, ValueError) as error:
        raise AppearanceNotAcceptable("the QR code's content is too long") from error
    rows = tuple(code.matrix_iter(border=4))
    module = side / len(rows)
    drawn = [b"q 1 g %s re f 0 g" % _numbers(left, bottom, side, side)]
    for number, row in enumerate(rows):
        start = None
        for column, dark in enumerate((*row, 0)):
            if dark and start is None:
                start = column
            elif not dark and start is not None:
                run = (left + start * module, bottom + side - (number + 1) * module, (column - start) * module, module)
                drawn.append(_numbers(*run) + b" re")
                start = None
    return b"\n".join((*drawn, b"f Q"))


def _numbers(*values: float) -> bytes:
    return b" ".join(f"{value:.3f}".rstrip("0").rstrip(".").encode() for value in values)
