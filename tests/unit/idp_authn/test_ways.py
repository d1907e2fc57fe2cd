"""The ways that are offered, and what a person is told is missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from idp.authn.need import Need, need_of
from idp.authn.ways import Way, ways
from idp.policy.evidence import FACTOR_CATEGORIES, Evidence
from tests.unit.idp_authn.test_stepup import decision

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def proved(*kinds: str) -> list[Evidence]:
    return [Evidence(kind, f"a-{kind}", FACTOR_CATEGORIES[kind], NOW) for kind in kinds]


def test_sets_are_whole_ways_each_once_in_the_policys_order() -> None:
    made = decision("step_up", ("passkey",), ("password", "totp"), ("password", "totp"), ("password", "sms_otp"))
    assert ways(made, {}) == (Way(("passkey",)), Way(("password", "totp")), Way(("password", "sms_otp")))


def test_the_way_that_was_taken_last_is_marked_and_first_among_equals_only() -> None:
    made = decision("step_up", ("passkey",), ("totp",), ("email_otp",), ("sms_otp",))
    before = {"totp": NOW - timedelta(days=1), "email_otp": NOW, "password": NOW}
    found = ways(made, before)
    assert [way.factors[0] for way in found] == ["passkey", "email_otp", "totp", "sms_otp"]
    assert [way.factors[0] for way in found if way.usual] == ["email_otp"]
    found = ways(made, {"sms_otp": NOW})
    assert [way.factors[0] for way in found] == ["passkey", "totp", "email_otp", "sms_otp"], "restricted stays last"
    assert found[-1].usual


def test_what_follows_a_password_tells_two_ways_apart() -> None:
    made = decision("step_up", ("password", "totp"), ("password", "email_otp"))
    found = ways(made, {"password": NOW, "email_otp": NOW - timedelta(days=9)})
    assert found == (Way(("password", "email_otp"), usual=True), Way(("password", "totp")))


def test_a_way_with_a_recovery_code_comes_last() -> None:
    made = decision("step_up", ("recovery_code",), ("passkey",), ("sms_otp",))
    found = ways(made, {"recovery_code": NOW})
    assert [way.factors[0] for way in found] == ["passkey", "sms_otp", "recovery_code"]


def test_of_one_way_nothing_is_to_be_remembered() -> None:
    assert ways(decision("step_up", ("totp",)), {"totp": NOW}) == (Way(("totp",)),)


@pytest.mark.parametrize(
    ("sets", "evidence", "need"),
    [
        ([("password",)], ["sms_otp"], Need.AGAIN),
        ([("totp",), ("sms_otp",)], ["password"], Need.ANOTHER_KIND),
        ([("passkey",), ("totp",)], ["password"], Need.ANOTHER_KIND),
        ([("sms_otp",), ("email_otp",)], ["password", "sms_otp"], Need.NOW),
        ([("passkey",), ("certificate",)], ["password", "sms_otp"], Need.KEY),
        ([("passkey",), ("password", "totp")], [], Need.MORE),
        ([("passkey",), ("password",)], ["recovery_code"], Need.MORE),
    ],
)
def test_what_is_missing_is_told_by_category(sets: list[tuple[str, ...]], evidence: list[str], need: Need) -> None:
    assert need_of(decision("step_up", *sets), proved(*evidence)) is need


def test_nothing_is_missing_where_nothing_can_be_done() -> None:
    assert need_of(decision("allow"), proved("password")) is None
    assert need_of(decision("deny", refusal="unreachable"), proved("password")) is None
