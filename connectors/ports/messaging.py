"""Messages to a person: SMS and e-mail.

A gateway gets an address and a text.  The text may hold a one-time password, so implementations log neither it nor the
whole address, and an error never quotes either.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from foundation.errors import PrivySealError


class MessagingError(PrivySealError):
    """Base of what goes wrong with a message; never raised itself."""

    code = "messaging"


class GatewayUnavailable(MessagingError):
    """The gateway did not answer, or answered that it cannot now; another try may succeed."""

    code = "gateway_unavailable"


class GatewayMisconfigured(MessagingError):
    """The gateway refused our credentials or our request: an operator must act."""

    code = "gateway_misconfigured"


class RecipientRefused(MessagingError):
    """The gateway will not deliver to this address."""

    code = "recipient_refused"


@dataclass(frozen=True, slots=True)
class SmsMessage:
    """A text message."""

    to: str = field(repr=False)
    """E.164, with the plus sign."""
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MailMessage:
    """A plain-text e-mail message."""

    to: str = field(repr=False)
    subject: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delivery:
    """The gateway took the message; whether it arrives is another matter."""

    reference: str
    """The gateway's own identifier, for the operator."""


class SmsGateway(Protocol):
    """Sends text messages."""

    def send_sms(self, message: SmsMessage) -> Delivery:
        """Hand a message to the gateway.

        :raises GatewayUnavailable: :raises GatewayMisconfigured: :raises RecipientRefused: see the classes.
        """
        ...


class Mailer(Protocol):
    """Sends e-mail."""

    def send_mail(self, message: MailMessage) -> Delivery:
        """Hand a message to the mail server.

        :raises GatewayUnavailable: :raises GatewayMisconfigured: :raises RecipientRefused: see the classes.
        """
        ...
