"""Signing in by way of the signing service, for applications that know no other way (CSC API 2.0.0.2 11.2, 11.3).

User name and password come in band, from a client that authenticates and is registered for it, for the one relying
party that is registered for it too.  They are verified by the code of the sign-in page; what was proved is judged by
the policy for a sign-in, and opens no session here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from flask import g
from sqlalchemy import Connection

from idp.authn.session import AuthnContext, decide
from idp.authn.stepup import Allowed, next_step
from idp.errors import LoginBusy, LoginRefused
from idp.oidc.client import LOGIN_GRANT, Client
from idp.oidc.config import OidcConfig
from idp.oidc.errors import ClientNotPermitted, GrantInvalid, NotNow, RequestInvalid, ScopeRefused
from idp.oidc.request import AuthorizationRequest
from idp.policy.evidence import Evidence
from idp.policy.facts import Facts
from idp.storage import authenticators, clients, grants, history
from idp.storage.accounts import Account
from idp.storage.authenticators import Authenticator
from idp.storage.engine import reading
from idp.storage.grants import Grant
from idp.storage.interactions import StoredInteraction
from idp.web import login, oidc_grants, oidc_tokens, progress
from idp.web.interaction import BeginInteraction, Interaction
from idp.web.progress import Assessment
from idp.web.services import Services

ACTION: Final = "sign_in"
_REFUSED: Final = "Invalid user name, password or refresh token"
"""One text for every cause (OTP-11)."""
_HEADERS: Final[list[tuple[str, str]]] = []


class LoginGrant(ClientCredentialsGrant):
    """A service token for a user name and a password; asked for by the signing service."""

    GRANT_TYPE = LOGIN_GRANT
    request: Any
    server: Any

    def validate_requested_scope(self) -> None:
        """:raises ScopeRefused: anything but ``service``."""
        if self.request.form.get("scope", "service") != "service":
            raise ScopeRefused("what comes in band opens scope service only")

    def create_token_response(self) -> Any:
        """The token: the relying party's, for the person."""
        # Strangers come through the service: what they are refused is no matter for the chain, which could be filled
        # at will (DOS-04).  Wrong passwords of somebody's are on record as those of the sign-in page are.
        g.pop("oidc_client", None)
        return 200, sign_in(self.server.services, self.request.form), _HEADERS


def sign_in(services: Services, parameters: Mapping[str, str]) -> dict[str, Any]:
    """The token response to a user name and a password, or to a refresh token that was given for them.

    :raises ClientNotPermitted: it is off, here or for the relying party.
    :raises GrantInvalid: with one text for every cause.
    :raises NotNow: too many passwords are being verified.
    """
    client = _relying_party(services, parameters)
    if "refresh_token" in parameters:
        return _refreshed(services, parameters["refresh_token"], client)
    if not {"username", "password"} <= parameters.keys():
        raise RequestInvalid("Missing parameter username or password")
    grant = _granted(services, client, parameters["username"], parameters["password"])
    oidc_grants.tidy_sometimes(services)
    return oidc_tokens.for_login(services, grant, remember=parameters.get("remember_me") == "true")


def gave(grant: Grant) -> bool:
    """Whether a grant was given for a user name and a password that came in band: no session stands behind it."""
    return grant.session_id is None and grant.approval is not None and grant.approval.action == ACTION


def _relying_party(services: Services, parameters: Mapping[str, str]) -> Client:
    with reading(services.engine) as connection:
        client = clients.find_active(connection, parameters.get("relying_party", ""))
    if not services.settings.in_band.login or client is None or not client.registration.in_band_login:
        raise ClientNotPermitted("nobody signs in to this relying party in band")
    return client


def _refreshed(services: Services, token: str, client: Client) -> dict[str, Any]:
    grant = oidc_grants.check_refresh(services, token, client)
    if not gave(grant):
        # One that was given in a browser stays there.
        raise GrantInvalid(_REFUSED)
    return oidc_tokens.for_refresh(services, grant, token, ("service",), client)


def _granted(services: Services, client: Client, username: str, password: str) -> Grant:
    found: list[tuple[Account, Evidence]] = []
    txn = oidc_tokens.new_id(services)

    def succeed(connection: Connection, account: Account, item: Authenticator, evidence: Evidence) -> None:
        authenticators.succeeded(connection, item.id, evidence.at)
        services.audit.record(
            connection,
            "factor.accepted",
            account_id=account.id,
            session_id="",
            factor=item.kind,
            authenticator_id=item.id,
            txn=txn,
            client_id=client.client_id,
            action=ACTION,
        )
        found.append((account, evidence))

    occasion = login.Occasion(txn, client.client_id, ACTION, None, succeed, _touch)
    try:
        login.prove(occasion, username, password)
    except LoginRefused as error:
        raise GrantInvalid(_REFUSED) from error
    except LoginBusy as error:
        raise NotNow("too many passwords are being verified") from error
    [(account, evidence)] = found
    return _approved(services, client, account, evidence)


def _touch(connection: Connection) -> None:
    # As the record of a failure: its entry, and what moves the chain's head, go with the commit (OTP-11).
    history.add_nothing(connection)
    history.add_nothing(connection)


def _approved(services: Services, client: Client, account: Account, evidence: Evidence) -> Grant:
    """The grant, if the policy lets the person sign in to the relying party with a password and nothing else."""
    config, now, txn = OidcConfig.of(services.settings), services.clock.now(), evidence.transaction or ""
    facts, decision = decide(
        services.policy,
        Facts(
            action=ACTION,
            evidence=(evidence,),
            now=now,
            client_id=client.client_id,
            groups=account.groups,
            attributes=account.attributes,
            proofing=account.proofing,
            transaction=txn,
        ),
        lambda _limit: (evidence,),
    )
    step = next_step(decision)
    context = AuthnContext(account.id, "", (evidence,), now)
    assessed = Assessment(account, context, facts, decision, step, (), None)
    request = BeginInteraction("in_band", ACTION, client.client_id, {}, client_name=client.name)
    interaction = Interaction(StoredInteraction("", "", account.id, txn, {}, (), None, now, now), request)
    if not isinstance(step, Allowed):
        progress.record_refused(interaction, assessed)
        raise GrantInvalid(_REFUSED)
    approval = progress.approval_of(interaction, assessed)
    asked = AuthorizationRequest(
        client_id=client.client_id,
        redirect_uri="",
        scopes=("service",),
        state=None,
        nonce=None,
        code_challenge="",
        resource=config.resource,
    )
    with services.engine.begin() as connection:
        kept = progress.record_decision(connection, interaction, assessed, approval.decision_id)
        fields = progress.approved_fields(interaction, approval)
        services.audit.record(connection, "transaction.approved", **fields, decision_sha256=kept)
        return grants.begin(
            connection,
            services.seals,
            oidc_tokens.new_id(services),
            client_id=client.client_id,
            subject=account.id,
            now=now,
            seconds=oidc_grants.life_of(config, asked, approval, now),
            request=asked,
            approval=approval,
        )
