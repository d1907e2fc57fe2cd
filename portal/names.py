"""Documents as people bring them: what they are called, and whether they look like PDFs.  Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from portal.errors import NotPdf

MAX_NAME: Final = 100
_HEADER_WITHIN: Final = 1024
"""Octets in which readers look for the header (ISO 32000-2 annex I), and from the end for the last line."""
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of what no reader sees: the name is shown to the person who approves, and nothing may hide in it."""
_MARKS: Final = frozenset({"Mn", "Me"})
_SPACES: Final = re.compile(r"\s+")


def clean_name(stated: str) -> str:
    """A file's name as it is kept and shown: without a path, without what is not seen, at most 100 characters.

    Marks on a character stay where the composed form has none of its own, at most one a character.
    """
    name = unicodedata.normalize("NFC", stated.replace("\\", "/").rpartition("/")[2])
    kept: list[str] = []
    for character in name:
        category = unicodedata.category(character)
        if category in _HIDDEN and character not in "\t\n":
            continue
        if category in _MARKS and (not kept or unicodedata.category(kept[-1]) in _MARKS):
            continue
        kept.append(character)
    name = _SPACES.sub(" ", "".join(kept)).strip(" .")
    if len(name) > MAX_NAME:
        stem, dot, ending = name.rpartition(".")
        name = f"{stem[: MAX_NAME - len(ending) - 1]}{dot}{ending}" if dot and len(ending) <= 8 else name[:MAX_NAME]
    visible = any(unicodedata.category(character)[0] in "LNPS" for character in name)
    return name if visible else "document.pdf"


def check_pdf(content: bytes) -> None:
    """Whether it looks like a PDF at all; whether it is a sound one the signing service says.

    :raises NotPdf: no header near its beginning, or no end-of-file line near its end.
    """
    if b"%PDF-" not in content[:_HEADER_WITHIN] or b"%%EOF" not in content[-_HEADER_WITHIN:]:
        raise NotPdf("no header or no last line of a PDF")
