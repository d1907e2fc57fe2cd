"""Everything in a PDF that can be reached from its trailer, each object once, with the page that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pyhanko.pdf_utils import generic

from documents.bounds import Bounds
from documents.errors import DocumentRefused
from documents.pages import Leaf
from documents.reading import key_of, last_number, value

Visit = Callable[[Any, int | None], None]
"""A dictionary or stream, and the number of its page."""


class Walk:
    """Goes down without recursion: a file decides how deep it is."""

    def __init__(self, reader: Any, bounds: Bounds, visit: Visit) -> None:
        self._reader = reader
        self._bounds = bounds
        self._visit = visit
        self._last = last_number(reader)
        self.seen: set[tuple[int, int]] = set()
        """Number and generation of the objects that were reached."""

    def from_pages(self, leaves: Iterable[Leaf]) -> None:
        """The pages, and what each of them uses: what several use belongs to the first."""
        leaves = tuple(leaves)
        self.seen.update(leaf.key for leaf in leaves if leaf.key is not None)
        for number, leaf in enumerate(leaves, 1):
            self._down([(leaf.dictionary, 0)], number)

    def from_trailer(self) -> None:
        """What no page uses."""
        self._down([(self._reader.trailer.flatten(), 0)], None)

    def _down(self, stack: list[tuple[Any, int]], page: int | None) -> None:
        while stack:
            node, depth = stack.pop()
            key = key_of(node)
            if key is not None:
                if key in self.seen:
                    continue
                self._within(key)
                self.seen.add(key)
                node, depth = self._resolved(node), 0
            if depth > self._bounds.depth:
                raise DocumentRefused("too_deep")
            if isinstance(node, generic.DictionaryObject):
                self._visit(node, page)
                if page is not None and "/Parent" in node:
                    self._within(key_of(node.raw_get("/Parent")))
                stack.extend((node.raw_get(name), depth + 1) for name in node if page is None or name != "/Parent")
            elif isinstance(node, generic.ArrayObject):
                stack.extend((node.raw_get(place), depth + 1) for place in range(len(node)))

    def _within(self, key: tuple[int, int] | None) -> None:
        """A reference to what is not there yet would be one to whatever a signature's revision puts there."""
        if key is not None and key[0] > self._last:
            raise DocumentRefused("malformed", "a reference beyond the size")

    def _resolved(self, node: Any) -> Any:
        """The object; None for one that is not there, which is the null object (ISO 32000-2 7.3.10)."""
        reference = node.reference
        if self._reader.xrefs[reference] is None:
            return None
        found = self._reader.get_object(reference)
        if key_of(found) is not None:
            raise DocumentRefused("malformed", "a reference to a reference")
        if isinstance(found, generic.StreamObject) and value(found, "/Type") != "/ObjStm":
            # The largest part of a file, and not looked at again.
            self._reader.resolved_objects.pop((node.generation, node.idnum), None)
        return found
