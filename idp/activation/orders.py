"""From an approval to an order for the signature activation module.  Pure: signing it is the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from contract.order import CreateParameters, CredentialParameters, Operation, Order, Parameters, ProofKeyParameters
from foundation.clock import epoch
from idp.authn.approval import Approval
from idp.errors import NotActivatable

MAX_LIFETIME_SECONDS = 24 * 60 * 60
_PARAMETERS: Final[Mapping[Operation, type[Parameters]]] = {
    "credential.create": CreateParameters,
    "credential.bind_proof_key": ProofKeyParameters,
}
"""Of the operations that take more than a credential."""


def order_for(
    approval: Approval,
    parameters: Parameters,
    *,
    issuer: str,
    audience: str,
    jti: str,
    now: datetime,
    lifetime_seconds: int,
) -> Order:
    """The order that an approved action gives; the operation is the action that was approved.

    :raises NotActivatable: the action is no operation on a credential, its parameters are another operation's, or the
        lifetime is out of bounds.
    """
    operation = _operation(approval.action)
    if not isinstance(parameters, _PARAMETERS.get(operation, CredentialParameters)):
        raise NotActivatable("the parameters are those of another operation")
    if not 0 < lifetime_seconds <= MAX_LIFETIME_SECONDS:
        raise NotActivatable(f"a lifetime is 1 to {MAX_LIFETIME_SECONDS} seconds")
    iat = epoch(now)
    return Order(
        iss=issuer,
        aud=audience,
        sub=approval.account_id,
        jti=jti,
        iat=iat,
        exp=iat + lifetime_seconds,
        operation=operation,
        parameters=parameters,
        policy=approval.decision_id,
    )


def _operation(action: str) -> Operation:
    # Spelt out: an action that a policy declares must never become an operation by its name alone.
    if action == "credential.create":
        return "credential.create"
    if action == "credential.suspend":
        return "credential.suspend"
    if action == "credential.resume":
        return "credential.resume"
    if action == "credential.revoke":
        return "credential.revoke"
    if action == "credential.delete":
        return "credential.delete"
    if action == "account.enrol_factor":
        # A device that approves signatures is one more way in which somebody proves who they are.
        return "credential.bind_proof_key"
    raise NotActivatable("the action is no operation on a credential")
