"""Headers that every answer carries (SES-05, SES-09, SES-11)."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from flask import Flask, Response, g, request

from idp.web.services import services

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
    """Add the headers to every answer of an app."""
    app.after_request(_add)


def _add(response: Response) -> Response:
    targets = "".join(f" {target}" for target in g.get("form_targets", ()))
    policy = _POLICY.replace("img-src 'self'", "img-src 'self' data:") if g.get("pictures_inside") else _POLICY
    headers = response.headers
    # One look at the names: to ask for each would be one look a header.
    there = {name.lower() for name, _value in headers}
    for name, value in (("Content-Security-Policy", policy + targets), *_ALWAYS):
        if name.lower() not in there:
            headers.add(name, value)
    if services().settings.secure_cookies and "strict-transport-security" not in there:
        headers.add("Strict-Transport-Security", "max-age=31536000")
    if request.endpoint == "static":
        headers["Cache-Control"] = f"public, max-age={_STATIC_SECONDS}"
    elif "cache-control" not in there:
        headers.add("Cache-Control", "no-store")
    return response
