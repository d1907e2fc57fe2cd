"""Backchannel authentication requests (OpenID Connect CIBA Core 1.0, 7.1): parameters in, a request or a refusal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from idp.activation.backchannel import seconds_for
from idp.oidc import rar
from idp.oidc.client import BACKCHANNEL_GRANT, Client
from idp.oidc.errors import (
    AuthorizationDetailsInvalid,
    BindingMessageInvalid,
    ClientNotPermitted,
    RequestInvalid,
    RequestObjectRefused,
)
from idp.oidc.request import AuthorizationRequest, RequestContext, parse_without_browser

MAX_BINDING_MESSAGE: Final = rar.MAX_DESCRIPTION
"""Characters: the CSC API's ``description`` has room in it."""
_SECONDS: Final = re.compile(r"[1-9][0-9]{0,8}\Z", re.ASCII)
_HINTS: Final = ("login_hint", "id_token_hint", "login_hint_token")


@dataclass(frozen=True, slots=True)
class BackchannelRequest:
    """What a client asks of a person who is not there; nothing in it is a secret."""

    asked: AuthorizationRequest
    """With the binding message; it has no redirect URI and no code challenge."""
    seconds: int
    """How long it stands."""


def parse_backchannel_request(
    parameters: Mapping[str, str], client: Client, context: RequestContext, *, person_known: bool
) -> BackchannelRequest:
    """Check a request of a client that has authenticated.

    :param person_known: another parameter says who the person is: there must be no hint.
    :raises OidcError: the first check that fails.
    """
    # 1. The client may.
    if BACKCHANNEL_GRANT not in client.registration.grant_types:
        raise ClientNotPermitted("the client is not registered for backchannel authentication")
    # 2. Nothing is in it that would have to be honoured and cannot be.
    if "request" in parameters:
        raise RequestObjectRefused("request objects are not supported")
    if "user_code" in parameters:
        raise RequestInvalid("user_code is not supported")
    if "redirect_uri" in parameters:
        raise RequestInvalid("there is no browser to redirect")
    # 3. It says who is asked, in one way.
    _check_hints(parameters, person_known=person_known)
    # 4. What is asked.
    asked = parse_without_browser(parameters, client, context, binding_message=_binding_message(parameters))
    return BackchannelRequest(asked, seconds_for(_requested_expiry(parameters)))


def _check_hints(parameters: Mapping[str, str], *, person_known: bool) -> None:
    given = [name for name in _HINTS if name in parameters]
    if person_known and given:
        raise RequestInvalid("subject_token says who is asked; give no hint")
    if not person_known and len(given) != 1:
        raise RequestInvalid("exactly one of login_hint and id_token_hint must be given")
    if "login_hint_token" in given:
        raise RequestInvalid("login_hint_token is not supported")


def _binding_message(parameters: Mapping[str, str]) -> str | None:
    message = parameters.get("binding_message")
    if message is None:
        return None
    try:
        return rar.check_shown(message, MAX_BINDING_MESSAGE)
    except AuthorizationDetailsInvalid as error:
        raise BindingMessageInvalid(
            f"a binding message has at most {MAX_BINDING_MESSAGE} characters, all of which can be seen, on one line"
        ) from error


def _requested_expiry(parameters: Mapping[str, str]) -> int | None:
    text = parameters.get("requested_expiry")
    if text is None:
        return None
    if not _SECONDS.match(text):
        raise RequestInvalid("Invalid parameter requested_expiry")
    return int(text)
