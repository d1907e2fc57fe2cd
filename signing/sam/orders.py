"""Whether an order is one for this module, now.  That it is used once is the store's constraint.

A socket connection authorises nothing: what changes a credential is a signed, single-use statement of operation,
subject, credential and parameters (``docs/adr/0002-orders-carry-their-parameters.md``).
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from contract.order import Order
from foundation.clock import epoch
from signing.sam.errors import OrderExpired, OrderRefused
from signing.sam.store import SpentOrder
from signing.sam.verify import LEEWAY_SECONDS, SamPolicy


def verify_order(order: Order, policy: SamPolicy, now: datetime, *, again: bool = False) -> None:
    """Verify what does not depend on a credential.

    :param again: it has been carried out, and is asked for once more because the answer was lost: it may have expired.
    :raises OrderRefused: another audience, issued in the future or before the epoch, or valid for too long.
    :raises OrderExpired: ``exp`` has been reached.
    """
    # 1. For whom; the issuer is the one whose pinned key verified it.
    if order.aud != policy.sam_id:
        raise OrderRefused("the order is for another module")
    # 2. Time: `exp` is the first second refused.
    if epoch(now) >= order.exp and not again:
        raise OrderExpired("the order has expired")
    if order.iat > epoch(now) + LEEWAY_SECONDS:
        raise OrderRefused("the order was issued in the future")
    if order.exp - order.iat > policy.max_order_seconds:
        raise OrderRefused("the order lives longer than the module allows")
    # 3. The epoch: after a restore the table of used orders may have forgotten some.
    if order.iat < policy.epoch_not_before:
        raise OrderRefused("the order was issued before the ledger's epoch")


def spent(order: Order, token: str, credential_id: str, now: datetime) -> SpentOrder:
    """The order as it goes into the table of used ones."""
    return SpentOrder(
        issuer=order.iss,
        jti=order.jti,
        token_sha256=hashlib.sha256(token.encode()).hexdigest(),
        operation=order.operation,
        credential_id=credential_id,
        used_at=epoch(now),
    )
