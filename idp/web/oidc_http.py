"""What the OAuth endpoints share: reading forms, answering in JSON, redirecting, saying no."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from flask import g, request
from werkzeug.wrappers import Response

from foundation.errors import TokenMalformed
from foundation.jose import parse_json_object
from foundation.log import get
from idp.oidc.client import Client
from idp.oidc.errors import ClientAuthenticationFailed, OidcError, RequestInvalid, ResponseTarget
from idp.oidc.parameters import read_parameters
from idp.web.services import services

MAX_BODY: Final = 256 * 1024
"""Octets of a form: a pushed request for a hundred digests, percent-encoded."""

_JSON_TOO: Final = frozenset({"/oauth2/token", "/oauth2/revoke", "/revoke"})
"""Where some clients of the CSC API send JSON.  No cookie counts there, so that no page of another site gains by it."""

NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}

_log = get(__name__)


def form() -> dict[str, str]:
    """The parameters of a request to an endpoint for clients: in the body, form-encoded, each once.

    At the token and revocation endpoints they may be the members of a JSON object instead: strings, or null for none.

    :raises OidcError: they are anywhere else, repeated or too long.
    """
    if request.args:
        # A secret in the query string is a secret in every log on the way (RFC 6749 2.3.1).
        raise RequestInvalid("parameters belong in the body")
    if request.mimetype == "application/json" and request.path in _JSON_TOO:
        return read_parameters(_members().items())
    if request.mimetype != "application/x-www-form-urlencoded":
        raise RequestInvalid("the body must be application/x-www-form-urlencoded")
    return read_parameters(request.form.items(multi=True))


def _members() -> dict[str, str]:
    try:
        members = parse_json_object(request.get_data())
    except TokenMalformed as error:
        raise RequestInvalid("the body is not a JSON object") from error
    found = {name: value for name, value in members.items() if value is not None}
    if not all(isinstance(value, str) for value in found.values()):
        raise RequestInvalid("a parameter must be a string")
    return found


def json_answer(value: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] = NO_STORE) -> Response:
    """A JSON answer, which nobody may store unless the headers say otherwise."""
    return Response(json.dumps(value), status=status, headers=dict(headers), content_type="application/json")


def redirect(uri: str, parameters: Iterable[tuple[str, str | None]] = ()) -> Response:
    """Send the browser on, with what is not None added to the query.

    RFC 9700 4.12: 303 after a POST, so that no browser posts the form again to where it is sent.
    """
    query = urlencode([(name, value) for name, value in parameters if value is not None])
    joint = "" if not query else "&" if "?" in uri else "?"
    status = 302 if request.method in {"GET", "HEAD"} else 303
    return Response("", status=status, headers={"Location": f"{uri}{joint}{query}", **NO_STORE})


def answer_client(target: ResponseTarget, issuer: str, parameters: Iterable[tuple[str, str | None]]) -> Response:
    """An authorization response; ``iss`` tells the client whose it is (RFC 9207)."""
    return redirect(target.redirect_uri, [*parameters, ("state", target.state), ("iss", issuer)])


def refuse(error: OidcError) -> Response:
    """RFC 6749 5.2.  A client that had authenticated has its refusal recorded; others only logged."""
    cause = error.reason if isinstance(error, ClientAuthenticationFailed) else error.description
    return refuse_as(error.code, error.description, error.status, cause, recorded=error.recorded)


def refuse_as(
    code: str, description: str, status: int, cause: str | None = None, *, recorded: bool = True
) -> Response:
    """The same, for a refusal of Authlib's."""
    endpoint = request.path.rpartition("/")[2]
    client: Client | None = g.get("oidc_client") if recorded else None
    if client is None:
        _log.info("oauth request refused", extra={"fields": {"endpoint": endpoint, "error": code, "cause": cause}})
    else:
        with services().engine.begin() as connection:
            services().audit.record(
                connection, "token.refused", client_id=client.client_id, endpoint=endpoint, error=code, cause=cause
            )
    headers = dict(NO_STORE)
    if status == 401:
        # RFC 6749 5.2, RFC 9110 11.6.1: an answer 401 names the scheme.
        scheme = _token_scheme() if endpoint == "userinfo" else "Basic"
        headers["WWW-Authenticate"] = f'{scheme} realm="{services().settings.issuer}", error="{code}"'
    return json_answer({"error": code, "error_description": description}, status, headers)


def _token_scheme() -> str:
    """The scheme in which the token came (RFC 6750 3, RFC 9449 7.1)."""
    presented = request.headers.get("Authorization", "").partition(" ")[0]
    return "DPoP" if presented.lower() == "dpop" else "Bearer"
