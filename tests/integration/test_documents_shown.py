"""Documents whose places a relying party names: fetched, compared, shown, and in the record of the approval."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from werkzeug.test import TestResponse
from werkzeug.wrappers import Response

from documents.examiner import Examiner, ExaminerSettings
from documents.render import LIMITS, Renderer
from foundation.egress import Egress
from foundation.jose import VerificationKey, import_verification_key, verify_compact
from idp.activation import shown
from idp.document_settings import DocumentSettings
from idp.oidc.client import BACKCHANNEL_GRANT, Registration
from idp.storage import clients
from idp.storage.shown_documents import shown_documents
from idp.web.interaction import Interaction
from idp.web.shown import documents
from idp.web.shown.documents import Showing, View
from idp.web.shown.fetching import Fetcher
from tests.integration.document_holder import Holder, holding
from tests.integration.oidc_world import (
    ISSUER,
    NOW,
    REDIRECT_URI,
    SHA256,
    Browser,
    Seed,
    World,
    answer,
    error_of,
    start_copy,
)
from tests.integration.test_oidc_ciba import opened, waiting
from tests.paper import pdf

CONTRACT = pdf("First page", "Second page", "Third page")
ANNEX = pdf("The annex")


@pytest.fixture
def holder() -> Iterator[Holder]:
    with holding(**{"contract.pdf": CONTRACT, "annex.pdf": ANNEX}) as made:
        yield made


@pytest.fixture(scope="module")
def processes() -> Iterator[tuple[Renderer, Examiner]]:
    """Started once, with time for a machine that is busy."""
    renderer = Renderer(replace(LIMITS, wall_seconds=120.0), workers=1, wait_seconds=120.0)
    examiner = Examiner(ExaminerSettings(workers=1, wait_seconds=120.0, seconds=60))
    yield renderer, examiner
    renderer.close()
    examiner.close()


@pytest.fixture
def shower(seeded: Seed, tmp_path: Path, holder: Holder, processes: tuple[Renderer, Examiner]) -> Iterator[World]:
    allowed = (holder.origin.removeprefix("http://"),)
    settings = DocumentSettings(
        max_octets=64 * 1024, max_total_octets=96 * 1024, kept_octets=128 * 1024, fetch_seconds=30.0
    )
    made = start_copy(seeded, tmp_path, egress_allow=allowed, documents=settings)
    fetcher = Fetcher(Egress(allowed), *processes, settings)
    made.app.extensions["privyseal.shown"] = Showing(fetcher, processes[0])
    with made.engine.begin() as connection:
        for client_id, demanded in (("holder", False), ("strict", True)):
            registration = Registration(
                client_id,
                "Holding Party",
                "client_secret_basic",
                redirect_uris=(REDIRECT_URI,),
                scopes=("openid", "service", "credential"),
                grant_types=("authorization_code", BACKCHANNEL_GRANT),
                document_locations=(holder.prefix,),
                documents_shown=demanded,
            )
            made.secrets[client_id] = clients.create(connection, registration, NOW, secrets.token_bytes)[1] or ""
    yield made
    made.engine.dispose()


def places(holder: Holder, *names: str, method: str = "OAuth_20") -> list[dict[str, Any]]:
    return [{"uri": f"{holder.prefix}{name}", "method": {"type": method}} for name in names]


def asked(world: World, holder: Holder, *names: str, client_id: str = "holder", method: str = "OAuth_20") -> str:
    """The address to which the relying party sends the browser."""
    rp = world.rp(client_id)
    documents = [holder.documents.get(name, b"missing") for name in names]
    wanted = rp.document_signing(*documents, documentLocations=places(holder, *names, method=method))
    return rp.pushed_url(wanted)


def at_approval(world: World, holder: Holder, *names: str, **more: Any) -> tuple[Browser, TestResponse]:
    browser = world.browser()
    return browser, browser.step_up(browser.sign_in(browser.get(asked(world, holder, *names, **more))))


def kept(world: World) -> int:
    with world.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(shown_documents)).scalar_one()


def pictures(page: TestResponse) -> list[str]:
    return re.findall(r'<img src="(/interaction/[^"]+)"', page.text)


def token_keys(world: World) -> list[VerificationKey]:
    keys = world.app.test_client().get("/oauth2/jwks", base_url=ISSUER).get_json()["keys"]
    return [import_verification_key(key) for key in keys]


def test_a_person_sees_the_pages_of_what_they_approve(shower: World, holder: Holder) -> None:
    browser, page = at_approval(shower, holder, "contract.pdf", "annex.pdf")
    assert "3 pages" in page.text
    (picture,) = pictures(page)
    got = browser.get(picture)
    assert (got.status_code, got.mimetype) == (200, "image/png")
    assert got.get_data().startswith(b"\x89PNG")
    assert "no-store" in got.headers["Cache-Control"]
    second = browser.get(f"{page.request.path}?document=1&page=2")
    assert pictures(second) == [picture.replace("/1.png", "/2.png")]
    assert browser.get(pictures(second)[0]).get_data() != got.get_data()
    other = browser.get(f"{page.request.path}?document=2")
    assert pictures(other) == [picture.replace("/1/1.png", "/2/1.png")]
    large = browser.get(picture.replace(".png", "/large.png"))
    assert len(large.get_data()) > len(got.get_data())
    file = browser.get(picture.replace("/1.png", "/file"))
    assert file.get_data() == CONTRACT
    assert file.headers["Content-Disposition"].startswith("attachment")


def test_SIG_02_what_does_not_show_on_the_pages_is_told_before_the_approval(shower: World, holder: Holder) -> None:
    program = "/OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >>"
    holder.documents["contract.pdf"] = pdf("A page", catalogue=program)
    browser, page = at_approval(shower, holder, "contract.pdf")
    assert "It contains a program (JavaScript)" in page.text
    assert "It uses fonts that it does not contain" in page.text
    assert len(pictures(page)) == 1
    assert answer(browser.approve(page))["code"]
    (event,) = shower.events("transaction.approved")
    found = event["shown"][0].rpartition("findings=")[2].split(",")
    assert {"javascript", "font_not_embedded"} <= set(found)


def test_the_record_of_the_approval_names_what_was_shown_and_nothing_is_kept_of_it(
    shower: World, holder: Holder
) -> None:
    browser, page = at_approval(shower, holder, "contract.pdf", "annex.pdf")
    assert kept(shower) == 2
    rp = shower.rp("holder")
    assert answer(browser.approve(page))["code"]
    (event,) = shower.events("transaction.approved")
    first, second = event["shown"]
    assert first.startswith(f"{hashlib.sha256(CONTRACT).hexdigest()} shown octets={len(CONTRACT)} pages=3 ")
    assert " renderer=pdfium/" in first
    assert second.startswith(f"{hashlib.sha256(ANNEX).hexdigest()} shown octets={len(ANNEX)} pages=1 ")
    assert event["shown_sha256"] == shown.digest_of(event["shown"])
    assert kept(shower) == 0
    assert rp.client_id == event["client_id"]


def test_who_refuses_leaves_no_document_behind(shower: World, holder: Holder) -> None:
    browser, page = at_approval(shower, holder, "contract.pdf")
    assert kept(shower) == 1
    browser.submit(page, "consent", decision="deny")
    assert kept(shower) == 0


def test_documents_are_encrypted_where_they_are_kept(shower: World, holder: Holder) -> None:
    at_approval(shower, holder, "contract.pdf")
    with shower.engine.connect() as connection:
        (row,) = connection.execute(select(shown_documents)).all()
    assert b"PDF" not in row.content
    assert b"pages" not in row.about


def test_the_holder_knows_by_the_published_keys_who_comes_for_which_document(shower: World, holder: Holder) -> None:
    at_approval(shower, holder, "contract.pdf")
    (authorization,) = holder.tokens
    assert authorization is not None
    claims = verify_compact(authorization.removeprefix("Bearer "), token_keys(shower), {"document-fetch+jwt"})
    assert (claims["iss"], claims["aud"]) == (ISSUER, "holder")
    assert claims["digest"] == hashlib.sha256(CONTRACT).hexdigest()
    assert claims["hashAlgorithmOID"] == SHA256
    assert claims["exp"] - claims["iat"] == 60


def test_no_token_goes_to_where_none_is_needed(shower: World, holder: Holder) -> None:
    at_approval(shower, holder, "contract.pdf", method="public")
    assert holder.tokens == [None]


def test_documents_are_fetched_when_the_person_comes_to_the_approval_and_by_no_page_that_is_looked_at(
    shower: World, holder: Holder
) -> None:
    browser = shower.browser()
    page = browser.sign_in(browser.get(asked(shower, holder, "contract.pdf")))
    assert holder.tokens == []
    page = browser.step_up(page)
    assert len(holder.tokens) == 1
    for _ in range(2):
        browser.get(page.request.path)
        browser.get(pictures(page)[0])
    assert len(holder.tokens) == 1


def test_nobody_sees_a_document_before_they_have_proved_all_that_the_approval_takes(
    shower: World, holder: Holder
) -> None:
    browser = shower.browser()
    page = browser.get(asked(shower, holder, "contract.pdf"))
    path = page.request.path
    for suffix in ("/documents/1/1.png", "/documents/1/1/large.png", "/documents/1/file"):
        assert browser.get(path + suffix).status_code == 404, suffix
    browser.sign_in(page)
    assert browser.get(path + "/documents/1/1.png").status_code == 404


def test_OAU_17_another_browser_gets_no_page_of_it(shower: World, holder: Holder) -> None:
    _, page = at_approval(shower, holder, "contract.pdf")
    stranger, other = shower.browser(), shower.browser()
    other.sign_in(other.get("/account/"))
    for browser in (stranger, other):
        assert browser.get(pictures(page)[0]).status_code == 400


def test_what_is_not_there_is_not_found(shower: World, holder: Holder) -> None:
    browser, page = at_approval(shower, holder, "contract.pdf")
    for suffix in ("1/0.png", "1/4.png", "0/1.png", "2/1.png", f"1/{'9' * 20}.png", "2/file", "0/file"):
        assert browser.get(f"{page.request.path}/documents/{suffix}").status_code == 404, suffix


def test_OAU_10_another_document_in_its_place_cannot_be_approved(shower: World, holder: Holder) -> None:
    url = asked(shower, holder, "contract.pdf")
    holder.documents["contract.pdf"] = ANNEX
    browser = shower.browser()
    page = browser.step_up(browser.sign_in(browser.get(url)))
    assert "another document than the one that would be signed" in page.text
    assert pictures(page) == []
    assert 'value="approve"' not in page.text
    refused = browser.approve(page)
    assert refused.status_code == 403
    assert shower.events("transaction.approved") == []


@pytest.mark.parametrize("client_id", ["holder", "strict"])
def test_what_cannot_be_shown_is_said_and_approved_only_where_that_is_allowed(
    shower: World, holder: Holder, client_id: str
) -> None:
    url = asked(shower, holder, "contract.pdf", client_id=client_id)
    holder.answer = lambda _name: Response("", 500)
    browser = shower.browser()
    page = browser.step_up(browser.sign_in(browser.get(url)))
    assert "did not hand it over" in page.text
    if client_id == "strict":
        assert 'value="approve"' not in page.text
        assert browser.approve(page).status_code == 403
        # Once it is there, it can be.
        holder.answer = None
        page = browser.submit(page, "documents")
        assert len(pictures(page)) == 1
        assert answer(browser.approve(page))["code"]
    else:
        assert answer(browser.approve(page))["code"]
        (event,) = shower.events("transaction.approved")
        assert event["shown"] == [f"{hashlib.sha256(CONTRACT).hexdigest()} failed cause=refused"]


def test_PSH_04_what_was_fetched_since_the_page_is_not_recorded_as_shown_by_it(shower: World, holder: Holder) -> None:
    holder.answer = lambda _name: Response("", 500)
    browser, page = at_approval(shower, holder, "contract.pdf")
    holder.answer = None
    # In another tab.
    other = browser.submit(page, "documents")
    again = browser.approve(page)
    assert (again.status_code, shower.events("transaction.approved")) == (403, [])
    assert "what is known of them has changed" in again.text
    assert pictures(again) == pictures(other)
    for forged in ({"shown": ""}, {"shown": "0" * 64}, {"shown": "é"}):
        assert browser.submit(again, "consent", decision="approve", **forged).status_code == 403
    assert shower.events("transaction.approved") == []
    assert answer(browser.approve(again))["code"]
    (event,) = shower.events("transaction.approved")
    assert event["shown"][0].startswith(f"{hashlib.sha256(CONTRACT).hexdigest()} shown ")


def test_a_client_that_demands_display_names_places(shower: World, holder: Holder) -> None:
    rp = shower.rp("strict")
    assert error_of(rp.push(rp.document_signing(CONTRACT))) == "invalid_authorization_details"


@pytest.mark.parametrize(
    ("holds", "says"),
    [
        (b"only text", "It is not a PDF"),
        (b"%PDF-1.7\nnothing of it is right", "cannot be"),
    ],
)
def test_what_has_no_pages_is_said_and_can_be_downloaded(
    shower: World, holder: Holder, holds: bytes, says: str
) -> None:
    holder.documents["contract.pdf"] = holds
    browser, page = at_approval(shower, holder, "contract.pdf")
    assert says in page.text
    assert pictures(page) == []
    file = browser.get(f"{page.request.path}/documents/1/file")
    assert file.get_data() == holds
    assert file.mimetype == "application/octet-stream"
    assert browser.get(f"{page.request.path}/documents/1/1.png").status_code == 404


def _redirected(holder: Holder) -> Response:
    return Response("", 302, {"Location": f"{holder.prefix}annex.pdf"})


def test_a_redirect_is_not_followed(shower: World, holder: Holder) -> None:
    url = asked(shower, holder, "contract.pdf")
    holder.answer = lambda _name: _redirected(holder)
    browser = shower.browser()
    page = browser.step_up(browser.sign_in(browser.get(url)))
    assert "did not hand it over" in page.text
    assert len(holder.tokens) == 1


@pytest.mark.parametrize("stated", [True, False])
def test_a_document_larger_than_the_limit_is_not_taken_in(
    shower: World, holder: Holder, *, stated: bool
) -> None:
    url = asked(shower, holder, "contract.pdf")

    def too_much(_name: str) -> Response:
        def pieces() -> Iterator[bytes]:
            for _ in range(1000):
                yield b"x" * 1024

        response = Response(pieces())
        if stated:
            response.headers["Content-Length"] = "1024000"
        return response

    holder.answer = too_much
    browser = shower.browser()
    page = browser.step_up(browser.sign_in(browser.get(url)))
    assert "larger than what can be shown" in page.text
    with shower.engine.connect() as connection:
        assert connection.execute(select(shown_documents.c.octets)).scalars().all() == [0]


def test_DOS_04_all_documents_of_an_approval_and_of_all_approvals_are_bounded(shower: World, holder: Holder) -> None:
    large = b"%PDF-1.7\n" + b"x" * 60_000
    holder.documents |= {"a.pdf": large, "b.pdf": large + b"b"}
    _, page = at_approval(shower, holder, "a.pdf", "b.pdf")
    assert page.text.count("larger than what can be shown") == 1
    at_approval(shower, holder, "a.pdf")
    _, page = at_approval(shower, holder, "a.pdf")
    assert "Too many documents" not in page.text
    _, page = at_approval(shower, holder, "annex.pdf")
    assert "Too many documents" in page.text


def test_an_address_that_is_not_public_is_reached_only_where_the_operator_allows_it(
    shower: World, holder: Holder, processes: tuple[Renderer, Examiner]
) -> None:
    fetcher = Fetcher(Egress(), *processes, DocumentSettings())
    shower.app.extensions["privyseal.shown"] = Showing(fetcher, processes[0])
    _, page = at_approval(shower, holder, "contract.pdf")
    assert "does not answer" in page.text
    assert holder.tokens == []


def test_the_token_response_repeats_the_places_and_the_approved_details_may_come_back(
    shower: World, holder: Holder
) -> None:
    rp = shower.rp("holder")
    wanted = rp.document_signing(CONTRACT, documentLocations=places(holder, "contract.pdf"))
    browser = shower.browser()
    page = browser.step_up(browser.sign_in(browser.get(rp.pushed_url(wanted))))
    code = answer(browser.approve(page))["code"]
    got = rp.redeem(code, authorization_details=wanted["authorization_details"])
    assert got.status_code == 200, got.text
    assert got.get_json()["authorization_details"][0]["documentLocations"] == places(holder, "contract.pdf")


@pytest.mark.parametrize(
    ("changes", "client_id"),
    [
        ({"documentLocations": []}, "holder"),
        ({"documentLocations": "x"}, "holder"),
        ({"documentLocations": [{"uri": "http://169.254.169.254/latest/", "method": {"type": "public"}}]}, "holder"),
        ({}, "example-contracts"),
    ],
)
def test_places_that_are_not_the_clients_are_refused(
    shower: World, holder: Holder, changes: dict[str, Any], client_id: str
) -> None:
    rp = shower.rp(client_id)
    wanted = rp.document_signing(CONTRACT, **{"documentLocations": places(holder, "contract.pdf"), **changes})
    assert error_of(rp.push(wanted)) == "invalid_authorization_details"
    assert holder.tokens == []


def test_an_altered_row_is_believed_by_nobody(shower: World, holder: Holder) -> None:
    browser, page = at_approval(shower, holder, "contract.pdf", "annex.pdf")
    with shower.engine.begin() as connection:
        first = connection.execute(select(shown_documents).where(shown_documents.c.position == 0)).one()
        connection.execute(
            shown_documents.update().where(shown_documents.c.position == 1).values(content=first.content)
        )
    assert browser.get(f"{page.request.path}/documents/2/1.png").status_code == 500
    assert json.loads(json.dumps(shower.events("transaction.approved"))) == []


def test_who_is_asked_without_a_browser_sees_the_documents_too(shower: World, holder: Holder) -> None:
    rp = shower.rp("holder")
    wanted = rp.document_signing(CONTRACT, documentLocations=places(holder, "contract.pdf"))
    asking = {"scope": "credential", "login_hint": "alice", "authorization_details": wanted["authorization_details"]}
    assert rp.post("/oauth2/bc-authorize", asking).status_code == 200
    assert holder.tokens == []
    browser = shower.browser()
    browser.sign_in(browser.get("/account/"))
    page = opened(browser, waiting(browser)[0])
    (picture,) = pictures(page)
    assert browser.get(picture).mimetype == "image/png"
    browser.approve(page)
    event = shower.events("transaction.approved")[-1]
    assert event["shown"][0].startswith(f"{hashlib.sha256(CONTRACT).hexdigest()} shown ")


def test_what_was_lost_after_the_page_was_shown_is_not_approved_where_it_has_to_be_seen(
    shower: World, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, page = at_approval(shower, holder, "contract.pdf", client_id="strict")
    real = documents.view

    def seen(interaction: Interaction) -> View | None:
        # As where a device approves: what was judged before it was asked is judged again.
        found = real(interaction)
        with shower.engine.begin() as connection:
            connection.execute(shown_documents.delete())
        return found

    monkeypatch.setattr(documents, "view", seen)
    refused = browser.approve(page)
    assert (refused.status_code, shower.events("transaction.approved")) == (403, [])
    assert "not every document could be shown" in refused.text
