"""Authorization requests: parameters in, an :class:`AuthorizationRequest` or a refusal out.

The checks stand in tables, one function a rule.  Those of the first table establish to whom an answer may go; their
errors are shown here and never redirected.  Those of the second know the target, and their errors carry it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

from idp.activation.intent import CredentialIntent, SignatureIntent
from idp.oidc import orders, pkce, possession, rar, wishes
from idp.oidc.client import ALONE, SCOPES, Client
from idp.oidc.config import OidcConfig
from idp.oidc.errors import (
    AuthorizationDetailsInvalid,
    ClientNotPermitted,
    ClientUnknown,
    OidcError,
    RedirectUriRefused,
    RegistrationRefused,
    RequestInvalid,
    RequestObjectRefused,
    RequestUriRefused,
    ResponseTarget,
    ResponseTypeRefused,
    ScopeRefused,
    StateRefused,
    TargetRefused,
)
from idp.oidc.parameters import read_parameters
from idp.oidc.possession import Shown

_PRINTABLE: Final = re.compile(r"[ -~]*\Z")
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*\Z")


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request that was checked whole; nothing in it is a secret."""

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None
    nonce: str | None
    code_challenge: str
    """S256."""
    resource: str
    """Audience of the access token (RFC 8707)."""
    prompt: tuple[str, ...] = ()
    max_age: int | None = None
    acr_values: tuple[str, ...] = ()
    """Wished for, in order of preference."""
    essential_acr: tuple[str, ...] = ()
    """One of these must be reached, or the request fails (OIDC Core 5.5.1.1)."""
    ui_locales: tuple[str, ...] = ()
    login_hint: str | None = None
    subject_hint: str | None = None
    """Account that must be the one signed in (OIDC Core 3.1.2.1, ``id_token_hint``)."""
    intent: SignatureIntent | None = None
    dpop_jkt: str | None = None
    """Thumbprint of the key without whose proof the code is worth nothing (RFC 9449 10)."""
    details_type: str | None = None
    """Type of the authorization details in which the intent came; None for the query form."""
    order: CredentialIntent | None = None
    """What is asked of the person's credentials besides signatures."""
    binding_message: str | None = None
    """What ties it to what the person sees elsewhere (CIBA Core 1.0, 7.1); part of what is approved."""

    @property
    def target(self) -> ResponseTarget:
        """Where the answer goes."""
        return ResponseTarget(self.client_id, self.redirect_uri, self.state)

    @property
    def action(self) -> Literal["sign_in", "signature.activate", "credential.create", "credential.delete"]:
        """What the policy is asked about."""
        if self.order is not None:
            return self.order.operation
        return "sign_in" if self.intent is None else "signature.activate"

    @property
    def detail(self) -> dict[str, Any]:
        """What is approved beside the intent."""
        if self.order is not None:
            return self.order.detail
        return {} if self.binding_message is None else {"binding_message": self.binding_message}

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which :meth:`from_json` makes the same request."""
        value: dict[str, Any] = {}
        for item in fields(self):
            content = getattr(self, item.name)
            value[item.name] = list(content) if isinstance(content, tuple) else content
        value["intent"] = None if self.intent is None else self.intent.to_json()
        value["order"] = None if self.order is None else self.order.to_json()
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AuthorizationRequest:
        """The request that :meth:`to_json` wrote; not for input from outside."""
        content: dict[str, Any] = {
            name: tuple(item) if isinstance(item, list) else item for name, item in value.items()
        }
        content["intent"] = None if value["intent"] is None else SignatureIntent.from_json(value["intent"])
        ordered = value.get("order")
        content["order"] = None if ordered is None else CredentialIntent.from_json(ordered)
        return cls(**content)


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What a request is checked against, beside itself."""

    config: OidcConfig
    find_client: Callable[[str], Client | None]
    """Gives active clients only."""
    subject_of_hint: Callable[[str, str], str]
    """Account id of an ``id_token_hint`` for a client id; raises :class:`RequestInvalid` for what is none."""
    pushed: bool
    """Whether the request came through the pushed authorization request endpoint."""
    shown: Shown | None = None
    """The key that was shown there."""


def parse_authorization_request(pairs: Iterable[tuple[str, str]], context: RequestContext) -> AuthorizationRequest:
    """Check a request, pushed or plain, that carries its parameters itself.

    :raises OidcError: the first check that fails; ``target`` is set if the error may be redirected.
    """
    # 1. Who asks, and where would the answer go: nothing is redirected before both are known.
    parameters = read_parameters(pairs)
    client = _client(parameters, context)
    target = ResponseTarget(client.client_id, _redirect_uri(parameters, client), _state(parameters))
    # 2. Everything else.
    try:
        return _parse(parameters, client, target, context)
    except OidcError as error:
        if error.may_redirect:
            error.target = target
        raise


def _client(parameters: Mapping[str, str], context: RequestContext) -> Client:
    client = context.find_client(parameters.get("client_id", ""))
    if client is None:
        raise ClientUnknown("Invalid parameter client_id")
    return client


def _redirect_uri(parameters: Mapping[str, str], client: Client) -> str:
    # Required even with a single registered one: a default would make what the client meant a guess.
    redirect_uri = parameters.get("redirect_uri")
    if redirect_uri is None or not client.may_redirect_to(redirect_uri):
        raise RedirectUriRefused("Invalid parameter redirect_uri")
    return redirect_uri


def _state(parameters: Mapping[str, str]) -> str | None:
    state = parameters.get("state")
    if state is not None and not _PRINTABLE.match(state):
        raise StateRefused("state has characters that cannot be given back (RFC 6749 A.5)")
    return state


Check = Callable[[Mapping[str, str], Client, RequestContext], None]


def _parse(
    parameters: Mapping[str, str], client: Client, target: ResponseTarget, context: RequestContext
) -> AuthorizationRequest:
    for check in CHECKS:
        check(parameters, client, context)
    order = _order(parameters, context)
    intent = _intent(parameters, client, context, choosable=True) if order is None else None
    scopes = _scopes(parameters, client, intent, with_order=order is not None)
    acr_values, essential = wishes.acr(parameters, client.registration)
    hint = parameters.get("id_token_hint")
    details = parameters.get("authorization_details")
    return AuthorizationRequest(
        client_id=client.client_id,
        redirect_uri=target.redirect_uri,
        scopes=scopes,
        state=target.state,
        nonce=parameters.get("nonce"),
        code_challenge=pkce.check_challenge(parameters.get("code_challenge"), parameters.get("code_challenge_method")),
        resource=_resource(parameters, client, scopes, context.config),
        prompt=wishes.prompt(parameters),
        max_age=wishes.max_age(parameters),
        acr_values=acr_values,
        essential_acr=essential,
        ui_locales=wishes.ui_locales(parameters),
        login_hint=parameters.get("login_hint"),
        subject_hint=None if hint is None else context.subject_of_hint(hint, client.client_id),
        intent=intent,
        order=order,
        dpop_jkt=possession.read_jkt(parameters.get("dpop_jkt"), context.shown),
        details_type=None if details is None else rar.details_type(details),
    )


def parse_without_browser(
    parameters: Mapping[str, str], client: Client, context: RequestContext, *, binding_message: str | None
) -> AuthorizationRequest:
    """Check what a client that has authenticated asks for where no browser is at hand: nothing is redirected.

    :raises OidcError: the first check that fails.
    """
    for check in _ANYWHERE:
        check(parameters, client, context)
    intent = _intent(parameters, client, context)
    scopes = _scopes(parameters, client, intent)
    acr_values, essential = wishes.acr(parameters, client.registration)
    hint, details = parameters.get("id_token_hint"), parameters.get("authorization_details")
    return AuthorizationRequest(
        client_id=client.client_id,
        redirect_uri="",
        scopes=scopes,
        state=None,
        nonce=None,
        code_challenge="",
        resource=_resource(parameters, client, scopes, context.config),
        acr_values=acr_values,
        essential_acr=essential,
        ui_locales=wishes.ui_locales(parameters),
        login_hint=parameters.get("login_hint"),
        subject_hint=None if hint is None else context.subject_of_hint(hint, client.client_id),
        intent=intent,
        details_type=None if details is None else rar.details_type(details),
        binding_message=binding_message,
    )


def _check_response_type(parameters: Mapping[str, str], _client: Client, _context: RequestContext) -> None:
    if "response_type" not in parameters:
        raise RequestInvalid("Missing parameter response_type")
    if parameters["response_type"] != "code":
        raise ResponseTypeRefused("response_type must be code")


def _check_response_mode(parameters: Mapping[str, str], _client: Client, _context: RequestContext) -> None:
    if parameters.get("response_mode", "query") != "query":
        raise RequestInvalid("response_mode must be query")


def _check_grant(_parameters: Mapping[str, str], client: Client, _context: RequestContext) -> None:
    if "authorization_code" not in client.registration.grant_types:
        raise ClientNotPermitted("the client is not registered for the authorization code grant")


def _check_pushed(_parameters: Mapping[str, str], client: Client, context: RequestContext) -> None:
    if client.registration.require_par and not context.pushed:
        raise RequestInvalid("this client must push its authorization requests")


def _check_no_request_object(parameters: Mapping[str, str], _client: Client, _context: RequestContext) -> None:
    if "request" in parameters:
        raise RequestObjectRefused("request objects are not supported; push the request instead")


def _check_no_request_uri(parameters: Mapping[str, str], _client: Client, context: RequestContext) -> None:
    if "request_uri" in parameters:
        if context.pushed:
            raise RequestInvalid("request_uri may not be pushed")
        raise RequestUriRefused("request_uri must be one that this server issued")


def _check_no_registration(parameters: Mapping[str, str], _client: Client, _context: RequestContext) -> None:
    if "registration" in parameters:
        raise RegistrationRefused("registration is not supported")


def _check_no_account_token(parameters: Mapping[str, str], _client: Client, _context: RequestContext) -> None:
    # CSC API 2.0.0.2 clause 8.4.1: a condition on who may sign in, which is verified where the client shows its secret.
    # Passing over it here would lift a restriction.
    if "account_token" in parameters:
        raise RequestInvalid("account_token goes with a pushed request of a client that authenticates with its secret")


def _check_nonce(parameters: Mapping[str, str], _client: Client, _context: RequestContext) -> None:
    if not _PRINTABLE.match(parameters.get("nonce", "")):
        raise RequestInvalid("Invalid parameter nonce")


def _check_login_hint(parameters: Mapping[str, str], _client: Client, _context: RequestContext) -> None:
    if not parameters.get("login_hint", "").isprintable():
        raise RequestInvalid("Invalid parameter login_hint")


CHECKS: Final[tuple[Check, ...]] = (
    _check_response_type,
    _check_response_mode,
    _check_grant,
    _check_pushed,
    _check_no_request_object,
    _check_no_request_uri,
    _check_no_registration,
    _check_no_account_token,
    _check_nonce,
    _check_login_hint,
)
"""In this order; each raises or returns nothing."""
_ANYWHERE: Final[tuple[Check, ...]] = (_check_no_registration, _check_no_account_token, _check_login_hint)
"""Those that have nothing to do with a browser."""


def _order(parameters: Mapping[str, str], context: RequestContext) -> CredentialIntent | None:
    scope = orders.asked_of(parameters)
    if scope is None:
        return None
    if not context.pushed:
        raise RequestInvalid("requests about credentials must be pushed (RFC 9126)")
    return orders.parse_order(scope, parameters, context.config)


def _intent(
    parameters: Mapping[str, str], client: Client, context: RequestContext, *, choosable: bool = False
) -> SignatureIntent | None:
    details = parameters.get("authorization_details")
    queried = rar.QUERY_PARAMETERS & parameters.keys()
    if details is None and not queried:
        return None
    if details is not None and queried:
        raise RequestInvalid("authorization_details and the credential parameters say the same thing twice")
    registration = client.registration
    if not context.pushed and not registration.plain_intents:
        raise RequestInvalid("requests for signatures must be pushed (RFC 9126)")
    intent = _asked_signature(parameters, client, context, choosable=choosable)
    if intent.documents and not context.pushed:
        raise RequestInvalid("requests that name documentLocations must be pushed (RFC 9126)")
    if registration.documents_shown and not intent.documents:
        raise AuthorizationDetailsInvalid("this client's requests must name documentLocations")
    return intent


def _asked_signature(
    parameters: Mapping[str, str], client: Client, context: RequestContext, *, choosable: bool
) -> SignatureIntent:
    details, registration = parameters.get("authorization_details"), client.registration
    if details is not None:
        places = registration.document_locations
        return rar.parse_details(details, context.config.locations, choosable=choosable, documents=places)
    return rar.parse_query(parameters, without_digests=registration.without_digests, choosable=choosable)


def _scopes(
    parameters: Mapping[str, str], client: Client, intent: SignatureIntent | None, *, with_order: bool = False
) -> tuple[str, ...]:
    if "scope" not in parameters:
        # CSC API 2.0.0.2 clause 8.4.2: service if omitted; authorization_details of a credential type imply theirs.
        implied = "credential" if intent is not None and "authorization_details" in parameters else "service"
        scopes: tuple[str, ...] = (implied,)
    else:
        if not _SCOPE.match(parameters["scope"]):
            raise ScopeRefused("Invalid parameter scope")
        scopes = tuple(dict.fromkeys(parameters["scope"].split(" ")))
    return check_scopes(scopes, client, with_intent=intent is not None, with_order=with_order)


def check_scopes(
    scopes: Sequence[str], client: Client, *, with_intent: bool, with_order: bool = False
) -> tuple[str, ...]:
    """The scopes are known, are the client's, and go together.

    A credential-scope token *is* the SAD: it opens one signature and nothing else, so ``credential`` stands alone.  So
    do the scopes whose token carries an order.

    :raises ScopeRefused: otherwise.
    """
    if not set(scopes) <= set(SCOPES):
        raise ScopeRefused("a scope is unknown")
    if not set(scopes) <= set(client.registration.scopes):
        raise ScopeRefused("the client is not registered for a scope")
    for scope in sorted(ALONE & set(scopes)):
        if len(scopes) > 1:
            raise ScopeRefused(f"scope {scope} goes with no other scope")
    if not with_order and (ALONE - {"credential"}) & set(scopes):
        raise ScopeRefused("the scope is for pushed authorization requests")
    if with_intent and "credential" not in scopes:
        raise ScopeRefused("a request for signatures has scope credential")
    if "credential" in scopes and not with_intent:
        raise ScopeRefused("scope credential needs what is to be signed")
    return tuple(scopes)


def _resource(parameters: Mapping[str, str], client: Client, scopes: Sequence[str], config: OidcConfig) -> str:
    # Without a CSC scope the token opens UserInfo only, and is the issuer's own.
    default = config.issuer if tuple(scopes) == ("openid",) else config.resource
    resource = parameters.get("resource", default)
    if resource != default and (resource not in client.registration.resources or ALONE & set(scopes)):
        raise TargetRefused("resource is none of this client's")
    return resource


def check_repeated_details(text: str, request: AuthorizationRequest, config: OidcConfig) -> None:
    """``authorization_details`` repeated at the token endpoint say what was approved (CSC API 2.0.0.2 clause 8.4.4).

    :raises AuthorizationDetailsInvalid: they say anything else.
    """
    repeated = rar.parse_details(text, config.locations, choosable=True, documents=None)
    if repeated.qualifier is not None and request.intent is not None:
        # The person chose the credential: what was approved says which, and what is repeated does not.
        repeated = replace(repeated, credential_id=request.intent.credential_id)
    if repeated != request.intent:
        raise AuthorizationDetailsInvalid("authorization_details are not those that were approved")


__all__ = [
    "CHECKS",
    "AuthorizationRequest",
    "RequestContext",
    "check_repeated_details",
    "check_scopes",
    "parse_authorization_request",
    "parse_without_browser",
]
