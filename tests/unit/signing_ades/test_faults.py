"""Whatever pyHanko trips over in a damaged file is the file's fault, wherever it comes upon it (SIG-02, DOS-01)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter

from signing.ades import pades
from signing.ades.errors import DocumentNotAcceptable, DocumentNotReadable
from signing.ades.revisions import parsing, writer_of
from signing.ades.validate.reading import open_pdf

_WRITER: Any = PdfFileWriter
_PAGE: Any = PageObject


def prepared(pdf: bytes) -> None:
    pades.prepare(pdf, b"", hash_name="sha256", room=1000, at=datetime(2026, 1, 1, tzinfo=UTC))


def appended(pdf: bytes) -> None:
    with parsing():
        writer_of(pdf).root.get_object()


def damaged() -> bytes:
    """The table is a stream that does not decompress: nobody looks at it before an object is asked for."""
    writer = _WRITER(stream_xrefs=True)
    content = generic.StreamObject(stream_data=b"BT ET")
    writer.insert_page(_PAGE(contents=writer.add_object(content), media_box=(0, 0, 595, 842)))
    out = BytesIO()
    writer.write(out)
    whole = bytearray(out.getvalue())
    start = whole.index(b"stream\n", whole.index(b"/XRef")) + len(b"stream\n")
    whole[start : start + 2] = b"\xff\xff"
    return bytes(whole)


@pytest.mark.parametrize(
    ("read", "refusal"),
    [(open_pdf, DocumentNotReadable), (appended, DocumentNotAcceptable), (prepared, DocumentNotAcceptable)],
)
def test_SIG_02_a_table_that_does_not_decompress_is_told_as_damage(
    read: Callable[[bytes], object], refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        read(damaged())
