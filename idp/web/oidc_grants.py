"""Grants: how long they stand, what they rest on, and what codes and refresh tokens still are worth."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from foundation.clock import epoch
from idp.authn.approval import Approval
from idp.oidc.client import Client
from idp.oidc.config import OidcConfig
from idp.oidc.errors import GrantInvalid
from idp.oidc.request import AuthorizationRequest
from idp.settings import ACCOUNT_CLIENT_ID
from idp.storage import (
    accounts,
    authenticators,
    backchannel,
    clients,
    grant_tokens,
    grants,
    pushed_requests,
    single_use,
)
from idp.storage.engine import reading
from idp.storage.grant_tokens import Refused
from idp.storage.grants import Grant
from idp.web import tidying
from idp.web.services import Services


def tidy_sometimes(services: Services) -> None:
    """Forget ended grants and what belongs to them, now and then."""
    purges = (backchannel.purge, grants.purge, pushed_requests.purge, single_use.purge)
    tidying.tidy_sometimes(services, "grants", purges)


def life_of(config: OidcConfig, request: AuthorizationRequest, approval: Approval, now: datetime) -> int:
    """Seconds for which a grant stands: no longer than the policy lets the level stand on which it was given.

    A signature is given at once, and so is an order: they live for minutes, whatever remains of the limit.
    """
    if request.order is not None:
        return config.code_seconds + config.order_seconds
    if request.intent is not None:
        return config.code_seconds + (config.transaction_seconds if config.extensions else config.sad_seconds)
    seconds = config.code_seconds + config.refresh_seconds
    if approval.session_limit is None:
        return seconds
    return min(seconds, epoch(approval.auth_time) + approval.session_limit - epoch(now))


def is_alive(connection: Connection, services: Services, grant: Grant) -> bool:
    """Whether client, account and session behind a grant still are what they were when it was made."""
    if grant.revoked:
        return False
    # The account pages are this server itself: they have no registration that could be disabled, and none may be made.
    if grant.client_id != ACCOUNT_CLIENT_ID and clients.find_active(connection, grant.client_id) is None:
        return False
    if grant.subject != grant.client_id:
        account = accounts.find(connection, grant.subject)
        if account is None or not account.active:
            return False
    if grant.session_id is None:
        return grant.approval is None or evidence_stands(connection, services, grant.approval)
    return grants.session_lasts(connection, services.seals, grant.session_id, services.clock.now())


def evidence_stands(connection: Connection, services: Services, approval: Approval) -> bool:
    """Whether every authenticator that was used for an approval still is the person's.

    Where there is no session, none ends with a new password.  Where there is one, it outlasts what was proved in it for
    one transaction only, and the session in which a factor is removed stays (SAD-06).
    """
    held = authenticators.of_account(connection, services.seals, approval.account_id)
    enabled = {item.id for item in held if not item.disabled}
    return all(item.authenticator_id in enabled for item in approval.evidence)


def redeem_code(services: Services, code: str, client: Client) -> Grant:
    """The grant of a code, which is used up.

    :raises GrantInvalid: unknown, used, expired, another client's, or what it rests on has ended.
    """
    with services.engine.begin() as connection:
        found = grant_tokens.redeem_code(connection, services.seals, code, client.client_id, services.clock.now())
        _record_leak(connection, services, client, found, "code")
    return _alive_grant(services, found, "Invalid parameter code")


def check_refresh(services: Services, token: str, client: Client) -> Grant:
    """The grant of a refresh token, which is not used up yet.

    :raises GrantInvalid: unknown, used, expired, revoked, another client's, or what it rests on has ended.
    """
    with services.engine.begin() as connection:
        found = grant_tokens.check_refresh(connection, services.seals, token, client.client_id, services.clock.now())
        _record_leak(connection, services, client, found, "refresh_token")
    return _alive_grant(services, found, "Invalid parameter refresh_token")


def _record_leak(connection: Connection, services: Services, client: Client, found: Grant | Refused, what: str) -> None:
    if isinstance(found, Refused) and found.grant_id is not None and found.reason in {"used", "other_client"}:
        cause = f"{what}_{found.reason}"
        services.outbox.transaction_withdrawn(connection, found.grant_id)
        services.audit.record(
            connection, "grant.revoked", client_id=client.client_id, grant_id=found.grant_id, cause=cause
        )


def _alive_grant(services: Services, found: Grant | Refused, description: str) -> Grant:
    # One text for every cause: what became of a code or token is told in the audit chain, not to whoever holds it.
    if isinstance(found, Refused):
        raise GrantInvalid(description)
    with reading(services.engine) as connection:
        if not is_alive(connection, services, found):
            raise GrantInvalid(description)
    return found
