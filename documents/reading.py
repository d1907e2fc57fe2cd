"""A PDF opened for examination: what is refused before anything in it is looked at (ISO 32000-2 7.5, 7.6)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.decode_limits import (
    DecodeLimits,
    DecodePurpose,
    DocumentDecodeBudget,
    StreamDecodeLimits,
)
from pyhanko.pdf_utils.misc import PdfDecodeLimitError
from pyhanko.pdf_utils.reader import PdfFileReader

from documents.bounds import Bounds
from documents.errors import DocumentRefused

READER: Any = PdfFileReader
"""Partly typed: met here alone."""
_HEADER: Final = b"%PDF-"
_END: Final = b"endobj"
_LAST: Final = b"%%EOF"
_MOST_NUMBERS: Final = 8_388_607
"""Of objects (ISO 32000-1 annex C): a number that a reader cuts off would be that of another object."""
_LINEARISED: Final = b"/Linearized"
_SIGNED: Final = b"/ByteRange"
_FRONT: Final = 1024
"""Octets."""
_MEBI: Final = 1024 * 1024


@contextmanager
def faults_as(reason: str) -> Iterator[None]:
    """What a parser says of a damaged file, as a refusal; what is about memory passes.

    :raises DocumentRefused: whatever else it is: a parser may trip over anything.
    """
    try:
        yield
    except (DocumentRefused, MemoryError):
        raise
    except PdfDecodeLimitError as error:
        raise DocumentRefused("expands_too_far") from error
    except RecursionError as error:
        raise DocumentRefused("too_deep") from error
    except Exception as error:
        raise DocumentRefused(reason, type(error).__name__) from error


def open_pdf(document: bytes, bounds: Bounds) -> Any:
    """pyHanko's reader of it.

    :raises DocumentRefused: no PDF, damaged, encrypted, hybrid, an XFA form, or larger than it may be.
    """
    if len(document) > bounds.octets:
        raise DocumentRefused("too_large")
    if not document.startswith(_HEADER):
        raise DocumentRefused("not_a_pdf")
    if document.count(_END) > bounds.objects:
        # Before a table of as many is read.
        raise DocumentRefused("too_many_objects", "objects")
    with faults_as("malformed"):
        reader = READER(BytesIO(document), strict=True, decode_limits=_limits(bounds.expanded(len(document))))
        if "/Encrypt" in reader.trailer:
            raise DocumentRefused("encrypted")
        if reader.xrefs.hybrid_xrefs_present:
            raise DocumentRefused("hybrid")
        _check_end(reader, document)
        if reader.xrefs.total_revisions > bounds.revisions:
            raise DocumentRefused("too_many_objects", "revisions")
        if sum(1 for _ in references(reader)) > bounds.objects:
            raise DocumentRefused("too_many_objects", "objects")
        check_numbers(reader)
        form = value(reader.root, "/AcroForm")
        if isinstance(form, generic.DictionaryObject) and "/XFA" in form:
            raise DocumentRefused("xfa")
    return reader


@contextmanager
def let_go(reader: Any) -> Iterator[None]:
    """At the end the reader is empty: it and all that it read refer to one another, and would wait for the collector.

    What came of it must not be read any more.
    """
    try:
        yield
    finally:
        vars(reader).clear()


def _check_end(reader: Any, document: bytes) -> None:
    """Behind the last table comes the end: what else is there only readers that repair would find.

    In a linearised file the last table is near the front (annex F); once it is signed it is one no more.
    """
    last = reader.xrefs.get_xref_container_info(reader.xrefs.total_revisions - 1)
    linearised = _LINEARISED in document[:_FRONT] and _SIGNED not in document and reader.xrefs.total_revisions <= 2
    start = document.rfind(_LAST) if linearised else last.start_location
    # A table that is a stream is an object itself.
    own = 1 if last.stream_ref is not None and not linearised else 0
    if document.count(_END, start) > own:
        raise DocumentRefused("malformed", "objects behind the end")


def references(reader: Any) -> Iterator[tuple[int, int]]:
    """Number and generation of every object that any revision defines; one that is written anew comes again."""
    for revision in range(reader.xrefs.total_revisions):
        yield from reader.xrefs.get_xref_data(revision).explicit_refs_in_revision


def last_number(reader: Any) -> int:
    """The highest number that an object of the document may have; what is appended is numbered from the next one on.

    Whoever counts objects from 1, as some do, says a size that is too small by one.
    """
    return int(reader.trailer["/Size"])


def check_numbers(reader: Any) -> None:
    """What is beyond the size that the trailer says would be another object once a revision is appended (7.5.5).

    :raises DocumentRefused: an object is, or the size is beyond what readers can count to.
    """
    last = last_number(reader)
    if not 0 < last <= _MOST_NUMBERS:
        raise DocumentRefused("malformed", "size")
    for number, _ in references(reader):
        if number > last:
            raise DocumentRefused("malformed", "an object beyond the size")


def key_of(node: Any) -> tuple[int, int] | None:
    """Number and generation that a reference names; None: it is an object itself."""
    return (node.idnum, node.generation) if isinstance(node, generic.IndirectObject) else None


def resolved(reference: Any) -> Any:
    """What a reference names."""
    return reference.get_object()


def value(node: Any, key: str, default: Any = None) -> Any:
    """What a dictionary has for a key; a reference to nothing is null, and null is as if it were not there (7.3.9)."""
    if key not in node:
        return default
    found = node.raw_get(key)
    if isinstance(found, generic.IndirectObject):
        handler: Any = found.reference.pdf
        if handler.xrefs[found.reference] is None:
            return default
        found = resolved(found)
    return default if isinstance(found, generic.NullObject) else found


def _limits(expanded: int) -> DecodeLimits:
    tables = StreamDecodeLimits(max_ratio=None, max_output_size=16 * _MEBI)
    return DecodeLimits(
        per_stream=StreamDecodeLimits(max_output_size=min(expanded, 64 * _MEBI)),
        per_purpose={DecodePurpose.OBJECT_STREAM: tables, DecodePurpose.XREF_STREAM: tables},
        document_budget=DocumentDecodeBudget(base_allowance=expanded, max_ratio=0),
    )
