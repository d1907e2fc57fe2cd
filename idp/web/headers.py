"""Headers that every answer carries (SES-05, SES-09, SES-11)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Flask, g, request

from foundation.page_headers import ALWAYS, CONTENT_SECURITY_POLICY, NO_STORE, STATIC_CACHE, TRANSPORT_SECURITY
from idp.web.services import services

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


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
    policy = CONTENT_SECURITY_POLICY
    if g.get("pictures_inside"):
        policy = policy.replace("img-src 'self'", "img-src 'self' data:")
    there = {name.lower() for name, _value in headers}
    added = [
        (name, value)
        for name, value in (("Content-Security-Policy", policy + targets), *ALWAYS)
        if name.lower() not in there
    ]
    if services().settings.secure_cookies and "strict-transport-security" not in there:
        added.append(TRANSPORT_SECURITY)
    if request.endpoint == "static":
        headers = [header for header in headers if header[0].lower() != "cache-control"]
        added.append(STATIC_CACHE)
    elif "cache-control" not in there:
        added.append(NO_STORE)
    return [*headers, *added]
