"""How large the streams of a PDF are once they are decompressed, without keeping what comes out (ISO 32000-2 7.4)."""

from __future__ import annotations

import zlib
from typing import Any, Final

from pyhanko.pdf_utils.filters import get_generic_decoder

from documents.bounds import Bounds
from documents.errors import DocumentRefused
from documents.reading import value

_FLATE: Final = frozenset({"/FlateDecode", "/Fl"})
_TEXT: Final = frozenset({"/ASCIIHexDecode", "/AHx", "/ASCII85Decode", "/A85"})
_PIECE: Final = 256 * 1024
_KEPT: Final = 16 * 1024 * 1024
"""Octets of what one filter gives to the next."""
_MAX_FILTERS: Final = 4


class Expansion:
    """Counts, over all streams of a document."""

    def __init__(self, bounds: Bounds, octets: int) -> None:
        """
        :param octets: of the document.
        """
        self._left = bounds.expanded(octets)
        self._pixels = bounds.pixels

    def count(self, stream: Any) -> None:
        """One stream more.

        :raises DocumentRefused: they are too large together, or it is an image that is too large.
        """
        width, height = value(stream, "/Width"), value(stream, "/Height")
        if isinstance(width, int) and isinstance(height, int) and width * height > self._pixels:
            raise DocumentRefused("expands_too_far", "image")
        filters = _filters(stream)
        if len(filters) > _MAX_FILTERS:
            raise DocumentRefused("expands_too_far", "filters")
        octets = stream.encoded_data
        for place, name in enumerate(filters):
            last = place == len(filters) - 1
            if name in _FLATE:
                octets = self._inflated(octets, keep=not last)
            elif name in _TEXT:
                octets = get_generic_decoder(name).decode(octets, {})
                self._take(len(octets))
            else:
                # Codecs of images; whoever decodes them has limits of its own.
                return

    def _inflated(self, octets: bytes, *, keep: bool) -> bytes:
        inflater, kept, given = zlib.decompressobj(), bytearray(), octets
        while not inflater.eof:
            try:
                piece = inflater.decompress(given, _PIECE)
            except zlib.error:
                # Readers show what came before.
                break
            given = inflater.unconsumed_tail
            if not piece and not given:
                break
            self._take(len(piece))
            if keep:
                kept += piece
                if len(kept) > _KEPT:
                    raise DocumentRefused("expands_too_far", "stacked")
        return bytes(kept)

    def _take(self, octets: int) -> None:
        self._left -= octets
        if self._left < 0:
            raise DocumentRefused("expands_too_far")


def _filters(stream: Any) -> list[str]:
    found = value(stream, "/Filter")
    if found is None:
        return []
    return [str(each) for each in found] if isinstance(found, list) else [str(found)]
