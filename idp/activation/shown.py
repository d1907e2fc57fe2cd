"""What a person was shown of the documents before they approved, as one value that can be recorded.

Pure.  Whoever has a document, and what drew it, can draw its pages again: so the document's digest, which was compared
with the document that was shown, and the renderer's version stand for the pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

FORMAT: Final = "privyseal-shown-1"

State = Literal["shown", "unreadable", "failed"]
"""``shown``: its pages.  ``unreadable``: it is the document, but has no pages that can be drawn.  ``failed``: it is not
here."""
_MAX_CODES: Final = 12
"""In a line: it has room in a record with a digest of any length."""
OTHER_DOCUMENT: Final = "other_document"
"""The cause where what is kept in the document's place has another digest."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One document, as it could be shown."""

    state: State
    cause: str = ""
    """A code, where it could not be shown."""
    octets: int = 0
    pages: int = 0
    renderer: str = ""
    findings: tuple[tuple[str, int], ...] = ()
    """What its signer is told: code, and page (0: of the whole document)."""

    @property
    def told(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Each code of the findings once, with the pages on which it was found."""
        pages: dict[str, set[int]] = {code: set() for code, _ in self.findings}
        for code, page in self.findings:
            pages[code] |= {page} - {0}
        return tuple((code, tuple(sorted(found))) for code, found in pages.items())

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which :meth:`from_json` makes the same value."""
        return {
            "state": self.state,
            "cause": self.cause,
            "octets": self.octets,
            "pages": self.pages,
            "renderer": self.renderer,
            "findings": [list(item) for item in self.findings],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Shown:
        """The value that :meth:`to_json` wrote; not for input from outside."""
        return cls(**{**value, "findings": tuple((code, page) for code, page in value["findings"])})


NOT_FETCHED: Final = Shown("failed", "not_fetched")


def lines_of(digests: Sequence[bytes], documents: Sequence[Shown]) -> tuple[str, ...]:
    """What is recorded of it: a line for each document, of words and of names with values.

    :param digests: as they are approved, one for each document.
    """
    return tuple(_line(digest, item) for digest, item in zip(digests, documents, strict=True))


def digest_of(lines: Sequence[str]) -> str:
    """Hexadecimal SHA-256 of the format's name and the lines, each with a line feed behind it."""
    return hashlib.sha256("".join(f"{line}\n" for line in (FORMAT, *lines)).encode()).hexdigest()


def _line(digest: bytes, item: Shown) -> str:
    begin = f"{digest.hex()} {item.state}"
    if item.state == "failed":
        return f"{begin} cause={item.cause}"
    if item.state == "unreadable":
        return f"{begin} octets={item.octets} cause={item.cause}"
    codes = sorted({code for code, _ in item.findings})
    named = codes if len(codes) <= _MAX_CODES else [*codes[:_MAX_CODES], "more"]
    seen = f"{begin} octets={item.octets} pages={item.pages} renderer={item.renderer}"
    return f"{seen} findings={','.join(named) or 'none'}"
