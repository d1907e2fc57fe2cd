"""What a document is, before it is signed: refused with the reason, or accepted with what is to be said of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from documents.bounds import Bounds
from documents.errors import REASONS, DocumentRefused, ExaminerUnavailable
from documents.examine import examine
from documents.examiner import Examiner, ExaminerSettings, _answer
from documents.findings import ACTIVE, APPEARANCE, Examination, Finding, Page
from foundation.errors import SandboxUnavailable
from signing.sam.algorithms import SHA256, SignatureAlgorithm
from tests import hostile
from tests.documents import Hand, blank_pdf, hand

SMALL = 192 * 1024 * 1024
"""Octets of address space: with less than that every one of these is survived."""
ACCEPTED: Mapping[str, Callable[[], bytes]] = {
    "plain": hostile.plain,
    "of a library": blank_pdf,
    "PDF 2.0": lambda: hostile.written(hostile.objects(), version=b"2.0"),
    "PDF/A": lambda: hostile.written(
        hostile.objects(
            catalog=b"/Metadata 8 0 R /OutputIntents [<< /Type /OutputIntent /S /GTS_PDFA1 >>]",
            more={8: hostile.stream(b"<x:xmpmeta/>", b"/Type /Metadata /Subtype /XML")},
        )
    ),
    "linearised": hostile.linearised,
    "rather deep": lambda: hostile.nested(60),
    "a dangling reference": lambda: hostile.written(hostile.objects(b"/Annots 5 0 R")),
    "a size that is too small by one": lambda: hostile.vanishing(9),
}


@pytest.fixture(scope="module")
def examiner() -> Iterator[Examiner]:
    made = Examiner(ExaminerSettings(workers=1, wait_seconds=300.0, memory=SMALL, seconds=60))
    yield made
    made.close()


@pytest.fixture(scope="module")
def signer() -> Hand:
    return hand(ec.generate_private_key(ec.SECP256R1()), SignatureAlgorithm("ecdsa", SHA256))


@pytest.fixture(scope="module")
def signed(signer: Hand) -> bytes:
    return hostile.signed(hostile.shadow_before(), signer)


@pytest.mark.parametrize("case", ACCEPTED)
def test_SIG_10_what_is_sound_is_accepted_and_nothing_is_said_of_it(examiner: Examiner, case: str) -> None:
    found = examiner.examine(ACCEPTED[case]())
    assert (found.findings, found.signatures, len(found.pages)) == ((), (), 1)


@pytest.mark.parametrize("case", hostile.REFUSED)
def test_SIG_10_DOS_01_what_is_not_to_be_signed_is_refused_and_the_next_is_examined(
    examiner: Examiner, case: str
) -> None:
    reason, make = hostile.REFUSED[case]
    with pytest.raises(DocumentRefused) as refused:
        examiner.examine(make())
    assert refused.value.reason == reason
    assert examiner.examine(hostile.plain()).version == "1.7"


@pytest.mark.parametrize("code", hostile.FINDINGS)
def test_what_does_something_or_can_look_otherwise_is_found(code: str) -> None:
    assert code in {finding.code for finding in examine(hostile.FINDINGS[code]()).findings}


def test_every_code_is_provoked() -> None:
    assert {*hostile.FINDINGS, "fields_changed"} == ACTIVE | APPEARANCE
    assert not ACTIVE & APPEARANCE


def test_a_finding_says_on_which_page_it_is() -> None:
    assert examine(hostile.FINDINGS["hidden_annotation"]()).findings == (Finding("hidden_annotation", 1),)
    assert examine(hostile.FINDINGS["unused_content"]()).findings == (Finding("unused_content"),)


def test_no_finding_goes_untold_for_another_that_is_on_every_page() -> None:
    kids = range(10, 10 + 600)
    link = b"/Annots [<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /A << /S /%s /URI (http://x.example/) >> >>]"
    pages = {number: hostile.PAGE % (link % (b"Launch" if number == kids[-1] else b"URI")) for number in kids}
    tree = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(b"%d 0 R" % each for each in kids), len(kids))
    document = hostile.written({**hostile.objects(), 2: tree, **pages})
    codes = {finding.code for finding in examine(document).findings}
    assert {"uri_action", "launch_action"} <= codes


@pytest.mark.parametrize(
    ("code", "number", "stated", "other"),
    [
        ("optional_content", 1, b"/Type /Catalog", b""),
        ("optional_content", 1, b"/Type /Catalog", b"/Type /Font"),
        ("launch_action", 5, b"/Type /Action", b"/Type /StructElem"),
    ],
)
def test_what_an_object_says_of_its_type_hides_nothing(code: str, number: int, stated: bytes, other: bytes) -> None:
    catalog = b"/OCProperties << /OCGs [6 0 R] /D << >> >> /OpenAction 5 0 R"
    more = {5: b"<< /Type /Action /S /Launch /F (x) >>", 6: b"<< /Type /OCG /Name (x) >>"}
    contents = hostile.objects(catalog=catalog, more=more)
    contents[number] = contents[number].replace(stated, other)
    assert code in {finding.code for finding in examine(hostile.written(contents)).findings}


@pytest.mark.parametrize(
    ("kind", "flags", "told"),
    [
        (b"/Stamp", b"", True),
        (b"/Stamp", b"/F 64", True),
        (b"/Stamp", b"/F 4", False),
        (b"/Link", b"", True),
        (b"/Popup", b"", False),
        (b"/Widget /FT /Sig /T (s)", b"", True),
        (b"/Widget /FT /Sig /T (s)", b"/F 132", False),
    ],
)
def test_what_is_on_the_screen_and_not_on_the_pictures_is_told(kind: bytes, flags: bytes, told: bool) -> None:
    seen = b"<< /Type /Annot /Subtype %s /Rect [9 9 90 90] %s /AP << /N 6 0 R >> >>" % (kind, flags)
    form = hostile.stream(b"0 0 81 81 re f", b"/Type /XObject /Subtype /Form /BBox [0 0 81 81]")
    document = hostile.written(hostile.objects(b"/Annots [5 0 R]", more={5: seen, 6: form}))
    assert ("hidden_annotation" in {finding.code for finding in examine(document).findings}) is told
    link = examine(hostile.FINDINGS["uri_action"]()).findings
    assert "hidden_annotation" not in {finding.code for finding in link}, "nothing of it is to be seen"


def test_a_page_is_measured_and_turned_as_its_tree_says() -> None:
    tree = {2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 /Rotate 450 /CropBox [10 10 110 60] >>"}
    assert examine(hostile.written(hostile.objects(more=tree))).pages == (Page(100.0, 50.0, 90, 10.0, 10.0),)


def test_SIG_09_signatures_that_are_whole_are_told_and_may_be_followed_by_another(signed: bytes, signer: Hand) -> None:
    (one,) = examine(signed).signatures
    assert (one.field, one.kind, one.whole_document) == ("Signature1", "approval", True)
    assert "Alice Example" in one.signer
    first, second = examine(hostile.signed(signed, signer, "Signature2")).signatures
    assert (first.whole_document, second.whole_document) == (False, True)


def test_SIG_09_revisions_of_two_who_signed_at_once_cannot_be_put_together(signer: Hand) -> None:
    base = hostile.plain()
    one, other = hostile.signed(base, signer, "Signature1"), hostile.signed(base, signer, "Signature2")
    assert one.startswith(base)
    assert other.startswith(base)
    for merged in (one + other[len(base) :], other + one[len(base) :]):
        with pytest.raises(DocumentRefused):
            examine(merged)


@pytest.mark.parametrize("attack", hostile.ATTACKS)
def test_SIG_02_what_was_changed_behind_a_signature_is_refused(signed: bytes, attack: str) -> None:
    reason, alter = hostile.ATTACKS[attack]
    with pytest.raises(DocumentRefused) as refused:
        examine(alter(signed))
    assert refused.value.reason == reason


def test_SIG_02_a_field_that_was_filled_behind_a_signature_is_told(signed: bytes) -> None:
    codes = {finding.code for finding in examine(hostile.shadow_replace_field(signed)).findings}
    assert codes >= {"fields_changed", "field_shows_other_value"}


def test_SIG_02_what_lies_ready_before_the_first_signature_is_told() -> None:
    codes = {finding.code for finding in examine(hostile.shadow_before()).findings}
    assert codes == {"unused_content", "font_not_embedded", "form_fields"}


def test_a_document_certified_as_final_takes_no_signature(signer: Hand) -> None:
    with pytest.raises(DocumentRefused) as refused:
        examine(hostile.signed(hostile.plain(), signer, permissions=1))
    assert refused.value.reason == "certified_final"
    (found,) = examine(hostile.signed(hostile.plain(), signer, permissions=2)).signatures
    assert found.kind == "certification"


@pytest.mark.parametrize("bomb", hostile.ASN1)
def test_DOS_01_ASN_1_in_a_signature_that_has_no_end_is_refused(examiner: Examiner, signed: bytes, bomb: str) -> None:
    with pytest.raises(DocumentRefused) as refused:
        examiner.examine(hostile.forged_contents(b"<%s>" % hostile.ASN1[bomb].hex().encode())(signed))
    assert refused.value.reason in {"signature_broken", "too_deep", "malformed"}
    assert examiner.examine(hostile.plain()).version == "1.7"


def test_bounds_are_the_settings() -> None:
    bounds = Bounds(octets=1000, objects=4, pages=1)
    assert Bounds.of_text(bounds.text()) == bounds
    assert examine(hostile.plain(), bounds).objects == 4
    for document, reason in (
        (hostile.plain() + b" " * 600, "too_large"),
        (hostile.second_document(), "too_many_objects"),
    ):
        with pytest.raises(DocumentRefused) as refused:
            examine(document, bounds)
        assert refused.value.reason == reason


def test_what_takes_too_much_of_the_process_is_refused_as_that() -> None:
    bounds = Bounds(pages=10**6, objects=10**6)
    hasty = Examiner(ExaminerSettings(workers=1, wait_seconds=300.0, memory=SMALL, seconds=1, bounds=bounds))
    try:
        with pytest.raises(DocumentRefused) as refused:
            hasty.examine(hostile.many_pages(300_000))
    finally:
        hasty.close()
    # Memory or time, whichever is over first.
    assert (refused.value.reason, refused.value.detail) in {("too_complex", "too_long"), ("too_complex", "too_large")}


def test_nobody_there_to_look_is_not_a_refusal(examiner: Examiner, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object) -> list[bytes]:
        raise SandboxUnavailable("busy")

    monkeypatch.setattr(examiner._pool, "run_some", nobody)
    with pytest.raises(ExaminerUnavailable):
        examiner.examine(hostile.plain())


def test_many_are_examined_in_their_order_until_one_is_refused(examiner: Examiner) -> None:
    javascript = hostile.FINDINGS["javascript"]()
    large = hostile.plain() + b" " * examiner._bounds.octets
    examined = examiner.examine_all([*[hostile.plain()] * 5, javascript, *[hostile.plain()] * 5, large, b""])
    told = [[finding.code for finding in found.findings] for found in islice(examined, 11)]
    with pytest.raises(DocumentRefused) as refused:
        next(examined)
    assert refused.value.reason == "too_large"
    assert ["javascript" in codes for codes in told] == [False] * 5 + [True] + [False] * 5


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"refused": "x"}', b'{"findings": 1}', b"\xff"])
def test_a_confined_process_is_not_believed_more_than_its_file(answer: bytes) -> None:
    with pytest.raises(DocumentRefused):
        _answer(answer)


def test_an_examination_survives_its_way_out(signed: bytes) -> None:
    found = examine(signed)
    assert Examination.from_json(found.to_json()) == found
    assert json.loads(found.to_json())["objects"] == found.objects


def test_every_reason_is_told_in_words() -> None:
    assert all(text and text[0].islower() and not text.endswith(".") for text in REASONS.values())


def test_every_reason_and_finding_is_documented() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "documents.md").read_text(encoding="utf-8")
    assert {code for code in {*REASONS, *ACTIVE, *APPEARANCE} if f"`{code}`" not in page} == set()
