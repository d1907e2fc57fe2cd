"""The plainest revision, which is written here, beside the one that pyHanko writes of the same."""

from __future__ import annotations

import gc
import subprocess
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import PdfFileWriter, copy_into_new_writer

from documents.examine import examine
from documents.reading import references
from signing.ades import pades, plain
from signing.ades.cms import room_for
from signing.ades.errors import DocumentNotAcceptable
from signing.ades.pades import PreparedPdf, Stated, Wanted
from signing.sam.algorithms import SHA256, SignatureAlgorithm
from tests import hostile
from tests.documents import AT, Hand, blank_pdf, hand
from tests.unit.signing_ades.test_pades import signed, verdicts

_READER: Any = PdfFileReader
_COPY: Any = copy_into_new_writer
_WRITER: Any = PdfFileWriter
MOMENT = datetime.fromtimestamp(AT, UTC)
STATED = Stated("To (agree) \\ é", "Brüssel", "/ByteRange 1")


def by_library(version: tuple[int, int] = (1, 7), *, stream: bool = False) -> bytes:
    writer: Any = _COPY(_READER(BytesIO(blank_pdf())))
    writer.stream_xrefs = stream
    writer.output_version = version
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def in_tree() -> bytes:
    more = {
        2: b"<< /Type /Pages /Kids [5 0 R 3 0 R] /Count 3 >>",
        5: b"<< /Type /Pages /Parent 2 0 R /Kids [6 0 R 7 0 R] /Count 2 >>",
        6: b"<</Type/Page/Parent 5 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Title(a (b\\)) >>)%x>>\n/A<</B[<<>>]>>>>",
        7: hostile.PAGE % b"",
    }
    return hostile.written(hostile.objects(more=more))


PLAIN: dict[str, Callable[[], bytes]] = {
    "a table": hostile.plain,
    "a table of a library's": by_library,
    "a stream": lambda: by_library(stream=True),
    "PDF 1.4": lambda: by_library((1, 4)),
    "PDF 2.0": lambda: hostile.written(hostile.objects(), version=b"2.0"),
    "PDF 2.0 by its catalogue": lambda: hostile.written(hostile.objects(catalog=b"/Version /2.0")),
    "no line's end": lambda: hostile.plain().rstrip(),
    "pages in a tree": in_tree,
    "an earlier revision": lambda: hostile.updated(hostile.plain(), {4: hostile.stream(b"0 0 m")}),
    "a new page": lambda: hostile.updated(hostile.plain(), {3: hostile.PAGE % b"/Rotate 90"}),
    "a comment behind a page": lambda: hostile.written(hostile.objects(more={3: hostile.PAGE % b"" + b" % >>"})),
    "with information": lambda: hostile.written(hostile.objects(more={5: b"<< /Title (x) >>"}), b"/Info 5 0 R"),
    "linearised": hostile.linearised,
    "with an identity": lambda: hostile.written(hostile.objects(), b"/ID [(a) <62>]"),
}
OTHER: dict[str, Callable[[], bytes]] = {
    "a form": lambda: hostile.written(hostile.objects(catalog=b"/AcroForm << /Fields [] >>")),
    "annotations": lambda: hostile.written(hostile.objects(b"/Annots []")),
    "extensions": lambda: hostile.written(hostile.objects(catalog=b"/Extensions << >>")),
    "permissions": lambda: hostile.written(hostile.objects(catalog=b"/Perms << >>")),
    "another version": lambda: hostile.written(hostile.objects(catalog=b"/Version /1.5"), version=b"1.4"),
    "what looks like a byte range": lambda: hostile.written(hostile.objects(b"/A (/ByteRange [0 1 2 3])")),
    "an end of one bracket": lambda: hostile.plain().replace(b"/Contents 4 0 R  >>", b"/Contents 4 0 R  >x"),
    "a trailer with more": lambda: hostile.written(hostile.objects(), b"/Other 1"),
    "both kinds of tables": hostile.hybrid,
}  # fmt: skip


@pytest.fixture(scope="module", params=["EC", "RSA"])
def signer(request: pytest.FixtureRequest) -> Hand:
    if request.param == "RSA":
        return hand(rsa.generate_private_key(65537, 3072), SignatureAlgorithm("rsa-pss", SHA256, 32))
    return hand(ec.generate_private_key(ec.SECP256R1()), SignatureAlgorithm("ecdsa", SHA256))


def prepared(document: bytes, signer: Hand, stated: Stated) -> PreparedPdf:
    room = room_for([signer.der], signature_octets=512)
    return pades.prepare(
        document, signer.der, hash_name=signer.hash_name, room=room, at=MOMENT, wanted=Wanted(stated=stated)
    )


def by_pyhanko(monkeypatch: pytest.MonkeyPatch, document: bytes, signer: Hand, stated: Stated) -> PreparedPdf:
    """With a reader that nobody has put an object into."""
    with monkeypatch.context() as patch:
        patch.setattr(pades, "_plain", lambda *_: None)
        return prepared(document, signer, stated)


def contents(pdf: bytes) -> dict[str, object]:
    """All that the file has, but for what must differ: places, and the revision's identity."""
    reader = _READER(BytesIO(pdf))
    last = reader.xrefs.total_revisions - 1
    data = [reader.xrefs.get_xref_data(at) for at in range(last + 1)]
    numbers = {number for each in data for number, _ in each.explicit_refs_in_revision}
    tables = {reference.idnum for reference in reader.xrefs.xref_stream_refs}
    found: dict[str, object] = {
        str(number): told(reader.get_object(generic.Reference(number, 0, reader))) for number in numbers - tables
    }
    trailer = {name: told(value) for name, value in reader.trailer.flatten().items()}
    trailer.pop("/ID", None)
    identity = reader.document_id[0] if "/ID" in reader.trailer and last == 0 else None
    return found | {"trailer": trailer, "identity": identity, "kind": reader.has_xref_stream}


def told(found: Any) -> object:
    if isinstance(found, generic.DictionaryObject):
        octets = found.data if isinstance(found, generic.StreamObject) else None
        ours = {name for name in found if name not in {"/ByteRange", "/Contents"} or "/Filter" not in found}
        return {str(name): told(found.raw_get(name)) for name in ours}, octets
    if isinstance(found, generic.ArrayObject):
        return [told(each) for each in list.__iter__(found)]
    return type(found), None if isinstance(found, generic.NullObject) else str(found)


def test_catalogue_and_page_are_read_once(monkeypatch: pytest.MonkeyPatch, signer: Hand) -> None:
    read, seen = _READER._read_object, list[int]()

    def counted(self: Any, reference: Any, *arguments: Any, **named: Any) -> Any:
        seen.append(reference.idnum)
        return read(self, reference, *arguments, **named)

    monkeypatch.setattr(_READER, "_read_object", counted)
    prepared(hostile.plain(), signer, Stated())
    # Only what stands between them is left to the reader itself.
    assert seen == [2]


@pytest.mark.parametrize("case", ["a table", "a stream"])
@pytest.mark.parametrize("use", ["examine", "prepare"])
def test_nothing_that_was_read_waits_for_the_collector(
    monkeypatch: pytest.MonkeyPatch, signer: Hand, case: str, use: str
) -> None:
    document, made, seen = PLAIN[case](), _READER.__init__, list[weakref.ref[Any]]()

    def noted(self: Any, *arguments: Any, **named: Any) -> None:
        seen.append(weakref.ref(self))
        made(self, *arguments, **named)

    monkeypatch.setattr(_READER, "__init__", noted)
    gc.collect()
    gc.disable()
    try:
        if use == "examine":
            examine(document)
        else:
            prepared(document, signer, Stated())
        assert [each() for each in seen] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize("case", PLAIN)
@pytest.mark.parametrize("stated", [Stated(), STATED], ids=["", "stated"])
def test_it_has_the_objects_that_pyhanko_writes(
    monkeypatch: pytest.MonkeyPatch, signer: Hand, case: str, stated: Stated
) -> None:
    document = PLAIN[case]()
    ours, theirs = prepared(document, signer, stated), by_pyhanko(monkeypatch, document, signer, stated)
    assert ours.octets[len(document) :] != theirs.octets[len(document) :]
    assert contents(ours.octets) == contents(theirs.octets)
    for made in (ours, theirs):
        assert made.octets.startswith(document)
        before, after, rest = made.byte_range[1:]
        assert made.octets[before:after] == b"<" + b"0" * (after - before - 2) + b">"
        assert after + rest == len(made.octets)
        (field,) = _READER(BytesIO(made.octets)).root["/AcroForm"]["/Fields"]
        assert tuple(map(int, field.get_object()["/V"]["/ByteRange"])) == made.byte_range
        assert (after - before - 2) // 2 == room_for([signer.der], signature_octets=512)


@pytest.mark.parametrize("case", PLAIN)
def test_SIG_09_what_is_signed_with_it_is_valid_and_stays_so_behind_another_signature(
    signer: Hand, case: str, tmp_path: Path
) -> None:
    document = PLAIN[case]()
    once = signed(document, signer, stated=STATED)
    (verdict,) = verdicts(once, signer)
    assert verdict.bottom_line
    twice = signed(once, signer)
    first, second = verdicts(twice, signer)
    assert (first.bottom_line, second.bottom_line) == (True, True)
    # Our own look at what was signed before agrees.
    assert [each.field for each in examine(twice).signatures] == ["Signature1", "Signature2"]
    (tmp_path / "signed.pdf").write_bytes(once)
    said = subprocess.run(["qpdf", "--check", tmp_path / "signed.pdf"], check=False, capture_output=True, text=True)
    assert "xref" not in said.stderr
    assert "damaged" not in said.stderr


@pytest.mark.parametrize("case", OTHER)
def test_a_document_that_needs_more_gets_pyhankos(monkeypatch: pytest.MonkeyPatch, signer: Hand, case: str) -> None:
    document = OTHER[case]()
    found: list[object] = []
    written = plain.revision

    def seen(*arguments: Any) -> object:
        found.append(written(*arguments))
        return found[-1]

    monkeypatch.setattr(plain, "revision", seen)
    try:
        made = prepared(document, signer, Stated())
    except DocumentNotAcceptable:
        made = None
    assert found == [None]
    monkeypatch.setattr(plain, "revision", written)
    if made is not None:
        assert contents(made.octets) == contents(by_pyhanko(monkeypatch, document, signer, Stated()).octets)


def test_objects_in_a_stream_are_not_taken_as_they_stand(signer: Hand, tmp_path: Path) -> None:
    before, after = tmp_path / "before.pdf", tmp_path / "after.pdf"
    before.write_bytes(blank_pdf())
    subprocess.run(["qpdf", "--object-streams=generate", before, after], check=True)
    (verdict,) = verdicts(signed(after.read_bytes(), signer), signer)
    assert verdict.bottom_line


def test_the_extensions_are_those_of_the_key_and_not_of_the_signer_before() -> None:
    elliptic = hand(ec.generate_private_key(ec.SECP256R1()), SignatureAlgorithm("ecdsa", SHA256))
    other = hand(rsa.generate_private_key(65537, 3072), SignatureAlgorithm("rsa-pss", SHA256, 32))
    said = {
        place: "/ISO_" in _READER(BytesIO(prepared(blank_pdf(), each, Stated()).octets)).root["/Extensions"]
        for place, each in enumerate((elliptic, other, elliptic))
    }
    assert said == {0: True, 1: False, 2: True}


@pytest.mark.parametrize("by_hand", [True, False])
def test_SIG_02_what_was_approved_is_not_replaced_by_objects_of_the_revision(
    monkeypatch: pytest.MonkeyPatch, signer: Hand, by_hand: bool
) -> None:
    if not by_hand:
        monkeypatch.setattr(pades, "_plain", lambda *_: None)
    document = hostile.vanishing(5)
    with pytest.raises(DocumentNotAcceptable):
        prepared(document, signer, Stated())
    sound = hostile.vanishing(9)
    numbers = {number for number, _ in references(_READER(BytesIO(sound)))}
    added = _READER(BytesIO(prepared(sound, signer, Stated()).octets)).xrefs.get_xref_data(1).explicit_refs_in_revision
    assert {number for number, _ in added} & numbers == {1, 3}
