"""What a visible signature shows, as drawn and as independent readers of PDFs show it."""

from __future__ import annotations

import re
import subprocess
from datetime import datetime, timedelta, timezone
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader

from signing.ades.appearance import Drawing, Facts, Look, draw
from signing.ades.errors import AppearanceNotAcceptable
from signing.ades.fields import Place
from signing.ades.pades import Stated
from signing.ades.typeface import typeface
from tests.documents import Hand, blank_pdf, hand
from tests.pictures import grey, jpeg, png
from tests.unit.signing_ades.test_pades import ECDSA, signed, verdicts

_READER: Any = PdfFileReader
_WRITER: Any = IncrementalPdfFileWriter
_NUMBER: Any = generic.NumberObject
AT = datetime(2026, 3, 1, 13, 0, tzinfo=timezone(timedelta(hours=1)))
FACTS = Facts("Alice Example", AT, "Approved", "Brussels")


@pytest.fixture(scope="module")
def signer() -> Hand:
    return hand(ec.generate_private_key(ec.SECP256R1()), ECDSA)


def drawn(look: Look, facts: Facts = FACTS, width: float = 250, height: float = 80) -> Drawing:
    return draw(look, facts, width, height)


def visible(signer: Hand, look: Look, box: tuple[float, float, float, float] = (50, 700, 300, 780)) -> bytes:
    return signed(blank_pdf(), signer, stated=Stated("Approved", "Brussels"), place=Place(box=box), look=look)


def as_read(pdf: bytes, directory: Path) -> str:
    """The page's text by poppler."""
    (directory / "it.pdf").write_bytes(pdf)
    command = ["pdftotext", "-q", "it.pdf", "-"]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True).stdout.decode()


def pixels(pdf: bytes, directory: Path) -> tuple[int, bytes]:
    """Width, and the page's grey values row by row, a point each, by poppler."""
    (directory / "it.pdf").write_bytes(pdf)
    command = ["pdftoppm", "-q", "-r", "72", "-gray", "it.pdf"]
    made = subprocess.run(command, cwd=directory, check=True, capture_output=True).stdout
    head = re.match(rb"P5\s(\d+) (\d+)\s255\s", made)
    assert head is not None
    return int(head[1]), made[head.end() :]


def darkness(pdf: bytes, directory: Path, box: tuple[int, int, int, int]) -> int:
    """How many points in a box of the page (of 842 points in height) are dark."""
    width, grey_values = pixels(pdf, directory)
    left, bottom, right, top = box
    rows = (grey_values[width * row + left : width * row + right] for row in range(842 - top, 842 - bottom))
    return sum(sum(value < 128 for value in row) for row in rows)


def test_text_picture_and_code_are_seen_and_the_signature_is_valid(signer: Hand, tmp_path: Path) -> None:
    look = Look("Signed by {name}\n{time}\nżółć Ω Привет", grey(20, 10), "https://example.org/v?id=1")
    pdf = visible(signer, look, (50, 600, 350, 700))
    (verdict,) = verdicts(pdf, signer)
    assert verdict.bottom_line
    text = as_read(pdf, tmp_path)
    assert "Signed by Alice Example" in text.replace("\n", " ")
    assert "Привет" in text
    assert darkness(pdf, tmp_path, (250, 600, 350, 700)) > 500
    (tmp_path / "it.pdf").write_bytes(pdf)
    fonts = subprocess.run(["pdffonts", "it.pdf"], cwd=tmp_path, check=True, capture_output=True).stdout.decode()
    assert re.search(r"[A-Z]{6}\+DejaVuSans +CID TrueType +Identity-H +yes yes yes", fonts)


def test_without_a_wish_name_time_and_what_is_stated_are_shown(signer: Hand, tmp_path: Path) -> None:
    lines = as_read(visible(signer, Look()), tmp_path).split()
    assert lines[:2] == ["Alice", "Example"]
    assert lines[-2:] == ["Approved", "Brussels"]
    assert drawn(Look()).text == "Alice Example2026-03-01 12:00:00 UTCApprovedBrussels"
    assert drawn(Look(), Facts("Alice", AT)).text == "Alice2026-03-01 12:00:00 UTC"


@pytest.mark.parametrize("image", [grey(8, 8), jpeg(16, 16), png(2, 2, lambda _: b"\0" + bytes(8), colour=6)])
def test_a_picture_alone_fills_the_box(signer: Hand, image: bytes, tmp_path: Path) -> None:
    pdf = visible(signer, Look(image=image), (50, 700, 130, 780))
    assert as_read(pdf, tmp_path).strip() == ""
    assert len(pdf) < len(blank_pdf()) + 20_000


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_on_a_page_that_is_shown_turned_the_text_stands_upright(
    signer: Hand, rotation: int, tmp_path: Path
) -> None:
    writer = _WRITER(BytesIO(blank_pdf()))
    page = writer.find_page_for_modification(0)[0]
    page.get_object()["/Rotate"] = _NUMBER(rotation)
    writer.mark_update(page)
    out = BytesIO()
    writer.write(out)
    box = (200.0, 300.0, 400.0, 360.0) if rotation % 180 == 0 else (200.0, 300.0, 260.0, 500.0)
    pdf = signed(out.getvalue(), signer, place=Place(box=box), look=Look("first\nsecond"))
    assert verdicts(pdf, signer)[0].bottom_line
    (tmp_path / "it.pdf").write_bytes(pdf)
    command = ["pdftotext", "-q", "-bbox", "it.pdf", "-"]
    told = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout.decode()
    words = {
        word: tuple(map(float, place))
        for *place, word in re.findall(r'xMin="(.*?)" yMin="(.*?)" xMax="(.*?)" yMax="(.*?)">(\w+)<', told)
    }
    first, second = words["first"], words["second"]
    # As shown: the second line is below the first, both begin at the left.
    assert second[1] > first[1]
    assert abs(second[0] - first[0]) < 1
    assert first[2] - first[0] > 10


def test_SIG_11_what_a_name_or_reason_says_is_no_placeholder() -> None:
    facts = Facts("{reason}", AT, "{name}{time}", None)
    assert drawn(Look("{name}\n{reason}"), facts).text == "{reason}{name}{time}"
    assert drawn(Look("{0.__class__} {nobody} %(name)s"), facts).text == "{0.__class__} {nobody} %(name)s"


def test_SIG_11_no_text_ends_the_drawings_string() -> None:
    made = drawn(Look(") Tj ET Q /Im1 Do BT (\\"))
    assert made.content.count(b"Tj") == 1
    assert b"Do" not in made.content
    assert b"(" not in made.content


INVISIBLE = {
    "a control": "a\x07b",
    "an escape": "a\x1b[2Jb",
    "a tab": "a\tb",
    "a carriage return": "a\rb",
    "an override of the direction": "abc\u202edef",
    "an isolate": "\u2066abc\u2069",
    "a mark of direction": "\u200fabc",
    "a joiner": "a\u200db",
    "a soft hyphen": "a\u00adb",
    "a line separator": "a\u2028b",
    "a private letter": "\ue000",
    "a surrogate": "\ud800",
    "right to left": "שלום",
    "marks upon marks": "a" + "\u0301\u0316" * 20,
    "ideographs": "署名",
    "an emoji": "✍\ufe0f",
    "nothing": "",
    "spaces": "  \n ",
    "lines without an end": "a\n" * 50,
    "letters without an end": "a " * 300,
    "a word that is too wide": "a" * 300,
}


@pytest.mark.parametrize("text", INVISIBLE.values(), ids=INVISIBLE)
def test_SIG_11_text_that_is_not_what_is_seen_is_refused(text: str) -> None:
    with pytest.raises(AppearanceNotAcceptable) as refused:
        drawn(Look(text))
    assert str(refused.value)


@pytest.mark.parametrize("text", list(INVISIBLE.values())[:16], ids=list(INVISIBLE)[:16])
def test_SIG_11_nor_is_it_shown_where_a_certificate_or_reason_says_it(text: str) -> None:
    for facts in (Facts(text, AT), Facts("Alice", AT, reason=text), Facts("Alice", AT, location=text)):
        with pytest.raises(AppearanceNotAcceptable):
            drawn(Look(), facts)


@pytest.mark.parametrize("qr", ["", "a\nb", "\u202ex", "x" * 700, "語" * 250])
def test_SIG_11_a_code_that_is_empty_too_long_or_no_line_is_refused(qr: str) -> None:
    with pytest.raises(AppearanceNotAcceptable):
        drawn(Look(qr=qr))


@pytest.mark.parametrize(("width", "height"), [(5, 80), (80, 5), (20, 9)])
def test_what_does_not_fit_into_its_box_is_refused(width: float, height: float) -> None:
    with pytest.raises(AppearanceNotAcceptable):
        drawn(Look("A text of several words", grey(2, 2), "x"), width=width, height=height)


def test_letters_that_are_put_together_are_shown_as_one() -> None:
    assert drawn(Look("e\u0301")).text == "é"


def test_a_cut_of_the_typeface_has_what_it_needs_and_no_more() -> None:
    face, text = typeface(), "Ằg"
    cut = face.cut(text)
    assert len(cut.program) < len(face.tables[b"glyf"]) / 3
    assert sorted(cut.characters.values()) == sorted(text)
    assert face.cut(text[::-1]).program == cut.program
    assert face.cut("other").name != cut.name
