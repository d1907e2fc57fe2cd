"""What in a PDF does something, or can look otherwise elsewhere or later: told to the signer, not judged.

The clauses are ISO 32000-2's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pyhanko.pdf_utils import generic

from documents.findings import MAX_PAGES_TOLD, Finding
from documents.reading import value

_ACTIONS: Final[Mapping[str, str]] = {
    "/JavaScript": "javascript",
    "/Launch": "launch_action",
    "/URI": "uri_action",
    "/SubmitForm": "submit_action",
    "/ImportData": "import_action",
    "/GoToR": "remote_action",
    "/GoToE": "remote_action",
    "/Thread": "remote_action",
    "/Sound": "media_action",
    "/Movie": "media_action",
    "/Rendition": "media_action",
    "/RichMediaExecute": "media_action",
    "/GoTo3DView": "media_action",
    "/SetOCGState": "optional_content",
    "/Hide": "hidden_annotation",
}
"""12.6.4."""
_ANNOTATIONS: Final[Mapping[str, str]] = {
    "/FileAttachment": "embedded_file",
    "/Sound": "multimedia",
    "/Movie": "multimedia",
    "/Screen": "multimedia",
    "/3D": "multimedia",
    "/RichMedia": "multimedia",
}
"""12.5.6."""
_HIDDEN: Final = (1 << 1) | (1 << 5) | (1 << 8)
"""Hidden, NoView, ToggleNoView (12.5.3)."""
_PRINT: Final = 1 << 2
"""What lacks it is on the screen and not on paper, and so not on the pictures that a signer is shown."""
_SIMPLE_FONTS: Final = frozenset({"/Type1", "/MMType1", "/TrueType", "/CIDFontType0", "/CIDFontType2"})
_FONT_FILES: Final = ("/FontFile", "/FontFile2", "/FontFile3")
_UNUSED: Final = frozenset({"/Page", "/Pages", "/Catalog", "/Font", "/XObject"})
_SHOWN: Final = re.compile(rb"\(((?:[^()\\]|\\.)*)\)\s*(?:Tj|'|\")", re.DOTALL)
"""A literal string that is shown (9.4.3)."""
_MAX_APPEARANCE: Final = 64 * 1024


class Content:
    """Findings, collected as objects come."""

    def __init__(self) -> None:
        self._found: dict[str, set[int | None]] = {}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """In order: the document's, then by page."""
        found = (Finding(code, page) for code, pages in self._found.items() for page in pages)
        return tuple(sorted(found, key=lambda each: (each.page or 0, each.code)))

    def visit(self, node: Any, page: int | None) -> None:
        """A dictionary or stream."""
        for code in _codes(node):
            self.add(code, page)

    def add(self, code: str, page: int | None = None) -> None:
        """Once for each page."""
        pages = self._found.setdefault(code, set())
        if len(pages) < MAX_PAGES_TOLD:
            pages.add(page)


def _codes(node: Any) -> Iterator[str]:
    kind, subtype, action = (_name(node, key) for key in ("/Type", "/Subtype", "/S"))
    # Whatever its type says: viewers do not look at it.
    if action is not None and action in _ACTIONS:
        yield _ACTIONS[action]
    if "/JS" in node:
        yield "javascript"
    if "/AA" in node:
        yield "automatic_action"
    if "/EF" in node or kind == "/EmbeddedFile":
        yield "embedded_file"
    if kind == "/Catalog" or "/Pages" in node:
        yield from _of_catalog(node)
    if kind == "/Font" or subtype in _SIMPLE_FONTS:
        yield from _of_font(node, subtype)
    if "/Rect" in node and subtype is not None:
        yield from _of_annotation(node, subtype)
    if isinstance(node, generic.StreamObject):
        yield from _of_stream(node)


def _of_catalog(node: Any) -> Iterator[str]:
    if "/OCProperties" in node:
        yield "optional_content"
    if "/Collection" in node:
        yield "embedded_file"
    opening = value(node, "/OpenAction")
    if isinstance(opening, generic.DictionaryObject) and value(opening, "/S") != "/GoTo":
        yield "automatic_action"
    form = value(node, "/AcroForm")
    if isinstance(form, generic.DictionaryObject) and value(form, "/NeedAppearances"):
        yield "appearance_missing"


def _of_font(node: Any, subtype: str | None) -> Iterator[str]:
    """9.9: what is not embedded is another font elsewhere."""
    if subtype not in _SIMPLE_FONTS:
        return
    descriptor = value(node, "/FontDescriptor")
    if not isinstance(descriptor, generic.DictionaryObject) or not any(name in descriptor for name in _FONT_FILES):
        yield "font_not_embedded"


def _of_annotation(node: Any, subtype: str) -> Iterator[str]:
    if subtype in _ANNOTATIONS:
        yield _ANNOTATIONS[subtype]
    is_field, kind = subtype == "/Widget", _inherited(node, "/FT")
    flags = value(node, "/F", 0)
    flags = flags if isinstance(flags, int) else 0
    if is_field and kind == "/Sig":
        # Most signatures show nothing, and many say so by a flag.
        if "/AP" in node and not flags & (_HIDDEN | _PRINT):
            yield "hidden_annotation"
        return
    if is_field:
        yield "form_fields"
    # Of a link there is nothing to be seen, unless it says what.
    shows = subtype != "/Link" or "/AP" in node
    if subtype != "/Popup" and (flags & _HIDDEN or (shows and not flags & _PRINT)):
        yield "hidden_annotation"
    appearance = value(node, "/AP")
    if is_field and not isinstance(appearance, generic.DictionaryObject):
        yield "appearance_missing"
    elif kind == "/Tx" and _shows_other(node, appearance):
        yield "field_shows_other_value"


def _of_stream(node: Any) -> Iterator[str]:
    # The octets are in another file; the reference is to another document's page (7.3.8.2, 8.10.4, 14.11.7).
    if "/F" in node or "/Ref" in node or "/OPI" in node:
        yield "external_content"
    if "/Alternates" in node:
        yield "alternate_image"


def _shows_other(node: Any, appearance: Any) -> bool:
    """Whether a text field's appearance shows plain text that is not its value."""
    stated, shown = _inherited(node, "/V"), value(appearance, "/N")
    if not isinstance(stated, str) or not isinstance(shown, generic.StreamObject):
        return False
    if len(shown.encoded_data) > _MAX_APPEARANCE:
        return False
    text = b"".join(re.sub(rb"\\(.)", rb"\1", piece) for piece in _SHOWN.findall(shown.data))
    # Nothing was found in a form that can be compared, or it is what it should be.
    return bool(text.strip()) and text.decode("latin-1").split() != stated.split()


def _inherited(node: Any, key: str) -> Any:
    """12.7.4.1: from the parents, of which a file may make a ring."""
    for _ in range(16):
        if not isinstance(node, generic.DictionaryObject):
            return None
        if key in node:
            return value(node, key)
        node = value(node, "/Parent")
    return None


def _name(node: Any, key: str) -> str | None:
    found = value(node, key)
    return str(found) if isinstance(found, generic.NameObject) else None


def unused(node: Any) -> bool:
    """Whether an object that nothing refers to could become content: a second document inside the first."""
    return isinstance(node, generic.DictionaryObject) and _name(node, "/Type") in _UNUSED
