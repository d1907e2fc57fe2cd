"""A SAD in another one's place: the grant by which a client extends a transaction (RFC 6749 4.5).

What was approved, on which evidence and when, stays as it is; only the time until which it may be signed changes.  The
predecessor is retired in the transaction that gives out the successor, so of two requests with one SAD one gets one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from contract import sad
from contract.errors import SadInvalid
from contract.sad import Sad
from foundation.clock import epoch, from_epoch
from idp.activation.mint import successor_for
from idp.authn.approval import Approval
from idp.errors import NotActivatable, NotWhatWasApproved
from idp.oidc.client import EXTENSION_GRANT, Client
from idp.oidc.config import OidcConfig
from idp.oidc.errors import ClientCertificateRequired, GrantInvalid
from idp.oidc.possession import Shown, check_shown
from idp.storage import authenticators, clients, grant_tokens
from idp.storage.engine import reading
from idp.storage.grant_tokens import AccessToken
from idp.storage.seal import Altered
from idp.web import oidc_tokens
from idp.web.services import Services

_REFUSED = "Invalid parameter sad"
"""One text for every cause: what became of a SAD is told in the audit chain, not to whoever holds it."""


def extend(services: Services, token: str, caller: Client, shown: Shown | None) -> dict[str, Any]:
    """The token response to a SAD that is to be replaced, which is worth nothing any more.

    :param caller: the client whose SAD it is, or the resource server that it is for, to which the client gave it.
    :raises GrantInvalid: unknown, expired, revoked, replaced before, another client's, of a client that is not
        registered for this; too old or too often extended; or what it rests on has ended.
    :raises DpopProofInvalid: it is bound to a key that its client does not show.
    :raises ClientCertificateRequired: or to a certificate.
    """
    found = _found(services, token, caller)
    old, grant = _decoded(services, token), found.grant
    approval, request = grant.approval, grant.request
    if approval is None or request is None or request.intent is None:
        raise GrantInvalid(_REFUSED)
    if caller.client_id == grant.client_id:
        _check_shown(shown, caller, old)
    config = OidcConfig.of(services.settings)
    try:
        content = successor_for(
            old,
            approval,
            request.intent,
            audience=config.sad_audience,
            jti=oidc_tokens.new_id(services),
            now=services.clock.now(),
            lifetime_seconds=config.sad_seconds,
            transaction_seconds=config.transaction_seconds,
            extensions=config.extensions,
            detail=request.detail,
        )
    except NotActivatable as error:
        raise GrantInvalid(_REFUSED) from error
    except NotWhatWasApproved as error:
        services.seals.report(Altered("oidc_grants", grant.id, "binding"))
        raise GrantInvalid(_REFUSED) from error

    def retire(connection: Connection) -> bool:
        stands = _evidence_stands(connection, services, approval, from_epoch(old.since))
        return stands and grant_tokens.revoke_access(connection, found.token_hash, services.clock.now())

    return oidc_tokens.give_sad(services, grant, content, shown, first=retire, refusal=_REFUSED)


def _check_shown(shown: Shown | None, caller: Client, old: Sad) -> None:
    """The key or the certificate to which the SAD is bound, not only some that the client has."""
    bound = old.cnf
    check_shown(shown, caller, None if bound is None or bound.method != "jkt" else bound.thumbprint)
    if bound is not None and bound.method == "x5t#S256":
        certificate = None if shown is None else shown.certificate
        if certificate is None or not bound.is_of(certificate):
            raise ClientCertificateRequired("the SAD is bound to another client certificate")


def _found(services: Services, token: str, caller: Client) -> AccessToken:
    with reading(services.engine) as connection:
        found = grant_tokens.find_access(connection, services.seals, token)
        client = None if found is None else clients.find_active(connection, found.grant.client_id)
    if found is None or client is None or found.kind != "sad" or EXTENSION_GRANT not in client.registration.grant_types:
        raise GrantInvalid(_REFUSED)
    if found.revoked or epoch(services.clock.now()) >= found.expires_at:
        raise GrantInvalid(_REFUSED)
    if client.client_id != caller.client_id and found.resource not in caller.registration.introspects:
        raise GrantInvalid(_REFUSED)
    return found


def _decoded(services: Services, token: str) -> Sad:
    """Whoever writes to the database can say that some text is a token of ours; our key has not signed it."""
    try:
        return sad.decode(token, [services.keys.activation_key().verification_key()])
    except SadInvalid as error:
        raise GrantInvalid(_REFUSED) from error


def _evidence_stands(connection: Connection, services: Services, approval: Approval, since: datetime) -> bool:
    """Whether every authenticator that was used still is the person's, and no other one was changed since then either.

    The module is told of every change and refuses all SADs before it; but who would have to tell it could keep silent.
    """
    if authenticators.changed_since(connection, approval.account_id, since):
        return False
    held = authenticators.of_account(connection, services.seals, approval.account_id)
    enabled = {each.id for each in held if not each.disabled}
    return all(item.authenticator_id in enabled for item in approval.evidence)
