"""Headers that every answer carries."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from flask import Flask, Response, request

from portal.web.parts import parts

_ALWAYS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()"),
)
_STATIC_SECONDS: Final = 3600


def install(app: Flask) -> None:
    """Add the headers to every answer of an app."""
    app.after_request(_add)


def _add(response: Response) -> Response:
    for name, value in (("Content-Security-Policy", _policy(parts().settings.issuer)), *_ALWAYS):
        response.headers[name] = value
    if parts().settings.secure_cookies:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    static = request.endpoint == "static"
    response.headers["Cache-Control"] = f"public, max-age={_STATIC_SECONDS}" if static else "no-store"
    return response


def _policy(issuer: str) -> str:
    # Chromium judges a redirect after a POST by form-action, hence the identity provider's origin.
    where = urlsplit(issuer)
    return (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; base-uri 'none'; "
        f"frame-ancestors 'none'; form-action 'self' {where.scheme}://{where.netloc}"
    )
