"""What is recorded of the documents that a person was shown."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from anchoring.standalone import Broken, check_shown
from auditlog.catalogue import recordable_text
from documents.findings import ACTIVE, APPEARANCE
from idp.activation.shown import NOT_FETCHED, Shown, digest_of, lines_of

DIGESTS = [bytes([number]) * 32 for number in range(3)]
FOUND = (("uri_action", 2), ("javascript", 0), ("uri_action", 1))
SEEN = Shown("shown", octets=1200, pages=3, renderer="pdfium/1.2", findings=FOUND)
DOCUMENTS = [SEEN, Shown("unreadable", "not_a_pdf", octets=7), NOT_FETCHED]


def test_each_document_has_a_line() -> None:
    assert lines_of(DIGESTS, DOCUMENTS) == (
        f"{'00' * 32} shown octets=1200 pages=3 renderer=pdfium/1.2 findings=javascript,uri_action",
        f"{'01' * 32} unreadable octets=7 cause=not_a_pdf",
        f"{'02' * 32} failed cause=not_fetched",
    )


def test_a_line_has_room_in_a_record_whatever_was_found() -> None:
    for codes in (ACTIVE, APPEARANCE, ACTIVE | APPEARANCE):
        found = tuple((code, 1) for code in codes)
        most = Shown("shown", octets=10**9, pages=10**6, renderer="pdfium/" + "9" * 20, findings=found)
        (line,) = lines_of([b"x" * 64], [most])
        assert recordable_text(line)


def test_what_is_told_has_each_finding_once_with_its_pages() -> None:
    assert SEEN.told == (("uri_action", (1, 2)), ("javascript", ()))


def test_it_is_read_as_it_was_written() -> None:
    for item in DOCUMENTS:
        assert Shown.from_json(json.loads(json.dumps(item.to_json()))) == item


def recorded(**changes: Any) -> dict[str, Any]:
    lines = list(lines_of(DIGESTS, DOCUMENTS))
    return {"digests": [item.hex() for item in DIGESTS], "shown": lines, "shown_sha256": digest_of(lines), **changes}


def test_an_auditor_computes_the_same_digest() -> None:
    check_shown(recorded())
    check_shown({"digests": ["x"]})
    text = "privyseal-shown-1\n" + "".join(f"{line}\n" for line in lines_of(DIGESTS, DOCUMENTS))
    assert hashlib.sha256(text.encode()).hexdigest() == recorded()["shown_sha256"]


@pytest.mark.parametrize(
    "changes",
    [
        {"shown": list(lines_of(DIGESTS, [*DOCUMENTS[:2], SEEN]))},
        {"shown_sha256": "0" * 64},
        {"shown_sha256": None},
        {"digests": [item.hex() for item in reversed(DIGESTS)]},
        {"digests": [DIGESTS[0].hex()]},
    ],
)
def test_an_auditor_sees_that_something_else_was_shown(changes: dict[str, Any]) -> None:
    with pytest.raises(Broken, match="what was shown"):
        check_shown(recorded(**changes))
