"""The pages of typed codes and of the password in Chromium: in every language, on a phone, without scripts."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser, BrowserContext, Locator, Page, ViewportSize, expect, sync_playwright
from sqlalchemy import select
from werkzeug.serving import make_server

from idp.authn.new_password import MAX_LENGTH
from idp.settings import OtpSettings
from idp.storage import recovery as codes
from tests.e2e.visitor import DESK, PHONE, Scheme, launch, violations
from tests.fakes.idp import Idp, make_idp
from tests.unit.idp_web.factors import POLICY, enrolment
from tests.unit.idp_web.typed import at_step_up, give, give_recovery_codes

COOKIE = "privyseal_session"
KINDS = ("password", "totp", "hotp", "recovery_code")
ADDRESSES = {"sms_otp": "+34600000077", "email_otp": "alice@other.example"}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path, policy=POLICY)
    yield made
    made.engine.dispose()


@contextmanager
def served(idp: Idp) -> Iterator[str]:
    """The app on a free port."""
    server = make_server("127.0.0.1", 0, idp.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def at(context: BrowserContext, origin: str, browser: FlaskClient, path: str) -> Page:
    """The page, in the session of a browser that went there before."""
    found = browser.get_cookie(COOKIE)
    assert found is not None
    context.add_cookies([{"name": COOKIE, "value": found.value, "url": origin}])
    page = context.new_page()
    page.goto(origin + path)
    return page


def pages(idp: Idp) -> Iterator[tuple[str, FlaskClient, str]]:
    """Every page, with a browser that may see it."""
    browser = idp.client()
    for kind in KINDS:
        yield f"enrol-{kind}", browser, enrolment(idp, browser, kind)
    for kind, address in ADDRESSES.items():
        path = enrolment(idp, browser, kind)
        yield f"enrol-{kind}", browser, path
        assert idp.post(browser, path, "/send", address=address).status_code == 303
        yield f"enrol-{kind}-code", browser, path
    for kind in ("totp", "hotp"):
        give(idp, kind)
    made = give_recovery_codes(idp)
    path = at_step_up(idp, browser)
    for kind in KINDS[1:]:
        yield f"prove-{kind}", browser, f"{path}?factor={kind}"
    with idp.engine.begin() as connection:
        column = codes.recovery_codes.c.digest
        for digest in connection.execute(select(column).limit(len(made) - 2)).scalars().all():
            codes.use(connection, "alice-codes", digest)
    yield "account", browser, "/account/"


@pytest.mark.parametrize(
    ("language", "scheme", "viewport"),
    [
        ("en", "light", DESK),
        ("de", "dark", PHONE),
        pytest.param("fr", "light", PHONE, marks=pytest.mark.full),
        pytest.param("es", "dark", DESK, marks=pytest.mark.full),
    ],
    ids=["en", "de", "fr", "es"],
)
def test_nobody_is_kept_out_by_how_the_pages_are_made(
    idp: Idp, chromium: Browser, tmp_path: Path, language: str, scheme: Scheme, viewport: ViewportSize
) -> None:
    faults: list[str] = []
    with served(idp) as origin:
        for name, browser, path in pages(idp):
            with chromium.new_context(
                locale=language, color_scheme=scheme, viewport=viewport, reduced_motion="reduce"
            ) as context:
                page = at(context, origin, browser, path)
                for summary in page.locator("details.why summary").all():
                    summary.click()
                page.screenshot(path=tmp_path / f"{name}-{language}.png", full_page=True)
                faults += [f"{name}: {fault}" for fault in violations(page)]
                wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                faults += [f"{name}: {wide} pixels too wide"] if wide > 0 else []
    assert faults == []


@pytest.mark.parametrize("scripts", [True, False], ids=["with", "without"])
def test_a_password_is_changed_with_scripts_and_without(idp: Idp, chromium: Browser, scripts: bool) -> None:
    browser = idp.client()
    path = enrolment(idp, browser, "password")
    with served(idp) as origin, chromium.new_context(java_script_enabled=scripts, locale="en") as context:
        page = at(context, origin, browser, path)
        field, reveal = page.get_by_label("New password"), page.get_by_role("button", name="Show it")
        expect(reveal).to_have_count(1 if scripts else 0)
        field.fill("passw0rd1")
        if scripts:
            reveal.click()
            expect(field).to_have_attribute("type", "text")
            page.get_by_role("button", name="Hide it").click()
            expect(field).to_have_attribute("type", "password")
        page.get_by_role("button", name="Change it").click()
        expect(page.get_by_role("alert")).to_contain_text("Many people use this password")
        field.fill("a quiet river in the fog")
        page.get_by_role("button", name="Change it").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Alice Example")


@pytest.mark.parametrize("scripts", [True, False], ids=["with", "without"])
def test_until_when_the_same_code_is_not_sent_again_is_counted_down(
    tmp_path: Path, chromium: Browser, scripts: bool
) -> None:
    idp = make_idp(tmp_path, policy=POLICY, otp=OtpSettings(cool_down_seconds=90))
    browser = idp.client()
    path = enrolment(idp, browser, "sms_otp")
    assert idp.post(browser, path, "/send", address=ADDRESSES["sms_otp"]).status_code == 303
    with served(idp) as origin, chromium.new_context(java_script_enabled=scripts, locale="en") as context:
        if scripts:
            context.clock.install()
        page = at(context, origin, browser, path)
        again, hint = page.locator("button[data-wait]"), page.get_by_text("ask for the same code again in 90 seconds")
        if not scripts:
            expect(again).to_have_text("Send the same code again")
            expect(hint).to_be_visible()
        else:
            expect(again).to_have_text(re.compile(r"^Send the same code again \(1:(30|2\d)\)$"))
            expect(again).to_be_disabled()
            expect(hint).to_be_hidden()
            context.clock.run_for(91_000)
            expect(again).to_have_text("Send the same code again")
            expect(again).to_be_enabled()
    idp.engine.dispose()


def paste(context: BrowserContext, field: Locator, text: str) -> None:
    """Copy a text somewhere and paste it into a field, as people and password managers do."""
    elsewhere = context.new_page()
    elsewhere.set_content("<textarea></textarea>")
    elsewhere.locator("textarea").evaluate("(area, text) => { area.value = text; area.select(); }", text)
    elsewhere.keyboard.press("Control+C")
    elsewhere.close()
    field.focus()
    field.press("Control+V")


def test_a_password_is_pasted_whole_where_it_is_chosen_and_where_it_is_typed(idp: Idp, chromium: Browser) -> None:
    """The longest that is accepted (NIST SP 800-63B r4 3.1.1.2): in signs of which browsers count each twice."""
    text = "".join(chr(0x1F400 + number * 7 % 251) for number in range(MAX_LENGTH))
    browser = idp.client()
    path = enrolment(idp, browser, "password")
    with served(idp) as origin:
        with chromium.new_context(locale="en") as context:
            page = at(context, origin, browser, path)
            paste(context, page.get_by_label("New password"), text)
            page.get_by_role("button", name="Change it").click()
            expect(page.get_by_role("heading", level=1)).to_have_text("Alice Example")
        with chromium.new_context(locale="en") as context:
            page = context.new_page()
            page.goto(f"{origin}/account/")
            page.get_by_label("User name").fill("alice")
            paste(context, page.get_by_label("Password"), text)
            page.get_by_role("button", name="Sign in", exact=True).click()
            expect(page.get_by_role("heading", level=1)).to_have_text("Alice Example")


def test_what_is_printed_of_recovery_codes_are_the_codes(idp: Idp, chromium: Browser) -> None:
    browser = idp.client()
    path = enrolment(idp, browser, "recovery_code")
    with served(idp) as origin, chromium.new_context(java_script_enabled=False, locale="en") as context:
        page = at(context, origin, browser, path)
        page.emulate_media(media="print")
        expect(page.locator(".codes li")).to_have_count(10)
        expect(page.locator(".codes")).to_be_visible()
        expect(page.get_by_role("button")).to_have_count(0)
