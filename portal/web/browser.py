"""The browser at the other end: its cookie, its session, and proof that a form came from a page of ours.

The cookie holds a random token and nothing else; the form token is a keyed hash of it, so that a browser in which
nobody has signed in needs no row.  Both change when somebody signs in.
"""

from __future__ import annotations

import hmac
from typing import Final, cast

from flask import Flask, Response, g, request

from foundation.jose import encode_base64url
from portal.errors import FormNotCurrent, SignedOut
from portal.store import sessions
from portal.store.sessions import Session
from portal.web.parts import parts

CSRF_FIELD: Final = "csrf_token"
_TOKEN_OCTETS: Final = 32
_TOKEN_CHARACTERS: Final = 43


def cookie_name() -> str:
    """With https, the prefix by which browsers refuse the cookie to any other host, path or plain connection."""
    return "__Host-privyseal-portal" if parts().settings.secure_cookies else "privyseal_portal"


def token() -> str:
    """The browser's token; a new one where it brought none."""
    if "token" not in g:
        brought = request.cookies.get(cookie_name(), "")
        if len(brought) == _TOKEN_CHARACTERS and brought.isascii():
            g.token = brought
        else:
            renew()
    return cast("str", g.token)


def renew() -> str:
    """A new token in the place of the browser's: whoever planted or saw the old one gains nothing by it (SES-01)."""
    g.token = g.new_token = encode_base64url(parts().random(_TOKEN_OCTETS))
    g.pop("session", None)
    return cast("str", g.token)


def form_token() -> str:
    """What every form of this browser's pages carries."""
    return parts().seal.mark("form token", token())


def session() -> Session | None:
    """The live session of this request's browser."""
    if "session" not in g:
        g.session = _load()
    return cast("Session | None", g.session)


def person() -> Session:
    """Who is signed in.

    :raises SignedOut: nobody.
    """
    found = session()
    if found is None:
        raise SignedOut("nobody is signed in")
    return found


def _load() -> Session | None:
    with_parts, now = parts(), parts().now
    if cookie_name() not in request.cookies:
        return None
    with with_parts.engine.connect() as connection:
        found = sessions.find(connection, with_parts.seal, token(), now, with_parts.settings.keeping)
    if found is not None and sessions.needs_touch(found, now):
        with with_parts.engine.begin() as connection:
            sessions.touch(connection, found, now)
    return found


def require_form_token() -> None:
    """Before every request: a POST carries the form token of its browser.

    :raises FormNotCurrent: none, or another's.
    """
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    sent = request.form.get(CSRF_FIELD, "")
    if cookie_name() not in request.cookies or not hmac.compare_digest(sent.encode(), form_token().encode()):
        raise FormNotCurrent("the form's token is not this browser's")


def _write_cookie(response: Response) -> Response:
    new = g.pop("new_token", None)
    if new is not None and request.endpoint != "static":
        secure = parts().settings.secure_cookies
        response.set_cookie(cookie_name(), new, secure=secure, httponly=True, samesite="Lax", path="/")
    return response


def install(app: Flask) -> None:
    """Hook cookie and form token into an app."""
    app.before_request(require_form_token)
    app.after_request(_write_cookie)
    app.jinja_env.globals["form_token"] = form_token
    app.jinja_env.globals["signed_in"] = lambda: session() is not None
