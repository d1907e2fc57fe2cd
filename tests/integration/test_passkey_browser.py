"""Passkeys in a real Chromium with its virtual authenticator: bound, signed in by, used for a signature, removed."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, expect, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.e2e.visitor import DESK, PHONE, SECONDS, launch, leaving, violations
from tests.fakes.idp import PASSWORD, Idp, make_idp
from tests.sockets import free_port
from tests.unit.idp_web.factors import POLICY
from tests.unit.idp_web.interactions import plain, signature
from tests.unit.idp_web.passkeys import stored

pytestmark = pytest.mark.browser


class Quiet(WSGIRequestHandler):
    """Writes no access log."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  # werkzeug's name
        """Nothing."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    """An identity provider that a browser can reach."""
    port = free_port()
    made = make_idp(tmp_path, policy=POLICY, issuer=f"http://idp.localhost:{port}")
    server = make_server("127.0.0.1", port, made.app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()
    made.engine.dispose()


class Alice:
    """A person at a browser with a device of their own."""

    def __init__(self, idp: Idp, context: BrowserContext, tmp_path: Path, **traits: Any) -> None:
        self.idp, self.context, self.folder = idp, context, tmp_path
        self.complaints: list[str] = []
        context.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.set_default_timeout(SECONDS * 1000)
        self.page: Page = context.new_page()
        self.cdp: CDPSession = context.new_cdp_session(self.page)
        self.cdp.send("WebAuthn.enable", {"enableUI": False})
        self.device = self.add_device(**traits)

    def add_device(self, **traits: Any) -> str:
        """Plug another authenticator in."""
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
            **traits,
        }
        made: str = self.cdp.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]
        return made

    def set(self, command: str, **values: Any) -> None:
        """Change how the device behaves."""
        self.cdp.send(f"WebAuthn.{command}", {"authenticatorId": self.device, **values})

    def held(self) -> list[dict[str, Any]]:
        """The passkeys in the device."""
        found: list[dict[str, Any]] = self.cdp.send("WebAuthn.getCredentials", {"authenticatorId": self.device})[
            "credentials"
        ]
        return found

    def at(self, heading: str) -> None:
        expect(self.page.get_by_role("heading", level=1)).to_have_text(heading)

    def go(self, path: str) -> None:
        self.page.goto(self.idp.settings.issuer + path)

    def password(self) -> None:
        self.page.get_by_label("User name").fill("alice")
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.locator('form[data-form="sign-in"] button').click()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def by_text_message(self) -> None:
        self.at("One more step to prove it is you")
        self.page.get_by_role("button", name="Text message").click()
        self.at("Type the code we sent you")
        self.page.get_by_label("Six-digit code").fill(self.idp.inbox.code)
        self.press("Continue")

    def to_enrolment(self) -> None:
        """From the account page to the page that makes a passkey, proved by a text message."""
        self.page.locator('form[data-form="add-factor"] button[value="passkey"]').click()
        self.by_text_message()
        self.page.locator('form[data-form="consent"] button[value="approve"]').click()
        self.at("Add a passkey")

    def bind(self, label: str = "") -> None:
        """Sign in and make a passkey."""
        self.go("/account/")
        self.password()
        self.to_enrolment()
        self.page.get_by_label("What do you call it?").fill(label)
        self.press("Make a passkey")
        self.at("Alice Example")

    def asked_to_sign(self) -> None:
        """A relying party asks for a signature."""
        self.idp.waiting.append(signature())
        self.go("/test/begin")

    def look(self, name: str) -> None:
        """No barriers, by day, by night, on a phone; pictures of all three."""
        for look, scheme, size in (("", "light", DESK), ("-dark", "dark", DESK), ("-phone", "light", PHONE)):
            self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
            self.page.set_viewport_size(size)
            assert violations(self.page) == [], (name, look)
            wide = self.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= size["width"], (name, look)
            self.page.screenshot(path=self.folder / f"{name}{look}.png", full_page=True)
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size(DESK)


@contextmanager
def visit(chromium: Browser, idp: Idp, folder: Path, *, scripts: bool = True, **traits: Any) -> Iterator[Alice]:
    context = chromium.new_context(viewport=DESK, locale="en-GB", timezone_id="UTC", java_script_enabled=scripts)
    alice = Alice(idp, context, folder, **traits)
    try:
        yield alice
    finally:
        context.close()
    refused = [text for text in alice.complaints if "Failed to load resource" not in text]
    assert refused == [], "scripts that broke, or the content security policy refused something"


def test_a_passkey_is_bound_signs_in_and_signs(chromium: Browser, idp: Idp, tmp_path: Path) -> None:
    with visit(chromium, idp, tmp_path, defaultBackupEligibility=True, defaultBackupState=True) as alice:
        alice.go("/account/")
        alice.look("passkey-sign-in")
        alice.password()
        alice.to_enrolment()
        alice.look("passkey-enrol")
        alice.press("Make a passkey")
        alice.at("Alice Example")
        expect(alice.page.locator("main")).to_contain_text("Password manager")
        alice.look("passkey-account")
        (item,) = stored(idp)
        assert sorted(item.data["flags"]) == ["backup_eligible", "user_verified"]
        (held,) = alice.held()
        assert held["isResidentCredential"]

        with leaving(alice.page):
            alice.press("Sign out")
        alice.set("setAutomaticPresenceSimulation", enabled=False)
        alice.go("/account/")
        alice.at("Sign in")
        alice.set("setAutomaticPresenceSimulation", enabled=True)
        alice.press("Sign in with a passkey")
        alice.at("Alice Example")

        alice.asked_to_sign()
        alice.at("One more step to prove it is you")
        alice.look("passkey-choose")
        alice.page.get_by_role("button", name="Passkey").click()
        alice.at("Use your passkey")
        expect(alice.page.locator(":focus")).to_have_text("Use passkey")
        alice.look("passkey-prove")
        alice.page.keyboard.press("Enter")
        alice.at("Example Contracts asks for your signature")
        expect(alice.page.locator('form[data-form="consent"]')).to_be_visible()
        assert stored(idp)[0].counter >= 2


def test_autofill_offers_a_passkey_without_anything_typed(chromium: Browser, idp: Idp, tmp_path: Path) -> None:
    with visit(chromium, idp, tmp_path) as alice:
        alice.bind("my laptop")
        with leaving(alice.page):
            alice.press("Sign out")
        alice.go("/account/")
        alice.at("Alice Example")


def test_several_passkeys_each_found_by_its_device_and_one_removed(chromium: Browser, idp: Idp, tmp_path: Path) -> None:
    with visit(chromium, idp, tmp_path) as alice:
        alice.bind("my laptop")
        # the same device makes no second one
        alice.to_enrolment()
        alice.press("Make a passkey")
        expect(alice.page.get_by_role("alert")).to_have_text(
            "This device or key holds a passkey for your account already."
        )
        expect(alice.page.locator(":focus")).to_have_text("Make a passkey")
        alice.look("passkey-enrol-again")
        alice.set("removeVirtualAuthenticator")
        alice.device = alice.add_device(transport="usb")
        alice.press("Make a passkey")
        alice.at("Alice Example")
        assert {item.label for item in stored(idp)} == {"my laptop", "Security key"}

        key = alice.page.get_by_role("listitem").filter(has_text="Security key")
        key.get_by_role("link", name="Passkey").click()
        alice.page.locator('form[data-form="remove-factor"] button').click()
        alice.page.get_by_role("button", name="Passkey").click()
        alice.at("Use your passkey")
        alice.press("Use passkey")
        alice.page.locator('form[data-form="consent"] button[value="approve"]').click()
        alice.at("Alice Example")
        assert [item.label for item in stored(idp)] == ["my laptop"]


def test_a_device_that_verifies_nobody_is_one_factor(chromium: Browser, idp: Idp, tmp_path: Path) -> None:
    with visit(chromium, idp, tmp_path, hasUserVerification=False, isUserVerified=False) as alice:
        alice.bind()
        assert stored(idp)[0].data["flags"] == []
        alice.asked_to_sign()
        alice.page.get_by_role("button", name="Passkey").click()
        alice.press("Use passkey")
        # the password is the other
        with alice.page.expect_request(re.compile("rp.localhost")):
            alice.page.locator('form[data-form="consent"] button[value="approve"]').click()
        (outcome,) = idp.finished
        assert outcome.approval is not None
        assert {item.factor: "user_verified" in item.flags for item in outcome.approval.evidence} == {
            "password": False,
            "passkey": False,
        }


def test_what_went_wrong_is_said_at_the_button_and_can_be_mended(chromium: Browser, idp: Idp, tmp_path: Path) -> None:
    with visit(chromium, idp, tmp_path) as alice:
        alice.bind()
        alice.asked_to_sign()
        alice.page.get_by_role("button", name="Passkey").click()
        alice.at("Use your passkey")
        alice.set("setUserVerified", isUserVerified=False)
        alice.set("clearCredentials")
        alice.press("Use passkey")
        alert = alice.page.get_by_role("alert")
        expect(alert).to_have_text(re.compile("Nothing was sent: the dialogue was closed or took too long."))
        expect(alice.page.locator(":focus")).to_have_text("Use passkey")
        alice.look("passkey-cancelled")
        idp.clock.advance(300)
        alice.page.evaluate("document.querySelector('form[data-passkey]').submit()")
        expect(alert).to_have_text("Passkeys need JavaScript. Please allow it for this page, or use another way.")
        alice.look("passkey-refused")


def test_without_scripts_the_other_ways_are_open(chromium: Browser, idp: Idp, tmp_path: Path) -> None:
    with visit(chromium, idp, tmp_path, scripts=False) as alice:
        idp.waiting.append(plain())
        alice.go("/test/begin")
        expect(alice.page.get_by_text("Passkeys need JavaScript.")).to_be_visible()
        alice.press("Sign in with a passkey")
        expect(alice.page.get_by_role("alert")).to_contain_text("Passkeys need JavaScript.")
        with alice.page.expect_request(re.compile("rp.localhost")):
            alice.password()
        assert len(idp.finished) == 1
