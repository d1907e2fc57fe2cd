"""A person at a real Chromium, and everything that the browser saw while they went about it.

Knows pages by the words and labels that people read and by the `data-form` markers; runs with and without scripts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlsplit
from urllib.request import urlopen

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Playwright,
    Request,
    ViewportSize,
    expect,
)

from launcher.ports import Ports

CHROMIUM: Final = "/usr/bin/chromium"
ARGUMENTS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--force-color-profile=srgb", "--font-render-hinting=none",
)  # fmt: skip
DESK: Final[ViewportSize] = {"width": 1040, "height": 780}
PHONE: Final[ViewportSize] = {"width": 390, "height": 780}
SECONDS: Final = 60
"""For one page. A step that costs a password hash or a signature takes well below one on an idle machine."""

# What WCAG 2.2 A and AA ask for, as far as a program can tell, and axe's own good practices.
_AXE_OPTIONS: Final = {
    "resultTypes": ["violations"],
    "preload": False,  # would fetch the style sheets again, by script, which the pages' own policy forbids
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
_AXE: Final = files("axe_playwright_python").joinpath("axe.min.js")
_REFUSED: Final = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")
# Chromium's advice to offer RSA to authenticators. What approves signatures is on P-256 or Ed25519.
_ADVICE: Final = "publicKey.pubKeyCredParams is missing at least one of the default algorithm identifiers"
_CODE: Final = re.compile(r"(?<!\d)\d{6}(?!\d)")
_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+")

Scheme = Literal["light", "dark"]


def launch(playwright: Playwright) -> Browser:
    """Debian's Chromium, without a window, not calling home; what is expected on a page has as long as a page."""
    expect.set_options(timeout=SECONDS * 1000)  # a context's own patience is not that of expect(): 5 seconds else
    return playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))


@dataclass(frozen=True, slots=True)
class Album:
    """Where pictures of the pages are kept."""

    folder: Path
    wanted: frozenset[str] | None = None
    """Only these names; None keeps all."""

    def path(self, name: str) -> Path | None:
        """The file for a picture, or None if nobody wants it."""
        return self.folder / f"{name}.png" if self.wanted is None or name in self.wanted else None


@dataclass
class Seen:
    """What a browser met on its way. (No slots: playwright marks the objects whose methods listen.)"""

    requests: list[str] = field(default_factory=list)
    """Every URL that was asked for, redirects and pictures included."""
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings on the console (violations of a content security policy are among them), broken scripts."""
    referrers: list[str] = field(default_factory=list)
    """What the next site was told about where the person came from."""
    shown: list[str] = field(default_factory=list)
    """URLs of the pages that stayed in the address bar and in the history."""
    refused: list[int] = field(default_factory=list)
    """Statuses above 399, in order."""
    secrets: set[str] = field(default_factory=set, repr=False)
    """Typed by the person: may be in no URL."""

    def listen(self, context: BrowserContext) -> None:
        """Hear of everything that happens in a context from now on."""
        context.on("request", self._request)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)
        self.referrers.append(request.headers.get("referer", ""))

    def _console(self, message: ConsoleMessage) -> None:
        refused = _REFUSED.search(message.text)
        if refused is not None:
            self.refused.append(int(refused[1]))
        elif message.type in ("error", "warning") and not message.text.startswith(_ADVICE):
            self.complaints.append(f"{message.text} ({message.location['url']})")


@contextmanager
def leaving(page: Page) -> Iterator[None]:
    """What is done within leads to another page, whose arrival is waited for: a click ends before its answer is there.

    Who reads at once after it reads the old page, as long as the two have in common what is looked for; and who goes
    elsewhere at once takes the request back.
    """
    with page.expect_navigation(timeout=SECONDS * 1000):
        yield


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with a page as it looks now."""
    page.evaluate(_AXE.read_text(encoding="utf-8"))
    result = page.evaluate("options => axe.run(options)", _AXE_OPTIONS)
    return [
        f"{fault['id']}: {fault['help']}: {node['html']}" for fault in result["violations"] for node in fault["nodes"]
    ]


class Visitor:
    """One person, one browser profile."""

    def __init__(
        self, context: BrowserContext, ports: Ports, password: str, album: Album, username: str = "alice"
    ) -> None:
        self.context = context
        self.ports = ports
        self.album = album
        self.seen = Seen()
        self.seen.listen(context)
        self.seen.secrets.add(password)
        context.set_default_timeout(SECONDS * 1000)
        self.page = context.new_page()
        self._username, self._password = username, password
        self._messages_before = self._newest_message()

    # Where we are

    @property
    def heading(self) -> Locator:
        """The page's heading."""
        return self.page.get_by_role("heading", level=1)

    def at(self, heading: str) -> None:
        """Wait for the page of this heading."""
        expect(self.heading).to_have_text(heading, timeout=SECONDS * 1000)
        self.seen.shown.append(self.page.url)

    def form(self, name: str) -> Locator:
        """A form by its marker."""
        return self.page.locator(f'form[data-form="{name}"]')

    def alert(self) -> Locator:
        """The page's error message."""
        return self.page.get_by_role("alert")

    # The relying party

    def open_site(self) -> None:
        """The relying party's first page."""
        self.page.goto(self.ports.url("rp"))
        self.at("Sign a contract, from anywhere")

    def choose(self, pdf: Path) -> None:
        """Choose a file."""
        self.form("hand-in").locator('input[type="file"]').set_input_files(pdf)

    def hand_in(self, pdf: Path) -> None:
        """Choose a file and send it. Ends at the sign-in page, or at the review if signed in already."""
        self.choose(pdf)
        self.form("hand-in").get_by_role("button", name="Continue").click()

    def drop(self, name: str, content: bytes) -> None:
        """Drop a file on the page as the mouse would (needs scripts, as no browser lets a test hold a real file)."""
        zone = self.page.locator(".drop input")
        transfer = self.page.evaluate_handle(
            """([name, octets]) => {
                const transfer = new DataTransfer();
                transfer.items.add(new File([new Uint8Array(octets)], name, {type: "application/pdf"}));
                return transfer;
            }""",
            [name, list(content)],
        )
        for event in ("dragenter", "dragover"):
            zone.dispatch_event(event, {"dataTransfer": transfer})
        zone.evaluate(
            "(input, transfer) => { input.files = transfer.files; input.dispatchEvent(new Event('change')); }", transfer
        )
        zone.dispatch_event("drop", {"dataTransfer": transfer})

    def go_to_provider(self) -> None:
        """From the review to the identity provider."""
        self.at("Review and sign")
        self.form("sign").get_by_role("button").click()

    def download(self) -> bytes:
        """The signed PDF."""
        with self.page.expect_download() as waiting:
            self.page.get_by_role("link", name="Download the signed PDF").click()
        return Path(waiting.value.path()).read_bytes()

    # The identity provider

    def sign_in(self, password: str | None = None) -> None:
        """User name and password."""
        self.page.get_by_label("User name").fill(self._username)
        self.page.get_by_label("Password").fill(password or self._password)
        self.form("sign-in").get_by_role("button").click()

    def ask_for_code(self, factor: Literal["Text message", "E-mail"]) -> None:
        """Choose where the code goes."""
        self.at("One more step to prove it is you")
        self.expect_message()
        self.form("choose").get_by_role("button", name=factor).click()
        self.at("Type the code we sent you")

    def expect_message(self) -> None:
        """Whatever came until now is not the message that is waited for."""
        self._messages_before = self._newest_message()

    def read_code(self, picture: str = "") -> str:
        """Open the development inbox in another tab, as a person takes out their phone."""
        reference = self.page.locator(".reference").inner_text()
        # A notice of something that was changed before may come at the same time; the code is in the one that says so.
        new = [item["body"] for item in self.messages() if item["id"] > self._messages_before]
        assert any(reference in body for body in new), "no message carries the page's reference"
        inbox = self.context.new_page()
        inbox.goto(self.ports.url("inbox"))
        newest = inbox.get_by_label("Text of the message").filter(has_text=reference).first.inner_text()
        if picture:
            self.picture(picture, page=inbox)
        inbox.close()
        # The last line of a text message has it once more, for browsers.
        codes = list(dict.fromkeys(_CODE.findall(newest)))
        assert len(codes) == 1, "one code in a message"
        self.seen.secrets.add(codes[0])
        return str(codes[0])

    def type_code(self, code: str) -> None:
        """Type a one-time code."""
        self.page.get_by_label("Six-digit code").fill(code)
        self.form("otp").get_by_role("button").click()

    def decide(self, decision: Literal["approve", "deny"]) -> None:
        """Press one of the two buttons of the approval page."""
        self.form("consent").locator(f'button[value="{decision}"]').click()

    # The messages

    def messages(self) -> list[dict[str, Any]]:
        """All messages, newest first."""
        with urlopen(f"{self.ports.url('inbox')}/messages.json", timeout=SECONDS) as answer:
            found: list[dict[str, Any]] = json.load(answer)["messages"]
        return found

    def _newest_message(self) -> int:
        return max((int(item["id"]) for item in self.messages()), default=0)

    # Pictures and checks

    def picture(self, name: str, *, page: Page | None = None, everywhere: bool = False) -> None:
        """Keep a picture of the page by daylight at a desk; if asked also by night and on a phone."""
        shown = page or self.page
        self._shoot(shown, name)
        if everywhere:
            with self.looking(scheme="dark", page=shown):
                self._shoot(shown, f"{name}-dark")
            with self.looking(size=PHONE, page=shown):
                self._shoot(shown, f"{name}-phone")
                wide = shown.evaluate("document.documentElement.scrollWidth")
                assert wide <= PHONE["width"], f"{name} is {wide} px wide on a phone of {PHONE['width']} px"

    def _shoot(self, page: Page, name: str) -> None:
        path = self.album.path(name)
        if path is not None:
            page.screenshot(path=path, full_page=True, animations="disabled", caret="hide")

    @contextmanager
    def looking(self, scheme: Scheme = "light", size: ViewportSize = DESK, page: Page | None = None) -> Iterator[None]:
        """The same page in other colours or on another screen."""
        shown = page or self.page
        shown.emulate_media(color_scheme=scheme)
        shown.set_viewport_size(size)
        try:
            yield
        finally:
            shown.emulate_media(color_scheme="light")
            shown.set_viewport_size(DESK)

    def barriers(self, page: Page | None = None) -> list[str]:
        """What axe-core finds wrong with the page, by day, by night and on a phone."""
        shown = page or self.page
        found = []
        looks: tuple[tuple[Scheme, ViewportSize], ...] = (("light", DESK), ("dark", DESK), ("light", PHONE))
        for scheme, size in looks:
            with self.looking(scheme, size, shown):
                found += [f"{shown.title()}, {scheme}, {size['width']} px: {fault}" for fault in violations(shown)]
        return found

    def foreign_hosts(self) -> set[str]:
        """Hosts that were asked for something and are not ours."""
        ours = {urlsplit(self.ports.url(name)).netloc for name in ("idp", "rp", "portal", "inbox")}
        ours.add(f"approve.localhost:{self.ports.of('idp')}")
        return {urlsplit(url).netloc for url in self.seen.requests if urlsplit(url).scheme != "blob"} - ours

    def leaks(self) -> list[str]:
        """URLs (without their query) that carried what the person typed, or a token."""
        return [
            url.partition("?")[0]
            for url in self.seen.requests
            if _TOKEN.search(url)
            or any(secret in value for secret in self.seen.secrets for _, value in parse_qsl(urlsplit(url).query))
            or any(secret in urlsplit(url).path for secret in self.seen.secrets)
        ] + [
            # An authorization code passes through a redirect; it does not stay, and no other page hears of it.
            url.partition("?")[0]
            for url in self.seen.shown + self.seen.referrers
            if "code" in dict(parse_qsl(urlsplit(url).query))
        ]
