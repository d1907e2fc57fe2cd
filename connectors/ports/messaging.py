"""Messages to a person: SMS and e-mail.

A gateway gets an address and a text.  The text may hold a one-time password, so implementations log neither it nor the
whole address, and an error never quotes either.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, runtime_checkable

from foundation.errors import PrivySealError


class MessagingError(PrivySealError):
    """Base of what goes wrong with a message; never raised itself."""

    code = "messaging"


class GatewayUnavailable(MessagingError):
    """The gateway could not be reached, or answered that it cannot now; another try may succeed.

    It certainly did not take the message, unless this is an :class:`OutcomeUnknown`.
    """

    code = "gateway_unavailable"


class OutcomeUnknown(GatewayUnavailable):
    """The gateway got the message, or may have, and did not say whether it took it.

    The message may arrive.  Whoever sends again sends the same text, so that there are never two codes (OTP-09).
    """

    code = "outcome_unknown"


class GatewayMisconfigured(MessagingError):
    """The gateway refused our credentials or our request: an operator must act."""

    code = "gateway_misconfigured"


class RecipientRefused(MessagingError):
    """The gateway will not deliver to this address."""

    code = "recipient_refused"


class RecentlySwapped(RecipientRefused):
    """Another SIM card took over the number a short while ago, the gateway knows: no other may be asked (OTP-08)."""

    code = "recently_swapped"


@dataclass(frozen=True, slots=True)
class SmsMessage:
    """A text message."""

    to: str = field(repr=False)
    """E.164, with the plus sign."""
    text: str = field(repr=False)
    id: str = ""
    """The same for every attempt at one message, for gateways that leave out doubles; empty: it has none."""


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
    """The gateway's own identifier, for the operator; empty where it gives none."""
    gateway: str = ""
    """Which of several took it, by its place in the settings."""


class DeliveryState(Enum):
    """What a gateway says became of a message that it took."""

    PENDING = "pending"
    """On its way; also where the gateway does not know yet."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """It will not arrive: undeliverable, expired or rejected."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A gateway's word on one message."""

    reference: str
    state: DeliveryState
    gateway: str = ""


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


@runtime_checkable
class AsksDelivery(Protocol):
    """A gateway that can be asked what became of a message; optional."""

    def delivery_of(self, delivery: Delivery) -> DeliveryState:
        """What became of a message that it took.

        :raises GatewayUnavailable: it does not say now.  :raises GatewayMisconfigured: it will not say.
        """
        ...


@runtime_checkable
class GetsReceipts(Protocol):
    """A gateway that is told what became of its messages; optional."""

    def take_receipts(self) -> tuple[Receipt, ...]:
        """What it was told since it was last asked; nothing is waited for."""
        ...


@runtime_checkable
class KnowsSwaps(Protocol):
    """A gateway that knows of SIM swaps; optional.  It is asked before every message that holds a code (OTP-08)."""

    def recently_swapped(self, number: str) -> bool:
        """Whether another SIM card took over a number a short while ago.

        :param number: E.164, with the plus sign.
        :raises GatewayUnavailable: :raises GatewayMisconfigured: it does not say; then no message is sent.
        """
        ...


def refuse_swapped(gateway: object, number: str) -> None:
    """Ask a gateway that knows of SIM swaps, before a code or anything like it goes to a number (OTP-08).

    :raises RecentlySwapped: it was.  :raises MessagingError: the gateway does not say.
    """
    if isinstance(gateway, KnowsSwaps) and gateway.recently_swapped(number):
        raise RecentlySwapped("another SIM card took over the number a short while ago")
