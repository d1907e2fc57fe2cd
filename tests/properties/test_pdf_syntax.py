"""Laws of the reading of objects: whatever stands there, it is what pyHanko by itself would have read."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.reader import PdfFileReader

from documents.reading import references
from documents.syntax import Document, Reader
from tests.hostile import FINDINGS
from tests.properties.examples import examples

_READ: Any = generic.DictionaryObject.read_from_stream
_READER: Any = PdfFileReader
_REFERENCE: Any = generic.Reference
_WORDS: Final = (
    b"/ /a#20b /a#2 /\xc3 +5 -5 -.5 5. +.5 5,5 1e5 --5 007 9999999999999 0.1 00.10 1.5.5 12345678901234567890.5 R "
    b"0 0 R 5 0 R 1 00000 R 123456789 12345 R 1234567890 12345 R 7 0 Rx true false nul null nullx truefalse ( ( (a) "
    b"(a\\)b) (\\101) (((a))) (\xfe\xff\0A) (\xef\xbb\xbfa) < > <4> <41> <4g> >> ] [ << % %x\n"
)
_FORMS: Final = (b"%x\n", b"% >>\r", b"5\n0\nR", b"5  0 R", b"5 0  R", b"5 0 R%", b"<4 1>", b"\v", b"\0", b"stream\n")
_UNUSUAL: Final = (*_WORDS.split(b" "), *_FORMS, b"5 0 R", b"endstream")
_USUAL: Final = tuple(b"/Type|/Kids|/Length 3|/Length|3|4 0 R|-1.5|(text)|<4142>|true|null".split(b"|"))
_BRACKETS: Final = (b"<<", b">>", b"[", b"]")
TOKENS: Final = st.sampled_from(_USUAL) | st.sampled_from(_UNUSUAL) | st.sampled_from(_BRACKETS)
BLANKS: Final = st.sampled_from((b" ", b"", b"\n", b"\r\n", b"\t", b"\0", b"\f", b"  ", b" %c\n", b"\v"))
TEXTS: Final = st.lists(st.tuples(TOKENS, BLANKS), max_size=20).map(lambda parts: b"".join(map(b"".join, parts)))
ENDS: Final = st.sampled_from((b">>\nendobj", b">>", b"> ", b"", b">>\nstream\nabc\nendstream\nendobj"))


def array(parts: list[bytes]) -> bytes:
    return b"[" + b" ".join(parts) + b"]"


def inner_dictionary(parts: list[bytes]) -> bytes:
    return b"<<" + b" ".join(b"/I%d %b" % pair for pair in enumerate(parts)) + b">>"


VALUES: Final = st.recursive(
    st.tuples(st.sampled_from(_UNUSUAL) | st.sampled_from(_USUAL)).map(b"".join),
    lambda inner: st.lists(inner, max_size=4).map(array) | st.lists(inner, max_size=2).map(inner_dictionary),
    max_leaves=5,
)
ENTRIES: Final = st.lists(st.tuples(BLANKS, VALUES, BLANKS), max_size=4).map(
    lambda entries: b"".join(b"/K%d %b%b%b" % (number, *entry) for number, entry in enumerate(entries))
)
SEEDS: Final = st.sampled_from([make() for make in FINDINGS.values()])


class Handler:
    """Of references; a stream's length may be one."""

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict

    def get_object(self, _reference: Any) -> Any:
        return 3


def read(stream: BytesIO, start: int, *, strict: bool) -> object:
    """What is read, and how far; or which fault is told."""
    stream.seek(start)
    try:
        found = _READ(stream, _REFERENCE(1, 0, Handler(strict=strict)))
    except Exception as error:
        return type(error)
    return described(found), stream.tell()


def described(found: Any, container: Any = None) -> object:
    """An object with the kinds of all its parts, and what each belongs to."""
    if container is not None:
        assert found.container_ref == container
    container = _REFERENCE(1, 0, None)
    if isinstance(found, generic.DictionaryObject):
        parts: object = [(described(key), described(dict.__getitem__(found, key), container)) for key in found]
    elif isinstance(found, generic.ArrayObject):
        parts = [described(each, container) for each in list.__iter__(found)]
    elif isinstance(found, generic.IndirectObject):
        parts = (found.idnum, found.generation)
    else:
        parts = None if isinstance(found, generic.NullObject) else str(found)
    payload = found.encoded_data if isinstance(found, generic.StreamObject) else None
    return type(found), parts, payload, getattr(found, "autodetected_encoding", None)


def agree(octets: bytes, start: int = 0) -> None:
    for strict in (True, False):
        quick = read(Document(octets), start, strict=strict)
        assert quick == read(BytesIO(octets), start, strict=strict)


@settings(max_examples=examples(1000), deadline=None)
@given(text=TEXTS | ENTRIES, end=ENDS)
def test_SIG_10_a_dictionary_is_read_as_pyhanko_reads_it(text: bytes, end: bytes) -> None:
    agree(b"<<" + text + end)


@settings(max_examples=examples(300), deadline=None)
@given(seed=SEEDS, places=st.lists(st.tuples(st.floats(0, 1), TOKENS | st.binary(max_size=2)), max_size=4))
def test_SIG_10_and_so_is_every_dictionary_of_a_document_that_was_written_over(
    seed: bytes, places: list[tuple[float, bytes]]
) -> None:
    document = bytearray(seed)
    for share, piece in places:
        at = int(share * len(document))
        document[at : at + len(piece)] = piece
    start = -1
    while (start := bytes(document).find(b"<<", start + 1)) >= 0:
        agree(bytes(document), start)


def objects(open_reader: Callable[[], Any]) -> object:
    """All that a document defines, each as it is read, or which fault is told of it."""
    try:
        reader = open_reader()
        names = sorted(references(reader))
    except Exception as error:
        return type(error)
    found: dict[object, object] = {}
    for name in names:
        reference = _REFERENCE(*name, reader)
        try:
            read_object = reader.get_object(reference)
            found[name] = described(read_object), read_object.container_ref == reference
        except Exception as error:
            found[name] = type(error)
    return found


@settings(max_examples=examples(300), deadline=None)
@given(seed=SEEDS, places=st.lists(st.tuples(st.floats(0, 1), TOKENS | st.binary(max_size=2)), max_size=4))
def test_SIG_10_and_so_is_every_object_that_has_a_number(seed: bytes, places: list[tuple[float, bytes]]) -> None:
    document = bytearray(seed)
    for share, piece in places:
        at = int(share * len(document))
        document[at : at + len(piece)] = piece
    octets = bytes(document)
    assert objects(lambda: Reader(Document(octets))) == objects(lambda: _READER(BytesIO(octets)))
