"""How much a document may be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is beyond any of these is refused; time and memory are the confined process's."""

    octets: int = 192 * 1024 * 1024
    objects: int = 200_000
    """Indirect objects, over all revisions."""
    pages: int = 5_000
    revisions: int = 200
    signatures: int = 50
    depth: int = 64
    """Of arrays and dictionaries in one another, and of the trees of pages and fields."""
    expanded_octets: int = 128 * 1024 * 1024
    """Of all streams together, decompressed, and eight times the document's own size beyond."""
    pixels: int = 200_000_000
    """Of one image, as it is declared."""

    def expanded(self, octets: int) -> int:
        """How much the streams of a document of that size may be."""
        return self.expanded_octets + 8 * octets

    def text(self) -> str:
        """As one argument."""
        fields = (self.octets, self.objects, self.pages, self.revisions, self.signatures, self.depth)
        return ",".join(map(str, (*fields, self.expanded_octets, self.pixels)))

    @classmethod
    def of_text(cls, text: str) -> Bounds:
        """The reverse of :meth:`text`."""
        return cls(*map(int, text.split(",")))
