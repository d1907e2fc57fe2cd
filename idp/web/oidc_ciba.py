"""OpenID Connect CIBA Core 1.0 in poll mode, the client's side: it asks, and comes back for what the person decided.

The person's side is :mod:`idp.web.account.approvals`.  An ``auth_req_id`` is answered alike whether there is such a
person or not: one that nobody is behind waits and expires like one that its person leaves alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from idp.activation.backchannel import INTERVAL_SECONDS, too_soon
from idp.notices import notify_waiting
from idp.oidc.backchannel import parse_backchannel_request
from idp.oidc.client import BACKCHANNEL_GRANT, Client
from idp.oidc.errors import (
    AuthorizationPending,
    BackchannelExpired,
    GrantInvalid,
    PersonRefused,
    RequestInvalid,
    ScopeRefused,
    SlowDown,
    TooManyRequests,
)
from idp.oidc.possession import Shown, bound_to, check_shown
from idp.oidc.request import RequestContext
from idp.storage import accounts, backchannel, grants
from idp.storage.accounts import Account
from idp.storage.backchannel import Limits, NewRequest, StoredRequest
from idp.storage.engine import reading
from idp.storage.grants import Grant
from idp.web import oidc_grants, oidc_tokens
from idp.web.oidc_http import json_answer
from idp.web.on_behalf import Principal, principal_of
from idp.web.services import Services, services

LIMITS: Final = Limits()
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
"""RFC 8693 3."""
NOTICE_EVERY: Final = timedelta(minutes=1)
BUSY_HOUR: Final = 12
"""Whoever asks again and again does not fill somebody's mailbox: with more requests in an hour nothing is sent."""
_AUTHENTICATION: Final = ("client_id", "client_secret", "client_assertion", "client_assertion_type")
_UNUSABLE: Final = "Invalid parameter auth_req_id"
"""One text for every cause, as for codes."""


# Asking


def ask(parameters: Mapping[str, str], caller: Client, context: RequestContext) -> Response:
    """The backchannel authentication endpoint (CIBA Core 1.0, 7), for a client that has authenticated.

    :raises OidcError: refused.
    """
    asking = {name: value for name, value in parameters.items() if name not in _AUTHENTICATION}
    principal = _principal(services(), asking, caller)
    client = caller if principal is None else principal.client
    wanted = parse_backchannel_request(asking, client, context, person_known=principal is not None)
    if principal is not None and wanted.asked.intent is None:
        # Whoever signs in signs in to the relying party, not to a service that the token passes through.
        raise ScopeRefused("for another client only signatures are asked for")
    asked, named = wanted.asked, principal.account_id if principal is not None else wanted.asked.subject_hint
    oidc_grants.tidy_sometimes(services())
    handle, now = oidc_tokens.secret_token(services()), services().clock.now()
    with services().engine.begin() as connection:
        account = _account(connection, named, asked.login_hint)
        account_id = None if account is None else account.id
        new = NewRequest(
            id=oidc_tokens.new_id(services()),
            handle=handle,
            person=backchannel.person_of(account_id, named or asked.login_hint or ""),
            account_id=account_id,
            asked=replace(asked, login_hint=None, subject_hint=None),
            seconds=wanted.seconds,
        )
        _notify(connection, account_id)
        if not backchannel.put(connection, services().seals, new, now, LIMITS):
            raise TooManyRequests("too many requests are open")
        _record_asked(connection, new, caller)
    return json_answer(
        {"auth_req_id": handle, "expires_in": wanted.seconds, "interval": INTERVAL_SECONDS}
    )


def _principal(with_services: Services, parameters: Mapping[str, str], caller: Client) -> Principal | None:
    """For whom a resource server asks; None: the client asks for itself."""
    if "subject_token" not in parameters:
        return None
    if parameters.get("subject_token_type") != ACCESS_TOKEN:
        raise RequestInvalid("Invalid parameter subject_token_type")
    return principal_of(with_services, parameters["subject_token"], caller)


def _account(connection: Connection, account_id: str | None, login_hint: str | None) -> Account | None:
    """Who is asked; None: nobody there is, or who may sign in."""
    if account_id is not None:
        found = accounts.find(connection, account_id)
    else:
        found = accounts.find_by_username(connection, login_hint or "")
    return found if found is not None and found.active else None


def _notify(connection: Connection, account_id: str | None) -> None:
    """Tell the person, where they were not told a moment ago."""
    with_services, now = services(), services().clock.now()
    told = backchannel.asked_since(connection, account_id or "", now - NOTICE_EVERY) > 0
    told |= backchannel.asked_since(connection, account_id or "", now - timedelta(hours=1)) >= BUSY_HOUR
    notify_waiting(
        connection,
        with_services.seals,
        account_id=account_id if account_id is not None and not told else "",
        now=now,
        random=with_services.random,
    )


def _record_asked(connection: Connection, new: NewRequest, caller: Client) -> None:
    asked, intent = new.asked, new.asked.intent
    fields: dict[str, Any] = {"scope": " ".join(asked.scopes)}
    if intent is not None:
        fields["credential_id"] = intent.credential_id
        fields["digests"] = [item.digest.hex() for item in intent.digests]
    if caller.client_id != asked.client_id:
        fields["asked_by"] = caller.client_id
    if new.account_id is not None:
        fields["account_id"] = new.account_id
    services().audit.record(
        connection,
        "backchannel.asked",
        client_id=asked.client_id,
        request_id=new.id,
        seconds=new.seconds,
        **fields,
    )


# Collecting


class BackchannelGrant(ClientCredentialsGrant):
    """The CIBA grant (CIBA Core 1.0, 10.1): Authlib authenticates the client, and knows that it may."""

    GRANT_TYPE = BACKCHANNEL_GRANT
    request: Any
    server: Any

    def validate_requested_scope(self) -> None:
        """What is given out was asked for before; the token request has no scope of its own."""

    def create_token_response(self) -> Any:
        """What the person approved, once."""
        caller, server = self.request.client.client, self.server
        return 200, collect(server.services, self.request.form, caller, server.shown), []


def collect(
    with_services: Services, parameters: Mapping[str, str], caller: Client, shown: Shown | None
) -> dict[str, Any]:
    """The token response to an ``auth_req_id``.

    :raises AuthorizationPending: :raises SlowDown: :raises PersonRefused: :raises BackchannelExpired: no, or not yet.
    :raises GrantInvalid: unknown, collected before, another client's or person's, or what it rests on has ended.
    :raises DpopProofInvalid: :raises ClientCertificateRequired: what the client is given has to be bound.
    """
    principal = _principal(with_services, parameters, caller)
    client = caller if principal is None else principal.client
    now = with_services.clock.now()
    with reading(with_services.engine) as connection:
        found = backchannel.find(connection, with_services.seals, parameters["auth_req_id"], now)
        grant = None if found is None else _grant_of(connection, with_services, found)
    # 1. It is this client's, and of the person for whom it asks.
    if found is None or found.client_id != client.client_id:
        raise GrantInvalid(_UNUSABLE)
    if principal is not None and (principal.account_id != found.account_id or found.asked.intent is None):
        raise GrantInvalid(_UNUSABLE)
    # 2. The person has decided.
    _check_decided(with_services, found)
    # 3. What was approved still stands.
    if grant is None or grant.revoked:
        raise GrantInvalid(_UNUSABLE)

    def taken(connection: Connection) -> bool:
        return backchannel.take(connection, with_services.seals, "collect", found.id, now)

    # 4. Of those who come at once, one gets it, in the transaction of what is given out.
    if principal is not None:
        # What the resource server shows is its own key; what the relying party's token is bound to is that party's.
        bound = bound_to(parameters["subject_token"])
        if bound is None:
            check_shown(None, client, None)
        return oidc_tokens.for_resource_server(with_services, grant, bound, first=taken)
    return oidc_tokens.for_code(with_services, grant, client, shown, grant_type=BACKCHANNEL_GRANT, first=taken)


def _grant_of(connection: Connection, with_services: Services, found: StoredRequest) -> Grant | None:
    """What the person granted; None where it is not alive, or not the one that this request led to."""
    if found.grant_id is None:
        return None
    grant = grants.find(connection, with_services.seals, found.grant_id)
    if grant is None or (grant.client_id, grant.subject) != (found.client_id, found.account_id):
        return None
    return grant if oidc_grants.is_alive(connection, with_services, grant) else None


def _check_decided(with_services: Services, found: StoredRequest) -> None:
    if found.state in {"asked", "seen"}:
        _pace(with_services, found)
        raise AuthorizationPending("the person has not decided yet")
    if found.state == "refused":
        raise PersonRefused("the person did not approve")
    if found.state == "expired":
        _expire(with_services, found)
        raise BackchannelExpired("nobody decided in time")
    if found.state != "approved":
        raise GrantInvalid(_UNUSABLE)


def _pace(with_services: Services, found: StoredRequest) -> None:
    """:raises SlowDown: the client asks too often."""
    now = with_services.clock.now()
    hurried = too_soon(found.polled_at, found.interval, now)
    with with_services.engine.begin() as connection:
        if hurried:
            backchannel.slow_down(connection, found)
        else:
            backchannel.poll(connection, found.id, found.polled_at, now)
    if hurried:
        raise SlowDown("asked too often")


def _expire(with_services: Services, found: StoredRequest) -> None:
    """Write it down, once."""
    with with_services.engine.begin() as connection:
        if backchannel.take(connection, with_services.seals, "expire", found.id, with_services.clock.now()):
            person = {} if found.account_id is None else {"account_id": found.account_id}
            with_services.audit.record(
                connection, "backchannel.expired", client_id=found.client_id, request_id=found.id, **person
            )
