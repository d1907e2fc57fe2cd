"""Settings of the generic HTTP gateway, and the templates in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

_FIELD: Final = re.compile(r"\{([a-z]+)(?::([A-Za-z0-9_-]+))?\}")
_IN_HEADERS: Final = frozenset({"to", "sender", "id", "secret"})
_IN_BODY: Final = _IN_HEADERS | {"text"}
_SECRET_NAME: Final = re.compile(r"auth|key|token|secret|passw|signature|credential", re.IGNORECASE)
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_PATH: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\Z")


@dataclass(frozen=True, slots=True)
class HttpSmsSettings:
    """Table ``[messaging.sms.settings]`` of idp.toml for ``http_sms``.

    Templates are texts in which ``{to}``, ``{text}``, ``{sender}``, ``{id}`` and ``{secret:NAME}`` are filled in.  What
    was filled in is not looked at again, so that a text cannot ask for a secret.
    """

    url: str
    sender: str = ""
    method: Literal["POST", "PUT"] = "POST"
    """No GET: a code in a URL ends up in everybody's logs (OTP-06)."""
    form: Literal["form", "json", "text"] = "json"
    """What the body is: a form, JSON, or plain text in UTF-8 (then ``{text}`` alone, and the rest is in headers)."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """Templates by the gateway's field names; for ``json`` tables and lists of them too."""
    headers: Mapping[str, Any] = field(default_factory=dict)
    """Templates; ``{text}`` is not allowed here."""
    secrets: Mapping[str, Any] = field(default_factory=dict)
    """Absolute paths of owner-only files, by the names in ``{secret:NAME}``."""
    username: str | None = None
    """For HTTP Basic authentication (RFC 7617)."""
    password_file: Path | None = None
    plus_sign: bool = True
    """Whether ``{to}`` has E.164's plus sign."""
    ca_file: Path | None = None
    """PEM; the system's authorities otherwise."""
    timeout_seconds: float = 10.0
    success_status: tuple[int, ...] = (200, 201, 202)
    answer_path: str | None = None
    """Where in a JSON answer the gateway's own result stands, such as ``messages.0.status``."""
    success_values: tuple[str, ...] = ()
    """Results that mean it took the message; any other leaves the outcome unknown, or is one of the next two."""
    recipient_values: tuple[str, ...] = ()
    """Results that mean it will not deliver to this number."""
    later_values: tuple[str, ...] = ()
    """Results that mean it did not take the message now."""
    recipient_status: tuple[int, ...] = ()
    """Status codes that mean it will not deliver to this number."""
    reference_path: str | None = None
    """Where in a JSON answer the gateway's identifier of the message stands."""
    status_url: str | None = None
    """Asked with GET for what became of a message; ``{reference}`` in it is that identifier."""
    status_path: str | None = None
    delivered_values: tuple[str, ...] = ()
    failed_values: tuple[str, ...] = ()

    def faults(self) -> list[str]:
        """What the types cannot say."""
        return [*self._addresses(), *self._templates(), *self._results()]

    def _addresses(self) -> Iterator[str]:
        for name, url in (("url", self.url), ("status_url", self.status_url)):
            if url is not None and not _may_be_asked(url.replace("{reference}", "0")):
                yield f"{name} is an https URL without credentials or a fragment; http only to a loopback address"
        if self.status_url is not None and "{reference}" not in self.status_url:
            yield "status_url holds {reference}"
        if "{" in self.url:
            yield "url has no fields: numbers and texts do not belong into a URL"
        if (self.username is None) != (self.password_file is None):
            yield "username and password_file go together"
        if not 0 < self.timeout_seconds <= 60:
            yield "timeout_seconds must be above 0 and at most 60"
        if len(self.sender) > 32 or not self.sender.isprintable():
            yield "sender is at most 32 printable characters"

    def _templates(self) -> Iterator[str]:
        used: set[str] = set()
        for where, allowed, template in self._all_templates():
            for name, secret in _FIELD.findall(template):
                used.add(name)
                if name not in allowed or (name == "secret") != bool(secret):
                    yield f"{where}: {{{name}}} is no field there"
                elif secret and secret not in self.secrets:
                    yield f"{where}: there is no secret {secret!r}"
        for name in self.headers:
            if not _HEADER_NAME.match(name) or name.lower() in {"content-type", "content-length", "host"}:
                yield f"headers: {name!r} is not a header to set"
        for where, name, template in self._named_templates():
            if _SECRET_NAME.search(name) and template and "{secret:" not in template:
                yield f"{where}.{name} looks like a secret: put it into an owner-only file and write {{secret:NAME}}"
        if self.form == "text":
            if self.body:
                yield "body has no fields where form is text"
            used.add("text")
        for name in {"to", "text"} - used:
            yield f"{{{name}}} is nowhere in body or headers"

    def _results(self) -> Iterator[str]:
        for name in ("answer_path", "reference_path", "status_path"):
            path = getattr(self, name)
            if path is not None and not _PATH.match(path):
                yield f"{name} is names and numbers with dots between them"
        if (self.answer_path is None) != (not self.success_values):
            yield "answer_path and success_values go together"
        if (self.status_url is None) != (self.status_path is None) or (self.status_url and not self.delivered_values):
            yield "status_url, status_path and delivered_values go together"
        if not self.success_status or any(not 200 <= status < 300 for status in self.success_status):
            yield "success_status are codes from 200 to 299"
        if any(not 400 <= status < 500 for status in self.recipient_status):
            yield "recipient_status are codes from 400 to 499"

    def _all_templates(self) -> Iterator[tuple[str, frozenset[str], str]]:
        yield from (("headers", _IN_HEADERS, str(template)) for template in self.headers.values())
        yield from (("body", _IN_BODY, template) for template in leaves(self.body))

    def _named_templates(self) -> Iterator[tuple[str, str, str]]:
        for where, table in (("headers", self.headers), ("body", self.body)):
            yield from ((where, name, value) for name, value in table.items() if isinstance(value, str))


def _may_be_asked(url: str) -> bool:
    try:
        parts = urlsplit(url)
        clear = parts.hostname in {"127.0.0.1", "::1"} and parts.port is not None
    except ValueError:
        return False
    if parts.username is not None or parts.password is not None or parts.fragment or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and clear)


def leaves(template: Any) -> Iterator[str]:
    """All texts in a JSON value."""
    if isinstance(template, str):
        yield template
    elif isinstance(template, Mapping):
        for item in template.values():
            yield from leaves(item)
    elif isinstance(template, list | tuple):
        for item in template:
            yield from leaves(item)


def filled(template: Any, value_of: Callable[[str, str], str]) -> Any:
    """A JSON value with the fields of its texts filled in, each once.

    :param value_of: gives what a field's name, and the part after its colon, stand for.
    """
    if isinstance(template, str):
        return _FIELD.sub(lambda found: value_of(found[1], found[2] or ""), template)
    if isinstance(template, Mapping):
        return {name: filled(item, value_of) for name, item in template.items()}
    if isinstance(template, list | tuple):
        return [filled(item, value_of) for item in template]
    return template
