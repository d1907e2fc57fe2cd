"""Pages of documents where a person's own device approves: seen with the handle alone, and bound to what it signs."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest
from flask.testing import FlaskClient
from sqlalchemy.engine import Engine

from contract import proof as proofs
from documents.examiner import Examiner, ExaminerSettings
from documents.render import LIMITS, Renderer
from foundation.clock import epoch
from foundation.egress import Egress
from idp.activation.intent import DocumentDigest, DocumentLocation, SignatureIntent
from idp.activation.shown import NOT_FETCHED, OTHER_DOCUMENT, Shown
from idp.document_settings import DocumentSettings
from idp.storage import shown_documents
from idp.storage.shown_documents import Kept, Keys, Place
from idp.web.services import services
from idp.web.shown.documents import Showing
from idp.web.shown.fetching import Fetcher
from tests.fakes.idp import Idp
from tests.paper import pdf
from tests.unit.idp_web import test_approval as approval
from tests.unit.idp_web.approving import ORIGIN, consented, events, finish, lines, post, shown, used
from tests.unit.idp_web.interactions import SHA256, signature

idp, there = approval.idp, approval.there
CONTRACT: Final = pdf("First page", "Second page")
ANNEX: Final = pdf("The annex")
INTENT: Final = SignatureIntent(
    "cred-1",
    SHA256,
    tuple(DocumentDigest(hashlib.sha256(each).digest(), name) for each, name in ((CONTRACT, "C.pdf"), (ANNEX, ""))),
    "sdr",
    2,
    documents=(DocumentLocation("https://rp.example/c", True), DocumentLocation("https://rp.example/a", True)),
)
FOUND: Final = (
    Shown("shown", "", len(CONTRACT), 2, "pdfium/1", (("font_not_embedded", 2), ("javascript", 0))),
    Shown("shown", "", len(ANNEX), 1, "pdfium/1"),
)


@pytest.fixture(scope="module")
def drawing() -> Iterator[tuple[Renderer, Examiner]]:
    """Started once, with time for a machine that is busy."""
    renderer = Renderer(replace(LIMITS, wall_seconds=120.0), workers=1, wait_seconds=120.0)
    examiner = Examiner(ExaminerSettings(workers=1))
    yield renderer, examiner
    renderer.close()
    examiner.close()


def keep(idp: Idp, path: str, position: int, about: Shown, content: bytes | None) -> None:
    """A document as it is kept once it was fetched."""
    with idp.app.app_context():
        keys = Keys(services().keys.secret, services().random)
    kept = Kept(about.to_json(), content, epoch(idp.clock.now()) + 3600)
    engine: Engine = idp.engine
    with engine.begin() as connection:
        shown_documents.put(connection, keys, Place(path.rsplit("/", 1)[-1], position), kept)


def sent(
    idp: Idp, browser: FlaskClient, drawing: tuple[Renderer, Examiner], *found: Shown, intent: SignatureIntent = INTENT
) -> tuple[str, str]:
    """Path of an interaction whose documents were fetched, and whose person said yes; the handle."""
    settings = DocumentSettings()
    idp.app.extensions["privyseal.shown"] = Showing(Fetcher(Egress(()), *drawing, settings), drawing[0])
    path = idp.path(browser, signature(intent=intent, client_name="Example Contracts"))
    for position, (about, content) in enumerate(zip(found, (CONTRACT, ANNEX), strict=True)):
        keep(idp, path, position, about, content if about.state != "failed" else None)
    idp.sign_in(browser, path)
    idp.pass_otp(browser, path)
    answer = idp.approve(browser, path)
    assert answer.status_code == 303, answer.text
    return path, answer.location.partition("#")[2]


def picture(page: str) -> bytes:
    (found,) = re.findall(r'<img src="data:image/png;base64,([^"]+)"', page)
    return base64.b64decode(found)


def test_the_device_signs_what_is_known_of_the_documents_and_their_pages_are_beside_it(
    idp: Idp, browser: FlaskClient, there: FlaskClient, drawing: tuple[Renderer, Examiner]
) -> None:
    path, handle = sent(idp, browser, drawing, *FOUND)
    first, asked = shown(there, handle)
    text = lines(first)
    place = text.index("1. C.pdf")
    assert text[place + 2] == (
        "2 pages, 1 kB. The document was fetched from Example Contracts, and its digest is the one below."
    )
    assert text[place + 3] == "It uses fonts that it does not contain: elsewhere it can look different. On page 2."
    assert text[place + 4] == "It contains a program (JavaScript) that some viewers run."
    assert "1 page, 1 kB." in " ".join(text[text.index("2. Without a name") :])
    assert picture(first).startswith(b"\x89PNG")
    # Leafing changes pictures, and neither the text nor what the device is asked for.
    second = post(there, "/approve", handle=handle, document="1", page="2")
    other = post(there, "/approve", handle=handle, document="2")
    assert len({picture(each) for each in (first, second.text, other.text)}) == 3
    assert lines(second.text) == lines(other.text) == text
    assert asked["challenge"] in second.text
    answer = post(there, "/approve/answer", handle=handle, answer=used(asked))
    assert finish(idp, browser, path, answer.location.partition("#")[2]).location.startswith("http://rp.localhost")
    (given,), (ended,) = events(idp, "proof.given"), events(idp, "transaction.approved")
    assert given["display_sha256"] == hashlib.sha256("\n".join(text).encode()).hexdigest()
    assert [line.split()[0] for line in ended["shown"]] == [item.digest.hex() for item in INTENT.digests]
    proof = idp.finished[0].approval
    assert proof is not None
    assert proofs.from_claim(proof.signer_proof or {}).display.hex() == given["display_sha256"]


def test_a_picture_is_inside_its_page_and_no_address_has_the_handle(
    idp: Idp, browser: FlaskClient, there: FlaskClient, drawing: tuple[Renderer, Examiner]
) -> None:
    _, handle = sent(idp, browser, drawing, *FOUND)
    page = post(there, "/approve", handle=handle)
    assert "img-src 'self' data:;" in page.headers["Content-Security-Policy"]
    assert "no-store" in page.headers["Cache-Control"]
    assert not re.findall(rf'(?:href|src|action)="[^"]*{re.escape(handle)}', page.text)
    large = post(there, "/approve/page", handle=handle, document="1", page="1")
    assert (large.status_code, large.mimetype) == (200, "image/png")
    assert len(large.get_data()) > len(picture(page.text))
    assert "data:" not in large.headers["Content-Security-Policy"]
    file = post(there, "/approve/file", handle=handle, document="2")
    assert file.get_data() == ANNEX
    assert file.headers["Content-Disposition"] == 'attachment; filename="document-2.pdf"'


@pytest.mark.parametrize("path", ["/approve/page", "/approve/file"])
def test_OAU_17_without_the_handle_of_this_visit_nobody_sees_a_document(
    idp: Idp, browser: FlaskClient, there: FlaskClient, drawing: tuple[Renderer, Examiner], path: str
) -> None:
    _, handle = sent(idp, browser, drawing, *FOUND)
    assert post(there, path, handle="x" * 43, document="1").status_code == 400
    assert post(there, path, document="1").status_code == 400
    # Nor on the login's host, nor by an address.
    assert browser.post(path, data={"handle": handle}).status_code == 404
    assert there.get(f"{path}?handle={handle}", base_url=ORIGIN).status_code == 404
    _, asked = shown(there, handle)
    assert post(there, "/approve/answer", handle=handle, answer=used(asked)).status_code == 303
    assert post(there, path, handle=handle, document="1").status_code == 400


def test_SES_03_after_a_sign_out_the_handle_shows_nothing_and_no_device_approves(
    idp: Idp, browser: FlaskClient, there: FlaskClient, drawing: tuple[Renderer, Examiner]
) -> None:
    _, handle = sent(idp, browser, drawing, *FOUND)
    _, asked = shown(there, handle)
    idp.post(browser, "/account/", "sign-out")
    assert browser.get_cookie("privyseal_session") is None
    for path in ("/approve", "/approve/page", "/approve/file"):
        assert post(there, path, handle=handle, document="1").status_code == 400
    assert post(there, "/approve/answer", handle=handle, answer=used(asked)).status_code == 400
    assert events(idp, "proof.given") == []


def test_PSH_04_what_changes_after_the_device_was_asked_is_not_what_it_approves(
    idp: Idp, browser: FlaskClient, there: FlaskClient, drawing: tuple[Renderer, Examiner]
) -> None:
    path, handle = sent(idp, browser, drawing, NOT_FETCHED, FOUND[1])
    page, asked = shown(there, handle)
    assert "You cannot see it here. It was not fetched yet." in lines(page)
    assert "Download the document" in page
    # Meanwhile somebody has it fetched on the page before.
    keep(idp, path, 0, FOUND[0], CONTRACT)
    answer = post(there, "/approve/answer", handle=handle, answer=used(asked))
    assert answer.status_code == 403
    assert idp.finished == []
    assert len(events(idp, "proof.refused")) == 1


def test_PSH_04_what_changes_after_the_device_answered_is_not_recorded_as_shown(
    idp: Idp, browser: FlaskClient, there: FlaskClient, drawing: tuple[Renderer, Examiner]
) -> None:
    path, handle = sent(idp, browser, drawing, NOT_FETCHED, FOUND[1])
    _, asked = shown(there, handle)
    code = post(there, "/approve/answer", handle=handle, answer=used(asked)).location.partition("#")[2]
    keep(idp, path, 0, FOUND[0], CONTRACT)
    assert finish(idp, browser, path, code).status_code == 400
    assert idp.finished == []
    assert events(idp, "transaction.approved") == []


def test_what_cannot_be_drawn_is_said_and_can_be_had_as_a_file(
    idp: Idp, browser: FlaskClient, there: FlaskClient, drawing: tuple[Renderer, Examiner]
) -> None:
    broken = replace(FOUND[0], state="unreadable", cause="encrypted", pages=0, findings=())
    _, handle = sent(idp, browser, drawing, broken, Shown("shown", "", 10, 9, "pdfium/1"))
    page, _ = shown(there, handle)
    assert "You cannot see it here. It is encrypted, so its pages cannot be shown." in lines(page)
    assert "data:image" not in page
    # A page that is not there.
    second = post(there, "/approve", handle=handle, document="2", page="7")
    assert "Its pages cannot be drawn." in second.text
    assert "data:" not in second.headers["Content-Security-Policy"]
    assert post(there, "/approve/file", handle=handle, document="1").get_data() == CONTRACT


def test_without_places_of_documents_the_page_is_the_text_alone(
    idp: Idp, browser: FlaskClient, there: FlaskClient
) -> None:
    _, handle = consented(idp, browser)
    page = post(there, "/approve", handle=handle)
    assert 'data-form="pages"' not in page.text
    assert "data:" not in page.headers["Content-Security-Policy"]
    assert post(there, "/approve/page", handle=handle).status_code == 404
    assert post(there, "/approve/file", handle=handle).status_code == 404


def test_PSH_04_nothing_is_approved_where_a_document_is_another_one(
    idp: Idp, browser: FlaskClient, there: FlaskClient, drawing: tuple[Renderer, Examiner]
) -> None:
    path, handle = sent(idp, browser, drawing, *FOUND)
    keep(idp, path, 1, Shown("failed", OTHER_DOCUMENT), None)
    _, asked = shown(there, handle)
    code = post(there, "/approve/answer", handle=handle, answer=used(asked)).location.partition("#")[2]
    assert finish(idp, browser, path, code).status_code == 403
    assert idp.finished == []
