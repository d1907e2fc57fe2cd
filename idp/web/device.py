"""The cookie by which a browser is known in which somebody signed in before; it opens nothing."""

from __future__ import annotations

from typing import Final

from flask import after_this_request, request
from werkzeug.wrappers import Response

from idp.authn.device import LIFETIME, make_cookie, named_in, read_cookie
from idp.web import browser
from idp.web.services import Services, services

_KEY: Final = "device cookies"


def cookie_name(with_services: Services) -> str:
    """With https, the prefix by which browsers refuse the cookie to any other host, path or plain connection."""
    return "__Host-privyseal-device" if with_services.settings.secure_cookies else "privyseal_device"


def known(authenticator_id: str) -> str | None:
    """The identifier of this request's browser, if this password was right in it before."""
    with_services = services()
    value = request.cookies.get(cookie_name(with_services), "")
    return read_cookie(with_services.keys.secret(_KEY), value, authenticator_id, with_services.clock.now())


def named() -> str:
    """The identifier that this request's cookie names, which is not believed yet; empty where there is none."""
    return named_in(request.cookies.get(cookie_name(services()), ""))


def remember(authenticator_id: str) -> None:
    """Give this request's browser a new cookie; the former one's failures stay counted against the former one."""
    with_services = services()
    value = make_cookie(
        with_services.keys.secret(_KEY), browser.new_id(with_services), authenticator_id, with_services.clock.now()
    )

    @after_this_request
    def write(response: Response) -> Response:
        response.set_cookie(
            cookie_name(with_services),
            value,
            max_age=LIFETIME,
            secure=with_services.settings.secure_cookies,
            httponly=True,
            samesite="Strict",
            path="/",
        )
        return response
