"""The page about the API in Chromium: readable by everybody, light and dark, wide and narrow; nothing runs on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, ViewportSize, sync_playwright

from foundation.clock import SystemClock
from foundation.files import write_secret
from signing.app import create_app
from signing.csc.dialect import dialects
from signing.settings import IssuerSettings, WebSettings
from tests.e2e.visitor import DESK, PHONE, Scheme, launch, leaving, violations
from tests.integration.whole_world import serving

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("page")
    write_secret(directory / "secret", b"s3cret")
    settings = WebSettings(
        mode="development",
        public_url="http://sign.localhost:8402",
        sam_socket=directory / "nobody.sock",
        issuer=IssuerSettings("http://idp.localhost:8401", "csc", client_secret_file=directory / "secret"),
    )
    with serving(create_app(settings, clock=SystemClock())) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


def watched(page: Page) -> tuple[list[str], list[str]]:
    """What a page asks for, and what the browser complains of, as it comes."""
    asked: list[str] = []
    complaints: list[str] = []

    def request(found: Request) -> None:
        asked.append(found.url)

    def message(found: ConsoleMessage) -> None:
        complaints.append(found.text)

    page.on("request", request)
    page.on("console", message)
    return asked, complaints


@pytest.mark.parametrize("base", [dialect.path for dialect in dialects()])
def test_the_page_is_for_everybody_and_asks_nobody_else(site: str, chromium: Browser, base: str) -> None:
    looks: tuple[tuple[Scheme, ViewportSize], ...] = (("light", DESK), ("dark", DESK), ("light", PHONE))
    for scheme, size in looks if base == "/csc/v2" else looks[:1]:
        page = chromium.new_page(color_scheme=scheme, viewport=size)
        asked, complaints = watched(page)
        page.goto(f"{site}{base}/docs")
        assert page.locator("h1").inner_text().startswith("Privy Seal: CSC API")
        assert page.get_by_role("heading", name="signatures/signHash").is_visible()
        assert violations(page) == []
        assert all(url.startswith(site) for url in asked)
        assert complaints == []
        # wide tables scroll by themselves; the page does not
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert page.locator("script").count() == 0
        page.close()


def test_the_page_is_the_document_in_words(site: str, chromium: Browser) -> None:
    page = chromium.new_page()
    page.goto(f"{site}/csc/v1/docs")
    page.get_by_role("link", name="signHash").click()
    section = page.locator("#signatures_signHash")
    assert section.get_by_role("rowheader", name="hash required").is_visible()
    assert "hashAlgorithmOID" not in section.inner_text()
    with leaving(page):
        page.get_by_role("link", name="OpenAPI document").click()
    assert '"openapi":"3.1.0"' in page.content()
    page.close()
