"""OAuth 2.0 as the CSC API uses it: code with PKCE, pushed and rich requests, tokens bound to a key, and CIBA.

`OAuth` keeps no state between its calls: what belongs to a request on its way is a `Pending`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from .discovery import AuthorizationServer
from .errors import (
    AuthorizationRefusedError,
    ProtocolError,
    ResponseForgedError,
    StepUpRequiredError,
    TimedOutError,
    UsageError,
)
from .keys import ClientAuthentication, DpopKey, base64url
from .transport import Reply, Transport, optional_text, text_of

SERVICE: Final = "service"
CREDENTIAL: Final = "credential"
CIBA_GRANT: Final = "urn:openid:params:grant-type:ciba"
_INTERVAL: Final = 5.0
_MAX_INTERVAL: Final = 60.0


@dataclass(frozen=True, slots=True)
class Pending:
    """An authorization request on its way: what the answer is compared with."""

    url: str
    """Where to send the person's browser."""
    scope: str
    state: str = field(repr=False)
    code_verifier: str = field(repr=False)
    details: str | None = None
    """`authorization_details`, as they were sent."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A token response, checked."""

    access_token: str = field(repr=False)
    """Of scope `credential` it is the SAD."""
    bound: bool
    """To the DPoP key."""
    expires_in: int | None
    refresh_token: str | None = field(default=None, repr=False)
    credential_id: str | None = None
    id_token: str | None = field(default=None, repr=False)
    """Not verified: whoever asks for one (scope `openid`) verifies it (OpenID Connect Core section 3.1.3.7)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that the person approves elsewhere (OpenID Connect CIBA Core section 7.3)."""

    auth_req_id: str = field(repr=False)
    interval: float
    expires_in: int


Approve = Callable[[Pending], Mapping[str, str]]
"""Sends the person to `Pending.url`; returns the parameters with which the browser came back to the redirect URI."""


class OAuth:
    """One client at one authorization server."""

    def __init__(
        self,
        transport: Transport,
        server: AuthorizationServer,
        client: ClientAuthentication,
        redirect_uri: str = "",
        *,
        dpop: DpopKey | None = None,
    ) -> None:
        """:param redirect_uri: as registered; not needed for CIBA and for the client's own tokens."""
        self._transport = transport
        self.server = server
        self._client = client
        self._redirect_uri = redirect_uri
        self.dpop = dpop

    def begin(
        self, scope: str, parameters: Mapping[str, str] | None = None, *, step_up: StepUpRequiredError | None = None
    ) -> Pending:
        """Make an authorization request, pushed where the server takes that (RFC 9126).

        :param step_up: the challenge of the signing service that the new token shall meet (RFC 9470 section 4).
        :raises AuthorizationRefusedError: refused before any person saw it.
        """
        if not self._redirect_uri:
            raise UsageError("a redirect URI is needed to send a person to the authorization server")
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        request = {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": scope,
            "state": state,
            "code_challenge": base64url(hashlib.sha256(verifier.encode("ascii")).digest()),
            "code_challenge_method": "S256",
            **(parameters or {}),
            **_authentication(step_up),
        }
        url = f"{self.server.authorization_endpoint}?{urlencode(self._pushed(request))}"
        return Pending(url, scope, state, verifier, request.get("authorization_details"))

    def _pushed(self, request: dict[str, str]) -> dict[str, str]:
        if self.server.pushed_endpoint is None:
            return request
        reply = self._post(self.server.pushed_endpoint, request)
        answer = reply.json_or_nothing()
        if reply.status != 201:
            raise _refused(reply)
        # From here on the browser carries nothing but the reference.
        return {"client_id": self._client.client_id, "request_uri": text_of(answer, "request_uri", "the answer")}

    def finish(self, pending: Pending, parameters: Mapping[str, str]) -> Tokens:
        """Check what the browser brought, and exchange the code.

        :raises ResponseForgedError: the answer is not to this request, or another server's.
        :raises AuthorizationRefusedError: the person or the policy said no.
        """
        code = check_response(self.server, pending, parameters)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": pending.code_verifier,
        }
        if pending.details is not None:
            # CSC API v2.0.0.2 section 8.4.4: repeated where the authorization request had it.
            form["authorization_details"] = pending.details
        return self._tokens(form)

    def authorize(
        self,
        approve: Approve,
        scope: str,
        parameters: Mapping[str, str] | None = None,
        *,
        step_up: StepUpRequiredError | None = None,
    ) -> Tokens:
        """:meth:`begin`, the person, and :meth:`finish`."""
        pending = self.begin(scope, parameters, step_up=step_up)
        return self.finish(pending, approve(pending))

    def client_credentials(self) -> Tokens:
        """A service token of the client's own, behind which stands no person."""
        return self._tokens({"grant_type": "client_credentials", "scope": SERVICE})

    def refresh(self, refresh_token: str) -> Tokens:
        """A new service token.  A refresh token may be replaced with every use: keep the one that comes back."""
        return self._tokens({"grant_type": "refresh_token", "refresh_token": refresh_token})

    def revoke(self, token: str, hint: str = "access_token") -> None:
        """Say that a token is no longer needed (RFC 7009)."""
        if self.server.revocation_endpoint is None:
            return
        reply = self._post(self.server.revocation_endpoint, {"token": token, "token_type_hint": hint})
        if reply.status not in (200, 204):
            raise _refused(reply)

    def ask_elsewhere(
        self,
        scope: str,
        parameters: Mapping[str, str],
        *,
        login_hint: str,
        message: str | None = None,
        step_up: StepUpRequiredError | None = None,
    ) -> Asked:
        """Ask a person who is not at this browser (CIBA): the approval waits where the person approves.

        :param login_hint: the person's name at the authorization server.
        :param message: shown beside the request, so that the person knows it for this one (`binding_message`).
        :raises UsageError: the server does not have that.
        """
        if self.server.backchannel_endpoint is None:
            raise UsageError("the authorization server takes no approvals from elsewhere (CIBA)")
        form = {"scope": scope, "login_hint": login_hint, **parameters, **_authentication(step_up)}
        if message is not None:
            form["binding_message"] = message
        reply = self._post(self.server.backchannel_endpoint, form)
        if reply.status != 200:
            raise _refused(reply)
        answer = reply.json()
        interval, expires = answer.get("interval", _INTERVAL), answer.get("expires_in")
        if not _is_number(interval) or not isinstance(expires, int):
            raise ProtocolError("the answer lacks expires_in, or has no sound interval")
        return Asked(text_of(answer, "auth_req_id", "the answer"), float(interval), expires)

    def collect(
        self, asked: Asked, *, wait: float | None = None, pause: Callable[[float], None] = time.sleep
    ) -> Tokens:
        """Poll until the person has decided (OpenID Connect CIBA Core section 11).

        :param wait: seconds at most; None: as long as the request lives.
        :raises AuthorizationRefusedError: refused, or expired.
        :raises TimedOutError: not decided in that time; it may be collected later.
        """
        interval = min(asked.interval, _MAX_INTERVAL)
        until = time.monotonic() + (asked.expires_in if wait is None else wait)
        while True:
            try:
                return self._tokens({"grant_type": CIBA_GRANT, "auth_req_id": asked.auth_req_id})
            except AuthorizationRefusedError as e:
                if e.error not in {"authorization_pending", "slow_down"}:
                    raise
                if e.error == "slow_down":
                    interval = min(interval + _INTERVAL, _MAX_INTERVAL)
                if time.monotonic() + interval > until:
                    raise TimedOutError("nobody has approved yet") from e
            pause(interval)

    def _tokens(self, form: Mapping[str, str]) -> Tokens:
        reply = self._post(self.server.token_endpoint, form, bind=True)
        if reply.status != 200:
            raise _refused(reply)
        answer = reply.json()
        kind = text_of(answer, "token_type", "the token response").lower()
        # "SAD" is what version 1 of the API calls it.
        if kind not in {"bearer", "dpop", "sad"} or (kind == "dpop" and self.dpop is None):
            raise ProtocolError("the token is of a type that this client cannot use")
        expires = answer.get("expires_in")
        return Tokens(
            access_token=text_of(answer, "access_token", "the token response"),
            bound=kind == "dpop",
            expires_in=expires if isinstance(expires, int) else None,
            refresh_token=optional_text(answer, "refresh_token"),
            credential_id=optional_text(answer, "credentialID"),
            id_token=optional_text(answer, "id_token"),
        )

    def _post(self, url: str, form: Mapping[str, str], *, bind: bool = False) -> Reply:
        sent, headers = dict(form), {}
        if bind and self.dpop is not None:
            headers["DPoP"] = self.dpop.proof("POST", url)
        self._client.apply(sent, headers, self.server.issuer or url)
        return self._transport.post_form(url, sent, headers)


def check_response(server: AuthorizationServer, pending: Pending, parameters: Mapping[str, str]) -> str:
    """The code, if the answer is to this request and from this server.

    1. `state` is the request's (RFC 6749 section 10.12).
    2. `iss`, where the server promises it, is the server's (RFC 9207 section 2.4).
    3. Only then is an error believed.

    :raises ResponseForgedError: steps 1 and 2.
    :raises AuthorizationRefusedError: step 3.
    """
    # 1.
    if not hmac.compare_digest(parameters.get("state", "").encode(), pending.state.encode()):
        raise ResponseForgedError("the answer does not belong to this request")
    # 2.
    issuer = parameters.get("iss")
    if (server.names_issuer or issuer is not None) and server.issuer is not None and issuer != server.issuer:
        raise ResponseForgedError("the answer comes from another authorization server than the one asked")
    # 3.
    if "error" in parameters:
        raise AuthorizationRefusedError(parameters["error"], parameters.get("error_description", ""))
    if not parameters.get("code"):
        raise ProtocolError("the answer contains no code")
    return parameters["code"]


def details_of(details: Sequence[Mapping[str, Any]]) -> str:
    """`authorization_details` as a parameter."""
    return json.dumps(details, ensure_ascii=False, separators=(",", ":"))


def _authentication(step_up: StepUpRequiredError | None) -> dict[str, str]:
    if step_up is None:
        return {}
    asked = {"acr_values": " ".join(step_up.acr_values)} if step_up.acr_values else {}
    return asked if step_up.max_age is None else {**asked, "max_age": str(step_up.max_age)}


def _refused(reply: Reply) -> AuthorizationRefusedError:
    answer = reply.json_or_nothing()
    error = optional_text(answer, "error") or f"HTTP {reply.status}"
    return AuthorizationRefusedError(error, optional_text(answer, "error_description") or "", status=reply.status)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 3600
