"""Pages as pictures: drawn by what is confined, whatever the file is."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import copy_into_new_writer

from documents.errors import DocumentRefused, RenderBusy, RenderFailed
from documents.render import LIMITS, MAX_PIXELS, Renderer
from documents.render_worker import work
from foundation.confinement import Limits
from tests.hostile import REFUSED
from tests.paper import pdf

TWO = pdf("The first page", "The second page")
_COPY: Any = copy_into_new_writer
_READER: Any = PdfFileReader
"""Partly typed: met here alone."""


def answered(document: bytes, **asked: int) -> tuple[dict[str, Any], bytes]:
    line, _, picture = work(document, json.dumps(asked).encode()).partition(b"\n")
    return json.loads(line), picture


def drawn(
    document: bytes, page: int = 1, width: int = 400, max_pixels: int = MAX_PIXELS
) -> tuple[dict[str, Any], bytes]:
    return answered(document, page=page, width=width, max_pixels=max_pixels)


def pixels(picture: bytes) -> tuple[int, int, bytes]:
    """Width, height and samples of a PNG as this project writes it, every checksum verified."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    at, chunks = 8, []
    while at < len(picture):
        (length,) = struct.unpack(">I", picture[at : at + 4])
        kind, content = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + length]
        assert struct.unpack(">I", picture[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + content),)
        chunks.append((kind, content))
        at += 12 + length
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, depth, colour = struct.unpack(">IIBB", chunks[0][1][:10])
    assert (depth, colour) == (8, 2)
    lines = zlib.decompress(chunks[1][1])
    step = 1 + 3 * width
    assert len(lines) == step * height
    assert {lines[start] for start in range(0, len(lines), step)} == {0}
    return width, height, b"".join(lines[start + 1 : start + step] for start in range(0, len(lines), step))


def test_a_page_is_drawn_black_on_white_in_the_width_that_was_asked_for() -> None:
    told, picture = drawn(TWO, width=500)
    width, height, samples = pixels(picture)
    assert (width, height) == (told["width"], told["height"])
    assert width in {500, 501}
    assert abs(height - 500 * 842 / 595) < 2
    assert samples[:3] == b"\xff\xff\xff"
    assert min(samples) < 40, "there is text"


def test_pages_are_told_apart_and_the_same_page_is_the_same_picture() -> None:
    assert drawn(TWO, 1) == drawn(TWO, 1)
    assert drawn(TWO, 1)[1] != drawn(TWO, 2)[1]
    assert answered(TWO)[0]["pages"] == 2


@pytest.mark.parametrize("page", [0, -1, 3, 10**9])
def test_a_page_that_is_not_there_is_no_picture(page: int) -> None:
    assert drawn(TWO, page) == ({"fault": "no_page"}, b"")


def annotated(flags: int) -> bytes:
    """A page with a black square of an annotation in its middle."""
    document = pdf("x")
    square = f"<< /Type /Annot /Subtype /Square /Rect [200 300 400 500] /IC [0 0 0] /C [0 0 0] /F {flags} >>"
    return document.replace(b"/Type /Page /Parent", f"/Type /Page /Annots [{square}] /Parent".encode())


def darkness(document: bytes) -> int:
    return sum(sample < 40 for sample in pixels(drawn(document)[1])[2])


def test_annotations_are_drawn_as_on_a_printout() -> None:
    printed, hidden = annotated(4), annotated(2)
    assert darkness(printed) > darkness(hidden) + 1000


@pytest.mark.parametrize(("width", "height"), [(1, 14400), (14400, 1), (14400, 14400), (3, 3), (0, 0)])
def test_a_page_of_any_form_stays_within_the_pixels(width: int, height: int) -> None:
    told, picture = drawn(pdf("x", width=width, height=height), width=1900, max_pixels=100_000)
    if "fault" not in told:
        assert told["width"] * told["height"] <= 110_000
        pixels(picture)


@pytest.mark.parametrize("document", [b"", b"some text", b"%PDF-1.7\nand nothing", TWO[:100], bytes(range(256)) * 40])
def test_what_is_no_pdf_is_said(document: bytes) -> None:
    assert drawn(document) == ({"fault": "not_a_pdf"}, b"")


def encrypted() -> bytes:
    from io import BytesIO

    writer = _COPY(_READER(BytesIO(TWO)))
    writer.encrypt("owner", "user")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def test_what_is_encrypted_is_said() -> None:
    assert drawn(encrypted()) == ({"fault": "encrypted"}, b"")


# In a process of its own


pytestmark = pytest.mark.loopback


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    made = Renderer(Limits(**{**_patient(), "wall_seconds": 120.0}), workers=1, wait_seconds=120.0)
    yield made
    made.close()


def _patient() -> dict[str, Any]:
    return {"address_space": LIMITS.address_space, "cpu_seconds": 60, "file_octets": LIMITS.file_octets}


def test_a_document_is_looked_at_and_drawn(renderer: Renderer) -> None:
    found = renderer.look(TWO)
    assert found.pages == 2
    assert found.renderer.startswith("pdfium/")
    assert renderer.page(TWO, 2, 400) == drawn(TWO, 2)[1]


def test_each_refusal_has_its_error_and_the_next_document_is_drawn(renderer: Renderer) -> None:
    for document, reason in ((b"text", "not_a_pdf"), (encrypted(), "encrypted")):
        with pytest.raises(DocumentRefused) as caught:
            renderer.look(document)
        assert caught.value.reason == reason
    with pytest.raises(RenderFailed):
        renderer.page(TWO, 3)
    assert renderer.look(TWO).pages == 2


def test_DOS_01_what_takes_too_much_is_ended_and_the_next_document_is_drawn() -> None:
    small = Renderer(Limits(**{**_patient(), "file_octets": 1000, "wall_seconds": 120.0}), workers=1)
    with pytest.raises(RenderFailed):
        small.page(TWO, 1)
    assert small.look(TWO).pages == 2
    small.close()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_DOS_01_whatever_a_file_does_the_next_one_is_drawn(renderer: Renderer, name: str) -> None:
    with suppress(DocumentRefused, RenderFailed):
        renderer.look(REFUSED[name][1]())
        assert renderer.page(REFUSED[name][1](), 1, 400).startswith(b"\x89PNG")
    assert renderer.page(TWO, 1, 400) == drawn(TWO, 1)[1]


def test_nobody_waits_for_ever_for_a_turn() -> None:
    busy = Renderer(LIMITS, workers=0, wait_seconds=0.01)
    with pytest.raises(RenderBusy):
        busy.look(TWO)


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"[]", b"x\n", b'{"fault": "<b>"}\n', b'{"fault": []}\n', b"[" * 100_000,
        b'{"pages": "1", "renderer": "pdfium/1"}\n',
        b'{"pages": -1, "renderer": "pdfium/1"}\n', b'{"pages": 1, "renderer": "a b findings=none"}\n',
    ],
)  # fmt: skip
def test_what_comes_out_of_a_confined_process_is_believed_as_little_as_what_went_in(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer = Renderer(workers=1)
    monkeypatch.setattr(renderer._pool, "run", lambda _document, _asked: answer)
    with pytest.raises(RenderFailed):
        renderer.look(TWO)
    with pytest.raises(RenderFailed):
        renderer.page(TWO, 1)
