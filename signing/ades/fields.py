"""Where a signature goes: a new field, invisible or in a box on a page, or one that is there (ISO 32000-2 12.7.5.5).

What earlier signatures forbid is looked at in all of them: certification and locks (12.8.2.2, 12.8.2.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pyhanko.pdf_utils.generic import DictionaryObject
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.rw_common import PdfHandler
from pyhanko.sign.fields import FieldMDPSpec, SigFieldSpec, SigSeedSubFilter, SigSeedValueSpec, enumerate_sig_fields

from signing.ades.errors import FieldNotAcceptable

_SEED: Any = SigSeedValueSpec
"""Partly typed: met here alone."""
MAX_NAME_CHARACTERS: Final = 127
MAX_PAGES: Final = 100_000
_INHERITED_DEPTH: Final = 64


@dataclass(frozen=True, slots=True)
class Place:
    """Where a signature is wished; nothing: in a new field that is not seen."""

    field: str | None = None
    """Fully qualified name of an empty signature field, or the name of a new one."""
    page: int | None = None
    """From 1, or from the end: -1 is the last one; needs a box."""
    box: tuple[float, float, float, float] | None = None
    """Left, bottom, right, top in points of the page's default user space; for a new field only."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of the field before it is made or filled."""

    name: str
    spec: SigFieldSpec | None
    """Of a new one."""
    rotation: int = 0
    """Degrees by which its page is turned clockwise when shown: 0, 90, 180 or 270."""


def find(writer: IncrementalPdfFileWriter, place: Place) -> Found:
    """The field to sign in.

    :raises FieldNotAcceptable: it is signed, or no signature field; or the place of a new one is none.
    """
    reader = writer.prev
    existing = {name: (value, field) for name, value, field in enumerate_sig_fields(reader)}
    name = place.field if place.field is not None else _free_name(existing)
    _check_allowed(existing.values(), name, new=name not in existing)
    if name in existing:
        value, reference = existing[name]
        if value is not None:
            raise FieldNotAcceptable("the field is signed already")
        if place.box is not None or place.page is not None:
            raise FieldNotAcceptable("the field has a place already")
        return Found(name, None, _rotation(_page_of(reference.get_object())))
    if "." in name or not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
        raise FieldNotAcceptable("there is no such field, and none of that name can be made")
    if _is_taken(reader, name):
        raise FieldNotAcceptable("the field is none for signatures")
    if place.box is None:
        if place.page is not None:
            raise FieldNotAcceptable("there is a page without a box")
        return Found(name, SigFieldSpec(name))
    number = 1 if place.page is None else place.page
    page = _page(writer, number)
    _check_box(place.box, page)
    return Found(name, SigFieldSpec(name, on_page=_index(number), box=place.box), _rotation(page))  # type: ignore[arg-type] # its box may be of fractions


def check_seed(field: Mapping[str, Any], *, timestamped: bool) -> None:
    """What pyHanko does not look at of a field's seed value dictionary (12.7.5.5, table 237).

    :raises FieldNotAcceptable: it demands what this signature will not have.
    """
    seed = entry(field, "/SV")
    if seed is None:
        return
    values = _SEED.from_pdf_object(seed)
    if values.timestamp_required and not timestamped:
        raise FieldNotAcceptable("the field demands a time-stamp")
    if values.subfilters and SigSeedSubFilter.PADES not in values.subfilters:
        raise FieldNotAcceptable("the field demands another kind of signature")


def entry(dictionary: Any, name: str, default: Any = None) -> Any:
    """An entry's value, also where it is an object of its own (pyHanko's ``get`` gives the reference)."""
    return dictionary[name] if name in dictionary else default  # noqa: SIM401 - its get is another thing


def _free_name(existing: Mapping[str, object]) -> str:
    """``Signature1``, or the first number that no signature field has."""
    number = 1
    while f"Signature{number}" in existing:
        number += 1
    return f"Signature{number}"


def _check_allowed(fields: Iterable[tuple[Any, Any]], name: str, *, new: bool) -> None:
    """:raises FieldNotAcceptable: a signature that is there would not hold any more."""
    for value, _ in fields:
        for method, parameters in _references(value):
            locks = method == "/FieldMDP" and not new
            if entry(parameters, "/P") == 1 or (locks and FieldMDPSpec.from_pdf_object(parameters).is_locked(name)):
                raise FieldNotAcceptable("an earlier signature forbids it")


def _references(value: Any) -> Iterator[tuple[str, DictionaryObject]]:
    for reference in () if value is None else entry(value.get_object(), "/Reference", ()):
        found = reference.get_object()
        parameters = entry(found, "/TransformParams")
        if isinstance(parameters, DictionaryObject):
            yield str(entry(found, "/TransformMethod")), parameters


def _is_taken(reader: PdfHandler, name: str) -> bool:
    """Whether a field that is none for signatures has that name, at the top."""
    fields = entry(entry(reader.root, "/AcroForm", {}), "/Fields", ())
    return any(entry(field.get_object(), "/T") == name for field in fields)


def _index(number: int) -> int:
    return number - 1 if number > 0 else number


def _page(writer: Any, number: int) -> Any:
    try:
        count = int(writer.root["/Pages"]["/Count"])
        if not 1 <= abs(number) <= min(count, MAX_PAGES):
            raise FieldNotAcceptable("there is no such page")
        return writer.find_page_for_modification(_index(number))[0].get_object()
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise FieldNotAcceptable("there is no such page") from error


def _page_of(field: Any) -> Any:
    """The page of a field's one widget, where it says so."""
    kids = entry(field, "/Kids", ())
    return entry(kids[0] if len(kids) == 1 else field, "/P")


def _check_box(box: tuple[float, float, float, float], page: Any) -> None:
    left, bottom, right, top = map(float, _inherited(page, "/CropBox") or _inherited(page, "/MediaBox") or (0, 0, 0, 0))
    left, right, bottom, top = min(left, right), max(left, right), min(bottom, top), max(bottom, top)
    if not (left <= box[0] < box[2] <= right and bottom <= box[1] < box[3] <= top):
        raise FieldNotAcceptable("the box is not on the page")


def _rotation(page: Any) -> int:
    turned = _inherited(page, "/Rotate") if page is not None else None
    return int(turned) % 360 if isinstance(turned, int) and turned % 90 == 0 else 0


def _inherited(page: Any, name: str) -> Any:
    """An attribute of the page or of a node above it (ISO 32000-2 7.7.3.4)."""
    node = page
    for _ in range(_INHERITED_DEPTH):
        if name in node or "/Parent" not in node:
            return entry(node, name)
        node = node["/Parent"]
    return None
