"""HTTP as this client speaks it: TLS, no redirects, nothing from the environment, bounded in time and size."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from .errors import AnswerTooLargeError, ProtocolError, UnreachableError, UsageError
from .localhost import LocalhostAdapter, is_loopback

MAX_ANSWER: Final = 4 * 1024 * 1024
"""Octets.  A hundred values of RSA 4096 have 70 KB, a long list with its certificate chains some MB."""
_CHUNK: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds."""

    connect: float = 5.0
    between: float = 30.0
    """From one octet of the answer to the next."""
    whole: float = 60.0
    """From the request to the end of its answer, however steadily it drips."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end."""

    url: str
    status: int
    headers: Mapping[str, str]
    """Looked up in any case."""
    body: bytes = field(repr=False)

    def json(self) -> dict[str, Any]:
        """The JSON object of the body.

        :raises ProtocolError: it is none.
        """
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError) as e:
            raise ProtocolError(f"{self.url} did not answer with JSON (HTTP {self.status})") from e
        if not isinstance(value, dict):
            raise ProtocolError(f"{self.url} did not answer with a JSON object (HTTP {self.status})")
        return value

    def json_or_nothing(self) -> dict[str, Any]:
        """The JSON object of the body; an empty one where it is none."""
        try:
            return self.json()
        except ProtocolError:
            return {}

    @property
    def retry_after(self) -> int | None:
        """Seconds, where the answer says so in seconds (RFC 9110 section 10.2.3)."""
        value = self.headers.get("Retry-After", "").strip()
        return int(value) if value.isascii() and value.isdecimal() and len(value) < 6 else None


class Transport:
    """Sends requests; may be shared by everything that speaks to one service, but by one thread at a time."""

    def __init__(
        self, *, timeouts: Timeouts | None = None, max_answer: int = MAX_ANSWER, trusted: Path | None = None
    ) -> None:
        """:param trusted: PEM file of the certification authorities for TLS, where the usual ones are not meant."""
        self._timeouts = timeouts or Timeouts()
        self._max_answer = max_answer
        self._session = requests.Session()
        # A proxy or a .netrc would see or send secrets that nobody chose to give them.
        self._session.trust_env = False
        self._session.mount("http://", LocalhostAdapter())
        self._session.mount("https://", LocalhostAdapter())
        if trusted is not None:
            self._session.verify = str(trusted)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get(self, url: str) -> Reply:
        """Fetch a JSON document; the answer of whatever status.

        :raises UnreachableError: no answer.
        :raises ProtocolError: a redirect, or too much.
        :raises UsageError: the address is not https (or http on this machine).
        """
        return self._send("GET", url, {"Accept": "application/json"}, None)

    def post_json(self, url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
        """Send a JSON object.  Raises as :meth:`get`."""
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        return self._send(
            "POST", url, {"Accept": "application/json", "Content-Type": "application/json", **headers}, content
        )

    def post_form(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        """Send a form.  Raises as :meth:`get`."""
        return self._send("POST", url, {"Accept": "application/json", **headers}, dict(form))

    def post_octets(self, url: str, content: bytes, content_type: str) -> Reply:
        """Send octets as they are, such as a document; asks for JSON.  Raises as :meth:`get`."""
        return self._send("POST", url, {"Accept": "application/json", "Content-Type": content_type}, content)

    def _send(self, method: str, url: str, headers: Mapping[str, str], data: bytes | dict[str, str] | None) -> Reply:
        check_address(url)
        where = url.partition("?")[0]
        until = time.monotonic() + self._timeouts.whole
        try:
            with self._session.request(
                method,
                url,
                data=data,
                headers=dict(headers),
                allow_redirects=False,
                stream=True,
                timeout=(self._timeouts.connect, self._timeouts.between),
            ) as response:
                body = self._read(response, where, until)
        except requests.RequestException as e:
            parts = urlsplit(url)
            raise UnreachableError(f"no answer from {parts.scheme}://{parts.netloc} ({type(e).__name__})") from e
        if response.is_redirect:
            raise ProtocolError(f"{where} redirects; a request with secrets is not repeated elsewhere")
        return Reply(where, response.status_code, response.headers, body)

    def _read(self, response: requests.Response, where: str, until: float) -> bytes:
        read = bytearray()
        for chunk in response.iter_content(_CHUNK):
            read += chunk
            if len(read) > self._max_answer:
                raise AnswerTooLargeError(f"{where} answered with more than {self._max_answer} octets")
            if time.monotonic() > until:
                raise UnreachableError(f"{where} did not finish its answer in time")
        return bytes(read)


def check_address(url: str) -> None:
    """Tokens travel over TLS only, except on this machine.

    :raises UsageError: another scheme, no host, user information, or a fragment.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as e:
        raise UsageError(f"{url!r} is not an address") from e
    if not host or "@" in parts.netloc or parts.fragment:
        raise UsageError(f"{url!r} is not the address of a service")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise UsageError(f"{parts.scheme}://{parts.netloc} is not https, and not on this machine")


def text_of(document: Mapping[str, Any], name: str, where: str) -> str:
    """A string that must be there.

    :raises ProtocolError: it is not.
    """
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise ProtocolError(f"{where} lacks {name}")
    return value


def optional_text(document: Mapping[str, Any], name: str) -> str | None:
    """A string, or None where there is none."""
    value = document.get(name)
    return value if isinstance(value, str) and value else None


def texts_of(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """An array of strings, what is none left out; empty where there is none."""
    value = document.get(name)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
