"""Headers that every answer carries (SES-05, SES-09, SES-11)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from flask import Flask, g, request

from idp.web.services import services

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'"
)
_ALWAYS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()"),
)
_STATIC_SECONDS: Final = 3600


def allow_form_target(uri: str) -> None:
    """Let the forms of this page end at another origin: Chromium judges a redirect after a POST by ``form-action``."""
    parts = urlsplit(uri)
    if parts.scheme in {"http", "https"} and parts.hostname and parts.username is None:
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        _allow(f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else ""))
    elif parts.scheme and parts.scheme not in {"http", "https", "javascript", "data", "blob", "file"}:
        # An app's own scheme (RFC 8252 7.1).
        _allow(f"{parts.scheme}:")


def _allow(source: str) -> None:
    g.form_targets = tuple(dict.fromkeys((*g.get("form_targets", ()), source)))


def allow_pictures_inside() -> None:
    """Let this page have pictures in itself: no request for one of them can be sent anywhere."""
    g.pictures_inside = True


def install(app: Flask) -> None:
    """Add the headers to every answer of an app.

    To the list that goes to the server: werkzeug would look at each one three times on its way there.
    """
    answer = app.wsgi_app

    def wsgi_app(environment: WSGIEnvironment, begin: StartResponse) -> Iterable[bytes]:
        def with_headers(status: str, headers: list[tuple[str, str]], *fault: Any) -> Any:
            return begin(status, _added(headers), *fault)

        return answer(environment, with_headers)

    app.wsgi_app = wsgi_app  # type: ignore[method-assign,assignment] # as Flask's documentation has it


def _added(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Called while the request is still at hand."""
    targets = "".join(f" {target}" for target in g.get("form_targets", ()))
    policy = _POLICY.replace("img-src 'self'", "img-src 'self' data:") if g.get("pictures_inside") else _POLICY
    there = {name.lower() for name, _value in headers}
    added = [
        (name, value)
        for name, value in (("Content-Security-Policy", policy + targets), *_ALWAYS)
        if name.lower() not in there
    ]
    if services().settings.secure_cookies and "strict-transport-security" not in there:
        added.append(("Strict-Transport-Security", "max-age=31536000"))
    if request.endpoint == "static":
        headers = [header for header in headers if header[0].lower() != "cache-control"]
        added.append(("Cache-Control", f"public, max-age={_STATIC_SECONDS}"))
    elif "cache-control" not in there:
        added.append(("Cache-Control", "no-store"))
    return [*headers, *added]
