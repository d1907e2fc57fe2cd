"""The plainest revision of a PDF: the first signature, in a new field that is not seen (ISO 32000-2 7.5.6, 12.7.5.5).

Most documents that are signed have no form yet, and most signatures show nothing.  The revision is always the same
then: six objects, of which two are the document's own with an entry more.  These are taken from the document as they
stand, octet for octet; pyHanko, which writes every other revision, takes five times as long to write them anew.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Final

from pyhanko.pdf_utils import generic

FIELD: Final = "Signature1"
_HEAD: Final = re.compile(rb"([1-9][0-9]{0,8}) 0 obj[\0\t\n\f\r ]*(?=<<)")
_FOLLOWS: Final = re.compile(rb"[\0\t\n\f\r ]*endobj")
_BLANKS: Final = b"\0\t\n\f\r "
_READ: Any = generic.DictionaryObject.read_from_stream
_TRAILER: Final = frozenset({"/Root", "/Info", "/ID", "/Size", "/Prev"})
_BYTE_RANGE_CHARACTERS: Final = 48
"""Of the byte range: three numbers of up to thirteen digits."""
_WIDTHS: Final = (1, 5, 2)
"""Octets of the columns of a table that is a stream (7.5.8.2)."""
_ID_OCTETS: Final = 16
_STRING: Any = generic.TextStringObject
"""Partly typed: met here alone."""


@dataclass(frozen=True, slots=True)
class PlainRevision:
    """What is put behind the document."""

    octets: bytes = field(repr=False)
    before: int
    """Where in the whole file the signature's place begins, its brackets included."""
    after: int
    """Where it ends."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the revision says."""

    catalogue: Mapping[str, bytes]
    """Entries of the catalogue, as they are written."""
    room: int
    """Octets for the signature."""
    texts: Mapping[str, str | None]
    """Text strings of the signature dictionary, by their names."""


@dataclass(frozen=True, slots=True)
class _Owned:
    """An object of the document's that gets an entry more."""

    number: int
    octets: bytes
    """A dictionary."""

    def with_entries(self, *entries: bytes) -> bytes:
        return b"\n".join((self.octets[:-2], *entries, b">>"))


class Objects:
    """Objects of a document with their octets: dictionaries that pyHanko reads once for both."""

    def __init__(self, reader: Any, document: bytes) -> None:
        """:param reader: pyHanko's, of the document, which nobody has changed objects of."""
        self.reader = reader
        self.document = document
        self._found: dict[int, _Owned | None] = {}

    def owned(self, reference: Any) -> _Owned | None:
        """An object's octets; None: it is in a stream of objects, or not to be taken as it is.

        :raises PdfError: or whatever else pyHanko says of a damaged file.
        """
        number = reference.idnum
        if number not in self._found:
            self._found[number] = self._read(reference)
        return self._found[number]

    def _read(self, reference: Any) -> _Owned | None:
        start, number = self.reader.xrefs[reference], reference.idnum
        head = _HEAD.match(self.document, start) if isinstance(start, int) else None
        if head is None or reference.generation or int(head[1]) != number:
            return None
        # Where pyHanko says that it ends.
        stream, own = self.reader.stream, generic.Reference(number, 0, self.reader)
        stream.seek(head.end())
        read, end = _READ(stream, own), stream.tell()
        if isinstance(read, generic.StreamObject):
            return None
        if _FOLLOWS.match(self.document, end) and self.reader.cache_get_indirect_object(0, number) is None:
            # In the usual form the reader would come to the very same.
            read.container_ref = own
            self.reader.cache_indirect_object(0, number, read)
        octets = self.document[head.end() : end].rstrip(_BLANKS)
        # The module looks for the one byte range of a revision, and does not know a text from a name.
        sound = octets.startswith(b"<<") and octets.endswith(b">>") and b"/ByteRange" not in octets
        return _Owned(number, octets) if sound else None


def revision(objects: Objects, said: Said) -> PlainRevision | None:
    """The revision, or None for a document that needs another one: whoever asks has pyHanko write it.

    :raises PdfError: or whatever else pyHanko says of a damaged file.
    """
    reader, document = objects.reader, objects.document
    catalogue = objects.owned(reader.root_ref)
    if catalogue is None or _is_special(reader, said.catalogue):
        return None
    reference = _first_page(objects)
    page = objects.owned(reference)
    if page is None or page.number == catalogue.number or "/Annots" in reference.get_object():
        return None
    # One number is left out, as pyHanko does: some count objects from 1.
    form = int(reader.trailer["/Size"]) + 1
    widget, signature, table = form + 1, form + 2, form + 3
    added = (b"/AcroForm %d 0 R" % form, *(b"%b %b" % (name.encode(), each) for name, each in said.catalogue.items()))
    bodies = {
        catalogue.number: catalogue.with_entries(*added),
        page.number: page.with_entries(b"/Annots [%d 0 R]" % widget),
        form: b"<<\n/Fields [%d 0 R]\n/SigFlags 3\n>>" % widget,
        widget: _widget(page.number, signature),
    }
    octets = bytearray(b"" if document.endswith((b"\n", b"\r")) else b"\n")
    start, places = len(document), dict[int, int]()
    for number, each in bodies.items():
        places[number] = start + len(octets)
        octets += b"%d 0 obj\n%b\nendobj\n" % (number, each)
    places[signature] = start + len(octets)
    octets += b"%d 0 obj\n<<\n/Contents " % signature
    before = start + len(octets)
    octets += b"<" + b"0" * (2 * said.room) + b">"
    after = start + len(octets)
    octets += b"\n/ByteRange "
    hole = len(octets)
    octets += b" " * _BYTE_RANGE_CHARACTERS + _signature(said) + b"\n>>\nendobj\n"
    places[table] = start + len(octets)
    octets += _table(reader, places, table)
    byte_range = b"[0 %d %d %d]" % (before, after, start + len(octets) - after)
    octets[hole : hole + len(byte_range)] = byte_range
    return PlainRevision(bytes(octets), before, after)


def _first_page(objects: Objects) -> Any:
    """A reference to the first page, which is the first of its tree's kids more often than not: that is read here."""
    tree = objects.reader.root["/Pages"]
    kids = tree.raw_get("/Kids") if isinstance(tree, generic.DictionaryObject) and "/Kids" in tree else None
    if isinstance(kids, generic.ArrayObject) and kids and isinstance(first := kids.raw_get(0), generic.IndirectObject):
        objects.owned(first.reference)
    reference, _ = objects.reader.find_page_for_modification(0)
    return reference


def _is_special(reader: Any, added: Iterable[str]) -> bool:
    """Whether the document has what this revision would have to respect, or keep."""
    root = reader.root
    if any(name in root for name in ("/AcroForm", "/Perms", "/Extensions", *added)):
        return True
    return reader.xrefs.hybrid_xrefs_present or not reader.trailer.flatten().keys() <= _TRAILER


def _widget(page: int, signature: int) -> bytes:
    """Field and annotation in one (12.5.6.19): of no size, and printed, so that nobody takes it for hidden."""
    return (
        b"<<\n/FT /Sig\n/T (%b)\n/Type /Annot\n/Subtype /Widget\n/F 132\n/Rect [0 0 0 0]\n/P %d 0 R\n/V %d 0 R\n>>"
        % (FIELD.encode(), page, signature)
    )


def _signature(said: Said) -> bytes:
    out = BytesIO()
    for name, text in said.texts.items():
        if text is not None:
            out.write(b"\n%b " % name.encode())
            _STRING(text).write_to_stream(out)
    return b"\n/Type /Sig\n/Filter /Adobe.PPKLite\n/SubFilter /ETSI.CAdES.detached" + out.getvalue()


def _table(reader: Any, places: Mapping[int, int], number: int) -> bytes:
    """Of the kind that the document has, which a file is not to mix (7.5.8.4)."""
    start = places[number]
    if not reader.has_xref_stream:
        places = {each: place for each, place in places.items() if each != number}
        rows = b"".join(
            b"%d %d\n" % (run[0], len(run)) + b"".join(b"%010d 00000 n \n" % places[each] for each in run)
            for run in _runs(places)
        )
        trailer = b"<<\n%b\n>>" % _trailer(reader, number)
        return b"xref\n%btrailer\n%b\nstartxref\n%d\n%%%%EOF\n" % (rows, trailer, start)
    first, second, third = _WIDTHS
    cells = b"".join(
        (1).to_bytes(first, "big") + places[each].to_bytes(second, "big") + bytes(third) for each in sorted(places)
    )
    index = b" ".join(b"%d %d" % (run[0], len(run)) for run in _runs(places))
    kind = b"/Type /XRef\n/W [%d %d %d]\n/Index [%b]\n/Length %d" % (*_WIDTHS, index, len(cells))
    return b"%d 0 obj\n<<\n%b\n%b\n>>\nstream\n%b\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n" % (
        number, kind, _trailer(reader, number + 1), cells, start,
    )  # fmt: skip


def _trailer(reader: Any, size: int) -> bytes:
    trailer = reader.trailer
    found = [b"/Size %d\n/Prev %d" % (size, reader.last_startxref)]
    for name in ("/Root", "/Info"):
        if name in trailer:
            out = BytesIO()
            trailer.raw_get(name).write_to_stream(out)
            found.append(b"%b %b" % (name.encode(), out.getvalue()))
    # The first one is the document's, the second this revision's (14.4).
    first = reader.document_id[0] if "/ID" in trailer else secrets.token_bytes(_ID_OCTETS)
    found.append(b"/ID [<%b> <%b>]" % (first.hex().encode(), secrets.token_hex(_ID_OCTETS).encode()))
    return b"\n".join(found)


def _runs(numbers: Mapping[int, int]) -> Sequence[list[int]]:
    """Object numbers in runs without gaps."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs
