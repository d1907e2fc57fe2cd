"""The way to the identity provider: what is kept until the answer comes."""

from __future__ import annotations

from typing import Any

from flask import redirect
from werkzeug.wrappers import Response

from clients.csc import Pending
from portal.outside.provider import pending_as_json
from portal.store import sessions
from portal.web import browser
from portal.web.parts import parts


def send(pending: Pending, value: dict[str, Any]) -> Response:
    """Keep what belongs to an authorization request, and send the browser off.

    :param value: JSON; `what` says what the answer is for.
    """
    with_parts = parts()
    kept = {**value, "pending": pending_as_json(pending)}
    until = with_parts.now + with_parts.settings.keeping.request_seconds
    with with_parts.engine.begin() as connection:
        sessions.remember(connection, with_parts.seal, browser.token(), pending.state, kept, until=until)
    return redirect(pending.url, 303)
