"""The least of a browser that gets through the identity provider's pages: cookies, redirects, one form a page.

Knows pages by their ``data-form`` markers.  Standard library only, and no HTML tree: it shares the processors with what
is measured.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit

from benchmarks.driver import Answer, Connection, unexpected
from benchmarks.errors import Unexpected

_FORM: Final = re.compile(r'<form data-form="([a-z-]+)"[^>]*?\baction="([^"]+)"[^>]*>(.*?)</form>', re.DOTALL)
_HIDDEN: Final = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')
_MAX_STEPS: Final = 16
_REDIRECTS: Final = frozenset({302, 303})


@dataclass(frozen=True, slots=True)
class Form:
    """A form of a page: where it goes, and what it carries unseen."""

    name: str
    action: str
    hidden: Mapping[str, str] = field(repr=False)


def forms_of(page: str) -> dict[str, Form]:
    """The page's forms by their marker."""
    found = {}
    for name, action, inside in _FORM.findall(page):
        hidden = {key: html.unescape(value) for key, value in _HIDDEN.findall(inside)}
        found[name] = Form(name, html.unescape(action), hidden)
    return found


def authorization_path(client_id: str, redirect_uri: str, acr: str) -> str:
    """A plain authorization request for ``openid`` that is satisfied with nothing below ``acr``.

    PKCE's verifier is thrown away: nobody redeems the code.
    """
    challenge = hashlib.sha256(secrets.token_urlsafe(32).encode()).digest()
    parameters = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": "openid",
        "state": secrets.token_urlsafe(16),
        "nonce": secrets.token_urlsafe(16),
        "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
        "code_challenge_method": "S256",
        "claims": json.dumps({"id_token": {"acr": {"essential": True, "values": [acr]}}}),
    }
    return f"/oauth2/authorize?{urlencode(parameters)}"


@dataclass(frozen=True, slots=True)
class Person:
    """Who signs in."""

    username: str
    password: str = field(repr=False)
    phone: str


class SignIn(Connection):
    """Signs people in, one after another, each with a browser that has no cookies yet."""

    def __init__(
        self,
        port: int,
        host: str,
        people: Sequence[Person],
        take_code: Callable[[str], str | None],
        begin: Callable[[], tuple[str, str]],
    ) -> None:
        """:param begin: gives the path of an authorization request and the redirect URI at which it ends."""
        super().__init__(port, host)
        self._people = people
        self._take_code = take_code
        self._begin = begin
        self._cookies: dict[str, str] = {}
        self._asked: list[str] = []

    def work(self, number: int) -> tuple[int, bytes]:
        """One login, from the authorization request to the redirect with a code; gives the forms that were filled in.

        :raises Unexpected: it ended otherwise.
        """
        self._cookies, self._asked = {}, []
        path, redirect_uri = self._begin()
        answer = self._get(path)
        for _ in range(_MAX_STEPS):
            if answer.status in _REDIRECTS:
                location = answer.headers["Location"]
                if location.partition("?")[0] == redirect_uri:
                    return self._ended(location)
                parts = urlsplit(location)
                answer = self._get(f"{parts.path}?{parts.query}" if parts.query else parts.path)
            elif answer.status == 200:
                answer = self._fill_in(answer, self._people[number])
            else:
                raise unexpected(answer)
        raise Unexpected("the pages have no end")

    def _ended(self, location: str) -> tuple[int, bytes]:
        if "code=" not in location:
            raise Unexpected(f"ended without a code after {self._asked}")
        return 1, " ".join(self._asked).encode()

    def _fill_in(self, page: Answer, person: Person) -> Answer:
        forms = forms_of(page.body.decode())
        answers: dict[str, Callable[[], dict[str, str]]] = {
            "sign-in": lambda: {"username": person.username, "password": person.password},
            "otp": lambda: {"code": self._code(person)},
            "choose": lambda: {"factor": "sms_otp"},
        }
        for name, fields in answers.items():
            if name in forms:
                self._asked.append(name)
                return self._post(forms[name], fields())
        raise Unexpected(f"a page without a form that is known, after {self._asked}")

    def _code(self, person: Person) -> str:
        code = self._take_code(person.phone)
        if code is None:
            raise Unexpected("no message came")
        return code

    def _get(self, path: str) -> Answer:
        return self._exchange("GET", path, None, {})

    def _post(self, form: Form, fields: Mapping[str, str]) -> Answer:
        body = urlencode({**form.hidden, **fields}).encode()
        parts = urlsplit(form.action)
        return self._exchange("POST", parts.path, body, {"Content-Type": "application/x-www-form-urlencoded"})

    def _exchange(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        answer = self.send(method, path, body, headers)
        for header in answer.headers.get_all("Set-Cookie", []):
            name, _, value = header.partition(";")[0].partition("=")
            self._cookies[name] = value
        return answer
