"""Learns what became of messages with codes, where a gateway says so, and watches how many of the codes are used.

Receipts are taken from the gateways that get them, the others are asked a few times: nothing reaches this server from
outside for it.  What is learnt is for operators (``privyseal idp messages status``) and decides nothing.  What no limit
looks at any more is forgotten.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Final

from flask import Flask

from connectors.ports.messaging import (
    AsksDelivery,
    DeliveryState,
    GatewayUnavailable,
    GetsReceipts,
    MessagingError,
    Receipt,
)
from foundation import log
from idp.delivery import Delivery
from idp.storage import caps, messages
from idp.storage.engine import reading
from idp.web import services as composition

UNUSED: Final = "unused"
"""Name of the alarm, beside the stops of the budgets."""
_BATCH: Final = 20
_HOUR: Final = 60 * 60
_WATCH_EVERY: Final = timedelta(seconds=60)
_MOST_EARLY: Final = 1000
_POLL_SECONDS: Final = 2.0
_log = log.get(__name__)


class StatusReader:
    """Asks gateways."""

    def __init__(self, app: Flask) -> None:
        """:param app: its gateways, database and clock."""
        self._services = composition.of(app)
        # Receipts may come before the message's own row is written: they are tried once more.
        self._early: deque[Receipt] = deque(maxlen=_MOST_EARLY)
        self._watched: datetime | None = None

    def deliver(self) -> bool:
        """One round; False where a gateway did not answer."""
        now = self._services.clock.now()
        self._take_receipts(self._services.messaging.sms, now)
        well = self._ask(self._services.messaging.sms, now)
        if self._watched is None or now - self._watched >= _WATCH_EVERY:
            self._watched = now
            self._watch(now)
            with self._services.engine.begin() as connection:
                caps.purge(connection, now)
                messages.purge(connection, now)
        return well

    def _take_receipts(self, gateway: object, now: datetime) -> None:
        fresh: tuple[Receipt, ...] = gateway.take_receipts() if isinstance(gateway, GetsReceipts) else ()
        again, self._early = list(self._early), deque(maxlen=_MOST_EARLY)
        if not fresh and not again:
            return
        with self._services.engine.begin() as connection:
            for receipt in again:
                messages.told(connection, receipt, now)
            self._early.extend(item for item in fresh if not messages.told(connection, item, now))

    def _ask(self, gateway: object, now: datetime) -> bool:
        with reading(self._services.engine) as connection:
            due = messages.due(connection, now, _BATCH)
        for sent in due:
            with self._services.engine.begin() as connection:
                mine = messages.claim(connection, sent, now)
            if not mine:
                continue
            state: DeliveryState | None = None
            try:
                if isinstance(gateway, AsksDelivery):
                    state = gateway.delivery_of(sent.delivery)
            except GatewayUnavailable as error:
                _log.info("a gateway does not say what became of a message", extra={"fields": {"cause": error.code}})
                return False
            except MessagingError:
                pass  # it is not one that says so
            with self._services.engine.begin() as connection:
                if state is not DeliveryState.PENDING:
                    messages.answered(connection, sent.id, state, now)
        return True

    def _watch(self, now: datetime) -> None:
        limits = self._services.settings.otp
        with reading(self._services.engine) as connection:
            ended, used = messages.conversion(connection, now, _HOUR)
        if ended < limits.conversion_least or used * 100 >= ended * limits.conversion_percent:
            return
        with self._services.engine.begin() as connection:
            if caps.stop(connection, UNUSED, now, _HOUR):
                self._services.audit.record(connection, "messages.unused", ended=ended, used=used)
                fields = {"ended": ended, "used": used}
                _log.error("few of the codes by text message are used", extra={"fields": fields})


def start(app: Flask) -> Delivery:
    """Ask in the background of an app's process."""
    delivery = Delivery(StatusReader(app), _POLL_SECONDS, name="delivery status")
    delivery.start()
    return delivery
