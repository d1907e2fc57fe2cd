"""Where a visible signature stands: what a person asks for, as a box on a page.  Pure.

People measure a page as it is shown to them, in millimetres from its upper left corner.  ``Box`` of ``signed_props``
is in points from the origin of the page's own coordinates, before the page is turned (ISO 32000-2 7.7.3.3).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from portal.errors import PlaceInvalid

POINTS_PER_MM: Final = 72 / 25.4
CORNERS: Final = ("bottom-left", "bottom-right", "top-left", "top-right")
MARGIN: Final = 15.0
"""Millimetres between a corner's signature and the page's edges; less on a small page."""
WIDTH: Final = 70.0
HEIGHT: Final = 25.0
MIN_WIDTH: Final = 20.0
MIN_HEIGHT: Final = 8.0
MAX_STATED: Final = 100
"""Characters of reason and location."""
_DRAWN: Final = re.compile("[ -\u024f\u0370-\u03ff\u0400-\u0525\u1e00-\u1ef9\u2013\u2014\u2018\u2019\u201c-\u201e]*\\Z")
"""What the service's typeface has, apart from what is not printed."""
_NUMBER: Final = re.compile(r"[0-9]{1,5}(?:[.,][0-9]{1,2})?\Z", re.ASCII)
_PAGE: Final = re.compile(r"[1-9][0-9]{0,4}\Z", re.ASCII)
_SPARE: Final = 0.05
"""Millimetres that rounding may cost."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One page: what is shown of it (``/CropBox``) in points, before it is turned."""

    width: float
    height: float
    rotation: int = 0
    """Degrees clockwise: 0, 90, 180, 270."""
    left: float = 0.0
    bottom: float = 0.0

    @property
    def shown(self) -> tuple[float, float]:
        """Width and height as they are shown, in millimetres."""
        sides = (self.width / POINTS_PER_MM, self.height / POINTS_PER_MM)
        return sides[::-1] if self.rotation in {90, 270} else sides


@dataclass(frozen=True, slots=True)
class Rectangle:
    """On a page as it is shown: millimetres from the left, from the top, and its size."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asked for, for all documents of one approval."""

    corner: str | None = None
    """Of :data:`CORNERS`; or :attr:`rectangle`; neither: the signature is not seen."""
    rectangle: Rectangle | None = None
    page: int = -1
    """From 1; -1: the last."""
    reason: str = ""
    location: str = ""


def parse(form: Mapping[str, str]) -> Wanted:
    """From the form's fields.

    :raises PlaceInvalid: a number is none, or a text is too long or not one line.
    """
    place = form.get("place", "none")
    reason, location = _stated(form, "reason"), _stated(form, "location")
    if place == "none":
        return Wanted(reason=reason, location=location)
    page = _page(form)
    if place in CORNERS:
        return Wanted(place, None, page, reason, location)
    if place != "custom":
        raise PlaceInvalid("there is no such place")
    numbers = [_millimetres(form, name) for name in ("left", "top", "width", "height")]
    return Wanted(None, Rectangle(*numbers), page, reason, location)


def _page(form: Mapping[str, str]) -> int:
    which = form.get("page", "last")
    if which in {"first", "last"}:
        return 1 if which == "first" else -1
    number = form.get("page_number", "").strip()
    if which != "number" or not _PAGE.match(number):
        raise PlaceInvalid("there is no such page")
    return int(number)


def _millimetres(form: Mapping[str, str], name: str) -> float:
    text = form.get(name, "").strip()
    if not _NUMBER.match(text):
        raise PlaceInvalid(f"{name} is no number of millimetres")
    return float(text.replace(",", "."))


def _stated(form: Mapping[str, str], name: str) -> str:
    text = form.get(name, "").strip()
    if len(text) > MAX_STATED or not text.isprintable():
        raise PlaceInvalid(f"{name} is not one line of at most {MAX_STATED} characters")
    return text


def properties(wanted: Wanted, sheets: Sequence[Sheet], signer: str) -> tuple[dict[str, Any], ...]:
    """``signed_props`` for a document with these pages.

    The service draws Latin, Greek and Cyrillic letters; where there are others, the time alone shows.

    :param signer: the certificate's common name, which shows.
    :raises PlaceInvalid: the document has no such page, or the rectangle is not on it.
    """
    told = {"Reason": wanted.reason, "Location": wanted.location}
    if wanted.corner is not None or wanted.rectangle is not None:
        if not sheets or wanted.page > len(sheets):
            raise PlaceInvalid("the document has no such page")
        number = len(sheets) if wanted.page == -1 else wanted.page
        sheet = sheets[number - 1]
        rectangle = wanted.rectangle or at_corner(sheet, wanted.corner or "")
        if not _DRAWN.match(signer + wanted.reason + wanted.location):
            told["Text"] = "{time}"
        told |= {"Page": str(number), "Box": " ".join(f"{each:.2f}" for each in box(sheet, rectangle))}
    return tuple(
        {"attribute_name": name, "attribute_value": base64.b64encode(value.encode()).decode("ascii")}
        for name, value in told.items() if value
    )  # fmt: skip


def at_corner(sheet: Sheet, corner: str) -> Rectangle:
    """A rectangle of the usual size in a corner of a page as it is shown; smaller on a small page."""
    across, down = sheet.shown
    margin = min(MARGIN, across / 12, down / 12)
    width, height = min(WIDTH, across - 2 * margin), min(HEIGHT, down - 2 * margin)
    left = margin if corner.endswith("left") else across - margin - width
    top = margin if corner.startswith("top") else down - margin - height
    return Rectangle(left, top, width, height)


def box(sheet: Sheet, rectangle: Rectangle) -> tuple[float, float, float, float]:
    """Left, bottom, right and top in points, in the page's own coordinates.

    :raises PlaceInvalid: it is smaller than a signature can be read in, or not within what is shown.
    """
    across, down = sheet.shown
    right, low = rectangle.left + rectangle.width, rectangle.top + rectangle.height
    # On a small page a corner's is all there can be.
    small = rectangle.width < min(MIN_WIDTH, across / 2) or rectangle.height < min(MIN_HEIGHT, down / 2)
    if small or min(rectangle.left, rectangle.top) < 0 or right > across + _SPARE or low > down + _SPARE:
        raise PlaceInvalid("the rectangle is not within the page")
    first = _turned_back(sheet, rectangle.left, rectangle.top)
    second = _turned_back(sheet, min(right, across), min(low, down))
    (left, top_right), (bottom, top) = (sorted(pair) for pair in zip(first, second, strict=True))
    return sheet.left + left, sheet.bottom + bottom, sheet.left + top_right, sheet.bottom + top


def _turned_back(sheet: Sheet, right: float, down: float) -> tuple[float, float]:
    """A point of the shown page, in points from the lower left corner of what is shown, before the page is turned."""
    across, low = right * POINTS_PER_MM, down * POINTS_PER_MM
    return {
        0: (across, sheet.height - low),
        90: (low, across),
        180: (sheet.width - across, low),
        270: (sheet.width - low, sheet.height - across),
    }[sheet.rotation]


def packed(sheets: Sequence[Sheet]) -> list[list[float]]:
    """Pages of the same kind in a row as one entry with their number: most documents have one kind."""
    return [
        [len(list(run)), each.width, each.height, each.rotation, each.left, each.bottom]
        for each, run in groupby(sheets)
    ]


def unpacked(runs: Sequence[Sequence[float]]) -> tuple[Sheet, ...]:
    """Back from :func:`packed`."""
    return tuple(
        Sheet(width, height, int(rotation), left, bottom)
        for count, width, height, rotation, left, bottom in runs
        for _ in range(int(count))
    )
