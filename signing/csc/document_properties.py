"""``signed_props`` of ``signatures/signDoc`` (CSC API 2.0.0.2 11.11): what a PDF's signature states and shows, where.

``Reason``, ``Location`` and ``ContactInfo`` are of ISO 32000-2 table 255; ``FieldName``, ``Page``, ``Box``, ``Text``,
``Image``, ``QR`` and ``DocMDP`` are our own, since the specification has none for them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from signing.ades.appearance import MAX_QR_OCTETS, MAX_TEXT_CHARACTERS, Look
from signing.ades.errors import AdesError, AppearanceNotAcceptable
from signing.ades.fields import MAX_NAME_CHARACTERS, MAX_PAGES, Place
from signing.ades.pades import Stated
from signing.ades.pictures import MAX_PICTURE_OCTETS
from signing.csc import errors, parameters

_MAX_STATED: Final = 255
_MAX_COORDINATE: Final = 14_400.0
"""Points (ISO 32000-2 annex C: of a page's sides)."""
_NUMBER: Final = re.compile(r"-?[0-9]{1,5}(\.[0-9]{1,3})?\Z")
_PERMISSIONS: Final = ("1", "2", "3")
_OTHERS: Final = (
    "Name",
    "SigningTime",
    "SignerRoleV2",
    "CommitmentTypeIndication",
    "SignatureProductionPlaceV2",
    "SignaturePolicyIdentifier",
    "AllDataObjectsTimeStamp",
    "IndividualDataObjectsTimeStamp",
    "DataObjectFormat",
)
"""Attributes of the specification's that are not taken: a refusal names no other (11.11)."""
_OF_PLACE: Final = ("FieldName", "Page", "Box", "DocMDP")
_OF_LOOK: Final = ("Box", "Text", "Image", "QR")


@dataclass(frozen=True, slots=True)
class Properties:
    """What a request says of one PDF's signature."""

    stated: Stated = field(default_factory=Stated)
    place: Place = field(default_factory=Place)
    look: Look = field(default_factory=Look)
    permissions: int | None = None
    """Of a certification signature, as ``DocMDP`` has them."""

    def blamed(self, error: AdesError) -> errors.InvalidRequest:
        """The refusal that names those attributes which cannot be carried out."""
        given = {
            "FieldName": self.place.field,
            "Page": self.place.page,
            "Box": self.place.box,
            "DocMDP": self.permissions,
            "Text": self.look.text,
            "Image": self.look.image,
            "QR": self.look.qr,
        }
        names = _OF_LOOK if isinstance(error, AppearanceNotAcceptable) else _OF_PLACE
        return errors.invalid_properties(name for name in names if given[name] is not None)


def parse_properties(item: Mapping[str, Any], *, form: str, envelope: str) -> Properties:
    """Those of one document.

    :raises errors.InvalidRequest: one that is not taken, is given twice, or is not in its form.
    """
    properties = item.get("signed_props")
    if properties is None:
        return Properties()
    if not isinstance(properties, list) or not all(isinstance(each, dict) for each in properties):
        raise errors.invalid("signed_props")
    taken = _READERS if form == "P" else {}
    names = [name for name in (each.get("attribute_name") for each in properties) if isinstance(name, str)]
    refused = {name for name, count in Counter(names).items() if name not in taken or count > 1}
    if refused or len(names) < len(properties):
        raise errors.invalid_properties(name for name in (*_READERS, *_OTHERS) if name in refused)
    found = {each["attribute_name"]: _value(each) for each in properties}
    if "DocMDP" in found and envelope != "Certification":
        raise errors.invalid_properties(["DocMDP"])
    return Properties(
        Stated(found.get("Reason"), found.get("Location"), found.get("ContactInfo")),
        Place(found.get("FieldName"), found.get("Page"), found.get("Box")),
        Look(found.get("Text"), found.get("Image"), found.get("QR")),
        found.get("DocMDP"),
    )


def _value(each: Mapping[str, Any]) -> Any:
    name = each["attribute_name"]
    most, read = _READERS[name]
    try:
        octets = parameters.base64_octets(parameters.required_text(each, "attribute_value", 4 * (most + 2) // 3 + 4))
        if not 0 < len(octets) <= most:
            raise errors.invalid_properties([name])
        return read(octets)
    except (ValueError, errors.InvalidRequest) as error:
        raise errors.invalid_properties([name]) from error


def _line(characters: int) -> Callable[[bytes], str]:
    def read(octets: bytes) -> str:
        text = octets.decode()
        if len(text) > characters or not text.isprintable():
            raise ValueError("not one line of so many characters")
        return text

    return read


def _lines(octets: bytes) -> str:
    return octets.decode()


def _page(octets: bytes) -> int:
    text = octets.decode("ascii")
    if not re.fullmatch(r"-?[1-9][0-9]{0,5}", text) or abs(int(text)) > MAX_PAGES:
        raise ValueError("not a page's number")
    return int(text)


def _box(octets: bytes) -> tuple[float, float, float, float]:
    numbers = octets.decode("ascii").split(" ")
    if len(numbers) != 4 or not all(map(_NUMBER.match, numbers)):
        raise ValueError("not four numbers")
    left, bottom, right, top = map(float, numbers)
    if max(map(math.fabs, (left, bottom, right, top))) > _MAX_COORDINATE:
        raise ValueError("not on any page")
    return left, bottom, right, top


def _permissions(octets: bytes) -> int:
    return 1 + _PERMISSIONS.index(octets.decode("ascii"))


def _octets(octets: bytes) -> bytes:
    return octets


_READERS: Final[Mapping[str, tuple[int, Callable[[bytes], Any]]]] = {
    "Reason": (4 * _MAX_STATED, _line(_MAX_STATED)),
    "Location": (4 * _MAX_STATED, _line(_MAX_STATED)),
    "ContactInfo": (4 * _MAX_STATED, _line(_MAX_STATED)),
    "FieldName": (4 * MAX_NAME_CHARACTERS, _line(MAX_NAME_CHARACTERS)),
    "Page": (7, _page),
    "Box": (64, _box),
    "Text": (4 * MAX_TEXT_CHARACTERS, _lines),
    "Image": (MAX_PICTURE_OCTETS, _octets),
    "QR": (MAX_QR_OCTETS, _line(MAX_QR_OCTETS)),
    "DocMDP": (1, _permissions),
}
"""By attribute: octets at most, and what they say."""
