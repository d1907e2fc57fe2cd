"""Pages that are written once and filled in for each visitor, as the sign-in page: the template is the only text.

The template is given *blanks* where a page has what is one visitor's, such as the form token, and the page that comes
out is kept.  What is put into a blank is escaped as the template would.  What else a template sees is the page's key,
so that a page is never another's: give it nothing else to look at.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from markupsafe import escape

_MOST_KEPT: Final = 256

V = TypeVar("V")
"""What is known of a visitor."""


class Blanks(Generic[V]):
    """The blanks of a page that is being written."""

    def __init__(self) -> None:
        # Nothing that somebody else chose, such as a client's name, can be taken for a blank.  Letters and digits are
        # the same in a text, an attribute and a path.
        self._mark = secrets.token_hex(16)
        self._fills: list[Callable[[V], str]] = []

    def blank(self, fill: Callable[[V], str]) -> str:
        """What the template is given in the place of a text.

        :param fill: makes the text for a visitor; where it stands in a path, of characters that need no escape there.
        """
        self._fills.append(fill)
        return f"{self._mark}x{len(self._fills) - 1}x"

    def prepared(self, page: str) -> Prepared[V]:
        """The page that the template made."""
        parts = re.split(f"{self._mark}x([0-9]+)x", page)
        fills = (self._fills[int(number)] for number in parts[1::2])
        return Prepared(parts[0], list(zip(fills, parts[2::2], strict=True)))


class Prepared(Generic[V]):
    """A page with blanks; safe to share between threads."""

    def __init__(self, begin: str, rest: list[tuple[Callable[[V], str], str]]) -> None:
        self._begin = begin
        self._rest = rest

    def filled(self, visitor: V) -> str:
        """The page for a visitor."""
        parts = [self._begin]
        for fill, text in self._rest:
            parts += (escape(fill(visitor)), text)
        return "".join(parts)


class Pages(Generic[V]):
    """The pages that were asked for of late, by their keys; safe to share between threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Prepared[V]] = OrderedDict()
        self._lock = threading.Lock()

    def page(self, key: Hashable, write: Callable[[Blanks[V]], str]) -> Prepared[V]:
        """The page of a key.

        :param write: makes it, with blanks, of what is in the key.
        """
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        blanks = Blanks[V]()
        made = blanks.prepared(write(blanks))
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return made
