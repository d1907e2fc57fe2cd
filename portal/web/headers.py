"""Headers that every answer carries."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, request

from foundation.page_headers import ALWAYS, CONTENT_SECURITY_POLICY, NO_STORE, STATIC_CACHE, TRANSPORT_SECURITY
from portal.web.parts import parts


def install(app: Flask) -> None:
    """Add the headers to every answer of an app."""
    app.after_request(_add)


def _add(response: Response) -> Response:
    settings = parts().settings
    policy = ("Content-Security-Policy", _policy(settings.issuer))
    secure = (TRANSPORT_SECURITY,) if settings.secure_cookies else ()
    lasting = STATIC_CACHE if request.endpoint == "static" else NO_STORE
    response.headers.update((policy, *ALWAYS, *secure, lasting))
    return response


def _policy(issuer: str) -> str:
    # Chromium judges a redirect after a POST by form-action, hence the identity provider's origin.
    where = urlsplit(issuer)
    return f"{CONTENT_SECURITY_POLICY} {where.scheme}://{where.netloc}"
