"""A PDF's ByteRange, digested while it streams past: the module parses no PDF and keeps no document.

The first octets have to be the document that was approved, to its last octet; everything after is an appended
revision of bounded size with a hole for the signature.  The revision is looked at as octets only: it has one
``/ByteRange``, which says what was digested, and the hole is the value of a ``/Contents``.  Whoever writes the revision
could spell the real ones differently, so this finds mistakes.  What a revision *shows* is not known here: that is left
open, see the threat model.  Sources: ISO 32000-2 12.8.1, ETSI EN 319 142-1 clause 5.3.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from signing.sam.errors import DigestNotAuthorized, TemplateRefused
from signing.sam.tbs.common import check_digest, hash_name

MAX_PDF_OCTETS: Final = 256 * 1024 * 1024
MAX_REVISION_OCTETS: Final = 4 * 1024 * 1024
"""Of the appended revision, the hole included: the dictionary, and a visible signature's picture and font."""
MAX_HOLE_OCTETS: Final = 256 * 1024
"""Room for a CMS of 128 KiB in hexadecimal."""
MIN_HOLE_OCTETS: Final = 4

_BYTE_RANGE: Final = re.compile(
    rb"/ByteRange[\0\t\n\f\r ]*\[[\0\t\n\f\r ]*(\d{1,10})[\0\t\n\f\r ]+(\d{1,10})"
    rb"[\0\t\n\f\r ]+(\d{1,10})[\0\t\n\f\r ]+(\d{1,10})[\0\t\n\f\r ]*\]"
)
_CONTENTS: Final = re.compile(rb"/Contents[\0\t\n\f\r ]*\Z")
_LOOK_BACK: Final = 64
"""Octets before the hole in which ``/Contents`` is looked for."""


@dataclass(frozen=True, slots=True)
class PdfClaim:
    """What the web tier says of the PDF that it is going to stream."""

    document: bytes
    """Digest of the document as approved; has to be authorised."""
    approved_octets: int
    """Length of that document."""
    byte_range: tuple[int, int, int, int]

    def __post_init__(self) -> None:
        """:raises TemplateRefused: the range does not cover everything but one hole in the appended revision."""
        start, before, after, rest = self.byte_range
        if start != 0:
            raise TemplateRefused("the byte range does not begin at the first octet")
        if not 1 <= self.approved_octets < before:
            raise TemplateRefused("the hole is not in the appended revision")
        if not MIN_HOLE_OCTETS <= after - before <= MAX_HOLE_OCTETS:
            raise TemplateRefused("the byte range has no hole, or one that is too large")
        if rest < 1:
            raise TemplateRefused("nothing follows the hole")
        if self.octets > MAX_PDF_OCTETS or self.octets - self.approved_octets > MAX_REVISION_OCTETS:
            raise TemplateRefused("the document or the appended revision is too large")

    @property
    def octets(self) -> int:
        """Length of the whole file."""
        return self.byte_range[2] + self.byte_range[3]


@dataclass(frozen=True, slots=True)
class MeasuredPdf:
    """A PDF that was read to its end; made by :meth:`ByteRangeDigest.finish` alone."""

    document: bytes
    """Digest of the document as approved, which its first octets gave."""
    message_digest: bytes
    """Digest of the byte range."""
    hash_alg: str


class ByteRangeDigest:
    """Takes a PDF in chunks of any size.  Keeps the appended revision without its hole, and nothing else."""

    def __init__(self, claim: PdfClaim, hash_alg: str) -> None:
        """:raises TemplateRefused: the digest is not one of that hash function, or no signature is made with it."""
        check_digest(claim.document, hash_alg)
        self._claim = claim
        self._hash_alg = hash_alg
        self._digest = hashlib.new(hash_name(hash_alg))
        self._position = 0
        self._revision = bytearray()

    def feed(self, chunk: bytes | memoryview) -> None:
        """The next octets of the file.

        :raises TemplateRefused: beyond the range's end, or something in the hole.
        :raises DigestNotAuthorized: the first octets are not the document that was approved.
        """
        if self._position + len(chunk) > self._claim.octets:
            raise TemplateRefused("the file is longer than the byte range")
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._take(rest) :]

    def finish(self) -> MeasuredPdf:
        """The digests, once all octets were fed.

        :raises TemplateRefused: the file is shorter than the range, or its own text says another range or hole.
        """
        if self._position != self._claim.octets:
            raise TemplateRefused("the file is shorter than the byte range")
        self._check_revision()
        return MeasuredPdf(self._claim.document, self._digest.digest(), self._hash_alg)

    def _take(self, rest: memoryview) -> int:
        """Take what lies before the next boundary; the number of octets taken."""
        claim, position = self._claim, self._position
        _, before, after, _ = claim.byte_range
        boundary = next(end for end in (claim.approved_octets, before, after, claim.octets) if position < end)
        part = rest[: boundary - position]
        if before <= position < after:
            _check_hole(part, position - before, after - before)
        else:
            self._digest.update(part)
            if position >= claim.approved_octets:
                self._revision += part
        self._position += len(part)
        # The digest of the range begins as that of the approved document, which is looked at on the way.
        if self._position == claim.approved_octets and not hmac.compare_digest(self._digest.digest(), claim.document):
            raise DigestNotAuthorized("the file does not begin with the document that was approved")
        return len(part)

    def _check_revision(self) -> None:
        said = _BYTE_RANGE.findall(self._revision)
        if len(said) != 1 or self._revision.count(b"/ByteRange") != 1:
            raise TemplateRefused("the appended revision has not one byte range")
        if tuple(int(number) for number in said[0]) != self._claim.byte_range:
            raise TemplateRefused("the appended revision says another byte range")
        hole = self._claim.byte_range[1] - self._claim.approved_octets
        if not _CONTENTS.search(self._revision, max(0, hole - _LOOK_BACK), hole):
            raise TemplateRefused("the hole is not the value of a Contents")


def measured(claims: Sequence[PdfClaim], hash_alg: str, chunks: Iterable[bytes]) -> Iterator[MeasuredPdf]:
    """PDFs that come one after another, each read to its end before the next is begun.

    :param chunks: of any size; they need not end where a file does.
    :raises TemplateRefused: as :class:`ByteRangeDigest`, or there is more than the ranges cover.
    :raises DigestNotAuthorized: a file does not begin with the document that was approved.
    """
    coming = (memoryview(chunk) for chunk in chunks)
    rest = memoryview(b"")
    for claim in claims:
        digest, left = ByteRangeDigest(claim, hash_alg), claim.octets
        while left:
            rest = rest or next(coming, rest)
            if not rest:
                break
            part, rest = rest[:left], rest[left:]
            digest.feed(part)
            left -= len(part)
        yield digest.finish()
    if rest or next(coming, rest):
        raise TemplateRefused("the files are longer than their byte ranges")


def _check_hole(part: memoryview, offset: int, length: int) -> None:
    """``<``, zeros, ``>``: nothing can be in the place of a signature that has not been made."""
    expected = bytearray(b"0" * len(part))
    if offset == 0:
        expected[0:1] = b"<"
    if offset + len(part) == length:
        expected[-1:] = b">"
    # As octets: two views are compared one element after another.
    if bytes(part) != expected:
        raise TemplateRefused("there is something in the hole")
