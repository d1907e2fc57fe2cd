"""What is known of a token that was given out, and the endpoints that say it or end it (RFC 7009, RFC 7662)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint

from foundation.clock import epoch
from idp.oidc import rar
from idp.oidc.backchannel_logout import sid_of
from idp.oidc.client import LOGIN_GRANT, Client
from idp.oidc.config import OidcConfig
from idp.oidc.errors import ClientAuthenticationFailed, RequestInvalid
from idp.oidc.possession import bound_to
from idp.storage import grant_tokens, grants
from idp.storage.engine import reading
from idp.storage.grant_tokens import AccessToken
from idp.storage.grants import Grant
from idp.web import oidc_grants, oidc_login
from idp.web.oidc_http import form
from idp.web.services import Services


class RegisteredClient(ClientMixin):
    """A client, as Authlib asks about one."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def get_client_id(self) -> str:
        """The client's identifier."""
        return self.client.client_id

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether the client is registered for the grant type."""
        return grant_type in self.client.registration.grant_types


@dataclass(frozen=True, slots=True)
class StoredToken(TokenMixin):
    """An access token, or the grant of a refresh token, as Authlib's endpoints ask about one."""

    grant: Grant
    access: AccessToken | None
    alive: bool
    now: datetime

    def check_client(self, client: RegisteredClient) -> bool:
        """Whether it was issued to the client."""
        return self.grant.client_id == client.get_client_id()

    def is_expired(self) -> bool:
        """``exp`` is the first second refused."""
        return epoch(self.now) >= (self.grant.expires_at if self.access is None else self.access.expires_at)

    def is_revoked(self) -> bool:
        """Revoked itself, or by what it hangs from: grant, client, account, session."""
        return not self.alive or (self.access is not None and self.access.revoked)


def find_token(services: Services, token: str) -> StoredToken | None:
    """An access or refresh token that was given out, whatever has become of it."""
    with reading(services.engine) as connection:
        access = grant_tokens.find_access(connection, services.seals, token)
        grant = grant_tokens.find_refresh(connection, services.seals, token) if access is None else access.grant
        if grant is None:
            return None
        # A refresh token that was used up is still good for giving the family back, and for nothing else.
        alive = oidc_grants.is_alive(connection, services, grant) and not grant_tokens.is_used(connection, token)
        return StoredToken(grant, access, alive, services.clock.now())


class Revocation(RevocationEndpoint):
    """RFC 7009, answered with 204 as CSC API 2.0.0.2 clause 8.4.5 has it."""

    server: Any

    def check_params(self, request: Any, client: Any) -> None:
        """:raises RequestInvalid: no token.  A hint that is unknown is only a hint."""
        if "token" not in request.form:
            raise RequestInvalid("Missing parameter token")

    def query_token(self, token_string: str, token_type_hint: str | None) -> StoredToken | None:
        """Both kinds are looked up; they cannot be confused."""
        return find_token(self.server.services, token_string)

    def authenticate_token(self, request: Any, client: Any) -> StoredToken | None:
        """A token of the client's; or one that a person got in band, from the service that passed it on to them."""
        if LOGIN_GRANT in client_of(client).registration.grant_types:
            self.check_params(request, client)
            given = self.query_token(request.form["token"], None)
            if given is not None and oidc_login.gave(given.grant):
                return given
        found: StoredToken | None = super().authenticate_token(request, client)  # type: ignore[no-untyped-call] # Authlib's stub leaves it open
        return found

    def revoke_token(self, token: StoredToken, request: Any) -> None:
        """A refresh token takes its whole family along, an access token only itself (clause 8.4.5).

        A SAD takes along what took its place: its client may know only the one that it revokes.
        """
        services, now = self.server.services, self.server.services.clock.now()
        client_id = token.grant.client_id
        with services.engine.begin() as connection:
            if token.access is None:
                grants.revoke(connection, token.grant.id, now, "client_request")
                services.audit.record(
                    connection, "grant.revoked", client_id=client_id, grant_id=token.grant.id, cause="client_request"
                )
            else:
                grant_tokens.revoke_access(connection, token.access.token_hash, now)
                if token.access.kind == "sad":
                    services.outbox.transaction_withdrawn(connection, token.grant.id)
                    grants.revoke(connection, token.grant.id, now, "client_request")
                services.audit.record(
                    connection,
                    "token.revoked",
                    client_id=client_id,
                    grant_id=token.grant.id,
                    jti=token.access.jti,
                )

    def create_endpoint_response(self, request: Any) -> Any:
        """The same answer whether there was such a token or not (RFC 7009 2.2)."""
        super().create_endpoint_response(request)  # type: ignore[no-untyped-call] # Authlib's stub leaves it open
        return 204, "", []


class Introspection(IntrospectionEndpoint):
    """RFC 7662: a token is active only as long as client, account, session and grant are."""

    server: Any

    def check_params(self, request: Any, client: Any) -> None:
        """:raises RequestInvalid: no token.  A hint that is unknown is only a hint."""
        if "token" not in request.form:
            raise RequestInvalid("Missing parameter token")

    def query_token(self, token_string: str, token_type_hint: str | None) -> StoredToken | None:
        """Both kinds are looked up; they cannot be confused."""
        return find_token(self.server.services, token_string)

    def check_permission(self, token: StoredToken, client: Any, request: Any) -> bool:
        """The resource server that the token is for, or the client it was given to; to others it is not active."""
        served = client_of(client).registration.introspects
        resource_server = token.access is not None and token.access.resource in served
        return resource_server or token.check_client(client)

    def introspect_token(self, token: StoredToken) -> dict[str, Any]:
        """RFC 7662 2.2 and RFC 9396 9.2."""
        grant, access = token.grant, token.access
        if access is None:
            return {"client_id": grant.client_id, "sub": grant.subject, "exp": grant.expires_at}
        value: dict[str, Any] = {
            "iss": OidcConfig.of(self.server.services.settings).issuer,
            "aud": access.audience,
            "sub": grant.subject,
            "client_id": grant.client_id,
            "scope": " ".join(access.scopes),
            "token_type": "Bearer",
            "jti": access.jti,
            "iat": access.issued_at,
            "exp": access.expires_at,
        }
        if grant.approval is not None:
            if grant.session_id is not None:
                value["sid"] = sid_of(grant.session_id, grant.client_id)
            value["acr"] = grant.approval.acr
            value["auth_time"] = epoch(grant.approval.auth_time)
        # The token is in the request whose answer this is.
        bound = bound_to(form()["token"])
        if bound is not None:
            value["cnf"] = bound.to_json()
            if bound.method == "jkt":
                value["token_type"] = "DPoP"
        if access.kind == "sad" and grant.request is not None and grant.request.intent is not None:
            value["authorization_details"] = rar.to_details(grant.request.intent)
        return value


def client_of(client: Any) -> Client:
    """The client behind Authlib's view of it.

    :raises ClientAuthenticationFailed: nobody.
    """
    if not isinstance(client, RegisteredClient):
        raise ClientAuthenticationFailed("no client")
    return client.client
