"""The identity provider's own pages in a real browser, by themselves: quick to reach, with every factor there is.

What a relying party and the signing side add is in ``test_browser.py``; this looks at each page by day, by night and on
a narrow phone, in the four languages, and at those that are met when something has gone wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect
from werkzeug.serving import make_server

import policies
from idp.storage import authenticators
from idp.storage.authenticators import NewAuthenticator
from idp.storage.boxes import close
from idp.web import services as composition
from idp.web.interaction import BeginInteraction
from idp.web.prove.registry import page_for
from idp.web.services import CredentialView
from tests.e2e.pictures import PUBLISHED
from tests.e2e.visitor import DESK, SECONDS, Album, Scheme, violations
from tests.fakes.idp import NOW, PASSWORD, Credentials, Idp, make_idp
from tests.unit.idp_web.interactions import signature
from tests.unit.idp_web.passkeys import Person

pytestmark = pytest.mark.browser

NARROW: ViewportSize = {"width": 320, "height": 780}
"""WCAG 2.2, 1.4.10: content fits 320 CSS pixels without scrolling sideways."""
LOOKS: tuple[tuple[Scheme, ViewportSize], ...] = (("light", DESK), ("dark", DESK), ("light", NARROW), ("dark", NARROW))
CROWDED = """() => {
    const boxes = [...document.querySelectorAll(".list li, .choice, .row, .decide")].map((line) => [
        line, [...line.children].map((part) => {
            const text = document.createRange();
            text.selectNodeContents(part);
            return [part, text.getBoundingClientRect()];
        }).filter(([, box]) => box.width > 0)]);
    const meet = (one, other) => Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1
        && Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 1;
    return boxes.flatMap(([line, parts]) => parts.flatMap(([part, box], at) => [
        ...parts.slice(at + 1).filter(([, other]) => meet(box, other)).map(([other]) =>
            `${part.textContent.trim()} lies on ${other.textContent.trim()}`),
        ...(box.right > line.getBoundingClientRect().right + 1 ? [`${part.textContent.trim()} sticks out`] : [])]));
}"""
"""Words that lie on one another, or stick out of the line that they are in: a page is no wider for it."""
LABELS = {"passkey": "Laptop", "totp": "My phone", "hotp": "Key ring", "recovery_code": ""}
LANGUAGES = ["en", "es", "de", "fr"]


@dataclass(frozen=True, slots=True)
class World:
    """An identity provider that answers a browser, and its clock."""

    idp: Idp
    origin: str
    album: Album

    def begin(self, page: Page, asked: BeginInteraction) -> str:
        """What a relying party's request does; returns the address of the page."""
        self.idp.waiting.append(asked)
        page.goto(f"{self.origin}/test/begin")
        return page.url.partition("?")[0]

    def sign_in(self, page: Page, password: str = PASSWORD) -> None:
        """Type user name and password."""
        form = page.locator('form[data-form="sign-in"]')
        if form.locator("#username").get_attribute("readonly") is None:
            form.locator("#username").fill("alice")
        form.locator("#password").fill(password)
        with page.expect_navigation():  # a click ends before its answer is there
            form.get_by_role("button").click()

    def barriers(self, page: Page) -> list[str]:
        """What axe-core finds, and what does not fit, in each look."""
        found = []
        for scheme, size in LOOKS:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(size)
            look = f"{page.title()}, {scheme}, {size['width']} px"
            found += [f"{look}: {fault}" for fault in violations(page)]
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > size["width"]:
                found.append(f"{look}: {wide} px wide")
            found += [f"{look}: {fault}" for fault in page.evaluate(CROWDED)]
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(DESK)
        return found

    def picture(self, page: Page, name: str) -> None:
        """By day, by night and on a phone."""
        for suffix, (scheme, size) in zip(("", "-dark", "-phone"), LOOKS, strict=False):
            path = self.album.path(name + suffix)
            if path is not None:
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": 390, "height": 780} if suffix == "-phone" else size)
                page.screenshot(path=path, full_page=True, animations="disabled", caret="hide")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(DESK)


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    policy = (Path(policies.__file__).parent / "default.yaml").read_bytes()
    idp = make_idp(tmp_path, policy=policy)
    Person(idp, idp.client()).hold(backup_eligible=True)
    with idp.engine.begin() as connection:
        authenticators.rename(connection, idp.seals, "alice-passkey", LABELS["passkey"])
    for kind, label in list(LABELS.items())[1:]:
        with_services = composition.of(idp.app)
        place = (f"alice-{kind}", idp.alice, kind)
        seed = close(with_services.keys.secret, with_services.random, place, b"\x01" * 20) if "otp" in kind else None
        new = NewAuthenticator(*place, label=label, secret_box=seed)
        with idp.engine.begin() as connection:
            authenticators.bind(connection, idp.seals, new, NOW)
            if kind == "totp":
                authenticators.succeeded(connection, new.id, NOW)
    server = make_server("127.0.0.1", 0, idp.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    published: Path | None = request.config.getoption("pictures", default=None)
    album = Album(tmp_path) if published is None else Album(published, PUBLISHED)
    yield World(idp, f"http://idp.localhost:{server.port}", album)
    server.shutdown()
    thread.join()
    idp.engine.dispose()


@pytest.fixture
def page(world: World, chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    language = getattr(request, "param", "en")
    context = chromium.new_context(viewport=DESK, locale=language, timezone_id="UTC", reduced_motion="reduce")
    made = context.new_page()
    made.set_default_timeout(SECONDS * 1000)
    made.clock.set_fixed_time(world.idp.clock.now())
    complaints: list[str] = []
    made.on("console", lambda message: complaints.append(message.text))
    yield made
    context.close()
    assert [text for text in complaints if "Failed to load resource" not in text] == []


class Two(Credentials):
    """Somebody with two credentials of the same kind."""

    def of_account(self, account_id: str, client_id: str) -> tuple[CredentialView, ...]:
        """Both."""
        return tuple(replace(self.view, credential_id=name) for name in ("cred-1", "cred-2"))


@pytest.mark.parametrize("page", LANGUAGES, indirect=True)
def test_the_choice_of_a_credential_fits_in_every_language(world: World, page: Page) -> None:
    with_services = composition.of(world.idp.app)
    world.idp.app.extensions[composition.EXTENSION] = replace(with_services, credentials=Two())
    asked = signature()
    assert asked.intent is not None
    intent = replace(asked.intent, credential_id="", qualifier="eu_eidas_aes")
    world.begin(page, replace(asked, intent=intent))
    world.sign_in(page)
    choices = page.locator('form[data-form="choose-credential"] button')
    expect(choices).to_have_count(2)
    assert [choice.get_attribute("value") for choice in choices.all()] == ["cred-1", "cred-2"]
    world.picture(page, f"choose-credential-{page.locator('html').get_attribute('lang')}")
    assert world.barriers(page) == []


@pytest.mark.parametrize("page", LANGUAGES, indirect=True)
def test_the_choice_is_among_whole_ways_and_fits_in_every_language(world: World, page: Page) -> None:
    here = world.begin(page, signature())
    shown = "" if page.locator("html").get_attribute("lang") == "en" else "-elsewhere"
    world.picture(page, f"sign-in{shown}")
    world.sign_in(page)
    page.goto(f"{here}?choose=1")
    ways = page.locator(".choice")
    assert [way.get_attribute("value") for way in ways.all()] == ["passkey", "totp", "hotp", "email_otp", "sms_otp"]
    expect(ways.nth(1).locator(".tag")).to_be_visible()
    expect(page.locator(".lacking")).to_be_visible()
    expect(page.locator(".proved li")).to_have_count(1)
    expect(page.locator(".until .left")).to_contain_text("15")
    assert world.barriers(page) == []
    world.picture(page, f"step-up{shown}")


def test_every_page_of_an_interaction_is_free_of_barriers(world: World, page: Page) -> None:
    idp, found = world.idp, []

    def look(heading: str) -> None:
        expect(page.locator("h1")).to_have_text(heading)
        found.extend(world.barriers(page))

    here = world.begin(page, signature(login_hint="alice"))
    look("Sign in")
    world.sign_in(page, "wrong password")
    expect(page.locator("#notice a")).to_have_attribute("href", "#password")
    look("Sign in")
    world.sign_in(page)
    page.locator(".why summary").click()
    look("One more step to prove it is you")
    with idp.app.app_context():
        kinds = [kind for kind in LABELS if page_for(kind) is not None]
    for kind in kinds:
        page.goto(f"{here}?factor={kind}")
        if kind != "recovery_code":  # which signs nothing: it is not offered
            expect(page.locator(f'form[data-form="{kind}"]')).to_be_visible()
        found.extend(world.barriers(page))
    page.goto(f"{here}?choose=1")
    page.get_by_role("button", name="Text message").click()
    look("Type the code we sent you")
    page.locator("#code").fill("000000" if idp.inbox.code != "000000" else "111111")
    page.locator("#code").press("Enter")
    expect(page.locator("#notice a")).to_have_attribute("href", "#code")
    look("Type the code we sent you")
    page.locator("#code").fill(idp.inbox.code)
    page.locator("#code").press("Enter")
    look("Example Contracts asks for your signature")
    page.goto(f"{world.origin}/account/")
    expect(page.locator(".unfinished a")).to_have_text("Example Contracts asks for your signature")
    found.extend(world.barriers(page))
    assert found == []


@pytest.mark.parametrize("page", LANGUAGES, indirect=True)
def test_the_account_pages_fit_in_every_language(world: World, page: Page) -> None:
    idp, found = world.idp, []
    with idp.engine.begin() as connection:
        authenticators.replace(
            connection, idp.seals, authenticator_id="new", account_id=idp.alice, kind="email_otp", now=NOW,
            address="a.very.long.name@department.of.an-office-with-a-long-name.example.org",
            not_before=NOW + timedelta(hours=72),
        )  # fmt: skip
    page.goto(f"{world.origin}/account/")
    world.sign_in(page)
    for path in ("", "approvals", "applications", "credentials", "history", "language", "ways/new", "ways/alice-totp"):
        page.goto(f"{world.origin}/account/{path}")
        expect(page.locator(".sections")).to_be_visible()
        found += world.barriers(page)
    assert found == []


@pytest.mark.parametrize("scripts", [True, False], ids=["with", "without"])
def test_until_when_is_said_in_the_time_of_the_place(world: World, chromium: Browser, scripts: bool) -> None:
    with chromium.new_context(java_script_enabled=scripts, locale="en", timezone_id="Europe/Madrid") as context:
        page = context.new_page()
        if scripts:
            page.clock.set_fixed_time(world.idp.clock.now())
        world.begin(page, signature())
        said = "This can be finished until 11:15." if scripts else "This can be finished until 10:15 UTC."
        expect(page.locator(".until span").first).to_have_text(said)


def test_a_lost_tab_is_found_again_and_one_that_came_too_late_says_so(world: World, page: Page) -> None:
    here = world.begin(page, signature())
    world.sign_in(page)
    world.begin(page, signature(client_name="Other Party", client_id="other"))
    found = world.barriers(page)
    world.picture(page, "resume")
    page.locator(".unfinished a").click()
    expect(page.locator("h1")).to_have_text("One more step to prove it is you")
    assert page.url == here
    world.idp.clock.advance(900)
    answer = page.goto(here)
    assert answer is not None
    assert answer.status == 410
    expect(page.locator("h1")).to_have_text("The time for this request is over")
    link = page.get_by_role("link", name="Go back to Example Contracts")
    assert link.get_attribute("href") == "http://rp.localhost:8405/"
    found += world.barriers(page)
    world.picture(page, "expired")
    assert found == []


def test_pages_that_are_met_when_something_is_wrong_are_free_of_barriers(world: World, page: Page) -> None:
    found = []
    for path, heading in (
        ("/nowhere", "There is no such page"),
        (f"/interaction/{'A' * 22}", "This request is over"),
        ("/account/sign-out", "The request cannot be answered"),
        ("/oauth2/authorize?client_id=nobody", "The application's request cannot be used"),
    ):
        page.goto(world.origin + path)
        expect(page.locator("h1")).to_have_text(heading)
        found += world.barriers(page)
    world.begin(page, signature())
    page.locator('input[name="csrf_token"]').first.evaluate("field => field.value = 'another'")
    world.sign_in(page)
    expect(page.locator("h1")).to_have_text("This page is out of date")
    found += world.barriers(page)
    assert found == []
