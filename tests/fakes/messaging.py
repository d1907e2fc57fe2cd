"""Gateways in memory, for unit tests; ``tests/ports/test_messaging_port.py`` asks the same of them and of real ones."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from connectors.ports.messaging import Delivery, MailMessage, MessagingError, RecipientRefused, SmsMessage


@dataclass
class FakeMessaging:
    """An :class:`SmsGateway` and a :class:`Mailer` that keep what they are given."""

    sms: list[SmsMessage] = field(default_factory=list)
    mail: list[MailMessage] = field(default_factory=list)
    failure: MessagingError | None = None

    def send_sms(self, message: SmsMessage) -> Delivery:
        """Keep a text message, or fail as told."""
        if self.failure:
            raise self.failure
        if not re.fullmatch(r"\+[1-9]\d{6,14}", message.to):
            raise RecipientRefused("the recipient is not a number in E.164")
        self.sms.append(message)
        return Delivery(f"sms-{len(self.sms)}")

    def send_mail(self, message: MailMessage) -> Delivery:
        """Keep a mail, or fail as told."""
        if self.failure:
            raise self.failure
        if not re.fullmatch(r"[^\s@<>,]+@[A-Za-z0-9.-]+", message.to):
            raise RecipientRefused("the recipient is not a mail address")
        self.mail.append(message)
        return Delivery(f"mail-{len(self.mail)}")
