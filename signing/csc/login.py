"""``auth/login`` and ``auth/revoke`` (CSC API 2.0.0.2 11.2, 11.3), for applications that know no other way to sign in.

User name and password go to the identity provider, which alone judges them; the token is of the one relying party that
the operator registered for such applications.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from foundation import claims as read
from foundation.errors import JoseError
from foundation.log import get
from signing.csc import errors, explicit, parameters
from signing.csc.call import Answer, Call
from signing.csc.core import Rssp
from signing.csc.facade import REVOCATION, TOKEN, FacadeRefused, FacadeUnavailable
from signing.settings import WebSettings

_log = get(__name__)

GRANT: Final = "urn:privyseal:params:oauth:grant-type:service-login"
_MAX_HEADER: Final = 4096
_MAX_TOKEN: Final = 8192
_MAX_SECONDS: Final = 3600


def offered(settings: WebSettings) -> bool:
    """Whether anybody can sign in so."""
    return settings.login_client is not None


def auth_login(rssp: Rssp, call: Call) -> Answer:
    """``auth/login``: a service token for a user name and a password, or for a refresh token.

    :raises errors.CscError: with the specification's words.
    """
    refresh = call.body.get("refresh_token")
    form = {"grant_type": GRANT, "relying_party": rssp.settings.login_client or ""}
    if refresh is not None:
        if not isinstance(refresh, str) or not 0 < len(refresh) <= _MAX_TOKEN:
            raise errors.InvalidRequest(errors.MALFORMED_REFRESH_TOKEN)
        form["refresh_token"] = refresh
    else:
        form |= dict(zip(("username", "password"), _basic(call.authorization), strict=True))
    if parameters.flag(call.body, "rememberMe"):
        form["remember_me"] = "true"
    try:
        return Answer(_tokens(rssp.facade.post(TOKEN, form)))
    except FacadeRefused as error:
        if refresh is not None and error.error == "invalid_grant":
            raise errors.InvalidRequest(errors.INVALID_REFRESH_TOKEN) from error
        raise errors.AuthenticationFailed from error
    except (FacadeUnavailable, JoseError) as error:
        raise explicit.unreachable(error) from error


def auth_revoke(rssp: Rssp, call: Call) -> Answer:
    """``auth/revoke``: 204, whatever it was (RFC 7009 2.2).

    :raises errors.CscError: with the specification's words.
    """
    if call.bearer.kind != "service":
        raise errors.InvalidToken
    rssp.service_token(call.bearer)
    token = parameters.required_text(call.body, "token")
    hint = parameters.choice(call.body, "token_type_hint", ("access_token", "refresh_token"), "access_token")
    try:
        rssp.facade.post(REVOCATION, {"token": token, "token_type_hint": hint})
    except FacadeRefused as error:
        # Another client's, or none: whoever holds it is told neither.
        _log.info("a token was not revoked", extra={"fields": {"error": error.error}})
    except FacadeUnavailable as error:
        raise explicit.unreachable(error) from error
    return Answer(None)


def _basic(header: str | None) -> tuple[str, str]:
    """User name and password (RFC 7617 2); neither is told in a refusal."""
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() != "basic" or not value or len(value) > _MAX_HEADER:
        raise errors.MalformedAuthentication
    try:
        name, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        # Not chained: what could not be read is somebody's password.
        raise errors.InvalidRequest(errors.MALFORMED_PASSWORD) from None
    if not colon or not name or not password:
        raise errors.InvalidRequest(errors.MALFORMED_PASSWORD)
    return name, password


def _tokens(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "access_token": read.text(answer, "access_token", max_length=_MAX_TOKEN),
        "expires_in": read.integer(answer, "expires_in", low=1, high=_MAX_SECONDS),
    }
    if "refresh_token" in answer:
        found["refresh_token"] = read.text(answer, "refresh_token", max_length=_MAX_TOKEN)
    return found
