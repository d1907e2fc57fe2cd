"""A drawing as a form XObject in a revision, and the annotation that shows it (ISO 32000-2 8.10, 9.7, 12.5.5)."""

from __future__ import annotations

from typing import Any, Final

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.stamp import BaseStampStyle

from signing.ades.appearance import Drawing, Facts, Look, draw
from signing.ades.errors import AppearanceNotAcceptable, FieldNotAcceptable
from signing.ades.fields import entry
from signing.ades.pictures import Picture
from signing.ades.typeface import typeface

_DICTIONARY: Any = generic.DictionaryObject
_STREAM: Any = generic.StreamObject
_NUMBER: Any = generic.NumberObject
_FLOAT: Any = generic.FloatObject
"""Partly typed: met here alone."""
_SYMBOLIC: Final = 4
"""Font descriptor flag 3: outside the standard Latin set (ISO 32000-2 table 121)."""


class _Nothing(BaseStampStyle):
    """pyHanko's own stamp: there is none."""

    def create_stamp(self, writer: Any, box: Any, text_params: Any) -> None:
        """Draw nothing."""


NOTHING: Final = _Nothing()


def show(writer: IncrementalPdfFileWriter, field: Any, look: Look, facts: Facts, rotation: int) -> None:
    """Give a signature field's widget its appearance, if it has a place on a page.

    :param rotation: degrees by which the page is turned clockwise when shown; what is drawn stands upright then.
    :raises AppearanceNotAcceptable: it cannot be shown there; or there is no place, and something is to be shown.
    :raises FieldNotAcceptable: the field has several widgets.
    """
    widget = _widget(field)
    left, bottom, right, top = map(float, entry(widget, "/Rect", (0, 0, 0, 0)))
    width, height = abs(right - left), abs(top - bottom)
    if not (width and height):
        if look:
            raise AppearanceNotAcceptable("the field is not on a page")
        return
    turned = rotation in {90, 270}
    drawing = draw(look, facts, height if turned else width, width if turned else height)
    widget["/AP"] = _DICTIONARY({_name("/N"): writer.add_object(_form(writer, drawing, rotation))})
    writer.update_container(widget)


def _widget(field: Any) -> Any:
    kids = entry(field, "/Kids", ())
    if len(kids) > 1:
        raise FieldNotAcceptable("the field is in several places")
    return kids[0] if kids else field


def _form(writer: IncrementalPdfFileWriter, drawing: Drawing, rotation: int) -> Any:
    resources = _DICTIONARY()
    if drawing.text:
        resources["/Font"] = _DICTIONARY({_name("/F1"): _font(writer, drawing.text)})
    if drawing.picture is not None:
        image = _image(writer, drawing.picture)
        resources["/XObject"] = _DICTIONARY({_name("/Im1"): image})
    width, height = drawing.width, drawing.height
    # Counter-clockwise, as much as the page is turned clockwise; the box stays in the first quadrant.
    matrix = {
        0: (1, 0, 0, 1, 0, 0),
        90: (0, 1, -1, 0, height, 0),
        180: (-1, 0, 0, -1, width, height),
        270: (0, -1, 1, 0, 0, width),
    }[rotation]
    entries = {
        "/Type": "/XObject",
        "/Subtype": "/Form",
        "/BBox": [0.0, 0.0, width, height],
        "/Matrix": [float(each) for each in matrix],
    }
    form = _stream(entries, drawing.content)
    form["/Resources"] = resources
    form.compress()
    return form


def _font(writer: IncrementalPdfFileWriter, text: str) -> generic.IndirectObject:
    """A composite font with the glyphs of that text (9.7.4 to 9.7.6)."""
    face = typeface()
    cut = face.cut(text)
    program = _stream({"/Length1": len(cut.program)}, cut.program)
    program.compress()
    to_unicode = _stream({}, cut.to_unicode())
    to_unicode.compress()
    descriptor = {
        "/Type": "/FontDescriptor",
        "/FontName": f"/{cut.name}",
        "/Flags": _SYMBOLIC,
        "/FontBBox": list(face.box),
        "/ItalicAngle": 0,
        "/Ascent": face.ascent,
        "/Descent": face.descent,
        "/CapHeight": face.ascent,
        "/StemV": 80,
    }
    described = _dictionary(descriptor)
    described["/FontFile2"] = writer.add_object(program)
    widths = [part for glyph in sorted(cut.characters) for part in (glyph, [face.widths[glyph]])]
    descendant = _dictionary(
        {
            "/Type": "/Font",
            "/Subtype": "/CIDFontType2",
            "/BaseFont": f"/{cut.name}",
            "/CIDToGIDMap": "/Identity",
            "/DW": face.widths[0],
            "/W": widths,
        }
    )
    descendant["/CIDSystemInfo"] = _DICTIONARY(
        {
            _name("/Registry"): generic.pdf_string("Adobe"),
            _name("/Ordering"): generic.pdf_string("Identity"),
            _name("/Supplement"): _NUMBER(0),
        }
    )
    descendant["/FontDescriptor"] = writer.add_object(described)
    font = _dictionary(
        {"/Type": "/Font", "/Subtype": "/Type0", "/BaseFont": f"/{cut.name}", "/Encoding": "/Identity-H"}
    )
    font["/DescendantFonts"] = generic.ArrayObject([writer.add_object(descendant)])
    font["/ToUnicode"] = writer.add_object(to_unicode)
    return writer.add_object(font)


def _image(writer: IncrementalPdfFileWriter, shown: Picture) -> generic.IndirectObject:
    size = {"/Type": "/XObject", "/Subtype": "/Image", "/Width": shown.width, "/Height": shown.height}
    image = _stream({**size, **shown.entries}, shown.data, encoded=True)
    if shown.mask is not None:
        grey = {"/ColorSpace": "/DeviceGray", "/BitsPerComponent": 8, "/Filter": "/FlateDecode"}
        image["/SMask"] = writer.add_object(_stream({**size, **grey}, shown.mask, encoded=True))
    return writer.add_object(image)


def _stream(entries: dict[str, Any], data: bytes, *, encoded: bool = False) -> Any:
    given = {"encoded_data": data} if encoded else {"stream_data": data}
    return _STREAM(_dictionary(entries), **given)


def _dictionary(entries: dict[str, Any]) -> Any:
    return _DICTIONARY({_name(key): _object(value) for key, value in entries.items()})


def _object(value: Any) -> Any:
    """Texts are names; all that is written here is of these kinds."""
    if isinstance(value, str):
        return _name(value)
    if isinstance(value, bytes):
        return generic.ByteStringObject(value)
    if isinstance(value, dict):
        return _dictionary(value)
    if isinstance(value, list):
        return generic.ArrayObject(map(_object, value))
    return _FLOAT(f"{value:.4f}") if isinstance(value, float) else _NUMBER(value)


def _name(text: str) -> generic.NameObject:
    return generic.pdf_name(text)
