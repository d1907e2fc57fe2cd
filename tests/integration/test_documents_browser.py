"""Documents at the approval in a real Chromium: without scripts, judged by axe, on a desk and on a phone."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from werkzeug.wrappers import Response

from contract import proof_key
from contract.assertion import ProofOrigin
from idp.document_settings import DocumentSettings
from idp.oidc.client import Registration
from idp.storage import clients
from idp.web.services import CredentialView
from tests.e2e.visitor import _AXE, _AXE_OPTIONS, DESK, PHONE, launch
from tests.integration.document_holder import Holder, holding
from tests.integration.oidc_world import NOW, PASSWORD, REDIRECT_URI, Credentials, World, serve
from tests.paper import pdf
from tests.vectors.proof.make import DEVICE
from tests.vectors.proof_key.make import device

pytestmark = pytest.mark.browser
PATIENCE: Final = 60_000
CONTRACT: Final = pdf("Contract of sale", "What is sold", "Who pays what")
ANNEX: Final = pdf("Annex", catalogue="/OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >>")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Holder, str]]:
    with holding(**{"contract.pdf": CONTRACT, "annex.pdf": ANNEX}) as holder:
        allowed = (holder.origin.removeprefix("http://"),)
        documents = DocumentSettings(fetch_seconds=30.0)
        folder = tmp_path_factory.mktemp("shown")
        with serve(folder, devices=True, egress_allow=allowed, documents=documents) as (world, issuer):
            registration = Registration(
                "holder",
                "Holding Party",
                "client_secret_basic",
                redirect_uris=(REDIRECT_URI,),
                scopes=("openid", "service", "credential"),
                document_locations=(holder.prefix,),
            )
            with world.engine.begin() as connection:
                made = clients.create(connection, registration, NOW, secrets.token_bytes)[1]
            world.secrets["holder"] = made or ""
            yield world, holder, issuer


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


def look(page: Page, folder: Path, name: str) -> None:
    """Both schemes and a phone, each judged by axe, and a picture of each."""
    for scheme, size in (("light", DESK), ("dark", DESK), ("light", PHONE)):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type] # it is one of the two
        page.set_viewport_size(size)
        kind = "phone" if size is PHONE else scheme
        page.screenshot(path=folder / f"{name}-{kind}.png", full_page=True)
        found = page.evaluate(f"{_AXE.read_text()}; axe.run(document, {json.dumps(_AXE_OPTIONS)})")
        assert [item["id"] for item in found["violations"]] == [], found["violations"]
        wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, f"{name} is wider than {kind}"
    page.set_viewport_size(DESK)
    page.emulate_media(color_scheme="light")


def is_drawn(page: Page, name: str) -> None:
    """The picture of that name is there, and a picture."""
    picture = page.get_by_role("img", name=name)
    expect(picture).to_be_visible()
    expect(picture).not_to_have_js_property("naturalWidth", 0)


def arrive(page: Page, world: World, holder: Holder, issuer: str, names: tuple[str, ...], lang: str = "en") -> None:
    rp = world.rp("holder")
    places = [{"uri": f"{holder.prefix}{name}", "method": {"type": "OAuth_20"}} for name in names]
    documents = [holder.documents[name] for name in names]
    asked = rp.document_signing(*documents, documentLocations=places) | {"ui_locales": lang}
    page.goto(f"{issuer}{rp.pushed_url(asked)}")
    page.locator("#username").fill("alice")
    page.locator("#password").fill(PASSWORD)
    page.locator('[data-form="sign-in"] button[type=submit]').click()
    page.locator('[data-form="choose"] button[value="sms_otp"]').click()
    expect(page.locator('[data-form="otp"]')).to_be_visible()
    page.locator("#code").fill(world.phone.code())
    page.locator('[data-form="otp"] button[type=submit]').first.click()
    expect(page.locator('[data-form="consent"]')).to_be_visible()


def test_a_person_leafs_through_the_documents_without_a_script_and_approves(
    site: tuple[World, Holder, str], chromium: Browser
) -> None:
    world, holder, issuer = site
    context = chromium.new_context(viewport=DESK, java_script_enabled=False)
    context.set_default_timeout(PATIENCE)
    context.route("**/callback?*", _received)
    page = context.new_page()
    arrive(page, world, holder, issuer, ("contract.pdf", "annex.pdf"))
    is_drawn(page, "Picture of page 1 of 3 of contract.pdf")
    page.get_by_role("link", name="Next page").click()
    is_drawn(page, "Picture of page 2 of 3 of contract.pdf")
    expect(page.get_by_role("link", name="Previous page")).to_be_visible()
    page.locator("#document-2").get_by_role("link", name="Show the pages of contract.pdf").click()
    is_drawn(page, "Picture of page 1 of 1 of contract.pdf")
    expect(page.get_by_text("It contains a program (JavaScript) that some viewers run.")).to_be_visible()
    with context.expect_page() as opened:
        page.get_by_role("link", name="Open this page large, in a new tab").click()
    expect(opened.value.locator("img")).to_be_visible()
    opened.value.close()
    page.get_by_role("button", name="Approve and sign").click()
    expect(page).to_have_url(re.compile(r"http://rp\.localhost:8405/callback\?.*code="))
    context.close()


def _received(route: Route) -> None:
    route.fulfill(status=200, content_type="text/html", body="<!doctype html><title>Back</title>")


@pytest.mark.parametrize(
    ("lang", "words"),
    [("de", "Sie können es hier nicht sehen."), ("es", "No puede verlo aquí."), ("fr", "Vous ne pouvez pas le voir")],
)
def test_what_cannot_be_shown_is_said_in_the_persons_language(
    site: tuple[World, Holder, str], chromium: Browser, tmp_path: Path, lang: str, words: str
) -> None:
    world, holder, issuer = site
    context = chromium.new_context(viewport=DESK)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    holder.answer = lambda _name: Response("", 500)
    try:
        arrive(page, world, holder, issuer, ("annex.pdf",), lang)
        expect(page.locator(".unseen").first).to_contain_text(words)
        look(page, tmp_path, f"missing-{lang}")
    finally:
        holder.answer = None
    # The button fetches it now.
    page.locator('[data-form="documents"] button').click()
    expect(page.locator(".sheet img")).to_be_visible()
    expect(page.locator(".sheet img")).not_to_have_js_property("naturalWidth", 0)
    expect(page.locator(".unseen")).to_have_count(0)
    look(page, tmp_path, f"shown-{lang}")
    context.close()


@pytest.fixture
def device_wanted(site: tuple[World, Holder, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The credential demands that its signer's own device approves."""
    origin = f"http://approve.localhost:{urlsplit(site[2]).port}"
    key = proof_key.to_json(device(DEVICE, ProofOrigin("approve.localhost", origin)))
    read = Credentials.read

    def demanding(credentials: Credentials, *asked: str) -> CredentialView:
        return replace(read(credentials, *asked), proof_required=True, proof_keys=(key,))

    monkeypatch.setattr(Credentials, "read", demanding)


@pytest.mark.usefixtures("device_wanted")
@pytest.mark.parametrize(("lang", "title"), [("en", "The pages of what you approve"), ("de", "Die Seiten dessen")])
def test_where_the_persons_device_approves_they_leaf_through_the_documents_too(
    site: tuple[World, Holder, str], chromium: Browser, tmp_path: Path, lang: str, title: str
) -> None:
    world, holder, issuer = site
    context = chromium.new_context(viewport=DESK)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    arrive(page, world, holder, issuer, ("contract.pdf", "annex.pdf"), lang)
    page.locator('[data-form="consent"] button[value=approve]').click()
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    expect(page).to_have_url(re.compile(r"^http://approve\.localhost:"))
    first = page.locator(".sheet img")
    expect(first).not_to_have_js_property("naturalWidth", 0)
    text = page.locator("[data-line]").all_inner_texts()
    look(page, tmp_path, f"device-{lang}")
    drawn = first.get_attribute("src")
    page.locator('#document-1 button[name=page][value="2"]').first.click()
    expect(page.locator(".sheet figcaption")).to_contain_text("2")
    expect(page.locator(".sheet img")).not_to_have_js_property("naturalWidth", 0)
    assert page.locator(".sheet img").get_attribute("src") != drawn
    page.locator('#document-2 button[name=page]').click()
    expect(page.locator("#document-2 .sheet img")).not_to_have_js_property("naturalWidth", 0)
    look(page, tmp_path, f"device-annex-{lang}")
    assert page.locator("[data-line]").all_inner_texts() == text
    with context.expect_page() as opened:
        page.locator("#document-2 button[formtarget]").click()
    expect(opened.value.locator("img")).to_be_visible()
    assert "handle" not in opened.value.url
    with page.expect_download() as waiting:
        page.locator("#document-2 button[formaction$=file]").click()
    assert Path(waiting.value.path()).read_bytes() == ANNEX
    context.close()
