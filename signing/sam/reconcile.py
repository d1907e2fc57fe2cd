"""Closes redemptions that nobody finished: after a crash, a lost device, a database that went away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from foundation import log
from foundation.clock import Clock, epoch
from signing.sam.activate import outcome_record
from signing.sam.ledger import State
from signing.sam.store import Store

_PAGE: Final = 100
_log = log.get(__name__)


def reconcile(store: Store, clock: Clock, deadline_seconds: int, alarm: Callable[[str], None] | None = None) -> int:
    """Close what was reserved longer ago than the deadline as indeterminate, and raise an alarm for each.

    Whoever is still at work on one finds it closed when it comes to commit its outcome, and withholds the value.
    The positions stay spent: nobody knows whether the device signed.

    :param deadline_seconds: longer than a signature can take, the device's own deadline included.
    :param alarm: called with each redemption's id, besides the log.
    :returns: how many were closed.
    """
    closed = 0
    while True:
        now = clock.now()
        found = store.overdue(epoch(now) - deadline_seconds, _PAGE)
        for redemption in found:
            count = len(redemption.positions)
            record = outcome_record(redemption, count=count, state=State.INDETERMINATE, reason="overdue", at=now)
            if store.conclude(redemption.id, State.INDETERMINATE, "overdue", record) is State.INDETERMINATE:
                closed += 1
                _log.critical("redemption indeterminate", extra={"fields": {"redemption": redemption.id}})
                if alarm is not None:
                    alarm(redemption.id)
        if len(found) < _PAGE:
            return closed
