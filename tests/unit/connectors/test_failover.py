"""Ordered fail-over: the next gateway where the former did not take it, the same text, and a memory for who fails."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from connectors.failover import FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS, MailFailover, Ordered, SmsFailover
from connectors.ports.messaging import (
    Delivery,
    DeliveryState,
    GatewayMisconfigured,
    GatewayUnavailable,
    Mailer,
    MailMessage,
    MessagingError,
    OutcomeUnknown,
    Receipt,
    RecentlySwapped,
    RecipientRefused,
    SmsGateway,
    SmsMessage,
    refuse_swapped,
)
from tests.fakes.clock import Monotonic
from tests.fakes.messaging import FakeMessaging

MESSAGE = SmsMessage("+34600000001", "123456 is your code", "id-1")


@dataclass
class Knowing(FakeMessaging):
    """A gateway that knows what becomes of messages, and of swaps."""

    swapped: set[str] = field(default_factory=set)

    def delivery_of(self, delivery: Delivery) -> DeliveryState:
        return DeliveryState.DELIVERED if delivery.reference == "sms-1" else DeliveryState.PENDING

    def take_receipts(self) -> tuple[Receipt, ...]:
        return (Receipt("sms-1", DeliveryState.FAILED),)

    def recently_swapped(self, number: str) -> bool:
        return number in self.swapped


def several(*gateways: FakeMessaging, clock: Monotonic | None = None) -> SmsFailover:
    named: list[tuple[str, SmsGateway]] = [(f"g{number}", gateway) for number, gateway in enumerate(gateways)]
    return SmsFailover(Ordered(named, monotonic=clock or Monotonic()))


@pytest.mark.parametrize(
    "error",
    [GatewayUnavailable("x"), GatewayMisconfigured("x"), RecipientRefused("x"), OutcomeUnknown("x")],
    ids=lambda error: error.code,
)
def test_OTP_09_the_next_gateway_gets_the_same_text(error: MessagingError) -> None:
    first, second, third = FakeMessaging(failure=error), FakeMessaging(), FakeMessaging()
    assert several(first, second, third).send_sms(MESSAGE) == Delivery("sms-1", "g1")
    assert (first.sms, second.sms, third.sms) == ([], [MESSAGE], [])


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ((GatewayUnavailable("a"), RecipientRefused("b")), GatewayUnavailable),
        ((RecipientRefused("a"), RecipientRefused("b")), RecipientRefused),
        ((OutcomeUnknown("a"), GatewayUnavailable("b")), OutcomeUnknown),
        ((GatewayMisconfigured("a"), RecipientRefused("b")), GatewayMisconfigured),
    ],
)
def test_OTP_09_where_none_took_it_what_may_have_happened_is_told(
    errors: tuple[MessagingError, ...], told: type[MessagingError]
) -> None:
    with pytest.raises(MessagingError) as caught:
        several(*(FakeMessaging(failure=error) for error in errors)).send_sms(MESSAGE)
    assert type(caught.value) is told


def test_OTP_08_a_number_that_was_swapped_is_no_other_gateways_either() -> None:
    second = Knowing(swapped={MESSAGE.to})
    gateway = several(FakeMessaging(failure=RecentlySwapped("x")), second)
    with pytest.raises(RecentlySwapped):
        gateway.send_sms(MESSAGE)
    assert second.sms == []
    assert gateway.recently_swapped(MESSAGE.to)
    assert not gateway.recently_swapped("+34600000002")
    assert not several(FakeMessaging()).recently_swapped(MESSAGE.to), "nobody knows"
    refuse_swapped(FakeMessaging(), MESSAGE.to)
    with pytest.raises(RecentlySwapped):
        refuse_swapped(gateway, MESSAGE.to)


def test_a_gateway_that_fails_is_left_out_for_longer_each_time_and_comes_back() -> None:
    clock, first, second = Monotonic(), FakeMessaging(failure=GatewayUnavailable("down")), FakeMessaging()
    asked = 0

    class Counting(FakeMessaging):
        def send_sms(self, message: SmsMessage) -> Delivery:
            nonlocal asked
            asked += 1
            return first.send_sms(message)

    gateway = several(Counting(), second, clock=clock)
    pauses = [FIRST_PAUSE_SECONDS * 2**number for number in range(8)]
    for number, pause in enumerate(pauses, start=1):
        for _ in range(3):
            gateway.send_sms(MESSAGE)
            assert asked == number
        clock.now += min(pause, MOST_PAUSE_SECONDS)
    first.failure = None
    assert gateway.send_sms(MESSAGE).gateway == "g0"


def test_with_every_gateway_left_out_the_one_whose_turn_is_first_is_asked() -> None:
    first, second = FakeMessaging(failure=GatewayUnavailable("x")), FakeMessaging(failure=GatewayUnavailable("x"))
    gateway = several(first, second)
    with pytest.raises(GatewayUnavailable):
        gateway.send_sms(MESSAGE)
    first.failure = second.failure = None
    assert gateway.send_sms(MESSAGE).gateway == "g0"


def test_a_number_that_is_refused_says_nothing_against_the_gateway() -> None:
    gateway = several(FakeMessaging(), FakeMessaging())
    with pytest.raises(RecipientRefused):
        gateway.send_sms(SmsMessage("0470", "x"))
    assert gateway.send_sms(MESSAGE).gateway == "g0"


def test_after_the_deadline_no_further_gateway_is_asked() -> None:
    clock, last = Monotonic(), FakeMessaging()

    class Slow(FakeMessaging):
        def send_sms(self, message: SmsMessage) -> Delivery:
            clock.now += 30
            raise OutcomeUnknown("slow")

    with pytest.raises(OutcomeUnknown):
        several(Slow(), last, clock=clock).send_sms(MESSAGE)
    assert last.sms == []


def test_whoever_took_a_message_is_asked_what_became_of_it() -> None:
    gateway = several(FakeMessaging(failure=GatewayUnavailable("x")), Knowing())
    taken = gateway.send_sms(MESSAGE)
    assert gateway.delivery_of(taken) is DeliveryState.DELIVERED
    assert gateway.take_receipts() == (Receipt("sms-1", DeliveryState.FAILED, "g1"),)
    for stranger in (Delivery("sms-1", "g0"), Delivery("sms-1", "g9")):
        with pytest.raises(GatewayMisconfigured):
            gateway.delivery_of(stranger)


def test_mail_goes_the_same_way() -> None:
    second = FakeMessaging()
    named: list[tuple[str, Mailer]] = [("a", FakeMessaging(failure=GatewayUnavailable("x"))), ("b", second)]
    mail = MailMessage("alice@example.org", "Code", "123456")
    assert MailFailover(Ordered(named)).send_mail(mail) == Delivery("mail-1", "b")
    assert second.mail == [mail]
