"""Pages of a document as pictures, made where a file that does harm does none: in confined processes.

Nothing is kept here.  The same file, page and width give the same picture with the same :attr:`Rendering.renderer` and
the same fonts on the machine; a font that the file embeds is drawn as it is embedded.
"""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from documents.errors import REASONS, DocumentRefused, RenderBusy, RenderFailed
from foundation.confinement import Limits
from foundation.errors import SandboxError, SandboxUnavailable
from foundation.sandbox_pool import Pool

WORKER: Final = "documents.render_worker"
PAGE_WIDTH: Final = 1000
"""Pixels: a page of A4 at 121 dots an inch."""
LARGE_WIDTH: Final = 1900
MAX_PIXELS: Final = 6_000_000
LIMITS: Final = Limits(address_space=1024 * 1024 * 1024, cpu_seconds=10, wall_seconds=15.0, file_octets=4 * MAX_PIXELS)
"""Of one page; uncompressed, it has 18 MB."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_RENDERER: Final = re.compile(r"[a-z]{1,16}/[0-9.]{1,32}\Z")
_MAX_PAGES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a document has to show."""

    pages: int
    renderer: str
    """What draws, and its version."""


class Renderer:
    """Draws pages in confined processes of its own; may be used by any thread."""

    def __init__(self, limits: Limits = LIMITS, *, workers: int = 2, wait_seconds: float = 15.0) -> None:
        """
        :param workers: how many pages are drawn at one time.
        :param wait_seconds: how long a page waits for its turn.
        """
        # One document each: what took over a process would draw the next person's pages.
        self._pool = Pool(WORKER, limits, workers=workers, wait_seconds=wait_seconds, files=1)
        # Its processes end with it, whoever forgets to close it.
        weakref.finalize(self, self._pool.close)

    def look(self, document: bytes) -> Rendering:
        """How many pages there are.

        :raises DocumentRefused: encrypted, or no PDF that can be read.
        :raises RenderFailed: it took too long, too much, or the process with it.
        :raises RenderBusy: no process is free.
        """
        found, _ = self._ask(document, {})
        return Rendering(found["pages"], found["renderer"])

    def page(self, document: bytes, number: int, width: int = PAGE_WIDTH) -> bytes:
        """One page as a PNG, as it would be printed.

        :param number: from 1.
        :param width: in pixels; a page of unusual form is drawn smaller.
        :raises DocumentRefused: encrypted, or no PDF that can be read.
        :raises RenderFailed: also, there is no such page.
        :raises RenderBusy: as for :meth:`look`.
        """
        return self._ask(document, {"page": number, "width": width, "max_pixels": MAX_PIXELS})[1]

    def close(self) -> None:
        """End the processes."""
        self._pool.close()

    def _ask(self, document: bytes, asked: Mapping[str, int]) -> tuple[dict[str, Any], bytes]:
        try:
            answer = self._pool.run(document, json.dumps(asked).encode())
        except SandboxUnavailable as error:
            raise RenderBusy("no page can be drawn now") from error
        except SandboxError as error:
            raise RenderFailed(f"the page cannot be drawn: {error}") from error
        found, picture = _read(answer)
        if found.get("fault") == "no_page":
            raise RenderFailed("there is no such page")
        if "fault" in found:
            raise DocumentRefused(found["fault"])
        if not _is_whole(found, picture, asked):
            raise RenderFailed("the page cannot be drawn: the answer is none")
        return found, picture


def _read(answer: bytes) -> tuple[dict[str, Any], bytes]:
    """What comes out of a confined process is believed as little as what went in.

    :raises RenderFailed: it is no answer.
    """
    line, _, picture = answer.partition(b"\n")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RenderFailed("the page cannot be drawn: the answer is none") from error
    if not isinstance(found, dict) or found.get("fault", "no_page") not in (*REASONS, "no_page"):
        raise RenderFailed("the page cannot be drawn: the answer is none")
    return found, picture


def _is_whole(found: Mapping[str, Any], picture: bytes, asked: Mapping[str, int]) -> bool:
    if "page" in asked:
        return picture.startswith(_PNG)
    pages, renderer = found.get("pages"), found.get("renderer")
    named = isinstance(renderer, str) and _RENDERER.match(renderer) is not None
    return named and isinstance(pages, int) and 0 <= pages <= _MAX_PAGES
