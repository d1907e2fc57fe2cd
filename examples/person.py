"""A person at a browser, simulated: keeps cookies, follows redirects, reads pages, fills in forms, reads messages.

Knows the identity provider's pages by their `data-form` markers only, which are there for such tests. It never runs
scripts and never builds a request that the page did not offer as a form.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import lxml.html
import requests
from lxml.etree import ParserError

from examples.errors import (
    CodeNotReceivedError,
    PersonRefusedError,
    ProtocolError,
    ResponseForgedError,
    UnreachableError,
)
from examples.http_local import local_session

MAX_REDIRECTS = 20
MAX_PAGES = 16
"""Pages in one walk; a loop of step-ups ends here."""
INBOX_SECONDS = 10.0
"""How long a message may take to reach the development inbox."""
INBOX_PAUSE = 0.2

FACTOR_OF_CHANNEL = {"sms": "sms_otp", "email": "email_otp"}
_CODE = re.compile(r"(?<!\d)\d{6}(?!\d)")


@dataclass(frozen=True, slots=True)
class PolicyReason:
    """Why the identity provider's policy decided as it did, as its pages state it."""

    rule: str
    file: str
    line: str
    text: str
    page: str
    """The form of the page on which it stood: sign-in, choose, otp, consent."""

    def __str__(self) -> str:
        return f"{self.text} (rule {self.rule}, {self.file}:{self.line})"


@dataclass(frozen=True, slots=True)
class Page:
    """An HTML page that was shown."""

    url: str
    status: int
    document: Any
    """lxml's element tree."""

    def form(self, name: str) -> Any | None:
        found = self.document.xpath("//form[@data-form=$name]", name=name)
        return found[0] if found else None

    @property
    def title(self) -> str:
        return " ".join("".join(self.document.xpath("//title//text()")).split())

    @property
    def alert(self) -> str:
        """The text of the page's error message, if it shows one."""
        return " ".join(" ".join(self.document.xpath('//*[@role="alert"]//text()')).split())

    def reasons(self, page: str) -> list[PolicyReason]:
        return [
            PolicyReason(
                rule=element.get("data-rule", ""),
                file=element.get("data-file", ""),
                line=element.get("data-line", ""),
                text=" ".join(element.text_content().split()),
                page=page,
            )
            for element in self.document.xpath("//*[@data-reason]")
        ]


@dataclass(frozen=True, slots=True)
class Returned:
    """The browser was sent back to the application."""

    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Download:
    """The answer was a file."""

    media_type: str
    content: bytes = field(repr=False)


Arrival = Page | Returned | Download


class Browser:
    """Fetches pages and submits forms; stops where the application's redirect URI begins."""

    def __init__(self, redirect_uri: str) -> None:
        self._session = local_session()
        self._redirect_uri = redirect_uri

    def open(self, url: str) -> Arrival:
        return self._follow("GET", url, None)

    def submit(
        self, page: Page, form: Any, fields: Mapping[str, str], button: tuple[str, str] | None = None
    ) -> Arrival:
        """Send a form as a browser would: all its fields, hidden ones too, and the button that was pressed."""
        values = dict(form.form_values())
        values.update(fields)
        if button is not None:
            values[button[0]] = button[1]
        return self._follow(form.method, urljoin(page.url, form.get("action") or page.url), values, page.url)

    def _follow(self, method: str, url: str, data: Mapping[str, str] | None, referrer: str | None = None) -> Arrival:
        for _ in range(MAX_REDIRECTS):
            if self._is_ours(url):
                return Returned(url)
            response = self._send(method, url, data, referrer)
            if not response.is_redirect:
                return _arrival(response)
            if response.status_code in (307, 308) and method != "GET":
                message = "The provider repeats a form by redirect, which would send its secrets elsewhere."
                raise ProtocolError(message)
            referrer, url = url, urljoin(url, response.headers["Location"])
            method, data = "GET", None
        message = "The provider redirects in circles."
        raise ProtocolError(message)

    def _send(self, method: str, url: str, data: Mapping[str, str] | None, referrer: str | None) -> requests.Response:
        headers = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Language": "en"}
        if referrer is not None:
            parts = urlsplit(referrer)
            headers["Referer"] = f"{parts.scheme}://{parts.netloc}/"
            if method == "POST":
                headers["Origin"] = f"{parts.scheme}://{parts.netloc}"
        try:
            return self._session.request(
                method,
                url,
                data=data if method == "POST" else None,
                params=data if method == "GET" else None,
                headers=headers,
                allow_redirects=False,
            )
        except requests.RequestException as e:
            parts = urlsplit(url)
            message = f"No answer from {parts.scheme}://{parts.netloc}."
            raise UnreachableError(message) from e

    def _is_ours(self, url: str) -> bool:
        return url.partition("?")[0] == self._redirect_uri


class Inbox:
    """The development inbox, where messages to phones and mailboxes arrive."""

    def __init__(self, url: str, pause: Callable[[float], None] = time.sleep) -> None:
        self._url = url.rstrip("/") + "/messages.json"
        self._session = local_session()
        self._pause = pause

    def messages(self, to: str) -> list[tuple[str, str]]:
        """(identifier, body) of the messages to a number or an address, newest first."""
        try:
            response = self._session.get(self._url, params={"to": to})
            answer = response.json()
        except ValueError as e:
            message = f"The inbox did not answer with JSON (HTTP {response.status_code})."
            raise ProtocolError(message) from e
        except requests.RequestException as e:
            message = f"No answer from the inbox {self._url}."
            raise UnreachableError(message) from e
        items = answer.get("messages") if isinstance(answer, dict) else None
        if not isinstance(items, list):
            message = "The inbox did not answer with messages."
            raise ProtocolError(message)
        return [(str(item.get("id") or item.get("received_at") or ""), str(item.get("body", ""))) for item in items]

    def wait_for_code(self, to: str, before: Sequence[tuple[str, str]]) -> str:
        """The six-digit code in the newest message, once that is not one of those there were `before`.

        :raises CodeNotReceivedError: none came within `INBOX_SECONDS`.
        """
        deadline = time.monotonic() + INBOX_SECONDS
        while time.monotonic() < deadline:
            messages = self.messages(to)
            if messages and (len(messages) > len(before) or messages[0] != before[0]):
                found = _CODE.search(messages[0][1])
                if found:
                    return found.group()
            self._pause(INBOX_PAUSE)
        message = f"No one-time code reached the inbox within {INBOX_SECONDS:.0f} seconds."
        raise CodeNotReceivedError(message)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the person is and where messages reach them."""

    username: str
    password: str = field(repr=False)
    phone: str
    email: str
    channel: str = "sms"
    """`sms` or `email`: where the person wants the one-time code."""

    @property
    def address(self) -> str:
        return self.phone if self.channel == "sms" else self.email


class Person:
    """Answers whatever the identity provider asks, until the browser is back or a file arrives."""

    def __init__(self, identity: Identity, browser: Browser, inbox: Inbox) -> None:
        self._identity = identity
        self._browser = browser
        self._inbox = inbox
        self._before: list[tuple[str, str]] = []
        self._digests: Sequence[str] = ()
        self.reasons: list[PolicyReason] = []
        """What the policy gave as reasons during the last walk, without repetitions."""
        self.pages: list[str] = []
        """The forms that were answered during the last walk, in order."""

    def walk(self, url: str, *, approve: bool = True, digests: Sequence[str] = ()) -> Returned | Download:
        """Open a URL and do what the pages ask for.

        :param approve: what to answer on the consent page.
        :param digests: in hexadecimal, what the consent page must show; not looked at if empty.
        :raises PersonRefusedError: a page says that what was entered is wrong, or refuses.
        :raises ResponseForgedError: the consent page shows other digests; it was answered with a refusal.
        :raises ProtocolError: a page that this person does not understand.
        """
        self.reasons, self.pages, self._digests = [], [], digests
        self._before = self._inbox.messages(self._identity.address)
        return self._answer(self._browser.open(url), approve)

    def order_credential(self, issuer: str) -> bytes:
        """Order a signing credential on the account pages; the order is a compact JWS."""
        base = issuer.rstrip("/")
        self.reasons, self.pages, self._digests = [], [], ()
        self._before = self._inbox.messages(self._identity.address)
        page = self._browser.open(f"{base}/account/")
        if isinstance(page, Page) and page.form("sign-in") is not None:
            page = self._respond(page, approve=True)
            self._check(page)
        page = self._browser.open(f"{base}/account/credentials")
        arrival = self._answer(page, approve=True)
        if not isinstance(arrival, Download) or not arrival.media_type.startswith("application/jose"):
            message = "The account page did not hand out an order."
            raise ProtocolError(message)
        return arrival.content

    def _answer(self, arrival: Arrival, approve: bool) -> Returned | Download:
        for _ in range(MAX_PAGES):
            if not isinstance(arrival, Page):
                return arrival
            self._check(arrival)
            arrival = self._respond(arrival, approve)
        message = "The provider asks without end."
        raise ProtocolError(message)

    def _check(self, arrival: Arrival) -> None:
        if isinstance(arrival, Page) and arrival.alert:
            raise PersonRefusedError(arrival.alert)

    def _respond(self, page: Page, approve: bool) -> Arrival:
        """One page, one answer. The first of these forms that the page has is what it asks for."""
        answers: dict[str, Callable[[Page, Any], Arrival]] = {
            "sign-in": self._sign_in,
            "otp": self._enter_code,
            "choose": self._choose_factor,
            "consent": lambda shown, form: self._decide(shown, form, approve),
            "continue": self._go_on,
            "order-credential": self._go_on,
        }
        for name, answer in answers.items():
            form = page.form(name)
            if form is not None:
                self.pages.append(name)
                self._remember(page, name)
                return answer(page, form)
        self._remember(page, "other")
        message = f'Nobody knows what to do on the page "{page.title}" (HTTP {page.status}).'
        raise ProtocolError(message)

    def _remember(self, page: Page, name: str) -> None:
        known = {(reason.rule, reason.file, reason.line, reason.text) for reason in self.reasons}
        self.reasons += [
            reason for reason in page.reasons(name) if (reason.rule, reason.file, reason.line, reason.text) not in known
        ]

    def _sign_in(self, page: Page, form: Any) -> Arrival:
        fields = {"username": self._identity.username, "password": self._identity.password}
        return self._browser.submit(page, form, fields, _button(form))

    def _choose_factor(self, page: Page, _: Any) -> Arrival:
        wanted = FACTOR_OF_CHANNEL[self._identity.channel]
        buttons = page.document.xpath(
            '//form[@data-form="choose"]//*[@name="factor" and @value=$wanted]', wanted=wanted
        )
        if not buttons:
            message = f"The provider does not offer {wanted} here."
            raise ProtocolError(message)
        form = next(each for each in buttons[0].iterancestors("form"))
        self._before = self._inbox.messages(self._identity.address)
        return self._browser.submit(page, form, {}, ("factor", wanted))

    def _enter_code(self, page: Page, form: Any) -> Arrival:
        code = self._inbox.wait_for_code(self._identity.address, self._before)
        self._before = self._inbox.messages(self._identity.address)
        return self._browser.submit(page, form, {"code": code}, _button(form))

    def _go_on(self, page: Page, form: Any) -> Arrival:
        return self._browser.submit(page, form, {}, _button(form))

    def _decide(self, page: Page, form: Any, approve: bool) -> Arrival:
        shown = page.document.xpath("//@data-digest")
        if self._digests and sorted(shown) != sorted(self._digests):
            self._browser.submit(page, form, {}, ("decision", "deny"))
            message = "The approval page shows another digest than the one that was prepared. Nothing was approved."
            raise ResponseForgedError(message)
        return self._browser.submit(page, form, {}, ("decision", "approve" if approve else "deny"))


def save_owner_only(path: Path, content: bytes) -> None:
    """Write a file that nobody else can read; replaces what was there."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)


def _button(form: Any) -> tuple[str, str] | None:
    """The form's first submit button, if it has a name: pressing it sends that too."""
    for element in form.xpath(
        './/button[@name and (not(@type) or @type="submit")] | .//input[@type="submit" and @name]'
    ):
        return element.get("name"), element.get("value", "")
    return None


def _arrival(response: requests.Response) -> Page | Download:
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type not in ("text/html", "application/xhtml+xml"):
        if response.status_code != requests.codes.ok:
            message = f"{response.url.partition('?')[0]} answered HTTP {response.status_code}."
            raise ProtocolError(message)
        return Download(media_type, response.content)
    try:
        document = lxml.html.document_fromstring(response.content)
    except ParserError as e:
        message = f"{response.url.partition('?')[0]} answered with an empty page (HTTP {response.status_code})."
        raise ProtocolError(message) from e
    return Page(response.url, response.status_code, document)
