"""The pages of a PDF, in their order, by walking a tree that may be none (ISO 32000-2 7.7.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pyhanko.pdf_utils import generic

from documents.bounds import Bounds
from documents.errors import DocumentRefused
from documents.findings import Page
from documents.reading import key_of, resolved, value

_LETTER: Final = (0.0, 0.0, 612.0, 792.0)
"""Of a page that says nothing, which it may not."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A page in its tree."""

    key: tuple[int, int] | None
    """Number and generation of its object, where it has one of its own."""
    dictionary: Any
    page: Page


def pages_of(reader: Any, bounds: Bounds) -> list[Leaf]:
    """The pages.

    :raises DocumentRefused: no tree, too deep, too many; or as the reader raises.
    """
    found: list[Leaf] = []
    seen: set[tuple[int, int]] = set()
    # (node, what it inherits, depth)
    stack: list[tuple[Any, dict[str, Any], int]] = [(reader.root.raw_get("/Pages"), {}, 0)]
    while stack:
        node, inherited, depth = stack.pop()
        if depth > bounds.depth:
            raise DocumentRefused("too_deep", "pages")
        key = key_of(node)
        if key is not None:
            if key in seen:
                raise DocumentRefused("malformed", "a page is in the tree twice")
            seen.add(key)
            node = resolved(node)
        if not isinstance(node, generic.DictionaryObject):
            raise DocumentRefused("malformed", "pages")
        own = inherited | {name: value(node, name) for name in ("/MediaBox", "/CropBox", "/Rotate") if name in node}
        if "/Kids" in node:
            stack.extend((kid, own, depth + 1) for kid in reversed(list(_raw_items(value(node, "/Kids")))))
            continue
        if len(found) >= bounds.pages:
            raise DocumentRefused("too_many_objects", "pages")
        found.append(Leaf(key, node, _page(own)))
    if not found:
        raise DocumentRefused("malformed", "no page")
    return found


def _raw_items(array: Any) -> Iterator[Any]:
    if not isinstance(array, generic.ArrayObject):
        raise DocumentRefused("malformed", "pages")
    return (array.raw_get(place) for place in range(len(array)))


def _page(own: dict[str, Any]) -> Page:
    left, bottom, width, height = _box(own.get("/CropBox")) or _box(own.get("/MediaBox")) or _LETTER
    rotation = own.get("/Rotate", 0)
    return Page(width, height, int(rotation) % 360 if isinstance(rotation, int) else 0, left, bottom)


def _box(box: Any) -> tuple[float, float, float, float] | None:
    """Left, bottom, width and height."""
    if not isinstance(box, generic.ArrayObject) or len(box) != 4:
        return None
    left, low, right, high = (float(each) for each in box)
    size = (round(abs(right - left), 2), round(abs(high - low), 2))
    origin = (round(min(left, right), 2), round(min(low, high), 2))
    sound = all(0 < each < 1_000_000 for each in size) and all(abs(each) < 1_000_000 for each in origin)
    return (*origin, *size) if sound else None
