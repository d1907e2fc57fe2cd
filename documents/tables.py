"""Cross-reference tables that are streams, read row by row and not octet by octet (ISO 32000-2 7.5.8)."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Any, Final

from pyhanko.pdf_utils import xref
from pyhanko.pdf_utils.decode_limits import DecodePurpose
from pyhanko.pdf_utils.xref import ObjStreamRef, XRefEntry, XRefType

_NORMAL: Any = xref.parse_xref_stream
_LARGEST: Final = Struct(">q")
_MOST_OCTETS: Final = 8
"""Of a column."""


def _entries(xref_stream: Any, strict: bool = True) -> Iterator[XRefEntry]:
    """``parse_xref_stream`` of pyHanko: a table in any but the usual form is left to it."""
    widths, runs = _whole_numbers(xref_stream.get("/W")), _whole_numbers(_index(xref_stream))
    if widths is None or runs is None or len(widths) != 3 or max(widths) > _MOST_OCTETS or len(runs) % 2:
        yield from _NORMAL(xref_stream, strict)
        return
    rows, width = sum(runs[1::2]), sum(widths)
    data = xref_stream.read_data(DecodePurpose.XREF_STREAM, expected_size=rows * (width + 1))
    # As many rows as there are: only now the numbers are believed.
    numbers = _numbers(runs) if width and len(data) == rows * width else None
    if numbers is None:
        yield from _NORMAL(xref_stream, strict)
        return
    first, second = widths[0], widths[0] + widths[1]
    for place, number in enumerate(numbers):
        row = data[place * width : (place + 1) * width]
        kind = _number(row[:first]) if first else 1
        one, two = _number(row[first:second]), _number(row[second:])
        if kind == 1:
            yield XRefEntry(XRefType.STANDARD, one, number, two)
        elif kind == 2:
            yield XRefEntry(XRefType.IN_OBJ_STREAM, ObjStreamRef(one, two), number)
        elif kind == 0:
            yield XRefEntry(XRefType.FREE, None, number, two)


def _index(xref_stream: Any) -> Any:
    return xref_stream.get("/Index", [0, xref_stream.get("/Size")])


def _whole_numbers(found: Any) -> list[int] | None:
    """The numbers of an array, none of which is negative or a reference; None: it is no such array."""
    if not isinstance(found, list):
        return None
    numbers = list(list.__iter__(found))
    if all(isinstance(each, int) and each >= 0 for each in numbers):
        return [int(each) for each in numbers]
    return None


def _numbers(runs: list[int]) -> list[int] | None:
    """Of the objects; None: they do not go up."""
    numbers: list[int] = []
    last = 0
    for start, size in zip(runs[::2], runs[1::2], strict=True):
        if start < last:
            return None
        last = start + size
        numbers.extend(range(start, last))
    return numbers


def _number(octets: bytes) -> int:
    """A column; eight octets are signed, to pyHanko."""
    if len(octets) == _MOST_OCTETS:
        return int(_LARGEST.unpack(octets)[0])
    return int.from_bytes(octets, "big")


# Where its reader of tables looks it up.
xref.parse_xref_stream = _entries
