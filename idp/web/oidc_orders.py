"""Orders that relying parties ask for, given out in the token of their scope.

The token is an access token of the CSC API like any other, bound to client and person and, if it was asked for so, to a
key; what it opens is the one order in it, which the signature activation module takes once.
"""

from __future__ import annotations

from typing import Any, Final

from contract.order import CreateParameters, CredentialParameters, Parameters
from foundation.clock import epoch
from foundation.jose import sign_compact
from idp.activation.binding import check_approved
from idp.activation.intent import CredentialIntent
from idp.errors import NotActivatable, NotWhatWasApproved
from idp.oidc import tokens
from idp.oidc.client import Client
from idp.oidc.errors import GrantInvalid
from idp.oidc.possession import Shown, check_shown
from idp.storage import grant_tokens
from idp.storage.grant_tokens import NewAccessToken
from idp.storage.grants import Grant
from idp.storage.hashes import hash_token
from idp.storage.seal import Altered
from idp.web import oidc_grants, oidc_tokens
from idp.web.orders import signed_order
from idp.web.services import Services

ORDER_CLAIM: Final = "order"
QUALIFIER_CLAIM: Final = "signature_qualifier"


def give(services: Services, grant: Grant, client: Client, shown: Shown | None = None) -> dict[str, Any]:
    """The token response to a code whose approval was of an order.

    :param shown: the key to which the token is bound.
    :raises GrantInvalid: the grant was revoked meanwhile, or what was approved is something else.
    :raises DpopProofInvalid: no proof where one is demanded, another key's, or one that was used before.
    """
    request, approval = grant.request, grant.approval
    if request is None or request.order is None or approval is None:
        raise GrantInvalid("nothing was approved")
    check_shown(shown, client, request.dpop_jkt)
    try:
        check_approved(approval, client_id=grant.client_id, intent=None, detail=request.detail)
        order, signed = signed_order(services, approval, _parameters(request.order))
    except NotActivatable as error:
        raise GrantInvalid("the approval does not permit an order") from error
    except NotWhatWasApproved as error:
        services.seals.report(Altered("oidc_grants", grant.id, "binding"))
        raise GrantInvalid("the approval is for something else") from error
    now = services.clock.now()
    claims = tokens.access_token_claims(
        issuer=services.settings.issuer,
        audience=request.resource,
        client_id=grant.client_id,
        jti=oidc_tokens.new_id(services),
        scopes=request.scopes,
        now=now,
        lifetime_seconds=order.exp - epoch(now),
        subject=grant.subject,
        approval=approval,
        confirmation=None if shown is None else shown.confirmation,
    )
    claims[ORDER_CLAIM] = signed
    if request.order.qualifier is not None:
        claims[QUALIFIER_CLAIM] = request.order.qualifier
    token = sign_compact(claims, services.keys.token_key(), tokens.ACCESS_TOKEN_TYPE)
    access = NewAccessToken(
        hash_token(token), claims["jti"], "access", request.resource, request.resource, request.scopes, claims["exp"]
    )
    with services.engine.begin() as connection:
        oidc_tokens.spend(connection, shown)
        # Once more, in this very transaction: whoever signed out a moment ago has ordered nothing.
        issued = (
            oidc_grants.is_alive(connection, services, grant)
            and oidc_grants.evidence_stands(connection, services, approval)
            and grant_tokens.issue(connection, grant, access, now)
        )
        if issued:
            services.audit.record(
                connection,
                "order.issued",
                account_id=approval.account_id,
                jti=order.jti,
                operation=order.operation,
                decision_id=approval.decision_id,
                txn=approval.txn,
                client_id=grant.client_id,
                grant_id=grant.id,
                **{name: item for name, item in request.detail.items() if name != "subject"},
            )
    if not issued:
        raise GrantInvalid("the grant has been revoked")
    response: dict[str, Any] = {
        "access_token": token,
        "token_type": "Bearer" if shown is None or shown.proof is None else "DPoP",
        "expires_in": claims["exp"] - epoch(now),
        "scope": " ".join(request.scopes),
    }
    named = request.order.credential_id
    return response if named is None else {**response, "credentialID": named}


def _parameters(intent: CredentialIntent) -> Parameters:
    if intent.operation == "credential.delete" and intent.credential_id is not None:
        return CredentialParameters(intent.credential_id)
    if intent.profile is None or intent.subject is None:
        raise NotActivatable("the order names nobody")
    return CreateParameters(intent.profile, intent.subject)
