"""The first page, signing in and out, and where the identity provider's answers arrive."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

from flask import Blueprint, redirect, render_template, request, url_for
from sqlalchemy import text
from werkzeug.wrappers import Response

from clients.csc import ClientError, StepUpRequiredError, Tokens
from foundation import log
from foundation.jose import encode_base64url
from portal.errors import AnswerNotOurs, PortalError
from portal.outside.identity import subject_of
from portal.outside.provider import Line, pending_from_json
from portal.store import sessions
from portal.web import browser, language, signing, way
from portal.web.parts import parts

blueprint = Blueprint("pages", __name__)
_NONCE_OCTETS: Final = 32
_MAX_AGE: Final = re.compile(r"[0-9]{1,6}\Z", re.ASCII)
_ACR: Final = re.compile(r"[\x21-\x7e ]{1,500}\Z", re.ASCII)
_logger = log.get(__name__)


@blueprint.get("/")
def home() -> Response | str:
    """What this is, and the way in."""
    if browser.session() is not None:
        return redirect(url_for("library.show"), 303)
    return render_template("home.html")


@blueprint.get("/health/live")
def live() -> tuple[str, int]:
    """The process answers."""
    return "ok\n", 200


@blueprint.get("/health/ready")
def ready() -> tuple[str, int]:
    """The database answers too."""
    with parts().engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return "ok\n", 200


@blueprint.post("/sign-in")
def sign_in() -> Response:
    """Send the person to the identity provider."""
    nonce = encode_base64url(parts().random(_NONCE_OCTETS))
    with parts().outside.line() as line:
        pending = line.begin_sign_in(nonce, language.select(), _step_up())
    return way.send(pending, {"what": "sign-in", "nonce": nonce})


def _step_up() -> StepUpRequiredError | None:
    """What the signing service asked of the sign-in, as the page before has it; it binds nobody but the person."""
    acr, age = request.form.get("acr_values", ""), request.form.get("max_age", "")
    wanted = tuple(acr.split()) if _ACR.match(acr) else ()
    seconds = int(age) if _MAX_AGE.match(age) else None
    return StepUpRequiredError("", wanted, seconds) if wanted or seconds is not None else None


@blueprint.get("/callback")
def callback() -> Response:
    """The identity provider's answer (RFC 6749 4.1.2); good once, in the browser that asked.

    The one GET that changes something: the protocol has it so, and `state` proves what a form token would.
    """
    parameters = _parameters()
    with_parts = parts()
    with with_parts.engine.begin() as connection:
        kept = sessions.take(
            connection, with_parts.seal, browser.token(), parameters.get("state", ""), with_parts.now
        )
    if kept is None:
        raise AnswerNotOurs("no request of this browser has this state")
    pending = pending_from_json(kept["pending"])
    with with_parts.outside.line() as line:
        if kept["what"] == "sign":
            return signing.finish(line, pending, parameters, kept)
        tokens = line.finish(pending, parameters)
        return _signed_in(line, tokens, kept["nonce"])


def _parameters() -> dict[str, str]:
    """:raises AnswerNotOurs: a parameter twice (RFC 6749 3.1)."""
    pairs = parse_qsl(request.query_string.decode("ascii", "replace"), keep_blank_values=True)
    if len(dict(pairs)) != len(pairs):
        raise AnswerNotOurs("the answer repeats a parameter")
    return dict(pairs)


def _signed_in(line: Line, tokens: Tokens, nonce: str) -> Response:
    with_parts = parts()
    keys, settings = line.keys(), with_parts.settings
    subject = subject_of(tokens, keys, settings.issuer, settings.client_id, nonce, with_parts.now)
    with with_parts.engine.begin() as connection:
        sessions.end(connection, with_parts.seal, browser.token())
        sessions.begin(
            connection,
            with_parts.seal,
            browser.renew(),
            subject=subject,
            service_token=tokens.access_token,
            now=with_parts.now,
            keep=settings.keeping,
        )
    return redirect(url_for("library.show"), 303)


@blueprint.post("/sign-out")
def sign_out() -> Response:
    """End the session here, hand back the token, and go on to the identity provider's own sign-out."""
    with_parts, found = parts(), browser.session()
    with with_parts.engine.begin() as connection:
        sessions.end(connection, with_parts.seal, browser.token())
    browser.renew()
    where = None
    if found is not None:
        try:
            with with_parts.outside.line() as line:
                where = line.sign_out_url()
                line.oauth.revoke(found.service_token)
        except (PortalError, ClientError) as error:
            # The session here is over whatever the identity provider says.
            _logger.warning("a token could not be handed back", extra={"fields": {"code": error.code}})
    return redirect(where or url_for("pages.home"), 303)
