"""The site in a real Chromium: its policy lets its own pages work, with and without scripts, in both schemes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FloatRect, Page, sync_playwright
from werkzeug.serving import make_server

from examples.oauth_client import Client
from examples.pdf_signing import make_sample_pdf, verify
from examples.relying_party.__main__ import QuietHandler
from examples.relying_party.app import MAX_PDF_BYTES, Settings, create_app
from tests.e2e.visitor import launch
from tests.sockets import free_port
from tests.unit.examples.stub import CLIENT_ID, CLIENT_SECRET, PASSWORD, Stub, running_stub

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    with running_stub() as running:
        yield running


@pytest.fixture
def site(stub: Stub, tmp_path: Path) -> Iterator[str]:
    """The site on a port of its own; its public URL."""
    port = free_port()
    base = f"http://rp.localhost:{port}"
    settings = Settings(
        public_url=base,
        issuer=stub.issuer,
        csc=stub.csc,
        client=Client(CLIENT_ID, CLIENT_SECRET, f"{base}/callback"),
        state=tmp_path / "state",
        roots=(stub.signer.root,),
        check_revocation=False,
        level="Ades-B-B",
    )
    server = make_server("127.0.0.1", port, create_app(settings), threaded=True, request_handler=QuietHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield base
    server.shutdown()
    thread.join()
    server.server_close()


def press(page: Page, selector: str) -> None:
    """Click, and wait for the page that comes: a click ends before its answer is there."""
    with page.expect_navigation():
        page.click(selector)


def answer_provider(page: Page, stub: Stub, site: str) -> None:
    """Do what the stub's pages ask for, until the browser is back."""
    for _ in range(6):
        if page.url.startswith(site):
            return
        form = page.locator("form").first.get_attribute("data-form")
        if form == "sign-in":
            page.fill("[name=username]", "alice")
            page.fill("[name=password]", PASSWORD)
            press(page, "button")
        elif form == "choose":
            press(page, "[value=sms_otp]")
        elif form == "otp":
            page.fill("[name=code]", stub.messages[0]["body"].split("documents is ")[1][:6])
            press(page, "button")
        elif form == "consent":
            press(page, "[value=approve]")


def boxes(page: Page) -> list[FloatRect]:
    return [box for each in page.locator("main *, header *").all() if (box := each.bounding_box()) is not None]


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
@pytest.mark.parametrize("width", [1100, 360], ids=["desk", "phone"])
def test_a_person_signs_a_pdf_in_a_browser(
    chromium: Browser, stub: Stub, site: str, tmp_path: Path, scripts: bool, width: int
) -> None:
    lease = tmp_path / "lease.pdf"
    lease.write_bytes(make_sample_pdf())
    context = chromium.new_context(java_script_enabled=scripts, viewport={"width": width, "height": 800})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if "ecurity Policy" in message.text else None)
    page.goto(site)
    page.set_input_files("input[type=file]", lease)
    press(page, "[data-form=hand-in] button.button")
    answer_provider(page, stub, site)
    shown = page.get_attribute("[data-digest]", "data-digest")
    press(page, "[data-form=sign] button")
    answer_provider(page, stub, site)
    assert page.get_attribute("[data-verdict]", "data-verdict") == "valid"
    # The page is never wider than its window: text wraps, nothing hides at the side.
    assert max(box["x"] + box["width"] for box in boxes(page)) <= width
    with page.expect_download() as download:
        page.click("[data-link=download]")
    assert download.value.suggested_filename == "lease-signed.pdf"
    signed = Path(download.value.path()).read_bytes()
    with ThreadPoolExecutor(1) as apart:  # Playwright's event loop occupies this thread
        assert apart.submit(verify, signed, [stub.signer.root]).result().bottom_line
    assert shown is not None
    assert complaints == []
    context.close()


def test_a_file_that_is_too_large_gives_our_page_and_not_the_browsers(
    chromium: Browser, site: str, tmp_path: Path
) -> None:
    large = tmp_path / "large.pdf"
    large.write_bytes(b"%PDF-1.7\n" + bytes(MAX_PDF_BYTES + 5_000_000))
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site)
    page.set_input_files("input[type=file]", large)
    press(page, "[data-form=hand-in] button.button")
    assert page.inner_text("[role=alert]") == "This file is larger than 20 MB."
    context.close()
