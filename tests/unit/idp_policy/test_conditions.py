"""When a rule applies: attributes, networks and times, at both sides of every edge."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

import pytest

from idp.policy.conditions import applies
from idp.policy.evaluate import evaluate
from idp.policy.model import DAYS, Condition, Facts, Policy, TimeCondition
from idp.policy.zones import ZONES, zone
from tests.unit.idp_policy.support import NOW, facts, policy, used
from tests.unit.idp_policy.test_load import SMALL


def when(text: str) -> Policy:
    """A policy whose only rule has this condition."""
    return policy(SMALL + f"    when: {text}\n")


def holds(text: str, **changes: Any) -> bool:
    """Whether the rule with the condition applies."""
    return evaluate(when(text), facts("sign_in", used("password"), **changes)).refusal != "no_rule"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, False),
        ({"department": ()}, False),
        ({"department": ("sales",)}, False),
        ({"Department": ("legal",)}, False),
        ({"department": ("legal ",)}, False),
        ({"department": ("legal",)}, False),
        ({"department": ("legal",), "site": ("south",)}, False),
        ({"department": ("sales", "board"), "site": ("north",), "more": ("x",)}, True),
    ],
)
def test_every_attribute_has_one_of_its_values(attributes: dict[str, tuple[str, ...]], expected: bool) -> None:
    condition = "{attribute: {department: [legal, board], site: north}}"
    assert holds(condition, attributes=attributes) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (None, False),
        ("", False),
        ("nonsense", False),
        ("192.0.2.0/24", False),
        ("191.255.255.255", False),
        ("192.0.1.255", False),
        ("192.0.2.0", True),
        ("192.0.2.255", True),
        ("192.0.3.0", False),
        ("::ffff:192.0.2.7", True),
        ("::ffff:c000:0207", True),
        ("::ffff:192.0.3.7", False),
        ("::192.0.2.7", False),
        ("2001:db8::1", True),
        ("2001:0DB8:0000::1", True),
        ("2001:db9::1", False),
        ("::", False),
    ],
)
def test_a_request_comes_from_the_network_or_it_does_not(address: str | None, expected: bool) -> None:
    assert holds('{network: [192.0.2.0/24, "2001:db8::/32"]}', network=address) == expected


def test_all_addresses_of_IPv4_do_not_hold_those_of_IPv6() -> None:
    assert holds("{network: 0.0.0.0/0}", network="::ffff:10.0.0.1")
    assert not holds("{network: 0.0.0.0/0}", network="2001:db8::1")
    assert not holds('{network: "::/0"}', network="10.0.0.1")


def at(text: str, condition: TimeCondition) -> bool:
    """Whether the condition holds at that time, UTC."""
    now = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return applies(Condition(time=condition), Facts("sign_in", (), now))


OFFICE = TimeCondition(frozenset({"mon", "fri"}), time(8), time(18), "Europe/Berlin")
NIGHT = TimeCondition(frozenset({"fri"}), time(22), time(6), "Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "condition", "expected"),
    [
        # 2 March 2026 is a Monday; Berlin is an hour ahead of UTC.
        ("2026-03-02T06:59:59", OFFICE, False),
        ("2026-03-02T07:00:00", OFFICE, True),
        ("2026-03-02T16:59:59", OFFICE, True),
        ("2026-03-02T17:00:00", OFFICE, False),
        ("2026-03-03T10:00:00", OFFICE, False),
        ("2026-03-06T10:00:00", OFFICE, True),
        # In summer it is two hours ahead.
        ("2026-07-06T05:59:59", OFFICE, False),
        ("2026-07-06T06:00:00", OFFICE, True),
        # Over midnight, from the evening of Friday to the morning of Saturday.
        ("2026-03-06T20:59:59", NIGHT, False),
        ("2026-03-06T21:00:00", NIGHT, True),
        ("2026-03-06T23:00:00", NIGHT, True),
        ("2026-03-07T04:59:59", NIGHT, True),
        ("2026-03-07T05:00:00", NIGHT, False),
        ("2026-03-06T04:59:59", NIGHT, False),
        ("2026-03-07T22:00:00", NIGHT, False),
        # The day is the zone's: late on Sunday in UTC it is Monday in Berlin.
        ("2026-03-01T23:30:00", TimeCondition(frozenset({"mon"}), zone="Europe/Berlin"), True),
        ("2026-03-01T22:59:59", TimeCondition(frozenset({"mon"}), zone="Europe/Berlin"), False),
        # A window as long as a day, from eight to eight.
        ("2026-03-03T07:59:59", TimeCondition(frozenset({"mon"}), time(8), time(8)), True),
        ("2026-03-03T08:00:00", TimeCondition(frozenset({"mon"}), time(8), time(8)), False),
        # Until midnight.
        ("2026-03-02T23:59:59", TimeCondition(frozenset(DAYS), time(18)), True),
        ("2026-03-03T00:00:00", TimeCondition(frozenset(DAYS), time(18)), False),
    ],
)  # fmt: skip
def test_a_window_of_the_week_has_two_edges(text: str, condition: TimeCondition, expected: bool) -> None:
    assert at(text, condition) == expected


def test_the_hour_that_comes_twice_is_inside_both_times() -> None:
    """25 October 2026, Berlin: after 02:59:59 comes 02:00:00 again."""
    early = TimeCondition(frozenset({"sun"}), time(2), time(3), "Europe/Berlin")
    inside = [f"2026-10-25T0{hour}:{minute}:00" for hour in (0, 1) for minute in ("00", "30", "59")]
    assert all(at(text, early) for text in inside)
    assert not at("2026-10-24T23:59:59", early)
    assert not at("2026-10-25T02:00:00", early)


def test_the_hour_that_is_left_out_never_comes() -> None:
    """29 March 2026, Berlin: after 01:59:59 comes 03:00:00."""
    early = TimeCondition(frozenset({"sun"}), time(2), time(3), "Europe/Berlin")
    assert not any(at(f"2026-03-29T{hour:02}:{minute}:00", early) for hour in range(24) for minute in ("00", "30"))
    night = TimeCondition(frozenset({"sat"}), time(22), time(3), "Europe/Berlin")
    assert at("2026-03-29T00:59:59", night)
    assert not at("2026-03-29T01:00:00", night)


def test_a_zone_is_the_same_on_every_machine() -> None:
    assert zone("Europe/Berlin") is zone("Europe/Berlin")
    assert {"UTC", "Europe/Madrid", "America/New_York"} <= ZONES
    with pytest.raises(KeyError):
        zone("/etc/localtime")


def test_each_part_of_a_condition_is_named_as_having_brought_the_rule_in() -> None:
    every = when("{attribute: {a: b}, network: 192.0.2.0/24, time: {days: mon}, group: g, client: c}")
    situation = facts(
        "sign_in",
        used("password"),
        attributes={"a": ("b",)},
        network="192.0.2.1",
        groups=frozenset({"g"}),
        client_id="c",
    )
    assert NOW.weekday() == 0
    assert evaluate(every, situation).reasons[0].contributor == "client+group+attribute+network+time"
    failing: tuple[dict[str, Any], ...] = ({"attributes": {}}, {"network": None}, {"now": NOW.replace(day=3)})
    for changes in failing:
        values = {"attributes": {"a": ("b",)}, "network": "192.0.2.1", "groups": frozenset({"g"}), "client_id": "c"}
        assert evaluate(every, facts("sign_in", used("password"), **{**values, **changes})).refusal == "no_rule"


def test_a_network_that_is_not_known_brings_no_rule_in_and_so_allows_nothing() -> None:
    assert evaluate(when("{network: 10.0.0.0/8}"), facts("sign_in", used("password"))).outcome == "deny"


@pytest.mark.parametrize(("client", "expected"), [("a", True), ("b", False), (None, False)])
def test_a_condition_can_be_asked_about_by_itself(client: str | None, expected: bool) -> None:
    assert applies(Condition(clients=frozenset({"a"})), Facts("sign_in", (), NOW, client_id=client)) == expected
