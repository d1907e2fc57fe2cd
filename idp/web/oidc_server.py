"""The token endpoint, on Authlib's grants, and who may come to it and its neighbours.

Authlib decides which grant a request is for and walks it in the order of RFC 6749, 7009 and 7662.  What is ours: client
authentication (one answer for every failure, one method a client), single use in the database, tokens in joserfc,
and the answers.  Authlib's own creation of token responses is not used: it logs tokens at debug level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from authlib.oauth2 import AuthorizationServer, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, TokenMixin
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant, RefreshTokenGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7636 import CodeChallenge
from flask import g
from werkzeug.wrappers import Response

from idp.oidc.assertion import stated_client_id, verify_assertion
from idp.oidc.client import (
    BACKCHANNEL_GRANT,
    EXPLICIT_GRANT,
    EXTENSION_GRANT,
    GRANT_TYPES,
    LOGIN_GRANT,
    Client,
    Presented,
    PresentedAssertion,
    PresentedSecret,
    check_secret,
    read_credentials,
)
from idp.oidc.config import OidcConfig
from idp.oidc.errors import ClientAuthenticationFailed, GrantTypeRefused, RequestInvalid, ScopeRefused
from idp.oidc.pkce import check_verifier
from idp.oidc.possession import Shown, read_shown, shown_by
from idp.oidc.request import check_repeated_details, check_scopes
from idp.storage import clients, single_use
from idp.storage.engine import reading
from idp.storage.grants import Grant
from idp.web import oidc_extension, oidc_grants, oidc_orders, oidc_tokens
from idp.web.oidc_ciba import BackchannelGrant
from idp.web.oidc_explicit import ExplicitGrant
from idp.web.oidc_http import form, json_answer, refuse_as
from idp.web.oidc_inspection import Introspection, RegisteredClient, Revocation, client_of
from idp.web.oidc_login import LoginGrant
from idp.web.services import Services

_HEADERS: Final[list[tuple[str, str]]] = []
_REQUIRED: Final = {
    "authorization_code": "code",
    "refresh_token": "refresh_token",
    "client_credentials": None,
    EXTENSION_GRANT: "sad",
    BACKCHANNEL_GRANT: "auth_req_id",
    EXPLICIT_GRANT: "auth_data",
    LOGIN_GRANT: "relying_party",
}


@dataclass(frozen=True, slots=True)
class RedeemedCode(AuthorizationCodeMixin):
    """A code that was used up for this request, as Authlib asks about one."""

    grant: Grant
    redirect_uri: str
    challenge: str

    def get_redirect_uri(self) -> str:
        """Where the code was sent."""
        return self.redirect_uri


@dataclass(frozen=True, slots=True)
class StoredRefresh(TokenMixin):
    """The grant of a refresh token, as Authlib asks about one."""

    grant: Grant

    def check_client(self, client: RegisteredClient) -> bool:
        """Whether it was issued to the client."""
        return self.grant.client_id == client.get_client_id()

    def get_scope(self) -> str:
        """What was approved: the widest that a refreshed token may have."""
        return "" if self.grant.request is None else " ".join(self.grant.request.scopes)


class FormRequest(OAuth2Request):
    """A request whose parameters were read from the body alone, each once."""

    def __init__(self, parameters: dict[str, str], issuer: str, authorization: str | None) -> None:
        # Authlib refuses plain http by the URL that the process sees, which behind a proxy is not the client's.
        # Whether http is allowed is settled by the settings: in production the issuer must be https.
        super().__init__("POST", f"https://{issuer.partition('://')[2]}")
        self.payload = BasicOAuth2Payload(parameters)
        self.parameters = parameters
        self.authorization = authorization

    @property
    def form(self) -> dict[str, str]:
        """The parameters."""
        return self.parameters


class TokenServer(AuthorizationServer):
    """One for each request: it holds nothing but the services."""

    def __init__(
        self,
        services: Services,
        authorization: str | None,
        proofs: Sequence[str] = (),
        certificate: str | None = None,
    ) -> None:
        """:param proofs: values of the request's ``DPoP`` headers.
        :param certificate: thumbprint of the one that the client showed.
        """
        super().__init__()
        self.services = services
        self.config = OidcConfig.of(services.settings)
        self.shown: Shown | None = None
        self._authorization = authorization
        self._proofs = proofs
        self._certificate = certificate
        self.register_grant(CodeGrant, [ProofKey()])
        self.register_grant(RefreshGrant)
        self.register_grant(ClientGrant)
        self.register_grant(ExtensionGrant)
        self.register_grant(BackchannelGrant)
        self.register_grant(ExplicitGrant)
        self.register_grant(LoginGrant)
        self.register_endpoint(Revocation)
        self.register_endpoint(Introspection)

    def create_oauth2_request(self, request: object) -> FormRequest:
        """The parameters of the Flask request at hand.

        :raises OidcError: they are not in the form.
        """
        return FormRequest(form(), self.config.issuer, self._authorization)

    def token(self) -> Response:
        """Answer a token request.

        :raises OidcError: refused, before or beside what Authlib refuses itself.
        """
        check_token_form(form())
        self.shown = read_shown(self._proofs, uri=self.config.token_endpoint, now=self.services.clock.now())
        return self.create_token_response()  # type: ignore[return-value] # the stub says a tuple; see handle_response

    def endpoint(self, name: str) -> Response:
        """Answer a request to the revocation or introspection endpoint.

        :raises OidcError: refused, before or beside what Authlib refuses itself.
        """
        return cast("Response", self.create_endpoint_response(name))  # type: ignore[no-untyped-call] # stub leaves it open

    def authenticate_client(self, request: Any, methods: Any, endpoint: str = "token") -> RegisteredClient:
        """Authlib's question, with our answer.

        :raises OidcError: not authenticated.
        """
        parameters: Mapping[str, str] = request.form
        client = authenticate(
            self.services, read_credentials(self._authorization, parameters), public=endpoint != "introspection"
        )
        if endpoint == "token":
            # Here, so that no grant can forget it.
            self.shown = shown_by(client, self.shown, self._certificate)
        return RegisteredClient(client)

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Authlib's framework signals: nobody listens."""

    def handle_response(self, status: int, body: Any, headers: Any) -> Response:
        """A JSON answer that nobody may store."""
        return (
            json_answer(body, status) if status != 204 else Response(status=204, headers={"Cache-Control": "no-store"})
        )

    def handle_error_response(self, request: OAuth2Request, error: OAuth2Error) -> Response:
        """A refusal of Authlib's, answered like ours."""
        return refuse_as(str(error.error), error.get_error_description() or "", error.status_code)


def check_token_form(parameters: Mapping[str, str]) -> None:
    """What Authlib would leave unsaid, or say by quoting the request.

    :raises RequestInvalid: no grant type, or not what the grant type needs.
    :raises GrantTypeRefused: one that is not offered: password, implicit and device grants are off.
    """
    grant_type = parameters.get("grant_type")
    if grant_type is None:
        raise RequestInvalid("Missing parameter grant_type")
    if grant_type not in GRANT_TYPES:
        raise GrantTypeRefused("Invalid parameter grant_type")
    needed = _REQUIRED[grant_type]
    if needed is not None and needed not in parameters:
        raise RequestInvalid(f"Missing parameter {needed}")


def authenticate(services: Services, presented: Presented, *, public: bool) -> Client:
    """Who the client is; one that authenticated is kept for the record of what is refused afterwards.

    :param public: whether a client that has nothing to authenticate with may come here.
    :raises ClientAuthenticationFailed: for every cause alike.
    """
    if isinstance(presented, PresentedAssertion):
        client = _by_assertion(services, presented)
    elif isinstance(presented, PresentedSecret):
        client = _by_secret(services, presented)
    else:
        if not public:
            raise ClientAuthenticationFailed("nothing to authenticate with")
        # Anybody can say the name of a public client: what is refused then is nobody's that is known.
        return _find(services, presented.client_id, "none")
    g.oidc_client = client
    return client


def _find(services: Services, client_id: str, method: str) -> Client:
    with reading(services.engine) as connection:
        client = clients.find_active(connection, client_id)
    if client is None:
        raise ClientAuthenticationFailed("unknown or disabled client")
    if client.registration.auth_method != method:
        raise ClientAuthenticationFailed("another method than the client is registered for")
    return client


def _by_secret(services: Services, presented: PresentedSecret) -> Client:
    try:
        client = _find(services, presented.client_id, presented.method)
    except ClientAuthenticationFailed:
        # The same work as for a client that exists.
        check_secret(presented.secret, None)
        raise
    if not client.has_secret(presented.secret):
        raise ClientAuthenticationFailed("wrong secret")
    return client


def _by_assertion(services: Services, presented: PresentedAssertion) -> Client:
    stated = stated_client_id(presented.assertion)
    if presented.client_id is not None and presented.client_id != stated:
        raise ClientAuthenticationFailed("client_id differs from the assertion's")
    client = _find(services, stated, "private_key_jwt")
    config = OidcConfig.of(services.settings)
    audiences = {config.issuer, config.token_endpoint, config.backchannel_endpoint}
    use = verify_assertion(presented.assertion, client, audiences, services.clock.now())
    with services.engine.begin() as connection:
        fresh = single_use.remember_assertion(connection, use)
    if not fresh:
        raise ClientAuthenticationFailed("assertion used before")
    return client


class ProofKey(CodeChallenge):
    """PKCE in the token request: every code has a challenge, S256, and every client brings the verifier."""

    def validate_code_verifier(self, grant: Any, result: object) -> None:
        """:raises OidcError: no verifier, or another challenge's."""
        check_verifier(grant.request.form.get("code_verifier"), grant.request.authorization_code.challenge)


class CodeGrant(AuthorizationCodeGrant):
    """The authorization code grant (RFC 6749 4.1.3)."""

    request: FormRequest
    server: TokenServer

    def query_authorization_code(self, code: str, client: ClientMixin) -> RedeemedCode:
        """Use the code up, whatever is wrong with the rest of the request: a second try is a second use."""
        found = oidc_grants.redeem_code(self.server.services, code, client_of(client))
        if found.request is None:
            raise RequestInvalid("Invalid parameter code")
        return RedeemedCode(found, found.request.redirect_uri, found.request.code_challenge)

    def create_token_response(self) -> Any:
        """The tokens, or the SAD."""
        found = cast("RedeemedCode", self.request.authorization_code)
        details = self.request.form.get("authorization_details")
        if details is not None and found.grant.request is not None:
            check_repeated_details(details, found.grant.request, self.server.config)
        server, client = self.server, client_of(self.request.client)
        ordered = found.grant.request is not None and found.grant.request.order is not None
        give = oidc_orders.give if ordered else oidc_tokens.for_code
        return 200, _in_words_of(client, give(server.services, found.grant, client, server.shown)), _HEADERS


class RefreshGrant(RefreshTokenGrant):
    """The refresh token grant (RFC 6749 6), with rotation."""

    request: FormRequest
    server: TokenServer

    def authenticate_refresh_token(self, refresh_token: str) -> StoredRefresh:
        """The token's grant; it is used up only when all else is in order."""
        client = client_of(self.request.client)
        return StoredRefresh(oidc_grants.check_refresh(self.server.services, refresh_token, client))

    def create_token_response(self) -> Any:
        """New tokens; the old refresh token is worth nothing any more."""
        found = cast("StoredRefresh", self.request.refresh_token)
        scopes = (self.request.form.get("scope") or found.get_scope()).split()
        token, server, client = self.request.form["refresh_token"], self.server, client_of(self.request.client)
        made = oidc_tokens.for_refresh(server.services, found.grant, token, scopes, client, server.shown)
        return 200, made, _HEADERS


class ClientGrant(ClientCredentialsGrant):
    """The client credentials grant (RFC 6749 4.4): service scope only (CSC API 2.0.0.2 clause 8.4.4)."""

    request: FormRequest
    server: TokenServer

    def validate_requested_scope(self) -> None:
        """:raises ScopeRefused: any other scope."""
        scopes = self.request.form.get("scope", "service").split()
        if check_scopes(scopes, client_of(self.request.client), with_intent=False) != ("service",):
            raise ScopeRefused("a client acts for itself with scope service only")

    def create_token_response(self) -> Any:
        """An access token behind which no person stands."""
        server, client = self.server, client_of(self.request.client)
        return 200, oidc_tokens.for_client(server.services, client, ("service",), server.shown), _HEADERS


class ExtensionGrant(ClientCredentialsGrant):
    """A SAD in another one's place; asked for like a token of the client's own, which it is."""

    GRANT_TYPE = EXTENSION_GRANT
    request: FormRequest
    server: TokenServer

    def validate_requested_scope(self) -> None:
        """:raises ScopeRefused: anything but the scope of SADs."""
        if self.request.form.get("scope", "credential") != "credential":
            raise ScopeRefused("a SAD has scope credential")

    def create_token_response(self) -> Any:
        """The successor; its predecessor is worth nothing any more."""
        server, client = self.server, client_of(self.request.client)
        made = oidc_extension.extend(server.services, self.request.form["sad"], client, server.shown)
        return 200, _in_words_of(client, made), _HEADERS


def _in_words_of(client: Client, response: dict[str, Any]) -> dict[str, Any]:
    """A token response as the client's version of the CSC API has it; a bound token keeps the type that says so."""
    plain_sad = (response["scope"], response["token_type"]) == ("credential", "Bearer")
    return {**response, "token_type": "SAD"} if plain_sad and client.registration.sad_token_type else response
