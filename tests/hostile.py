"""PDFs that a guard has to know: made here, octet by octet, each for one thing that is wrong with it or in it.

The attacks on signed documents are those of Mladenov and others (CCS 2019: signature wrapping, universal forgery,
incremental saving) and of Mainka and others (NDSS 2021: shadow documents); they are built from their descriptions.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from asn1crypto import cms
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import PdfFileWriter, copy_into_new_writer

from tests.documents import Hand, cms_of, prepared_pdf

_READER: Any = PdfFileReader
_COPY: Any = copy_into_new_writer
_WRITER: Any = PdfFileWriter

PAGE = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R %s >>"
FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"


def stream(octets: bytes, head: bytes = b"") -> bytes:
    """An object's text with a stream."""
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(octets), head, octets)


def objects(page: bytes = b"", catalog: bytes = b"", more: Mapping[int, bytes] | None = None) -> dict[int, bytes]:
    """A document of one page with additions."""
    return {
        1: b"<< /Type /Catalog /Pages 2 0 R %s >>" % catalog,
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: PAGE % page,
        4: stream(b"0 0 m 10 10 l S"),
        **(more or {}),
    }


def written(contents: Mapping[int, bytes], trailer: bytes = b"", version: bytes = b"1.7", header: bytes = b"") -> bytes:
    """A file with a classical cross-reference table."""
    out = bytearray(header or b"%%PDF-%s\n%%\xe2\xe3\xcf\xd3\n" % version)
    return bytes(_section(out, contents, trailer, max(contents) + 1))


def updated(document: bytes, contents: Mapping[int, bytes], trailer: bytes = b"") -> bytes:
    """An incremental update."""
    reader = _READER(BytesIO(document))
    size = max(int(reader.trailer["/Size"]), max(contents, default=0) + 1)
    out = bytearray(document if document.endswith(b"\n") else document + b"\n")
    return bytes(_section(out, contents, b"/Prev %d %s" % (reader.last_startxref, trailer), size))


def _section(out: bytearray, contents: Mapping[int, bytes], trailer: bytes, size: int) -> bytearray:
    places = {}
    for number, text in sorted(contents.items()):
        places[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, text)
    start = len(out)
    out += b"xref\n"
    if b"/Prev" not in trailer or not contents:
        out += b"0 1\n0000000000 65535 f \n"
    for number, place in places.items():
        out += b"%d 1\n%010d 00000 n \n" % (number, place)
    root = b"" if b"/Root" in trailer else b"/Root 1 0 R"
    out += b"trailer\n<< /Size %d %s %s >>\nstartxref\n%d\n%%%%EOF\n" % (size, root, trailer, start)
    return out


def plain() -> bytes:
    """Nothing wrong with it."""
    return written(objects())


def with_stream_table(contents: Mapping[int, bytes], size: int) -> bytes:
    """A file whose cross-reference table is a stream, the object after the last one; it may say any size."""
    out, places = bytearray(b"%PDF-1.7\n"), {}
    table = max(contents) + 1
    for number, text in sorted(contents.items()):
        places[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, text)
    start = places[table] = len(out)
    rows = b"\0\0\0\0\0\xff\xff" + b"".join(b"\1%b\0\0" % places[each].to_bytes(4, "big") for each in sorted(places))
    index = b"0 1 " + b" ".join(b"%d 1" % each for each in sorted(places))
    head = b"/Type /XRef /Size %d /Root 1 0 R /W [1 4 2] /Index [%b]" % (size, index)
    out += b"%d 0 obj\n%s\nendobj\nstartxref\n%d\n%%%%EOF\n" % (table, stream(rows, head), start)
    return bytes(out)


def vanishing(size: int, text: int = 8) -> bytes:
    """The second part of its page has the number that the next signature's dictionary would have."""
    content = {text: stream(b"BT (I do not agree) Tj ET")}
    return with_stream_table(objects(more={**content, 3: PAGE.replace(b"4 0 R", b"[4 0 R %d 0 R]" % text) % b""}), size)


def linearised() -> bytes:
    """The first page's table comes first and refers to one behind it (ISO 32000-2 annex F)."""
    first = bytearray(b"%PDF-1.7\n")
    first += b"5 0 obj\n<< /Linearized 1 /L 0000 /H [0 0] /O 3 /E 0 /N 1 /T 0 >>\nendobj\n"
    table = len(first)
    size = len(b"xref\n3 3\n") + 3 * 20 + len(b"trailer\n<< /Size 6 /Root 1 0 R /Prev 00000 >>\nstartxref\n0\n%%EOF\n")
    parts, places, at = [], {}, table + size
    for number in (3, 4, 1, 2):
        text = b"%d 0 obj\n%s\nendobj\n" % (number, objects()[number])
        places[number] = at
        at += len(text)
        parts.append(text)
    first += b"xref\n3 3\n%010d 00000 n \n%010d 00000 n \n%010d 00000 n \n" % (places[3], places[4], 9)
    first += b"trailer\n<< /Size 6 /Root 1 0 R /Prev %05d >>\nstartxref\n0\n%%%%EOF\n" % at
    first += b"".join(parts)
    first += b"xref\n0 3\n0000000000 65535 f \n%010d 00000 n \n%010d 00000 n \n" % (places[1], places[2])
    first += b"trailer\n<< /Size 3 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % table
    return bytes(first)


def large(octets: int) -> bytes:
    """An image of that many octets, which are not compressed."""
    image = stream(bytes(range(256)) * (octets // 256), b"/Subtype /Image /Width 4096 /Height %d" % (octets // 4096))
    return written(objects(b"/Resources << /XObject << /I 5 0 R >> >>", more={5: image}))


# What is refused, by reason.


def nested(depth: int) -> bytes:
    """Arrays in one another."""
    return written(objects(more={5: b"[" * depth + b"]" * depth}, page=b"/Deep 5 0 R"))


def chained(depth: int) -> bytes:
    """A tree of pages that is a chain."""
    tree = {
        number: b"<< /Type /Pages /Kids [%d 0 R] /Count 1 >>" % (number + 1 if number < 9 + depth else 3)
        for number in range(10, 10 + depth)
    }
    return written(objects(more={**tree, 2: b"<< /Type /Pages /Kids [10 0 R] /Count 1 >>"}))


def bomb(octets: int, layers: int = 1) -> bytes:
    """A content stream that is that long once it is decompressed."""
    squeezed = _zeros(octets)
    for _ in range(layers - 1):
        squeezed = zlib.compress(squeezed, 9)
    filters = b"/Filter [%s]" % b" ".join([b"/FlateDecode"] * layers)
    return written(objects(more={4: stream(squeezed, filters)}))


def _zeros(octets: int) -> bytes:
    squeezer, piece = zlib.compressobj(9), bytes(1 << 20)
    parts = [squeezer.compress(piece) for _ in range(octets >> 20)]
    return b"".join((*parts, squeezer.flush()))


def object_stream_bomb(octets: int) -> bytes:
    """Objects in a stream that is that long; the cross-reference is a stream of its own."""
    squeezed = _zeros(octets)
    head = b"%PDF-1.7\n"
    holder = b"5 0 obj\n%s\nendobj\n" % stream(squeezed, b"/Type /ObjStm /N 4 /First 20 /Filter /FlateDecode")
    rows = [
        b"\0\0\0\0\xff",
        *(b"\2\0\0\5" + bytes([place]) for place in range(4)),
        b"\1" + len(head).to_bytes(3) + b"\0",
    ]
    start = len(head) + len(holder)
    rows.append(b"\1" + start.to_bytes(3) + b"\0")
    table = b"6 0 obj\n%s\nendobj\n" % stream(b"".join(rows), b"/Type /XRef /W [1 3 1] /Size 7 /Root 1 0 R")
    return b"%s%s%sstartxref\n%d\n%%%%EOF\n" % (head, holder, table, start)


def reference_loop() -> bytes:
    """A cross-reference table that comes before itself."""
    document = plain()
    start = int(document.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    return written(objects(), b"/Prev %d" % start).replace(b"xref\n1 1", b"xref\n0 1\n0000000000 65535 f \n1 1", 1)


def page_loop() -> bytes:
    """A tree of pages that contains itself."""
    return written(objects(more={2: b"<< /Type /Pages /Kids [2 0 R] /Count 1 >>"}))


def encrypted() -> bytes:
    """With a password."""
    writer = _COPY(_READER(BytesIO(plain())))
    writer.encrypt("owner", "user")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def encrypted_by_name_only() -> bytes:
    """With a trailer that says so, and nothing behind it."""
    return written(objects(more={9: b"<< /Filter /Standard >>"}), b"/Encrypt 9 0 R")


def xfa() -> bytes:
    """A form that is XML."""
    form = b"/AcroForm << /Fields [] /XFA 9 0 R >>"
    return written(objects(catalog=form, more={9: stream(b"<xdp:xdp/>")}))


def hybrid() -> bytes:
    """A table, and beside it a stream that only newer readers see (ISO 32000-2 7.5.8.4)."""
    head = b"%PDF-1.7\n"
    rows = b"\1" + (0).to_bytes(3) + b"\0"
    table = b"9 0 obj\n%s\nendobj\n" % stream(rows, b"/Type /XRef /W [1 3 1] /Index [8 1] /Size 10 /Root 1 0 R")
    return bytes(_section(bytearray(head + table), objects(), b"/XRefStm %d" % len(head), 10))


def many_objects(count: int) -> bytes:
    """So many, each of no use."""
    return written(objects(more=dict.fromkeys(range(10, 10 + count), b"null")))


def many_pages(count: int) -> bytes:
    """So many pages, of no content."""
    kids = range(10, 10 + count)
    tree = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (count, b" ".join(b"%d 0 R" % kid for kid in kids))
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>"
    return written(objects(more={2: tree, **dict.fromkeys(kids, page)}))


def many_revisions(count: int) -> bytes:
    """So many updates."""
    document = bytearray(plain())
    start = int(bytes(document).rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    for _ in range(count):
        before = len(document)
        _section(document, {}, b"/Prev %d" % start, 5)
        start = before
    return bytes(document)


def large_image() -> bytes:
    """An image of ten thousand million pixels."""
    image = stream(b"", b"/Type /XObject /Subtype /Image /Width 100000 /Height 100000 /Filter /JBIG2Decode")
    return written(objects(b"/Resources << /XObject << /I 5 0 R >> >>", more={5: image}))


REFUSED: Mapping[str, tuple[str, Callable[[], bytes]]] = {
    "one octet": ("not_a_pdf", lambda: b"%"),
    "nothing": ("not_a_pdf", lambda: b""),
    "text": ("not_a_pdf", lambda: b"text"),
    "the header alone": ("malformed", lambda: b"%PDF-1.7\n"),
    "cut off": ("malformed", lambda: plain()[:-30]),
    "objects beyond the size": ("malformed", lambda: vanishing(5)),
    "a reference beyond the size": ("malformed", lambda: written(objects(b"/Thumb 6 0 R"))),
    "a parent beyond the size": ("malformed", lambda: written(objects(b"/B << /Parent 6 0 R >>"))),
    "a size that nobody counts to": ("malformed", lambda: vanishing(8_388_608)),
    "octets behind": ("malformed", lambda: plain() + b"4 0 obj\n(other)\nendobj\n"),
    "no tree of pages": ("malformed", lambda: written(objects(more={2: b"null"}))),
    "no page": ("malformed", lambda: written(objects(more={2: b"<< /Type /Pages /Kids [] /Count 0 >>"}))),
    "a loop of tables": ("malformed", reference_loop),
    "a loop of pages": ("malformed", page_loop),
    "an object that is itself": ("malformed", lambda: written(objects(b"/X 5 0 R", more={5: b"5 0 R"}))),
    "deep": ("too_deep", lambda: nested(70)),
    "very deep": ("too_deep", lambda: nested(100_000)),
    "a deep tree": ("too_deep", lambda: chained(100)),
    "encrypted": ("encrypted", encrypted),
    "encrypted by name": ("encrypted", encrypted_by_name_only),
    "XFA": ("xfa", xfa),
    "hybrid": ("hybrid", hybrid),
    "bomb": ("expands_too_far", lambda: bomb(256 << 20)),
    "bomb in a bomb": ("expands_too_far", lambda: bomb(256 << 20, 2)),
    "many filters": ("expands_too_far", lambda: bomb(1 << 20, 5)),
    "bomb of objects": ("expands_too_far", lambda: object_stream_bomb(64 << 20)),
    "image": ("expands_too_far", large_image),
    "objects": ("too_many_objects", lambda: many_objects(200_001)),
    "pages": ("too_many_objects", lambda: many_pages(5_001)),
    "revisions": ("too_many_objects", lambda: many_revisions(201)),
}
"""By what is wrong with it, the reason."""


# What is told.


def _action(action: bytes) -> bytes:
    return written(objects(catalog=b"/OpenAction 5 0 R", more={5: action}))


def _annotation(annotation: bytes, more: Mapping[int, bytes] | None = None, catalog: bytes = b"") -> bytes:
    return written(objects(b"/Annots [5 0 R]", catalog, {5: annotation, **(more or {})}))


def text_field(value: bytes, shown: bytes) -> bytes:
    """A text field whose appearance is a stream of its own."""
    widget = (
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (amount) /V (%s) /Rect [9 9 99 29] /AP << /N 6 0 R >> >>" % value
    )
    look = stream(b"/Tx BMC BT (%s) Tj ET EMC" % shown, b"/Type /XObject /Subtype /Form /BBox [0 0 90 20]")
    return _annotation(widget, {6: look}, b"/AcroForm << /Fields [5 0 R] >>")


def second_document() -> bytes:
    """Another page and its tree, that nothing refers to yet: a later revision would need one line."""
    return written(
        objects(more={8: b"<< /Type /Pages /Kids [9 0 R] /Count 1 >>", 9: PAGE.replace(b"2 0 R", b"8 0 R") % b""})
    )


FINDINGS: Mapping[str, Callable[[], bytes]] = {
    "javascript": lambda: _action(b"<< /S /JavaScript /JS (app.alert\\(1\\)) >>"),
    "launch_action": lambda: _action(b"<< /Type /Action /S /Launch /F (x) >>"),
    "uri_action": lambda: _annotation(
        b"<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /A << /S /URI /URI (http://x.example/) >> >>"
    ),
    "submit_action": lambda: _action(b"<< /S /SubmitForm /F (http://x.example/) >>"),
    "import_action": lambda: _action(b"<< /S /ImportData /F (x.fdf) >>"),
    "remote_action": lambda: _action(b"<< /S /GoToR /F (x.pdf) /D [0 /Fit] >>"),
    "media_action": lambda: _action(b"<< /S /Rendition /OP 0 >>"),
    "automatic_action": lambda: written(objects(b"/AA << /O << /S /Named /N /NextPage >> >>")),
    "embedded_file": lambda: written(
        objects(
            catalog=b"/Names << /EmbeddedFiles << /Names [(x) 5 0 R] >> >>",
            more={5: b"<< /Type /Filespec /F (x) /EF << /F 6 0 R >> >>", 6: stream(b"x", b"/Type /EmbeddedFile")},
        )
    ),
    "multimedia": lambda: _annotation(b"<< /Type /Annot /Subtype /RichMedia /Rect [0 0 9 9] >>"),
    "optional_content": lambda: written(
        objects(catalog=b"/OCProperties << /OCGs [5 0 R] /D << >> >>", more={5: b"<< /Type /OCG /Name (x) >>"})
    ),
    "external_content": lambda: written(objects(more={4: stream(b"", b"/F (elsewhere.bin)")})),
    "alternate_image": lambda: written(
        objects(
            b"/Resources << /XObject << /I 5 0 R >> >>",
            more={
                5: stream(b"x", b"/Subtype /Image /Width 1 /Height 1 /Alternates [<< /Image 6 0 R >>]"),
                6: stream(b"y", b"/Subtype /Image /Width 1 /Height 1"),
            },
        )
    ),
    "font_not_embedded": lambda: written(objects(b"/Resources << /Font << /F1 5 0 R >> >>", more={5: FONT})),
    "form_fields": lambda: text_field(b"100", b"100"),
    "appearance_missing": lambda: _annotation(
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (x) /Rect [0 0 9 9] >>",
        catalog=b"/AcroForm << /Fields [5 0 R] >>",
    ),
    "field_shows_other_value": lambda: text_field(b"1000000", b"100"),
    "hidden_annotation": lambda: _annotation(b"<< /Type /Annot /Subtype /FreeText /Rect [0 0 9 9] /F 2 >>"),
    "unused_content": second_document,
}
"""For each code a document in which it is found."""


# Signed, and then changed.


def signed(document: bytes, hand: Hand, field: str = "Signature1", permissions: int | None = None) -> bytes:
    """With a signature by that hand.

    :param permissions: of a certification (ISO 32000-2 table 257).
    """
    prepared = prepared_pdf(document, hand, field=field, permissions=permissions)
    start, before, after, rest = prepared.byte_range
    covered = prepared.octets[start:before] + prepared.octets[after : after + rest]
    return prepared.filled(container(covered, hand))


def container(covered: bytes, hand: Hand) -> bytes:
    """CMS over octets, with the least attributes."""
    attributes = cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
            cms.CMSAttribute({"type": "message_digest", "values": [hand.digest(covered)]}),
        ]
    ).dump()
    return cms_of(hand.der, hand.algorithm, attributes, hand.sign(hand.digest(attributes)))


def _behind(document: bytes) -> tuple[list[int], int]:
    """Byte range of the only signature, and number of its object's dictionary field."""
    reader = _READER(BytesIO(document))
    (signature,) = reader.embedded_signatures
    return [int(item) for item in signature.byte_range], signature.sig_field.raw_get("/V").idnum


def _value_object(document: bytes) -> tuple[int, bytes]:
    """Number and text of the signature's dictionary."""
    _, number = _behind(document)
    return number, _text(document, number)


def _text(document: bytes, number: int) -> bytes:
    start = document.rindex(b"\n%d 0 obj" % number) + 1
    return document[document.index(b"obj", start) + 3 : document.index(b"endobj", start)].strip()


def forged_without(key: bytes) -> Callable[[bytes], bytes]:
    """Universal forgery: the signature's dictionary anew, without what it would be checked by."""

    def attack(document: bytes) -> bytes:
        number, text = _value_object(document)
        assert key in text
        return updated(document, {number: text.replace(key, b"/Zz" + key[3:], 1), 4: stream(b"other")})

    return attack


def forged_contents(value: bytes) -> Callable[[bytes], bytes]:
    """Universal forgery: another value in the value's place."""

    def attack(document: bytes) -> bytes:
        number, text = _value_object(document)
        start = text.index(b"/Contents") + len(b"/Contents")
        end = text.index(b">", start) + 1
        return updated(document, {number: text[:start] + b" " + value + text[end:]})

    return attack


def forged_range(byte_range: bytes) -> Callable[[bytes], bytes]:
    """Universal forgery: another byte range."""

    def attack(document: bytes) -> bytes:
        number, text = _value_object(document)
        start = text.index(b"/ByteRange") + len(b"/ByteRange")
        end = text.index(b"]", start) + 1
        return updated(document, {number: text[:start] + b" " + byte_range + text[end:]})

    return attack


def other_kind(document: bytes) -> bytes:
    """A kind of signature that nobody here knows: it would be passed over."""
    number, text = _value_object(document)
    return updated(document, {number: text.replace(b"/ETSI.CAdES.detached", b"/adbe.x509.rsa_sha1", 1)})


def saved_incrementally(document: bytes) -> bytes:
    """Incremental saving: another content behind the signature."""
    return updated(document, {4: stream(b"0 0 m 99 99 l S")})


def wrapped(document: bytes) -> bytes:
    """Signature wrapping: what was covered behind the value comes again at the end, where the range now looks for it;

    where the last table was is another, with another content."""
    (_, before, after, rest), _ = _behind(document)
    reader = _READER(BytesIO(document))
    place = int(reader.last_startxref)
    kept = reader.xrefs.get_xref_data(reader.xrefs.total_revisions - 1).standard_xrefs
    trailer = document[document.rindex(b"trailer") : document.rindex(b"startxref")]
    entries = {number: b"%010d 00000 n" % offset for number, (_, offset) in kept.items()}
    other = b"4 0 obj\n%s\nendobj\n" % stream(b"other")
    table = b"xref\n%s%s"
    entries[4] = b"%010d 00000 n" % 0
    text = b"".join(b"%d 1\n%s \n" % each for each in sorted(entries.items()))
    start = place + len(table % (text, trailer))
    entries[4] = b"%010d 00000 n" % start
    text = b"".join(b"%d 1\n%s \n" % each for each in sorted(entries.items()))
    moved = start + len(other)
    made = document[:place] + table % (text, trailer) + other + document[after : after + rest]
    number = document.rindex(b"/ByteRange")
    end = document.index(b"]", number) + 1
    text = b"/ByteRange [0 %d %d %d]" % (before, moved, rest)
    blank = len(document[end:]) - len(document[end:].lstrip())
    assert len(text) <= end - number + blank
    return made[:number] + text.ljust(end - number) + made[number + len(text.ljust(end - number)) :]


def flipped(document: bytes) -> bytes:
    """One octet of what is covered is another."""
    return document.replace(b"(AB)", b"(AC)", 1)


def value_altered(document: bytes) -> bytes:
    """One octet of the signature's value is another."""
    (_, _, after, _), _ = _behind(document)
    place = document.rindex(b"04", 0, len(document[:after].rstrip(b">0")) - 40)
    return document[:place] + b"05" + document[place + 2 :]


def freed(document: bytes) -> bytes:
    """The content is declared free."""
    reader = _READER(BytesIO(document))
    out = bytearray(document)
    start = len(out)
    trailer = b"/Size %d /Root 1 0 R /Prev %d" % (int(reader.trailer["/Size"]), reader.last_startxref)
    out += b"xref\n0 1\n0000000004 65535 f \n4 1\n0000000000 00001 f \n"
    out += b"trailer\n<< %s >>\nstartxref\n%d\n%%%%EOF\n" % (trailer, start)
    return bytes(out)


def shadow_hide(document: bytes) -> bytes:
    """Shadow, hide: what lay over the page when it was signed is taken away (of :func:`shadow_before`)."""
    return updated(document, {7: stream(b"", b"/Type /XObject /Subtype /Form /BBox [0 0 595 842]")})


def shadow_replace(document: bytes) -> bytes:
    """Shadow, replace: a font that was said to be harmless has other glyphs, so the same octets read otherwise."""
    return updated(document, {8: FONT.replace(b">>", b"/Encoding << /Differences [65 /B /A] >> >>")})


def shadow_replace_field(document: bytes) -> bytes:
    """Shadow, replace: a field's appearance is another, its value is the same."""
    return updated(
        document, {6: stream(b"/Tx BMC BT (1000000) Tj ET EMC", b"/Type /XObject /Subtype /Form /BBox [0 0 90 20]")}
    )


def shadow_hide_and_replace(document: bytes) -> bytes:
    """Shadow, hide and replace: the tree of pages is the one that lay ready."""
    return updated(document, {1: _text(document, 1).replace(b"/Pages 2 0 R", b"/Pages 10 0 R")})


def shadow_before() -> bytes:
    """A document that is made for the four: overlay, font, field, and a second tree of pages."""
    page = b"/Annots [5 0 R] /Resources << /XObject << /X 7 0 R >> /Font << /F 8 0 R >> >>"
    look = b"/Type /XObject /Subtype /Form /BBox [0 0 90 20]"
    more = {
        4: stream(b"BT /F 12 Tf (AB) Tj ET /X Do"),
        5: b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (amount) /V (100) /Rect [9 9 99 29]/F 4 /AP << /N 6 0 R >> >>",
        6: stream(b"/Tx BMC BT (100) Tj ET EMC", look),
        7: stream(b"0 0 595 842 re f", b"/Type /XObject /Subtype /Form /BBox [0 0 595 842]"),
        8: FONT,
        10: b"<< /Type /Pages /Kids [11 0 R] /Count 1 >>",
        11: b"<< /Type /Page /Parent 10 0 R /MediaBox [0 0 595 842] /Contents 12 0 R >>",
        12: stream(b"BT (other) Tj ET"),
    }
    return written(objects(page, b"/AcroForm << /Fields [5 0 R] >>", more))


ATTACKS: Mapping[str, tuple[str, Callable[[bytes], bytes]]] = {
    "USF without ByteRange": ("signature_broken", forged_without(b"/ByteRange")),
    "USF without Contents": ("signature_broken", forged_without(b"/Contents")),
    "USF null Contents": ("signature_broken", forged_contents(b"null")),
    "USF zero Contents": ("signature_broken", forged_contents(b"<00>")),
    "USF empty Contents": ("signature_broken", forged_contents(b"<>")),
    "USF null ByteRange": ("signature_broken", forged_range(b"null")),
    "USF empty ByteRange": ("signature_broken", forged_range(b"[]")),
    "USF negative ByteRange": ("signature_broken", forged_range(b"[0 -1 -1 -1]")),
    "USF short ByteRange": ("signature_broken", forged_range(b"[0 10]")),
    "USF long ByteRange": ("signature_broken", forged_range(b"[0 10 20 99999999]")),
    "unknown kind": ("signature_broken", other_kind),
    "a value without a field": ("signature_broken", lambda document: document.replace(b"/FT /Sig", b"/XX /Sig", 1)),
    "a field without a form": ("signature_broken", lambda document: document.replace(b"/AcroForm", b"/AcroXXXX")),
    "SWA": ("malformed", wrapped),
    "octet": ("signature_broken", flipped),
    "value": ("signature_broken", value_altered),
    "ISA": ("changed_after_signature", saved_incrementally),
    "ISA by freeing": ("changed_after_signature", freed),
    "shadow hide": ("changed_after_signature", shadow_hide),
    "shadow replace": ("changed_after_signature", shadow_replace),
    "shadow hide and replace": ("changed_after_signature", shadow_hide_and_replace),
}
"""What is done to :func:`shadow_before`, once it is signed, and the reason of its refusal."""


def _indefinite(depth: int) -> bytes:
    return b"\x30\x80" * depth


def _definite(depth: int) -> bytes:
    out = b""
    for _ in range(depth):
        length = len(out).to_bytes(4, "big")
        out = b"\x30\x84" + length + out
    return out


ASN1: Mapping[str, bytes] = {
    "indefinite in one another": _indefinite(5_000),
    "in one another": _definite(1_000),
    "a length beyond all": b"\x30\x88\x7f\xff\xff\xff\xff\xff\xff\xff",
    "a length of lengths": b"\x30\xfe" + b"\xff" * 126,
    "a tag without an end": b"\x3f" + b"\xff" * 5_000,
    "an identifier without an end": b"\x30\x82\x13\x8c\x06\x82\x13\x88" + b"\xff" * 5_000,
}
"""Values that are no signature, and cost whoever reads them naively."""
