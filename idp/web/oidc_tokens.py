"""Giving out tokens: checked for life, recorded, audited in the same transaction, and only then released."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from contract import sad
from contract.confirmation import Confirmation
from contract.sad import Sad
from foundation.clock import epoch
from foundation.jose import encode_base64url, sign_compact
from idp.activation.mint import sad_for
from idp.errors import NotActivatable, NotWhatWasApproved
from idp.oidc import rar, tokens
from idp.oidc.client import Client
from idp.oidc.config import OidcConfig
from idp.oidc.errors import DpopProofInvalid, GrantInvalid
from idp.oidc.possession import Shown, check_shown
from idp.oidc.request import AuthorizationRequest
from idp.storage import grant_tokens, grants, single_use
from idp.storage.engine import reading
from idp.storage.grant_tokens import NewAccessToken
from idp.storage.grants import Grant
from idp.storage.hashes import hash_token
from idp.storage.seal import Altered
from idp.web.oidc_grants import evidence_stands, is_alive, tidy_sometimes
from idp.web.services import Services

SELF_SERVICE_SECONDS: Final = 60
_TOKEN_OCTETS: Final = 32
_ID_OCTETS: Final = 16

First = Callable[[Connection], bool]
"""What has to be done before something is given out, in the transaction of it; False: it is not given out."""


def _nothing_first(_connection: Connection) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Issue:
    """An access token to be given out on a grant."""

    grant: Grant
    scopes: tuple[str, ...]
    audience: str
    grant_type: str
    seconds: int
    refreshable: bool = False
    used_refresh: str | None = None
    """The refresh token that this request uses up."""
    actor: str | None = None
    """Who acts for the subject, if it is not the client."""
    shown: Shown | None = None
    """The key to which the token is bound."""
    refresh_jkt: str | None = None
    """The key to which its refresh token is."""
    first: First = _nothing_first


def secret_token(services: Services) -> str:
    """256 random bits: a code, a refresh token, a request's handle."""
    return encode_base64url(services.random(_TOKEN_OCTETS))


def new_id(services: Services) -> str:
    """128 random bits."""
    return encode_base64url(services.random(_ID_OCTETS))


def spend(connection: Connection, shown: Shown | None) -> None:
    """Remember a proof, in the transaction of what it obtains.

    :raises DpopProofInvalid: it was used before; that ends the transaction.
    """
    proof = None if shown is None else shown.proof
    if proof is not None and not single_use.remember_proof(connection, proof):
        raise DpopProofInvalid("the DPoP proof was used before")


def for_code(
    services: Services,
    grant: Grant,
    client: Client,
    shown: Shown | None = None,
    *,
    grant_type: str = "authorization_code",
    first: First = _nothing_first,
) -> dict[str, Any]:
    """The token response to a code (RFC 6749 5.1; CSC API 2.0.0.2 clause 8.4.4).

    :param shown: the key or certificate to which what is given out is bound.
    :param grant_type: of the request, where no code was redeemed in it.
    :raises GrantInvalid: the grant was revoked meanwhile, or cannot activate a signature.
    :raises DpopProofInvalid: no proof where one is demanded, another key's, or one that was used before.
    """
    request = _request_of(grant)
    check_shown(shown, client, request.dpop_jkt)
    if request.intent is not None:
        return _signature_activation(services, grant, request, _confirmation(shown), shown, first)
    config = OidcConfig.of(services.settings)
    issue = Issue(
        grant=grant,
        scopes=request.scopes,
        audience=request.resource,
        grant_type=grant_type,
        seconds=config.access_token_seconds,
        refreshable="service" in request.scopes and "refresh_token" in client.registration.grant_types,
        shown=shown,
        # Whoever authenticates shows anyway whose refresh token it is, and may change its key (RFC 9449 5).
        refresh_jkt=shown.jkt if shown is not None and client.registration.auth_method == "none" else None,
        first=first,
    )
    response = _issue(services, issue)
    if "openid" in request.scopes and grant.approval is not None:
        key = services.keys.token_key()
        claims = tokens.id_token_claims(
            grant.approval,
            issuer=config.issuer,
            nonce=request.nonce,
            access_token=response["access_token"],
            algorithm=key.algorithm,
            now=services.clock.now(),
            lifetime_seconds=config.id_token_seconds,
        )
        response["id_token"] = sign_compact(claims, key, tokens.ID_TOKEN_TYPE)
    return response


def for_resource_server(
    services: Services, grant: Grant, confirmation: Confirmation | None, *, first: First
) -> dict[str, Any]:
    """The SAD that a person approved, to a resource server that asks in the name of the client whose it is.

    :param confirmation: to what the client's own token is bound, and so the SAD: whoever has to show a key for the one
        has to show it for the other.
    :raises GrantInvalid: the grant was revoked meanwhile, or cannot activate a signature.
    """
    return _signature_activation(services, grant, _request_of(grant), confirmation, None, first)


def for_refresh(  # noqa: PLR0917 - who, what, with what, and shown how
    services: Services, grant: Grant, token: str, scopes: Sequence[str], client: Client, shown: Shown | None = None
) -> dict[str, Any]:
    """The token response to a refresh token, which is used up and replaced.

    :raises GrantInvalid: another request used it up first, or the grant was revoked meanwhile.
    :raises DpopProofInvalid: no proof where one is demanded, another key's, or one that was used before.
    """
    with reading(services.engine) as connection:
        jkt = grant_tokens.refresh_jkt(connection, token)
    check_shown(shown, client, jkt)
    issue = Issue(
        grant=grant,
        scopes=tuple(scopes),
        audience=_request_of(grant).resource,
        grant_type="refresh_token",
        seconds=OidcConfig.of(services.settings).access_token_seconds,
        refreshable=True,
        used_refresh=token,
        shown=shown,
        refresh_jkt=jkt,
    )
    return _issue(services, issue)


def for_login(services: Services, grant: Grant, *, remember: bool) -> dict[str, Any]:
    """The token response to a user name and a password that came in band.

    :param remember: whether a refresh token goes with it.
    """
    config = OidcConfig.of(services.settings)
    seconds = config.access_token_seconds
    return _issue(services, Issue(grant, ("service",), config.resource, "service_login", seconds, refreshable=remember))


def for_client(
    services: Services, client: Client, scopes: Sequence[str], shown: Shown | None = None
) -> dict[str, Any]:
    """The token response to a client that acts for itself (RFC 6749 4.4.3).

    :raises DpopProofInvalid: no proof where one is demanded, or one that was used before.
    """
    check_shown(shown, client, None)
    config = OidcConfig.of(services.settings)
    # Where machines ask and nobody signs in, nothing else would ever forget what they were given (DOS-04).
    tidy_sometimes(services)
    with services.engine.begin() as connection:
        grant = grants.begin(
            connection,
            services.seals,
            new_id(services),
            client_id=client.client_id,
            subject=client.client_id,
            now=services.clock.now(),
            seconds=config.access_token_seconds,
        )
    seconds = config.access_token_seconds
    return _issue(services, Issue(grant, tuple(scopes), config.resource, "client_credentials", seconds, shown=shown))


def self_service(services: Services, account_id: str, client_id: str) -> str:
    """A service token with which this server itself reads the signing service for a person's page."""
    config = OidcConfig.of(services.settings)
    with services.engine.begin() as connection:
        grant = grants.begin(
            connection,
            services.seals,
            new_id(services),
            client_id=client_id,
            subject=account_id,
            now=services.clock.now(),
            seconds=SELF_SERVICE_SECONDS,
        )
    issue = Issue(
        grant, ("service",), config.resource, "self_service", SELF_SERVICE_SECONDS, actor=config.issuer
    )
    return str(_issue(services, issue)["access_token"])


def _issue(services: Services, issue: Issue) -> dict[str, Any]:
    config, now, key = OidcConfig.of(services.settings), services.clock.now(), services.keys.token_key()
    grant, jti = issue.grant, new_id(services)
    # No token outlives what it was given on.
    seconds = min(issue.seconds, grant.expires_at - epoch(now))
    if seconds <= 0:
        raise GrantInvalid("the grant has ended")
    claims = tokens.access_token_claims(
        issuer=config.issuer,
        audience=issue.audience,
        client_id=grant.client_id,
        jti=jti,
        scopes=issue.scopes,
        now=now,
        lifetime_seconds=seconds,
        subject=grant.subject,
        approval=grant.approval,
        actor=issue.actor,
        confirmation=_confirmation(issue.shown),
    )
    token = sign_compact(claims, key, tokens.ACCESS_TOKEN_TYPE)
    access = NewAccessToken(
        hash_token(token), jti, "access", issue.audience, issue.audience, issue.scopes, claims["exp"]
    )
    refresh = secret_token(services) if issue.refreshable else None
    with services.engine.begin() as connection:
        spend(connection, issue.shown)
        raced = issue.used_refresh is not None and not grant_tokens.use_refresh(connection, issue.used_refresh, now)
        if raced:
            # Two requests with one refresh token: which of them is the thief's cannot be told, so both lose.
            grants.revoke(connection, grant.id, now, "refresh_used_again")
            services.audit.record(
                connection,
                "grant.revoked",
                client_id=grant.client_id,
                grant_id=grant.id,
                cause="refresh_token_used",
            )
        issued = not raced and issue.first(connection) and grant_tokens.issue(connection, grant, access, now)
        if issued:
            if refresh is not None:
                grant_tokens.add_refresh(connection, refresh, grant.id, now, jkt=issue.refresh_jkt)
            _audit_token(connection, services, issue, jti, access.expires_at)
    if not issued:
        raise GrantInvalid("the grant has been revoked")
    response: dict[str, Any] = {
        "access_token": token,
        "token_type": _token_type(issue.shown),
        "expires_in": seconds,
        "scope": " ".join(issue.scopes),
    }
    return response if refresh is None else {**response, "refresh_token": refresh}


def _audit_token(connection: Connection, services: Services, issue: Issue, jti: str, expires_at: int) -> None:
    grant = issue.grant
    person = {} if grant.approval is None else {"session_id": grant.session_id, "txn": grant.approval.txn}
    bound = {} if issue.shown is None else {"bound_to": issue.shown.confirmation.thumbprint}
    services.audit.record(
        connection,
        "token.issued",
        client_id=grant.client_id,
        subject=grant.subject,
        grant_id=grant.id,
        jti=jti,
        grant_type=issue.grant_type,
        scope=" ".join(issue.scopes),
        audience=issue.audience,
        expires_at=expires_at,
        **person,
        **bound,
    )


def _confirmation(shown: Shown | None) -> Confirmation | None:
    return None if shown is None else shown.confirmation


def _token_type(shown: Shown | None) -> str:
    """RFC 6750 4, RFC 9449 5."""
    return "Bearer" if shown is None or shown.proof is None else "DPoP"


def _signature_activation(  # noqa: PLR0917 - what, bound to what, shown how
    services: Services,
    grant: Grant,
    request: AuthorizationRequest,
    confirmation: Confirmation | None,
    shown: Shown | None,
    first: First,
) -> dict[str, Any]:
    config, now = OidcConfig.of(services.settings), services.clock.now()
    approval, intent = grant.approval, request.intent
    if approval is None or intent is None:
        raise GrantInvalid("nothing was approved")
    try:
        content = sad_for(
            approval,
            intent,
            issuer=config.issuer,
            audience=config.sad_audience,
            jti=new_id(services),
            now=now,
            lifetime_seconds=config.sad_seconds,
            confirmation=confirmation,
            detail=request.detail,
        )
    except NotActivatable as error:
        raise GrantInvalid("the approval does not permit a signature") from error
    except NotWhatWasApproved as error:
        services.seals.report(Altered("oidc_grants", grant.id, "binding"))
        raise GrantInvalid("the approval is for something else") from error
    return give_sad(services, grant, content, shown, first=first)


def give_sad(
    services: Services,
    grant: Grant,
    content: Sad,
    shown: Shown | None,
    *,
    first: First = _nothing_first,
    refusal: str = "the grant has been revoked",
) -> dict[str, Any]:
    """Sign a SAD, record it, and only then give it out.

    :param shown: what came with the request: spent with it.
    :param first: what has to be done before, in the transaction of it; False: the SAD is not given out.
    :raises GrantInvalid: with ``refusal``: it is not, or the grant was revoked.
    """
    approval, request, now = grant.approval, _request_of(grant), services.clock.now()
    if approval is None or request.intent is None:
        raise GrantInvalid("nothing was approved")
    token = sad.encode(content, services.keys.activation_key())
    access = NewAccessToken(
        hash_token(token), content.jti, "sad", content.aud, request.resource, ("credential",), content.exp
    )
    told: dict[str, Any] = {} if content.cnf is None else {"bound_to": content.cnf.thumbprint}
    if content.supersedes is not None:
        told["supersedes"] = list(content.supersedes.jtis)
    with services.engine.begin() as connection:
        spend(connection, shown)
        # Once more, in this very transaction: whoever signed out a moment ago has signed nothing.
        issued = (
            is_alive(connection, services, grant)
            and evidence_stands(connection, services, approval)
            and first(connection)
            and grant_tokens.issue(connection, grant, access, now)
        )
        if issued:
            services.audit.record(
                connection,
                "sad.issued",
                client_id=grant.client_id,
                account_id=approval.account_id,
                session_id=approval.session_id,
                grant_id=grant.id,
                jti=content.jti,
                txn=content.txn,
                decision_id=approval.decision_id,
                credential_id=content.credential_id,
                hash_alg=content.hash_alg,
                digests=[digest.hex() for digest in content.dtbsr],
                sign_count=content.sign_count,
                expires_at=content.exp,
                sad_sha256=hashlib.sha256(token.encode()).hexdigest(),
                **told,
            )
    if not issued:
        raise GrantInvalid(refusal)
    return {
        "access_token": token,
        "token_type": "Bearer" if content.cnf is None or content.cnf.method != "jkt" else "DPoP",
        "expires_in": content.exp - epoch(now),
        "scope": "credential",
        "credentialID": content.credential_id,
        "authorization_details": rar.to_details(request.intent, request.details_type or rar.TYPE_CSC_2_0),
    }


def _request_of(grant: Grant) -> AuthorizationRequest:
    if grant.request is None:
        raise GrantInvalid("the grant has no request")
    return grant.request
