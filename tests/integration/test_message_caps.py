"""How many messages may go out: to an address, a person, a network and in all; on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from auditlog.sql import read_entries
from connectors.ports.messaging import Delivery, DeliveryState, GatewayUnavailable, OutcomeUnknown, Receipt, SmsMessage
from idp.authn import numbers
from idp.delivery_status import StatusReader
from idp.settings import OtpSettings
from idp.storage import caps, messages
from idp.storage.audit import TABLES
from idp.storage.caps import Cap
from idp.storage.engine import create_tables, open_engine
from idp.storage.models import otp_challenges
from idp.web import services as composition
from idp.web.interaction import BeginInteraction
from idp.web.services import Messaging
from tests.fakes.idp import MANY, NOW, PHONE, Idp, Inbox, make_idp
from tests.unit.idp_web.interactions import signature

KEY = b"k" * 32
MINUTES = 600


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    create_tables(made)
    yield made
    made.dispose()


def take(engine: Engine, *limits: Cap, at: float = 0) -> str | None:
    """Count one; the scope that has no room, if one has not."""
    with engine.connect() as connection, connection.begin() as transaction:
        reached = caps.take(connection, KEY, limits, NOW + timedelta(seconds=at))
        if reached is not None:
            transaction.rollback()
        return None if reached is None else reached.cap.scope


def test_OTP_07_of_32_messages_at_one_time_as_many_go_out_as_may(engine: Engine) -> None:
    def one(number: int) -> str | None:
        # Keys that are shared in different mixtures: whoever locked them as they come would lock in a circle.
        mine = [Cap("address", str(number % 4), 3, MINUTES), Cap("account", str(number % 8), 9, MINUTES)]
        return take(engine, *(mine if number % 2 else mine[::-1]), Cap("hour", "", 10, 3600))

    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(one, range(32)))
    assert found.count(None) == 10
    assert set(found) - {None} <= {"address", "hour"}
    with engine.connect() as connection:
        rows = connection.execute(select(caps.message_counts)).all()
    totals = {row.key: sum(count for _, count in row.slices) for row in rows}
    assert totals[Cap("hour", "", 10, 3600).key(KEY)] == 10
    assert all(totals[Cap("address", str(item), 3, MINUTES).key(KEY)] <= 3 for item in range(4))


def test_OTP_07_a_limit_holds_over_every_window_and_not_only_from_the_hour(engine: Engine) -> None:
    cap = Cap("address", PHONE, 3, MINUTES)
    times = [0, 590, 599, 600, 605, 615, 640, 1189, 1211, 1300]
    got = [at for at in times if take(engine, cap, at=at) is None]
    assert got == [0, 590, 599, 640, 1211, 1300]
    assert all(len([other for other in got if at <= other < at + MINUTES]) <= 3 for at in got)


def test_OTP_07_a_message_that_did_not_go_out_gives_its_place_back(engine: Engine) -> None:
    cap = Cap("address", PHONE, 1, MINUTES)
    assert [take(engine, cap), take(engine, cap)] == [None, "address"]
    with engine.begin() as connection:
        caps.give_back(connection, KEY, [cap], NOW)
        caps.give_back(connection, KEY, [Cap("address", "nobody", 1, MINUTES)], NOW)
    assert [take(engine, cap), take(engine, cap)] == [None, "address"]


def test_OTP_07_the_table_holds_no_number_and_is_purged(engine: Engine) -> None:
    assert take(engine, Cap("address", PHONE, 3, MINUTES)) is None
    with engine.begin() as connection:
        (row,) = connection.execute(select(caps.message_counts)).all()
        assert PHONE[1:] not in json.dumps(list(row), default=str)
        assert caps.purge(connection, NOW + timedelta(seconds=MINUTES)) == 0
        assert caps.purge(connection, NOW + timedelta(seconds=2 * MINUTES)) == 1


def test_a_count_is_not_forgotten_before_its_window_has_passed(engine: Engine) -> None:
    cap = Cap("address", PHONE, 1, MINUTES)
    for at in (0, 7, 19, 20):  # at the beginning of a slice, within it, at its end
        moment = NOW + timedelta(seconds=at)
        assert take(engine, cap, at=at) is None
        with engine.begin() as connection:
            assert caps.purge(connection, moment + timedelta(seconds=MINUTES)) == 0
        assert take(engine, cap, at=at + MINUTES - 1) == "address"
        with engine.begin() as connection:
            assert caps.purge(connection, moment + timedelta(seconds=MINUTES + 2 * MINUTES // 30)) == 1


def test_a_stop_is_begun_once_and_ends(engine: Engine) -> None:
    with engine.begin() as connection:
        assert [caps.stop(connection, "hour", NOW, 60) for _ in range(2)] == [True, False]
        assert caps.stops(connection, NOW + timedelta(seconds=20)) == {"hour": 40}
        assert caps.stops(connection, NOW + timedelta(seconds=60)) == {}
        assert caps.stop(connection, "hour", NOW + timedelta(seconds=60), 60)
        assert caps.clear(connection) == 1


@pytest.mark.parametrize(
    ("number", "allowed", "denied", "refused"),
    [
        ("+34600000001", (), (), False),
        ("+15005550006", (), (), False),
        ("+979123456789", (), (), True),
        ("+882161234567", (), (), True),
        ("+2101234567", (), (), True),
        ("+34803000000", (), ("34803", "34806"), True),
        ("+34600000001", ("34",), ("34803",), False),
        ("+4915112345678", ("34",), (), True),
        ("+34803000000", ("34803",), ("34",), True),
    ],
)
def test_OTP_07_premium_and_unknown_prefixes_are_refused(
    number: str, allowed: tuple[str, ...], denied: tuple[str, ...], refused: bool
) -> None:
    assert numbers.refused(number, allowed=allowed, denied=denied) is refused


@pytest.mark.parametrize(
    ("number", "own", "prefix"),
    [
        ("+34600000001", (), "34"),
        ("+15005550006", (), "1"),
        ("+18765550006", ("1876", "18"), "1876"),
        ("+35312345678", ("34", "3"), "3"),
        ("+4915112345678", ("34",), "49"),
        ("+882161234567", (), "882"),
    ],
)
def test_a_number_is_counted_with_the_longest_prefix_that_has_a_limit_or_else_its_country(
    number: str, own: tuple[str, ...], prefix: str
) -> None:
    assert numbers.prefix_of(number, own) == prefix


# Through the pages


@pytest.fixture
def idp(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Idp]:
    limits = getattr(request, "param", OtpSettings())
    made = make_idp(tmp_path, otp=limits)
    yield made
    made.engine.dispose()


def ask(idp: Idp, username: str = "alice", factor: str = "sms_otp", address: str = "198.51.100.7") -> int:
    """Sign in anew and ask for a code; the status of the answer."""
    browser = idp.client()
    browser.environ_base["REMOTE_ADDR"] = address
    path = idp.path(browser, BeginInteraction("test", "sign_in", "strict", {}))
    idp.sign_in(browser, path, username)
    return idp.post(browser, path, "/factor", factor=factor).status_code


def audited(idp: Idp, prefix: str) -> list[tuple[str, dict[str, Any]]]:
    with idp.engine.connect() as connection:
        entries = [entry for entry in read_entries(connection, TABLES.entries) if entry.event.startswith(prefix)]
    return [(entry.event, json.loads(entry.fields)) for entry in entries]


def test_OTP_07_three_messages_in_ten_minutes_to_one_number_whoevers_it_is(idp: Idp) -> None:
    idp.add_account("bob", phone=PHONE)
    assert [ask(idp), ask(idp), ask(idp, "bob"), ask(idp, "bob"), ask(idp)] == [303, 303, 303, 429, 429]
    assert ask(idp, factor="email_otp") == 303, "another way stays open"
    with idp.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(otp_challenges)).scalar_one() == 4
    idp.clock.advance(MINUTES + 30)
    assert ask(idp) == 303


@pytest.mark.parametrize("idp", [replace(MANY, max_per_network=2)], indirect=True)
@pytest.mark.parametrize(
    ("same", "other"),
    [
        (("198.51.100.7",) * 3, "198.51.100.8"),
        (("2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::3"), "2001:db8:0:2::1"),
    ],
)
def test_OTP_07_DOS_04_one_network_sends_no_more_than_its_share(idp: Idp, same: tuple[str, ...], other: str) -> None:
    idp.add_account("bob", phone="+34600000002")
    assert [ask(idp, who, address=at) for who, at in zip(("alice", "bob", "alice"), same, strict=True)] == [
        303,
        303,
        429,
    ]
    assert ask(idp, address=other) == 303


@pytest.mark.parametrize("idp", [replace(MANY, max_per_account=2)], indirect=True)
def test_OTP_07_one_person_gets_no_more_than_their_share_over_all_channels(idp: Idp) -> None:
    assert [ask(idp), ask(idp, factor="email_otp"), ask(idp), ask(idp, factor="email_otp")] == [303, 303, 429, 429]


@pytest.mark.parametrize("idp", [replace(MANY, budget_an_hour=2, stop_seconds=600)], indirect=True)
def test_OTP_07_a_budget_that_is_used_up_stops_text_messages_on_the_record(idp: Idp) -> None:
    assert [ask(idp) for _ in range(4)] == [303, 303, 503, 503]
    assert ask(idp, factor="email_otp") == 303
    assert audited(idp, "messages.") == [("messages.stopped", {"scope": "hour", "seconds": 600})]
    ready = json.loads(idp.client().get("/health/ready").text)
    assert (ready["status"], ready["warnings"]) == ("degraded", ["messages_hour"])
    idp.clock.advance(3600 + 130)
    assert ask(idp) == 303
    assert json.loads(idp.client().get("/health/ready").text)["status"] == "ok"


@pytest.mark.parametrize(
    ("idp", "stopped"),
    [
        (replace(MANY, max_per_prefix=2), "prefix_34"),
        (replace(MANY, prefix_limits={"346": 2, "34": 1000}), "prefix_346"),
    ],
    indirect=["idp"],
)
def test_OTP_07_numbers_of_one_prefix_get_no_more_than_their_share_and_all_others_theirs(
    idp: Idp, stopped: str
) -> None:
    for name, phone in (("bob", "+34600000002"), ("carla", "+34600000003"), ("dieter", "+4915112345678")):
        idp.add_account(name, phone=phone)
    assert [ask(idp, who, address=f"198.51.100.{at}") for at, who in enumerate(("alice", "bob", "carla", "alice"))] == [
        303,
        303,
        503,
        503,
    ]
    assert ask(idp, "dieter") == 303, "nobody pumps another country's messages dry"
    assert ask(idp, factor="email_otp") == 303
    assert audited(idp, "messages.") == [("messages.stopped", {"scope": stopped, "seconds": 600})]
    ready = json.loads(idp.client().get("/health/ready").text)
    assert (ready["status"], ready["warnings"]) == ("degraded", [f"messages_{stopped}"])
    idp.clock.advance(3600 + 130)
    assert ask(idp, "carla") == 303


@pytest.mark.parametrize(
    "idp", [replace(MANY, max_per_prefix=2), replace(MANY, budget_an_hour=2)], ids=["prefix", "budget"], indirect=True
)
def test_OTP_07_what_is_stopped_stays_so_for_its_time_although_there_would_be_room(idp: Idp) -> None:
    assert ask(idp) == 303
    idp.clock.advance(3500)
    assert [ask(idp), ask(idp)] == [303, 503]
    idp.clock.advance(250)
    assert ask(idp) == 503, "the first message is more than an hour old"
    idp.clock.advance(360)
    assert ask(idp) == 303


@pytest.mark.parametrize("idp", [replace(MANY, max_per_prefix=1)], indirect=True)
def test_OTP_07_a_message_that_no_gateway_took_gives_its_place_among_the_prefixs_back(idp: Idp) -> None:
    idp.inbox.fail = GatewayUnavailable("down")
    assert [ask(idp), ask(idp), ask(idp)] == [403, 303, 503]


def test_OTP_07_whoever_is_asked_for_no_code_has_none_sent(idp: Idp) -> None:
    """Before anybody is known, of a kind that the person has not, and where enough was proved already."""
    idp.add_account("bob", phone=None, email="bob@example.org")
    stranger, bob, alice = idp.client(), idp.client(), idp.client()
    path = idp.path(stranger, signature())
    assert idp.post(stranger, path, "/factor", factor="sms_otp").status_code == 400
    assert idp.inbox.messages == []
    path = idp.path(bob, signature())
    idp.sign_in(bob, path, "bob")
    assert idp.post(bob, path, "/factor", factor="sms_otp").status_code == 403
    assert idp.inbox.messages == []
    path = idp.path(alice, signature())
    idp.sign_in(alice, path)
    idp.pass_otp(alice, path)
    sent = list(idp.inbox.messages)
    for factor in ("sms_otp", "email_otp"):
        # The consent page, with the remark that the way is not to be had here.
        assert idp.post(alice, path, "/factor", factor=factor).status_code == 403
    assert idp.inbox.messages == sent


@pytest.mark.parametrize("idp", [replace(MANY, denied_prefixes=("346",))], indirect=True)
def test_OTP_07_a_number_with_a_refused_prefix_is_sent_nothing(idp: Idp) -> None:
    assert ask(idp) == 403
    assert idp.inbox.messages == []
    assert [fields["cause"] for _event, fields in audited(idp, "otp.not_sent")] == ["prefix_refused"]


@pytest.mark.parametrize("idp", [replace(MANY, max_per_address=1)], indirect=True)
def test_OTP_09_a_message_that_no_gateway_took_does_not_count_and_one_that_may_have_gone_does(idp: Idp) -> None:
    idp.inbox.fail = GatewayUnavailable("down")
    assert ask(idp) == 403
    idp.inbox.fail = OutcomeUnknown("sent, or not")
    assert ask(idp) == 403
    assert ask(idp) == 429


class Knowing(Inbox):
    """Both gateways, and what becomes of messages."""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, DeliveryState] = {}
        self.receipts: list[Receipt] = []
        self.swapped: set[str] = set()
        self.asked = 0

    def delivery_of(self, delivery: Delivery) -> DeliveryState:
        self.asked += 1
        return self.states.get(delivery.reference, DeliveryState.PENDING)

    def take_receipts(self) -> tuple[Receipt, ...]:
        found, self.receipts = tuple(self.receipts), []
        return found

    def recently_swapped(self, number: str) -> bool:
        return number in self.swapped


def knowing(idp: Idp) -> Knowing:
    gateway = Knowing()
    made = composition.of(idp.app)
    idp.app.extensions[composition.EXTENSION] = replace(made, messaging=Messaging(gateway, gateway))
    idp.inbox = gateway
    return gateway


def states(idp: Idp) -> list[str]:
    with idp.engine.connect() as connection:
        return [sent.state for sent, _kind in messages.of_account(connection, idp.alice, 10)]


def test_OTP_08_a_number_whose_sim_was_swapped_is_sent_nothing(idp: Idp) -> None:
    gateway = knowing(idp)
    gateway.swapped.add(PHONE)
    assert ask(idp) == 403
    assert gateway.messages == []
    assert [fields["cause"] for _event, fields in audited(idp, "otp.not_sent")] == ["recently_swapped"]


def test_OTP_09_what_became_of_a_message_is_asked_a_few_times_and_kept(idp: Idp) -> None:
    gateway = knowing(idp)
    reader = StatusReader(idp.app)
    assert ask(idp) == 303
    sent = gateway.messages[-1]
    assert isinstance(sent, SmsMessage)
    assert sent.id, "a gateway may leave out doubles"
    assert reader.deliver()
    assert (gateway.asked, states(idp)) == (0, ["pending"])
    idp.clock.advance(10)
    assert reader.deliver()
    gateway.states["message-1"] = DeliveryState.DELIVERED
    assert reader.deliver()
    assert (gateway.asked, states(idp)) == (1, ["pending"])
    idp.clock.advance(20)
    assert reader.deliver()
    idp.clock.advance(3600)
    assert reader.deliver()
    assert (gateway.asked, states(idp)) == (2, ["delivered"])


def test_OTP_09_a_receipt_is_kept_also_when_it_comes_before_the_messages_own_row(idp: Idp) -> None:
    gateway = knowing(idp)
    reader = StatusReader(idp.app)
    gateway.receipts = [Receipt("message-1", DeliveryState.FAILED), Receipt("of-nothing", DeliveryState.FAILED)]
    assert reader.deliver()
    assert ask(idp) == 303
    assert reader.deliver()
    assert states(idp) == ["failed"]
    gateway.fail = OutcomeUnknown("sent, or not")
    assert ask(idp) == 403
    assert sorted(states(idp)) == ["failed", "unknown"]


@pytest.mark.parametrize("idp", [replace(MANY, conversion_least=5, conversion_percent=50)], indirect=True)
def test_OTP_07_codes_that_nobody_uses_raise_an_alarm_once(idp: Idp) -> None:
    reader = StatusReader(idp.app)
    for _ in range(5):
        assert ask(idp) == 303
    assert reader.deliver()
    assert audited(idp, "messages.") == [], "they may still be used"
    idp.clock.advance(400)
    for _ in range(2):
        assert reader.deliver()
        idp.clock.advance(60)
    assert audited(idp, "messages.") == [("messages.unused", {"ended": 5, "used": 0})]
    assert json.loads(idp.client().get("/health/ready").text)["warnings"] == ["messages_unused"]
    assert ask(idp) == 303, "an alarm stops nobody"
