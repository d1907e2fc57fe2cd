"""Claims that somebody else wrote."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from foundation import claims as read
from foundation.clock import FixedClock, SystemClock, epoch, from_epoch
from foundation.errors import TokenClaimsInvalid, TokenExpired

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def test_members_are_all_required_or_known() -> None:
    read.check_members({"a": 1, "b": 2}, {"a"}, {"b"})
    with pytest.raises(TokenClaimsInvalid, match="a is missing"):
        read.check_members({"b": 2}, {"a"}, {"b"})
    with pytest.raises(TokenClaimsInvalid, match="unknown") as caught:
        read.check_members({"a": 1, "secret-value": 2}, {"a"})
    assert "secret-value" not in str(caught.value)


@pytest.mark.parametrize("value", [None, "", 7, "x" * 1025, ["x"], True])
def test_a_text_is_a_string_within_bounds(value: object) -> None:
    with pytest.raises(TokenClaimsInvalid):
        read.text({"n": value}, "n")


@pytest.mark.parametrize("value", [None, "x", [1], ["x"] * 4, [""], ["x" * 9]])
def test_texts_are_a_list_of_strings_within_bounds(value: object) -> None:
    with pytest.raises(TokenClaimsInvalid):
        read.texts({"n": value}, "n", max_items=3, max_length=8)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, -1, 11])
def test_an_integer_is_neither_a_boolean_nor_a_fraction_nor_out_of_bounds(value: object) -> None:
    with pytest.raises(TokenClaimsInvalid):
        read.integer({"n": value}, "n", low=0, high=10)


@pytest.mark.parametrize(("reader", "value"), [(read.boolean, 1), (read.mapping, []), (read.numeric_date, 1.5)])
def test_other_types_are_exact_too(reader: Any, value: object) -> None:
    with pytest.raises(TokenClaimsInvalid):
        reader({"n": value}, "n")


def test_exp_is_the_first_second_refused() -> None:
    read.check_not_expired(epoch(NOW) + 1, NOW)
    with pytest.raises(TokenExpired):
        read.check_not_expired(epoch(NOW), NOW)


def test_iat_may_lie_in_the_future_by_the_leeway_and_no_more() -> None:
    read.check_issued(epoch(NOW) + 10, NOW, leeway_seconds=10)
    with pytest.raises(TokenClaimsInvalid):
        read.check_issued(epoch(NOW) + 11, NOW, leeway_seconds=10)


def test_clocks_are_in_utc_and_a_fixed_one_moves_only_when_told() -> None:
    assert SystemClock().now().tzinfo is UTC
    clock = FixedClock(NOW)
    clock.advance(-3600)
    assert epoch(clock.now()) == epoch(NOW) - 3600
    assert from_epoch(epoch(NOW)) == NOW
