"""Several gateways for one channel, asked in order: the next one where the former did not take the message.

A message is handed on as it is, so whichever gateway delivers it, and if two do, it is the same text with the same code
(OTP-09).  A number whose SIM card was swapped is no gateway's (OTP-08).  A gateway that fails is left out for a while
that doubles; when all are left out, the one whose turn comes first is asked all the same.  The memory is the process's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from connectors.ports.messaging import (
    AsksDelivery,
    Delivery,
    DeliveryState,
    GatewayMisconfigured,
    GatewayUnavailable,
    GetsReceipts,
    KnowsSwaps,
    Mailer,
    MailMessage,
    MessagingError,
    OutcomeUnknown,
    Receipt,
    RecentlySwapped,
    RecipientRefused,
    SmsGateway,
    SmsMessage,
)
from foundation import log

G = TypeVar("G")
FIRST_PAUSE_SECONDS: Final = 2.0
MOST_PAUSE_SECONDS: Final = 120.0
_log = log.get(__name__)


def _rank(error: MessagingError) -> int:
    """Of several gateways' errors the lowest is told: what may have happened before what did not."""
    if isinstance(error, OutcomeUnknown):
        return 0
    if isinstance(error, GatewayUnavailable):
        return 1
    return 2 if isinstance(error, GatewayMisconfigured) else 3


@dataclass
class _Health:
    """How a gateway has done."""

    failures: int = 0
    """In a row."""
    closed_until: float = 0.0


class Ordered(Generic[G]):
    """Gateways in the order in which they are asked, and what is remembered of each."""

    def __init__(
        self,
        gateways: Sequence[tuple[str, G]],
        *,
        deadline_seconds: float = 25.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param gateways: with their names.

        :param deadline_seconds: after which no further gateway is asked about one message.
        """
        self._gateways = tuple(gateways)
        self._deadline = deadline_seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._health = {name: _Health() for name, _gateway in gateways}

    def named(self, name: str) -> G:
        """The gateway of a name.

        :raises GatewayMisconfigured: there is none; the settings have changed.
        """
        for own, gateway in self._gateways:
            if own == name:
                return gateway
        raise GatewayMisconfigured("there is no gateway of that name")

    def first_that_takes(self, send: Callable[[G], Delivery]) -> Delivery:
        """Ask one after the other.

        :raises MessagingError: none took it.
        """
        errors: list[MessagingError] = []
        end = self._monotonic() + self._deadline
        for name, gateway in self._usable():
            if errors and self._monotonic() >= end:
                break
            try:
                taken = send(gateway)
            except RecentlySwapped:
                raise
            except MessagingError as error:
                errors.append(error)
                self._failed(name, error)
            else:
                self._did_well(name)
                return replace(taken, gateway=name)
        raise min(errors, key=_rank)

    def all(self) -> Sequence[tuple[str, G]]:
        """All of them with their names."""
        return self._gateways

    def _usable(self) -> list[tuple[str, G]]:
        now = self._monotonic()
        with self._lock:
            found = [item for item in self._gateways if self._health[item[0]].closed_until <= now]
            if found:
                return found
            return [min(self._gateways, key=lambda item: self._health[item[0]].closed_until)]

    def _failed(self, name: str, error: MessagingError) -> None:
        if isinstance(error, RecipientRefused):
            return  # it is well, and says so of the number
        with self._lock:
            health = self._health[name]
            health.failures += 1
            pause = min(MOST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(health.failures - 1, 10))
            health.closed_until = self._monotonic() + pause
        fields = {"gateway": name, "cause": error.code, "failures": health.failures, "pause_seconds": pause}
        _log.warning("a gateway is left out for a while", extra={"fields": fields})

    def _did_well(self, name: str) -> None:
        with self._lock:
            self._health[name] = _Health()


class SmsFailover:
    """An :class:`SmsGateway` of several, with all that they can do besides."""

    def __init__(self, gateways: Ordered[SmsGateway]) -> None:
        self._gateways = gateways

    def send_sms(self, message: SmsMessage) -> Delivery:
        """Hand a message to the first gateway that takes it.

        :raises MessagingError: as of a single one; an unknown outcome where any gateway's is.
        """
        return self._gateways.first_that_takes(lambda gateway: gateway.send_sms(message))

    def delivery_of(self, delivery: Delivery) -> DeliveryState:
        """Ask the gateway that took a message.

        :raises GatewayUnavailable: :raises GatewayMisconfigured: it does not say now, or never.
        """
        gateway = self._gateways.named(delivery.gateway)
        if not isinstance(gateway, AsksDelivery):
            raise GatewayMisconfigured("the gateway cannot be asked")
        return gateway.delivery_of(delivery)

    def take_receipts(self) -> tuple[Receipt, ...]:
        """What all of them were told."""
        found: list[Receipt] = []
        for name, gateway in self._gateways.all():
            if isinstance(gateway, GetsReceipts):
                found += (replace(receipt, gateway=name) for receipt in gateway.take_receipts())
        return tuple(found)

    def recently_swapped(self, number: str) -> bool:
        """Whether any of those that know says so.

        :raises GatewayUnavailable: :raises GatewayMisconfigured: one that knows does not say.
        """
        return any(
            gateway.recently_swapped(number)
            for _name, gateway in self._gateways.all()
            if isinstance(gateway, KnowsSwaps)
        )


class MailFailover:
    """A :class:`Mailer` of several."""

    def __init__(self, gateways: Ordered[Mailer]) -> None:
        self._gateways = gateways

    def send_mail(self, message: MailMessage) -> Delivery:
        """Hand a message to the first server that takes it.

        :raises MessagingError: as of a single one; an unknown outcome where any server's is.
        """
        return self._gateways.first_that_takes(lambda gateway: gateway.send_mail(message))
