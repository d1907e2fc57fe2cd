"""Requests that wait for a person's approval, in a real Chromium: with and without scripts, in each look."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from idp.oidc.client import BACKCHANNEL_GRANT
from tests.e2e.pictures import PUBLISHED
from tests.e2e.visitor import DESK, PHONE, Scheme, launch, leaving, violations
from tests.integration import oidc_world
from tests.integration.oidc_world import PASSWORD, SHA256, RelyingParty, World

pytestmark = pytest.mark.browser
LABELS = ("Rental contract.pdf", "Annex A.pdf")
MESSAGE = "Flat 12, order 4711"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    with oidc_world.serve(tmp_path_factory.mktemp("approvals")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def picture(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Path]:
    published: Path | None = request.config.getoption("pictures", default=None)

    def path(name: str) -> Path:
        return (published if published is not None and name in PUBLISHED else tmp_path) / f"{name}.png"

    return path


class Caller:
    """An application that asks without a browser."""

    def __init__(self, served: tuple[World, str]) -> None:
        self.rp, self.issuer = RelyingParty(served[0], "caller", served[0].app.test_client()), served[1]

    def ask(self) -> str:
        digests = {name: hashlib.sha256(name.encode()).digest() for name in LABELS}
        documents = [{"hash": base64.b64encode(item).decode(), "label": name} for name, item in digests.items()]
        details = {
            "type": "credential",
            "credentialID": "credential-1",
            "documentDigests": documents,
            "hashAlgorithmOID": SHA256,
        }
        form = {
            "login_hint": "alice",
            "scope": "credential",
            "binding_message": MESSAGE,
            "authorization_details": json.dumps([details]),
        }
        answer = self._post("/oauth2/bc-authorize", form)
        assert answer.status_code == 200, answer.text
        return str(answer.get_json()["auth_req_id"])

    def collect(self, handle: str) -> Any:
        return self._post("/oauth2/token", {"grant_type": BACKCHANNEL_GRANT, "auth_req_id": handle})

    def _post(self, path: str, form: dict[str, str]) -> Any:
        return self.rp.http.post(path, data=form, headers=self.rp.basic, base_url=self.issuer)


LOOKS: tuple[tuple[Scheme, ViewportSize], ...] = (("light", DESK), ("dark", DESK), ("light", PHONE))


def look(page: Page) -> None:
    """Nothing bars anybody from the page, in any look, and it is no wider than the window."""
    for scheme, size in LOOKS:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size(size)
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(DESK)


def shoot(page: Page, path: Path) -> None:
    page.screenshot(path=path, full_page=True, animations="disabled", caret="hide")


def press(page: Page, form: str, value: str = "") -> None:
    chosen = f'[value="{value}"]' if value else '[type="submit"]'
    with leaving(page):
        page.locator(f'[data-form="{form}"] button{chosen}').first.click()


def enter(page: Page, issuer: str) -> None:
    page.goto(f"{issuer}/account/approvals")
    page.fill("#username", "alice")
    page.fill("#password", PASSWORD)
    press(page, "sign-in")


def test_a_person_finds_what_waits_looks_at_it_and_approves(
    served: tuple[World, str], chromium: Browser, picture: Callable[[str], Path]
) -> None:
    world, issuer = served
    caller = Caller(served)
    handle, other = caller.ask(), caller.ask()
    page = chromium.new_context(viewport=DESK, locale="en-GB").new_page()
    enter(page, issuer)
    assert page.get_by_role("link", name="Approvals (2 wait for you)").get_attribute("aria-current") == "page"
    look(page)
    shoot(page, picture("approvals"))
    page.get_by_role("link", name="Calling Party asks for your signature on 2 documents").last.click()
    page.locator('[data-form="open"]').wait_for()
    look(page)
    shoot(page, picture("approval-request"))
    press(page, "open")
    page.locator('button[name="factor"][value="sms_otp"]').click()
    page.locator("#code").wait_for()
    page.fill("#code", world.phone.code())
    press(page, "otp")
    page.locator('[data-form="consent"]').wait_for()
    assert MESSAGE in page.locator("main").inner_text()
    assert "14 min" not in page.locator(".until").inner_text(), "no longer than the request stands"
    look(page)
    shoot(page, picture("approval-consent"))
    press(page, "consent", "approve")
    page.get_by_role("status").wait_for()
    assert "has not fetched it yet" in page.get_by_role("status").inner_text()
    look(page)
    assert [caller.collect(each).status_code for each in (handle, other)].count(200) == 1
    page.reload()
    assert "the application has fetched it" in page.get_by_role("status").inner_text()
    with leaving(page):
        page.get_by_role("link", name="Approvals (1 waits for you)").click()
    look(page)


@pytest.mark.parametrize(
    ("locale", "title"), [("de-AT", "Freigaben"), ("es-ES", "Aprobaciones"), ("fr-FR", "Approbations")]
)
def test_it_is_all_there_without_scripts_and_in_other_languages(
    served: tuple[World, str], chromium: Browser, locale: str, title: str, picture: Callable[[str], Path]
) -> None:
    caller = Caller(served)
    handle = caller.ask()
    page = chromium.new_context(viewport=PHONE, locale=locale, java_script_enabled=False).new_page()
    enter(page, served[1])
    assert title in page.title()
    shoot(page, picture(f"approvals-{locale}"))
    with leaving(page):
        page.locator("ul.list a").first.click()
    shoot(page, picture(f"approval-request-{locale}"))
    press(page, "refuse")
    page.get_by_role("status").wait_for()
    assert page.locator('[data-form="open"]').count() == 0
    assert caller.collect(handle).get_json()["error"] == "access_denied"
