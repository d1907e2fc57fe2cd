"""SADs, orders and events under the keys that the operator pinned for the issuer which the token names."""

from __future__ import annotations

from contract import event as events
from contract import order as orders
from contract import sad as sads
from contract.errors import EventInvalid, OrderInvalid
from contract.event import MAX_EVENT_OCTETS, SecurityEvent
from contract.order import Order
from contract.sad import Sad
from foundation.errors import TokenMalformed
from foundation.jose import MAX_TOKEN_OCTETS, VerificationKey, peek_claims
from signing.sam.errors import EventIssuerUnknown
from signing.sam.verify import SamPolicy


def decode_sad(token: str, policy: SamPolicy) -> Sad:
    """Verify signature and form.

    :raises SadInvalid: no pinned issuer, or the SAD is not one.
    """
    return sads.decode_issued(token, lambda issuer: policy.issuers.get(issuer, ()))


def decode_order(token: str, policy: SamPolicy) -> Order:
    """Verify signature and form.

    :raises OrderInvalid: no pinned issuer, or the order is not one.
    """
    try:
        keys = _keys(token, policy)
    except TokenMalformed as error:
        raise OrderInvalid(str(error)) from error
    return orders.decode(token, keys)


def decode_event(token: str, policy: SamPolicy) -> SecurityEvent:
    """Verify signature and form.

    :raises EventIssuerUnknown: no pinned issuer.
    :raises EventInvalid: the event is not one.
    """
    try:
        keys = _keys(token, policy, MAX_EVENT_OCTETS)
    except TokenMalformed as error:
        raise EventInvalid(str(error)) from error
    if not keys:
        raise EventIssuerUnknown("the event's issuer is not pinned")
    return events.decode(token, keys)


def _keys(token: str, policy: SamPolicy, max_octets: int = MAX_TOKEN_OCTETS) -> tuple[VerificationKey, ...]:
    """Keys of the issuer that the token, as yet unverified, names: the signature then shows that it is the one."""
    issuer = peek_claims(token, max_octets=max_octets).get("iss")
    return policy.issuers.get(issuer, ()) if isinstance(issuer, str) else ()
