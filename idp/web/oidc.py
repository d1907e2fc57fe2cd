"""OAuth 2.0 and OpenID Connect over HTTP: the authorization server's endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from flask import Blueprint, Flask, g, make_response, render_template, request
from sqlalchemy import Connection
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response

from foundation.jose import VerificationKey
from foundation.log import get
from idp.activation.binding import check_approved
from idp.errors import KeyUnavailable, NotWhatWasApproved
from idp.oidc import tokens
from idp.oidc.client import Client, read_credentials
from idp.oidc.config import OidcConfig
from idp.oidc.errors import (
    AccessTokenInvalid,
    DpopProofInvalid,
    OidcError,
    RequestInvalid,
    RequestUriInvalid,
    ResponseTarget,
    TooManyRequests,
)
from idp.oidc.logout import LogoutRequest, parse_logout_request
from idp.oidc.metadata import discovery, jwks
from idp.oidc.parameters import read_parameters
from idp.oidc.possession import Shown, bound_to, read_shown
from idp.oidc.request import AuthorizationRequest, RequestContext, parse_authorization_request
from idp.storage import accounts, clients, grant_tokens, grants, pushed_requests
from idp.storage.engine import reading
from idp.storage.seal import Altered
from idp.web import (
    browser,
    faults,
    mutual_tls,
    oidc_account,
    oidc_ciba,
    oidc_complete,
    oidc_explicit,
    oidc_grants,
    oidc_tokens,
    way_back,
)
from idp.web.headers import allow_form_target
from idp.web.interaction import BeginInteraction, Finished, begin, register_finisher
from idp.web.language import gettext as _
from idp.web.oidc_http import MAX_BODY, answer_client, form, json_answer, redirect, refuse
from idp.web.oidc_inspection import find_token
from idp.web.oidc_server import TokenServer, authenticate
from idp.web.services import Services, services

KIND: Final = "oidc"
REQUEST_URI_PREFIX: Final = "urn:ietf:params:oauth:request_uri:"
"""RFC 9126 2.2."""
MAX_PUSHED_REQUESTS: Final = 1000
"""Open at one time for one client (DOS-04)."""
MAX_FORM_QUERY: Final = 8 * 1024
"""Characters of a posted authorization request, which goes on as a query."""

_FOUND: Final = "clients_found"
_PUBLIC: Final = {"Cache-Control": "public, max-age=300"}
"""Metadata and keys: a next key is published long before it signs."""

blueprint: Final = Blueprint("oidc", __name__)
_log = get(__name__)


def setup(app: Flask) -> None:
    """Say how interactions that began here end."""
    register_finisher(app, KIND, finish, granted, oidc_complete.complete)


def self_service_token(with_services: Services, account_id: str, client_id: str) -> str:
    """A service token for this server's own reading of the signing service on a person's behalf."""
    return oidc_tokens.self_service(with_services, account_id, client_id)


@blueprint.before_request
def limit_body() -> None:
    """No form needs more; the rest is not read."""
    request.max_content_length = MAX_BODY
    request.max_form_memory_size = MAX_BODY


@blueprint.errorhandler(OidcError)
def answer_refusal(error: OidcError) -> Response:
    """A refusal at an endpoint for clients."""
    return refuse(error)


@blueprint.errorhandler(KeyUnavailable)
def answer_failure(error: KeyUnavailable) -> Response:
    """A key that cannot be used: for the operator to find in the log."""
    _log.error("a key cannot be used", exc_info=error)
    return json_answer({"error": "server_error"}, 500)


@blueprint.errorhandler(RequestEntityTooLarge)
def answer_too_large(_error: RequestEntityTooLarge) -> Response:
    """A body that was not read."""
    return json_answer({"error": "invalid_request", "error_description": "the request is too long"}, 413)


# What the server says about itself


@blueprint.get("/.well-known/openid-configuration")
@blueprint.get("/.well-known/oauth-authorization-server")
def metadata() -> Response:
    """OpenID Connect Discovery 1.0 and RFC 8414."""
    settings, policy = services().settings, services().policy
    document = discovery(
        settings.issuer,
        keys=_verification_keys(),
        acr_values=policy.by_acr,
        locales=settings.languages,
        mutual_tls=None if settings.mutual_tls is None else settings.mutual_tls.origin,
    )
    return json_answer(document, headers=_PUBLIC)


@blueprint.get("/oauth2/jwks")
def keys() -> Response:
    """The public token keys: next, current, and those retired less than a day ago."""
    return json_answer(jwks(_verification_keys()), headers=_PUBLIC)


def _verification_keys() -> tuple[VerificationKey, ...]:
    return services().keys.token_verification_keys(services().clock.now())


# Authorization


@blueprint.route("/oauth2/authorize", methods=["GET", "POST"])
@browser.csrf_exempt
def authorize() -> Response:
    """The authorization endpoint (RFC 6749 3.1): checks the request and hands the person to the interaction."""
    if request.method == "HEAD":
        # Whoever only looks uses up no pushed request and begins nothing.
        return Response()
    try:
        if request.method == "POST":
            return _posted()
        asked = _asked(request.args.items(multi=True))
    except OidcError as error:
        return _refuse_authorization(error)
    return begin(
        BeginInteraction(
            kind=KIND,
            action=asked.action,
            client_id=asked.client_id,
            payload=asked.to_json(),
            prompt=asked.prompt,
            max_age=asked.max_age,
            acr_values=asked.acr_values,
            essential_acr=asked.essential_acr,
            intent=asked.intent,
            login_hint=asked.login_hint,
            ui_locales=asked.ui_locales,
            client_name=_client_name(asked.client_id),
            return_to=asked.redirect_uri,
            detail=asked.detail,
        )
    )


def _posted() -> Response:
    """A posted request goes on as a query: with SameSite cookies the browser's session comes along only then."""
    query = urlencode(list(form().items()))
    if len(query) > MAX_FORM_QUERY:
        raise RequestInvalid("the request is too long; push it instead")
    return redirect(f"{services().settings.issuer}/oauth2/authorize?{query}")


def _asked(pairs: Iterable[tuple[str, str]]) -> AuthorizationRequest:
    parameters = read_parameters(pairs)
    if parameters.get("request_uri", "").startswith(REQUEST_URI_PREFIX):
        return _pushed(parameters)
    return parse_authorization_request(parameters.items(), _context(pushed=False))


def _pushed(parameters: Mapping[str, str]) -> AuthorizationRequest:
    # What was pushed stands; anything beside it could only be an attempt to change it (OAU-10).
    if parameters.keys() != {"request_uri", "client_id"}:
        raise RequestUriInvalid("request_uri goes with client_id and nothing else")
    handle = parameters["request_uri"].removeprefix(REQUEST_URI_PREFIX)
    with services().engine.begin() as connection:
        now = services().clock.now()
        asked = pushed_requests.take(connection, services().seals, handle, parameters["client_id"], now)
        client = _served(clients.find_active(connection, parameters["client_id"]))
    if asked is None or client is None or not client.may_redirect_to(asked.redirect_uri):
        raise RequestUriInvalid("the pushed request is unknown, used, expired or another client's")
    return asked


def _context(*, pushed: bool, shown: Shown | None = None) -> RequestContext:
    return RequestContext(
        config=OidcConfig.of(services().settings),
        find_client=_find_client,
        subject_of_hint=lambda hint, client_id: str(_read_hint(hint, client_id)["sub"]),
        pushed=pushed,
        shown=shown,
    )


def _find_client(client_id: str) -> Client | None:
    """The client, read once a request."""
    found: dict[str, Client | None] = g.setdefault(_FOUND, {})
    if client_id not in found:
        with reading(services().engine) as connection:
            found[client_id] = _served(clients.find_active(connection, client_id))
    return found[client_id]


def _served(client: Client | None) -> Client | None:
    # A client may have been registered while the server ran, or with the settings of another mode.
    return client.without_plain_uris() if client is not None and services().settings.production else client


def _client_name(client_id: str) -> str:
    client = _find_client(client_id)
    return client_id if client is None else client.name


def _read_hint(hint: str, client_id: str | None) -> Mapping[str, Any]:
    settings = services().settings
    return tokens.read_id_token_hint(hint, _verification_keys(), issuer=settings.issuer, client_id=client_id)


def _refuse_authorization(error: OidcError) -> Response:
    _log.info("authorization request refused", extra={"fields": {"error": error.code, "cause": error.description}})
    if error.may_redirect and error.target is not None:
        return _answer_error(error.target, error.code, error.description)
    # Not sent back to the application: it is not known whose address it gave.
    return faults.page(
        _("The application's request cannot be used"),
        _("Nothing was signed or changed. Please go back to the application; if it stays so, tell its makers this:"),
        error.status,
        f"{error.description} ({error.code})",
        way_back.of_client(_find_client(request.values.get("client_id", ""))),
    )


def _answer_error(target: ResponseTarget, code: str, description: str | None) -> Response:
    parameters = [("error", code), ("error_description", description)]
    return answer_client(target, services().settings.issuer, parameters)


@blueprint.post("/oauth2/pushed_authorize")
@browser.csrf_exempt
def pushed_authorize() -> Response:
    """The pushed authorization request endpoint (RFC 9126)."""
    parameters = form()
    # Not from public clients: under their names strangers could use up what may be open at one time.
    presented = read_credentials(request.headers.get("Authorization"), parameters)
    client = authenticate(services(), presented, public=False)
    # The client that authenticated is the client that asks; Basic and assertions may leave its name out of the form.
    parameters["client_id"] = client.client_id
    for name in ("client_secret", "client_assertion", "client_assertion_type"):
        parameters.pop(name, None)
    config = OidcConfig.of(services().settings)
    shown = read_shown(request.headers.getlist("DPoP"), uri=config.pushed_endpoint, now=services().clock.now())
    account = oidc_account.take(services(), parameters, presented)
    asked = parse_authorization_request(parameters.items(), _context(pushed=True, shown=shown))
    asked = oidc_account.narrowed(asked, account)
    seconds = config.pushed_request_seconds
    handle = oidc_tokens.secret_token(services())
    with services().engine.begin() as connection:
        oidc_tokens.spend(connection, shown)
        oidc_account.spend(connection, account)
        kept = pushed_requests.push(
            connection,
            services().seals,
            handle,
            asked,
            services().clock.now(),
            seconds=seconds,
            limit=MAX_PUSHED_REQUESTS,
        )
    if not kept:
        raise TooManyRequests("too many pushed requests are open")
    return json_answer({"request_uri": f"{REQUEST_URI_PREFIX}{handle}", "expires_in": seconds}, 201)


@blueprint.post("/oauth2/bc-authorize")
@browser.csrf_exempt
def backchannel_authorize() -> Response:
    """The backchannel authentication endpoint (OpenID Connect CIBA Core 1.0, 7)."""
    parameters = form()
    client = authenticate(services(), read_credentials(request.headers.get("Authorization"), parameters), public=False)
    return oidc_ciba.ask(parameters, client, _context(pushed=True))


@dataclass(frozen=True, slots=True)
class _NotGranted:
    """Why what was approved yields no code after all."""

    error: str
    description: str | None = None


def granted(connection: Connection, outcome: Finished) -> str | _NotGranted | None:
    """What was approved becomes a grant with a code, in the transaction of the approval; None: the answer has nowhere
    to go."""
    asked, approval = AuthorizationRequest.from_json(outcome.payload), outcome.approval
    client = _served(clients.find_active(connection, asked.client_id))
    if approval is None or client is None or not client.may_redirect_to(asked.redirect_uri):
        return None
    try:
        check_approved(approval, client_id=asked.client_id, intent=asked.intent, detail=asked.detail)
    except NotWhatWasApproved:
        # The interaction holds what is shown and what is given out: somebody changed one of them.
        services().seals.report(Altered("interactions", approval.txn, "binding"))
        return _NotGranted("server_error")
    if asked.subject_hint is not None and approval.account_id != asked.subject_hint:
        return _NotGranted("login_required", "another person is signed in")
    config, now = OidcConfig.of(services().settings), services().clock.now()
    code = oidc_tokens.secret_token(services())
    grant = grants.begin(
        connection,
        services().seals,
        oidc_tokens.new_id(services()),
        client_id=asked.client_id,
        subject=approval.account_id,
        now=now,
        seconds=oidc_grants.life_of(config, asked, approval, now),
        request=asked,
        approval=approval,
    )
    grant_tokens.add_code(connection, code, grant.id, now, seconds=config.code_seconds)
    return code


def finish(outcome: Finished) -> Response:
    """The end of an interaction: a code for what was approved, or the error."""
    asked, found = AuthorizationRequest.from_json(outcome.payload), outcome.granted
    if isinstance(found, str):
        oidc_grants.tidy_sometimes(services())
        return answer_client(asked.target, services().settings.issuer, [("code", found)])
    if isinstance(found, _NotGranted):
        return _answer_error(asked.target, found.error, found.description)
    client = _find_client(asked.client_id)
    if client is None or not client.may_redirect_to(asked.redirect_uri):
        # Disabled or changed while the person was busy.
        return _refuse_authorization(RequestUriInvalid("the client is no longer registered for this"))
    return _answer_error(asked.target, outcome.error or "server_error", outcome.error_description)


# Tokens


def _server() -> TokenServer:
    authorization, proofs = request.headers.get("Authorization"), request.headers.getlist("DPoP")
    return TokenServer(services(), authorization, proofs, mutual_tls.thumbprint())


@blueprint.post("/oauth2/token")
@browser.csrf_exempt
def token() -> Response:
    """The token endpoint (RFC 6749 3.2)."""
    return _server().token()


@blueprint.post("/oauth2/activation-options")
@browser.csrf_exempt
def activation_options() -> Response:
    """For the signing service: how a credential can be authorised (CSC API 2.0.0.2 11.5)."""
    return oidc_explicit.activation_options()


@blueprint.post("/oauth2/activation-challenge")
@browser.csrf_exempt
def activation_challenge() -> Response:
    """For the signing service: have a code sent (CSC API 2.0.0.2 11.8)."""
    return oidc_explicit.activation_challenge()


@blueprint.post("/revoke")
@blueprint.post("/oauth2/revoke")
@browser.csrf_exempt
def revoke() -> Response:
    """The revocation endpoint (RFC 7009); clients of CSC API 2.2 look for it below ``oauth2`` of ``info``, too."""
    return _server().endpoint("revocation")


@blueprint.post("/oauth2/introspect")
@browser.csrf_exempt
def introspect() -> Response:
    """The introspection endpoint (RFC 7662)."""
    return _server().endpoint("introspection")


@blueprint.route("/oauth2/userinfo", methods=["GET", "POST"])
@browser.csrf_exempt
def userinfo() -> Response:
    """The UserInfo endpoint (OIDC Core 5.3): whose token this is, and no more than ``openid`` stands for."""
    scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
    presented = presented.strip()
    if scheme.lower() not in {"bearer", "dpop"} or not presented:
        raise AccessTokenInvalid("an access token is needed")
    found = find_token(services(), presented)
    if found is None or found.access is None or found.is_expired() or found.is_revoked():
        raise AccessTokenInvalid("the token is not active")
    if "openid" not in found.access.scopes:
        raise AccessTokenInvalid("the token is not for this endpoint")
    _check_possession(presented, scheme.lower())
    with reading(services().engine) as connection:
        account = accounts.find(connection, found.grant.subject)
    if account is None:
        raise AccessTokenInvalid("the token is not active")
    return json_answer({"sub": account.id})


def _check_possession(token: str, scheme: str) -> None:
    """A token that is bound comes with its certificate, or with a proof and under its own scheme; no other token does
    (RFC 9449 7, RFC 8705 3)."""
    bound = bound_to(token)
    if (scheme == "dpop") != (bound is not None and bound.method == "jkt"):
        raise AccessTokenInvalid("the token is presented in another way than it was given")
    if bound is None:
        return
    if bound.method == "x5t#S256":
        certificate = mutual_tls.thumbprint()
        if certificate is None or not bound.is_of(certificate):
            raise AccessTokenInvalid("the token is bound to a certificate that was not shown")
        return
    uri, now = f"{services().settings.issuer}/oauth2/userinfo", services().clock.now()
    try:
        shown = read_shown(request.headers.getlist("DPoP"), uri=uri, now=now, token=token, method=request.method)
        # First whose key it is: whoever has the token and not the key makes this server remember nothing (DOS-04).
        if shown is None or shown.jkt is None or not bound.is_of(shown.jkt):
            raise AccessTokenInvalid("the token is bound to a key that was not shown")
        with services().engine.begin() as connection:
            oidc_tokens.spend(connection, shown)
    except DpopProofInvalid as error:
        raise AccessTokenInvalid(error.description) from error


# Logout


@blueprint.route("/oauth2/logout", methods=["GET", "POST"])
@browser.csrf_exempt
def logout() -> Response:
    """The end session endpoint (OIDC RP-Initiated Logout 1.0).  It changes nothing: the person is asked first, since
    any page can send a browser here (SES-04)."""
    try:
        pairs = request.form.items(multi=True) if request.method == "POST" else request.args.items(multi=True)
        asked = _logout(pairs)
    except OidcError as error:
        return _refuse_authorization(error)
    if request.method == "POST":
        # From another site no SameSite cookie comes along with a POST: what it asks goes on as a GET.
        return redirect(f"{services().settings.issuer}/oauth2/logout", asked.fields.items())
    session = browser.current()
    if session is None or session.account_id is None:
        return _signed_out(asked)
    if asked.redirect_uri is not None:
        allow_form_target(asked.redirect_uri)
    page = render_template(
        "oidc_logout.html",
        client_name=None if asked.client is None else asked.client.name,
        fields=asked.fields,
        csrf=session.csrf,
    )
    return make_response(page)


@blueprint.post("/oauth2/logout/confirm")
def logout_confirmed() -> Response:
    """The person said yes, on our page; the form token was checked before this."""
    try:
        asked = _logout(pair for pair in request.form.items(multi=True) if pair[0] != browser.CSRF_FIELD)
    except OidcError as error:
        return _refuse_authorization(error)
    browser.sign_out()
    return _signed_out(asked)


def _logout(pairs: Iterable[tuple[str, str]]) -> LogoutRequest:
    return parse_logout_request(pairs, _find_client, _read_hint)


def _signed_out(asked: LogoutRequest) -> Response:
    if asked.redirect_uri is not None:
        return redirect(asked.redirect_uri, [("state", asked.state)])
    return make_response(render_template("oidc_signed_out.html", way_on=way_back.of_client(asked.client)))
