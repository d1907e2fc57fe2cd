"""Closes redemptions that nobody finished: after a crash, a lost device, a database that went away.

What else a crash leaves half done: keys on the token, which :mod:`signing.sam.orphans` sweeps, and creations.  Those
only their order can finish, since nobody else says for whom the key is; so they are shown with their age
(:func:`unfinished_report`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from foundation import log
from foundation.clock import Clock, epoch
from signing.sam.errors import SamError
from signing.sam.ledger import Redemption, State
from signing.sam.records import outcome_record
from signing.sam.store import Store, Unfinished

_PAGE: Final = 100
_log = log.get(__name__)


def reconcile(store: Store, clock: Clock, deadline_seconds: int, alarm: Callable[[str], None] | None = None) -> int:
    """Close what was reserved longer ago than the deadline as indeterminate, and raise an alarm for each.

    Whoever is still at work on one finds it closed when it comes to commit its outcome, and withholds the value.
    The positions stay spent: nobody knows whether the device signed.  One that cannot be closed, because somebody else
    wrote its row, keeps none of the others open.

    :param deadline_seconds: longer than a signature can take, the device's own deadline included.
    :param alarm: called with each redemption's id, besides the log.
    :returns: how many were closed.
    :raises SamError: the database cannot be read; the next round finds what this one did not close.
    """
    closed, last = 0, None
    while True:
        now = clock.now()
        found = store.overdue(epoch(now) - deadline_seconds, _PAGE, last)
        for redemption in found:
            last = (redemption.reserved_at, redemption.id)
            if _close(store, redemption, now):
                closed += 1
                if alarm is not None:
                    alarm(redemption.id)
        if len(found) < _PAGE:
            return closed


def _close(store: Store, redemption: Redemption, now: datetime) -> bool:
    fields = {"redemption": redemption.id}
    count = len(redemption.positions)
    record = outcome_record(redemption, count=count, state=State.INDETERMINATE, reason="overdue", at=now)
    try:
        state = store.conclude(redemption.id, State.INDETERMINATE, "overdue", record)
    except SamError as error:
        _log.critical("a redemption could not be closed", extra={"fields": {**fields, "error": error.code}})
        store.epoch()  # the row's fault, or the database's?  The latter ends the round.
        return False
    if state is not State.INDETERMINATE:
        return False
    _log.critical("redemption indeterminate", extra={"fields": fields})
    return True


def unfinished_report(found: Unfinished, now: datetime) -> dict[str, int | None]:
    """Creations that wait for somebody, with the age of the oldest in seconds (JSON)."""

    def age(since: int | None) -> int | None:
        return None if since is None else max(epoch(now) - since, 0)

    return {
        "without_key": found.intents,
        "without_key_oldest_seconds": age(found.oldest_intent),
        "without_certificate": found.pending,
        "without_certificate_oldest_seconds": age(found.oldest_pending),
    }
