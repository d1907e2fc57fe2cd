"""Whether the tables of a PDF are in the form in which every reader finds the same objects by them (ISO 32000-2 7.5).

pyHanko forgives tables and headers that others give up at.  These then look through the whole file for objects, and may
find others: in such a document the pages that a person is shown change as soon as a signature's revision, whose table
is sound, is put behind it.
"""

from __future__ import annotations

import re
from typing import Any, Final

from pyhanko.pdf_utils import generic

from documents.errors import DocumentRefused

_END: Final = re.compile(rb"startxref[\0\t\f ]*[\r\n]+[\0\t\f ]*([0-9]{1,12})[\0\t\f ]*[\r\n]+[\0\t\n\f\r ]*%%EOF")
_OBJECT: Final = re.compile(
    rb"[\0\t\n\f\r ]*([0-9]{1,10})[\0\t\n\f\r ]+([0-9]{1,5})[\0\t\n\f\r ]+obj(?=[\0\t\n\f\r ()<>\[\]/%])"
)
_TABLE: Final = re.compile(rb"[\0\t\n\f\r ]*xref[\0\t\n\f\r ]+(?=[0-9])")
_SECTION: Final = re.compile(rb"[0-9]{1,10} +([0-9]{1,10})[\t ]*[\r\n]+")
_ROW_OCTETS: Final = 20
_ROWS: Final = re.compile(rb"(?:[0-9]{10} [0-9]{5} [nf](?: [\r\n]|\r\n))*")
_BETWEEN: Final = re.compile(rb"[\0\t\n\f\r ]*(trailer[\0\t\n\f\r ]*<<)?")


def check_structure(reader: Any, document: bytes, numbers: set[tuple[int, int]]) -> None:
    """Check where the tables are, what they are written like, and that each object is where they say.

    :param numbers: of the objects, with their generations.
    :raises DocumentRefused: something of that only some readers understand.
    """
    end = _END.match(document, max(0, document.rfind(b"startxref")))
    if end is None or int(end[1]) != reader.last_startxref:
        raise DocumentRefused("malformed", "the end")
    for revision in range(reader.xrefs.total_revisions):
        start = reader.xrefs.get_xref_container_info(revision).declared_startxref
        if _OBJECT.match(document, start) is None:
            _check_table(document, start)
    for number, generation in numbers:
        place = reader.xrefs[generic.Reference(number, generation, pdf=reader)]
        if isinstance(place, int):
            head = _OBJECT.match(document, place)
            if head is None or (int(head[1]), int(head[2])) != (number, generation):
                raise DocumentRefused("malformed", "an object's header")


def _check_table(document: bytes, start: int) -> None:
    head = _TABLE.match(document, start)
    if head is None:
        raise DocumentRefused("malformed", "no table")
    place, is_last = head.end(), False
    while not is_last:
        section = _SECTION.match(document, place)
        if section is None:
            raise DocumentRefused("malformed", "a table")
        place = section.end() + _ROW_OCTETS * int(section[1])
        if _ROWS.fullmatch(document, section.end(), place) is None or place > len(document):
            raise DocumentRefused("malformed", "a table's rows")
        between = _BETWEEN.match(document, place)
        if between is None:
            raise DocumentRefused("malformed", "a table")
        place, is_last = between.end(), between[1] is not None
