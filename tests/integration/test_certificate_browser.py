"""Certificates in a real Chromium, through the real nginx: every page of theirs, without scripts, and judged by axe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests import pki
from tests.e2e.visitor import _AXE, _AXE_OPTIONS, DESK, PHONE, launch, leaving
from tests.fakes.idp import PASSWORD
from tests.integration.nginx_site import CERT, Site, site
from tests.pki import Issued

pytestmark = pytest.mark.browser
PATIENCE: Final = 20_000


@pytest.fixture(scope="module")
def front() -> Iterator[Site]:
    with site() as made:
        yield made


LOCALHOST: Final = """\
const dns = require('dns'), lookup = dns.promises.lookup;
dns.promises.lookup = (host, options) => lookup(host.endsWith('.localhost') ? '127.0.0.1' : host, options);
"""
"""With client certificates, playwright's own process connects for the browser, and the C library does not know that
names below localhost are this machine (RFC 6761, 6.3)."""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    names = tmp_path_factory.mktemp("driver") / "localhost.js"
    names.write_text(LOCALHOST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NODE_OPTIONS", f"--require {names}")
        with sync_playwright() as playwright:
            browser = launch(playwright)
            yield browser
            browser.close()


def visit(chromium: Browser, front: Site, folder: Path, issued: Issued | None, **more: Any) -> BrowserContext:
    """A browser profile with a certificate, or without one; pages run no script of theirs."""
    options: dict[str, Any] = {"ignore_https_errors": True, "viewport": DESK, **more}
    if issued is not None:
        both = {"cert": issued.pem, "key": issued.key_pem}
        origin = f"https://{CERT}:{front.port}"
        options["client_certificates"] = [{"origin": origin, **both}]
    context = chromium.new_context(**options)
    context.set_default_timeout(PATIENCE)
    return context


class Looker:
    """Looks at pages in both schemes and on a phone."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page = page
        self.folder = folder

    def at(self, name: str, heading: str) -> None:
        expect(self.page.get_by_role("heading", level=1)).to_have_text(heading)
        for scheme, size in (("light", DESK), ("dark", DESK), ("light", PHONE)):
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type] # it is one of the two
            self.page.set_viewport_size(size)
            kind = "phone" if size is PHONE else scheme
            self.page.screenshot(path=self.folder / f"certificate-{name}-{kind}.png", full_page=True)
            found = self.page.evaluate(f"{_AXE.read_text()}; axe.run(document, {json.dumps(_AXE_OPTIONS)})")
            assert [item["id"] for item in found["violations"]] == [], found["violations"]
            wide = self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
            assert not wide, f"{name} is wider than {kind}"
        self.page.set_viewport_size(DESK)
        self.page.emulate_media(color_scheme="light")


def test_a_person_signs_in_with_a_certificate_and_is_asked_for_it_again(
    front: Site, chromium: Browser, tmp_path: Path
) -> None:
    ana = front.person()
    front.says(ana)
    context = visit(chromium, front, tmp_path, ana)
    page = context.new_page()
    looker = Looker(page, tmp_path)
    page.goto(f"{front.issuer}/account/")
    looker.at("sign-in", "Sign in")
    page.get_by_role("button", name="Sign in with a certificate").click()
    looker.at("accepted", "Use this certificate?")
    page.get_by_role("button", name="Continue").click()
    expect(page).to_have_url(f"{front.issuer}/account/")
    # The other way round: the password first, the certificate where the policy asks for more.
    context.clear_cookies()
    page.goto(f"{front.issuer}/account/")
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    with leaving(page):
        page.get_by_role("button", name="Sign in", exact=True).click()
    page.goto(f"{front.issuer}/account/credentials")
    page.locator('[data-form="order-credential"] button').first.click()
    looker.at("step-up", "Present your certificate")
    page.get_by_role("button", name="Present a certificate").click()
    page.get_by_role("button", name="Continue").click()
    expect(page.locator('[data-form="consent"]')).to_be_visible()
    context.close()


def test_a_person_without_a_certificate_reads_why_and_comes_back(
    front: Site, chromium: Browser, tmp_path: Path
) -> None:
    context = visit(chromium, front, tmp_path, None, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{front.issuer}/account/")
    page.get_by_role("button", name="Sign in with a certificate").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The certificate was not accepted")
    page.get_by_role("link", name="Go back").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    context.close()


def test_a_person_adds_a_certificate(front: Site, chromium: Browser, tmp_path: Path) -> None:
    card = front.person(subject=pki.name("Bob Example"))
    front.says(card)
    context = visit(chromium, front, tmp_path, card)
    page = context.new_page()
    looker = Looker(page, tmp_path)
    page.goto(f"{front.issuer}/account/")
    page.get_by_label("User name").fill("bob")
    page.get_by_label("Password").fill(PASSWORD)
    with leaving(page):
        page.get_by_role("button", name="Sign in", exact=True).click()
    page.locator('[data-form="add-factor"] button[value="certificate"]').click()
    page.locator('[data-form="consent"] button[value="approve"]').click()
    looker.at("add", "Add a certificate")
    page.get_by_role("button", name="Present a certificate").click()
    looker.at("add-accepted", "Add this certificate?")
    page.get_by_label("What do you call it?").fill("my identity card")
    page.get_by_role("button", name="Add it").click()
    expect(page).to_have_url(f"{front.issuer}/account/")
    expect(page.get_by_text("my identity card")).to_be_visible()
    context.close()
