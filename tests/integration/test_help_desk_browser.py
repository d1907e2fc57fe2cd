"""A reset by two of the help desk and the activation after it, in a real Chromium: readable, open to everybody."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, ViewportSize, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from idp.authn.totp import code_at
from tests.e2e.visitor import DESK, PHONE, Scheme, launch, leaving, violations
from tests.fakes.idp import PASSWORD, Idp
from tests.unit.idp_web.admin import make_admin_idp

pytestmark = pytest.mark.browser
CHOSEN = "a long password of her own"


class Quiet(WSGIRequestHandler):
    def log(self, *_values: object) -> None:
        """Say nothing."""


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_admin_idp(tmp_path)
    made.add_account("carol")
    for name in ("hanna", "hugo"):
        made.add_account(name)
        made.give_roles(f"account-{name}", "helpdesk")
    yield made
    made.engine.dispose()


@pytest.fixture
def base(idp: Idp) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, idp.app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def visit() -> Iterator[Callable[..., Page]]:
    """A browser of somebody's."""
    with sync_playwright() as playwright:
        chromium = launch(playwright)

        def begin(scheme: Scheme, size: ViewportSize, locale: str = "en-GB") -> Page:
            context = chromium.new_context(color_scheme=scheme, viewport=size, locale=locale)
            return context.new_page()

        yield begin
        chromium.close()


def look(page: Page, form: str) -> None:
    """It is the page with that form, nothing bars anybody from it, and it is as wide as the window."""
    page.locator(f'[data-form="{form}"]').first.wait_for()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def press(page: Page, form: str) -> None:
    with leaving(page):
        page.locator(f'[data-form="{form}"] button[type="submit"]').first.click()


def prove(idp: Idp, page: Page) -> None:
    """A code by text message."""
    with leaving(page):
        page.locator('button[name="factor"][value="sms_otp"]').click()
    page.fill("#code", idp.inbox.code)
    press(page, "otp")


def enter(idp: Idp, page: Page, base: str, username: str) -> None:
    page.goto(f"{base}/admin/accounts")
    page.fill("#username", username)
    page.fill("#password", PASSWORD)
    press(page, "sign-in")
    prove(idp, page)
    look(page, "find-person")


def test_ENR_03_ENR_01_two_of_the_help_desk_and_the_person_find_their_way(
    idp: Idp, base: str, visit: Callable[..., Page]
) -> None:
    hanna = visit("light", DESK)
    enter(idp, hanna, base, "hanna")
    hanna.fill("#username", "carol")
    press(hanna, "find-person")
    look(hanna, "propose-reset")
    for box in hanna.get_by_role("checkbox").all():
        box.check()
    hanna.fill("#reason", "lost the phone, called back on the known number")
    press(hanna, "propose-reset")
    prove(idp, hanna)
    look(hanna, "consent")
    press(hanna, "consent")
    look(hanna, "reject-reset")

    hugo = visit("dark", PHONE)
    enter(idp, hugo, base, "hugo")
    look(hugo, "confirm-reset")
    press(hugo, "confirm-reset")
    prove(idp, hugo)
    look(hugo, "consent")
    press(hugo, "consent")
    code = hugo.locator("[data-code]").inner_text()
    assert violations(hugo) == []

    carol = visit("dark", PHONE, "de-AT")
    carol.goto(f"{base}/activate")
    carol.fill("#username", "carol")
    carol.fill("#code", "0000")
    press(carol, "activate")
    look(carol, "activate")
    carol.fill("#code", code.lower())
    press(carol, "activate")
    look(carol, "activate-next")
    press(carol, "activate-next")
    look(carol, "enrol")
    carol.fill("#password", CHOSEN)
    press(carol, "enrol")
    look(carol, "activate-next")
    carol.locator('button[value="totp"]').click()
    look(carol, "enrol")
    seed = base64.b32decode(carol.locator(".seed").inner_text().replace(" ", ""))
    carol.fill("#code", code_at(seed, idp.clock.now()))
    press(carol, "enrol")
    carol.wait_for_url(f"{base}/activate/done")
    assert violations(carol) == []
    carol.get_by_role("link", name="Anmelden").click()
    look(carol, "sign-in")
