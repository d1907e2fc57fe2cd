"""The page that validates: what it says of a report, and that nobody's words in it become the page's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from portal.app import create_app
from portal.web.parts import of
from tests.integration.portal_world import PDF, World, world

PASSED = {"indication": "TOTAL_PASSED"}
SIGNATURE: dict[str, Any] = {
    "field": "Signature1",
    "format": "ETSI.CAdES.detached",
    "verdict": PASSED,
    "level": "B-LT",
    "signer": "Alice Example",
    "claimed_time": "2026-11-29T12:00:00Z",
    "proven_time": "2026-11-29T12:00:05Z",
    "modifications": {"level": "maintenance", "covers_whole_file": False, "allowed": True, "certification": "none"},
    "qualified": {"compliance": True, "sscd": False, "types": ["esign"], "countries": []},
    "chain": [{"subject": "CN=Alice Example"}, {"subject": "CN=Issuing CA"}],
}


@pytest.fixture
def one(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, f"sqlite:///{tmp_path / 'portal.sqlite'}") as made:
        yield made


def report(*signatures: dict[str, Any], **verdict: str) -> dict[str, Any]:
    return {"verdict": verdict or PASSED, "at": "2026-11-29T12:01:00Z", "octets": 1, "sha256": "ab" * 32, "pages": 1,
            "signatures": list(signatures), "timestamps": []}  # fmt: skip


def sent(one: World, answer: Any, status: int = 200, content: bytes = PDF) -> TestResponse:
    """Nobody signs in for it."""
    one.server.on("/validate", answer, status)
    person = one.person("nobody")
    person.get("/validate")
    return person.post("/validate", file=(BytesIO(content), "lease.pdf"))


def test_a_report_is_told_in_words_to_somebody_who_is_not_signed_in(one: World) -> None:
    page = sent(one, report(SIGNATURE))
    assert page.status_code == 200
    asked = one.server.last("/validate")
    assert (asked.body, asked.headers["Content-Type"]) == (PDF, "application/pdf")
    told = ["All signatures are valid", "Alice Example", "PAdES B-LT", "a time-stamp vouches for it", "CN=Issuing CA",
            "only data for its validation were added", "states that it is a qualified one"]  # fmt: skip
    assert [each for each in told if each not in page.text] == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (report({**SIGNATURE, "verdict": {"indication": "TOTAL_FAILED", "sub_indication": "HASH_FAILURE"}},
                indication="TOTAL_FAILED"), ["A signature is not valid", "HASH_FAILURE"]),
        (report({**SIGNATURE, "verdict": {"indication": "INDETERMINATE", "sub_indication": "TRY_LATER"}},
                indication="INDETERMINATE"), ["is not certain", "TRY_LATER"]),
        (report(indication="INDETERMINATE"), ["There is no signature in this document"]),
        (report({**SIGNATURE, "modifications": {"level": "not_allowed"}}), ["was changed, which it does not permit"]),
    ],
    ids=["failed", "not certain", "none", "changed"],
)  # fmt: skip
def test_what_is_not_valid_is_never_told_as_valid(one: World, answer: dict[str, Any], words: list[str]) -> None:
    page = sent(one, answer)
    assert [each for each in words if each not in page.text] == []
    assert ("All signatures are valid" in page.text) == (answer["verdict"] == PASSED)


def test_what_somebody_wrote_into_the_document_stays_text(one: World) -> None:
    wrote = "<script>alert(1)</script>"
    chain = [{"subject": wrote}, {"subject": wrote}]
    page = sent(one, report({**SIGNATURE, "signer": wrote, "reason": wrote, "location": wrote, "chain": chain}))
    assert "<script>alert" not in page.text
    assert page.text.count("&lt;script&gt;") == 4


@pytest.mark.parametrize(
    ("answer", "status", "shown"),
    [
        ({"error": "invalid_request"}, 413, 422),
        ({"error": "too_complex"}, 422, 422),
        ({"error": "temporarily_unavailable"}, 429, 429),
        ({"error": "temporarily_unavailable"}, 503, 503),
        ({"error": "x"}, 500, 503),
        (b"<html>", 200, 503),
        ({}, 200, 503),
        ({"verdict": {"indication": "FINE"}}, 200, 503),
        ({"verdict": {}, "signatures": []}, 200, 503),
    ],
)
def test_what_is_no_report_says_nothing_of_a_signature(one: World, answer: Any, status: int, shown: int) -> None:
    page = sent(one, answer, status)
    assert page.status_code == shown
    assert "data-indication" not in page.text


def test_what_is_no_pdf_or_too_large_is_passed_on_to_nobody(one: World) -> None:
    assert sent(one, report(), content=b"MZ").status_code == 400
    assert sent(one, report(), content=b"%PDF-1.7\n" + b" " * 5000 + b"%%EOF").status_code == 413
    assert one.server.count("/validate") == 0


def test_without_a_validation_there_is_no_such_page(one: World) -> None:
    without = dataclasses.replace(one.settings, validate_url=None)
    app = create_app(without, engine=of(one.app).engine, examine=of(one.app).examine, draw=of(one.app).draw)
    browser = app.test_client()
    assert browser.get("/validate").status_code == 404
    assert "/validate" not in browser.get("/").text
