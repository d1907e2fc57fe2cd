"""Whom a resource server speaks for when it passes on a token that somebody presented to it (RFC 8693 2.1).

The signing service's web tier is a client that authenticates as itself; what it asks for in a person's and a relying
party's name, it may ask only while it holds that relying party's own live token for that person.
"""

from __future__ import annotations

from dataclasses import dataclass

from foundation.clock import epoch
from idp.oidc.client import Client
from idp.oidc.errors import ClientNotPermitted, GrantInvalid
from idp.storage import clients, grant_tokens
from idp.storage.engine import reading
from idp.storage.grants import Grant
from idp.web import oidc_grants
from idp.web.services import Services

_REFUSED = "Invalid parameter subject_token"
"""One text for every cause: what became of a token is told in the audit chain, not to whoever holds it."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A person, and the relying party whose service token it is."""

    account_id: str
    client: Client
    grant: Grant
    """On which the token was given: what it rests on ends with it."""


def principal_of(services: Services, token: str, caller: Client) -> Principal:
    """Whom a service token speaks for that was presented to ``caller``.

    :param caller: the resource server that asks, authenticated.
    :raises GrantInvalid: unknown, expired or revoked; no service token, for another resource server, or no person's;
        or what it rests on has ended.
    :raises ClientNotPermitted: with it this server reads the signing service itself: no relying party was given it.
    """
    with reading(services.engine) as connection:
        found = grant_tokens.find_access(connection, services.seals, token)
        if found is None or found.kind != "access" or "service" not in found.scopes:
            raise GrantInvalid(_REFUSED)
        if found.resource not in caller.registration.introspects or found.grant.subject == found.grant.client_id:
            raise GrantInvalid(_REFUSED)
        alive = oidc_grants.is_alive(connection, services, found.grant)
        client = clients.find_active(connection, found.grant.client_id)
    if found.revoked or not alive or client is None or epoch(services.clock.now()) >= found.expires_at:
        raise GrantInvalid(_REFUSED)
    if found.grant.approval is None:
        raise ClientNotPermitted("the token was given to no relying party")
    return Principal(found.grant.subject, client, found.grant)
