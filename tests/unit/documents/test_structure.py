"""Documents in which readers that look for objects themselves find other ones than by the tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import pypdfium2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from documents.errors import DocumentRefused
from documents.examine import examine
from signing.sam.algorithms import SHA256, SignatureAlgorithm
from tests import hostile
from tests.documents import Hand, hand
from tests.unit.signing_ades.test_pades import signed

Change = Callable[[bytes], bytes]


def text_of(said: bytes) -> bytes:
    return hostile.stream(b"BT /F 24 Tf 100 100 Td (%b) Tj ET" % said)


def two_readings() -> bytes:
    """By its table the page says one thing; whoever looks for the last object 4 finds the other."""
    resources = b"/Resources << /Font << /F 5 0 R >> >>"
    document = hostile.written(hostile.objects(resources, more={4: text_of(b"I pay"), 5: hostile.FONT}))
    other = b"4 0 obj\n%b\nendobj\n" % text_of(b"I do not")
    table = document.rindex(b"xref\n0 1")
    moved = document[:table] + other + document[table:]
    return re.sub(rb"startxref\n[0-9]+", b"startxref\n%d" % (table + len(other)), moved)


def replaced(this: bytes, by: bytes) -> Change:
    def change(document: bytes) -> bytes:
        assert this in document
        return document.replace(this, by)

    return change


def end(form: str) -> Change:
    return lambda document: re.sub(rb"startxref\n([0-9])([0-9]+)", form.encode(), document)


SOUND: Final[Mapping[str, Change]] = {
    "as it is": lambda document: document,
    "an end with blanks": end(r"startxref \n \1\2 "),
    "an end of carriage returns": end(r"startxref\r\1\2\r"),
    "a table with blanks": replaced(b"xref\n0 1\n", b"xref \n0 1 \n"),
    "rows with line feeds and carriage returns": replaced(b" 65535 f \n", b" 65535 f\r\n"),
    "more behind the end": lambda document: document + b"\0\n",
}
UNSOUND: Final[Mapping[str, Change]] = {
    "a number that only Python reads": end(r"startxref\n\1_\2"),
    "a number with a sign": end(r"startxref\n+\1\2"),
    "a number behind a vertical tab": end("startxref\n\v\\1\\2"),
    "a number on the same line": end(r"startxref\1\2"),
    "another word": end(r"startxrefs\n\1\2"),
    "another word before the table": replaced(b"\nxref\n", b"\nxrefx"),
    "a remark in the table": replaced(b"\nxref\n", b"\nxref\n%\n"),
    "rows that are too short": replaced(b" 00000 n \n", b" 00000 n\n"),
    "a first number with a sign": replaced(b"\n4 1\n", b"\n+4 1\n"),
    "a remark before the trailer": replaced(b"trailer\n", b"trailer%\n"),
    "an object without its word": replaced(b"\n3 0 obj", b"\n3 0 xbj"),
    "a catalogue without its word": replaced(b"\n1 0 obj", b"\n1 0 xbj"),
    "an object of a number with a sign": replaced(b"3 0 obj", b"3 +0 obj"),
}


@pytest.fixture(scope="module")
def signer() -> Hand:
    return hand(ec.generate_private_key(ec.SECP256R1()), SignatureAlgorithm("ecdsa", SHA256))


def shown(document: bytes) -> Any:
    return pypdfium2.PdfDocument(document)[0].get_textpage().get_text_range()


def moved(change: Change) -> bytes:
    """What the change puts before the table is made room for in its place."""
    document, found = two_readings(), change(two_readings())
    more = found.rfind(b"\nxref") - document.rfind(b"\nxref")
    if not more:
        return found
    for place in sorted({int(each) for each in re.findall(rb"\n([0-9]{10}) 00000 n", document)}, reverse=True):
        if place > 200:
            found = found.replace(b"%010d 00000 n" % place, b"%010d 00000 n" % (place + more))
    return re.sub(rb"startxref\n[0-9]+", b"startxref\n%d" % (found.rfind(b"\nxref") + 1), found)


@pytest.mark.parametrize("case", SOUND)
def test_SIG_02_what_is_shown_before_is_shown_when_it_is_signed(signer: Hand, case: str) -> None:
    document = SOUND[case](two_readings())
    assert examine(document).findings == examine(two_readings()).findings
    assert (shown(document), shown(signed(document, signer))) == ("I pay", "I pay")


@pytest.mark.parametrize("case", UNSOUND)
def test_SIG_02_tables_that_only_some_readers_understand_are_refused(case: str) -> None:
    with pytest.raises(DocumentRefused) as refused:
        examine(moved(UNSOUND[case]))
    assert refused.value.reason == "malformed"
