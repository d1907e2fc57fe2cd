"""SADs and orders under the keys that the operator pinned for the issuer which the token names."""

from __future__ import annotations

from contract import order as orders
from contract import sad as sads
from contract.errors import OrderInvalid, SadInvalid
from contract.order import Order
from contract.sad import Sad
from foundation.errors import TokenMalformed
from foundation.jose import VerificationKey, peek_claims
from signing.sam.verify import SamPolicy


def decode_sad(token: str, policy: SamPolicy) -> Sad:
    """Verify signature and form.

    :raises SadInvalid: no pinned issuer, or the SAD is not one.
    """
    try:
        keys = _keys(token, policy)
    except TokenMalformed as error:
        raise SadInvalid(str(error)) from error
    return sads.decode(token, keys)


def decode_order(token: str, policy: SamPolicy) -> Order:
    """Verify signature and form.

    :raises OrderInvalid: no pinned issuer, or the order is not one.
    """
    try:
        keys = _keys(token, policy)
    except TokenMalformed as error:
        raise OrderInvalid(str(error)) from error
    return orders.decode(token, keys)


def _keys(token: str, policy: SamPolicy) -> tuple[VerificationKey, ...]:
    """Keys of the issuer that the token, as yet unverified, names: the signature then shows that it is the one."""
    issuer = peek_claims(token).get("iss")
    return policy.issuers.get(issuer, ()) if isinstance(issuer, str) else ()
