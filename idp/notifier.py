"""Sends notices to people, in a thread of the serving process; :mod:`idp.notices` writes them.

Again where a gateway does not take one, and so at least once.  Any number of processes may send over one table: an
attempt is claimed before it is made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from flask import Flask

from connectors.ports.messaging import (
    GatewayMisconfigured,
    GatewayUnavailable,
    MailMessage,
    MessagingError,
    OutcomeUnknown,
    SmsMessage,
)
from connectors.ports.sms_text import plain
from foundation import log
from idp.delivery import Delivery
from idp.errors import NoGateway, NoticesHeldBack, TooManyNotices
from idp.storage import notices
from idp.storage.engine import reading
from idp.storage.notices import Pending
from idp.web import caps, notice_texts
from idp.web import services as composition

MOST_ATTEMPTS: Final = 24
"""Over most of a day."""
MOST_UNKNOWN: Final = 3
"""A gateway that does not say whether it took a message may have sent each of them."""
_BATCH: Final = 20
_log = log.get(__name__)


class Notifier:
    """Sends the notices that are due."""

    def __init__(self, app: Flask) -> None:
        """:param app: its gateways, database, clock and texts."""
        self._app = app
        self._services = composition.of(app)

    def deliver(self) -> bool:
        """One round over what is due; False where a gateway did not take a message now."""
        services = self._services
        now = services.clock.now()
        with reading(services.engine) as connection:
            due = notices.due(connection, services.seals, now, _BATCH)
        failed: set[str] = set()
        for pending in due:
            if pending.channel in failed:
                continue  # that gateway has had its time in this round
            with services.engine.begin() as connection:
                mine = notices.claim(connection, pending, now)
            if mine and not self._attempt(replace(pending, attempts=pending.attempts + 1)):
                failed.add(pending.channel)
        return not failed

    def _attempt(self, pending: Pending) -> bool:
        try:
            self._send(pending)
        except (GatewayUnavailable, GatewayMisconfigured, NoticesHeldBack) as error:
            # All may be over by the next attempt: the second as soon as an operator has acted.
            if not isinstance(error, OutcomeUnknown | NoticesHeldBack):
                self._give_back(pending)
            _log.warning("a notice was not sent", extra={"fields": {"notice_id": pending.id, "cause": error.code}})
            if pending.attempts >= (MOST_UNKNOWN if isinstance(error, OutcomeUnknown) else MOST_ATTEMPTS):
                self._end(pending, "notice.dropped", cause=error.code)
            return False
        except (MessagingError, NoGateway, TooManyNotices) as error:
            self._end(pending, "notice.dropped", cause=error.code)
        else:
            self._end(pending, "notice.sent")
        return True

    def _send(self, pending: Pending) -> None:
        services = self._services
        messaging = services.messaging
        with self._app.app_context():
            written = notice_texts.write(pending)
            if pending.channel == "sms_otp":
                caps.count_notice(pending.address, services.clock.now(), first=pending.attempts == 1)
        if pending.channel == "sms_otp" and messaging.sms is not None:
            messaging.sms.send_sms(SmsMessage(pending.address, plain(written.short), pending.id))
        elif pending.channel == "email_otp" and messaging.mail is not None:
            messaging.mail.send_mail(MailMessage(pending.address, written.subject, written.text))
        else:
            raise NoGateway("no gateway is enabled for the channel")

    def _give_back(self, pending: Pending) -> None:
        if pending.channel == "sms_otp":
            with self._app.app_context():
                caps.give_back_notice(self._services.clock.now())

    def _end(self, pending: Pending, event: str, **more: Any) -> None:
        services = self._services
        with services.engine.begin() as connection:
            if notices.remove(connection, pending.id):
                services.audit.record(
                    connection,
                    event,
                    account_id=pending.account_id,
                    notice_id=pending.id,
                    change=pending.change,
                    factor=pending.factor,
                    channel=pending.channel,
                    attempts=pending.attempts,
                    **more,
                )


def start(app: Flask) -> Delivery:
    """Send in the background of an app's process."""
    delivery = Delivery(Notifier(app), name="notices")
    delivery.start()
    return delivery
