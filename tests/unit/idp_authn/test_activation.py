"""Activation codes as people copy them, and how often an address may fail."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from idp.authn.activation import Code, new_code, read_code
from idp.authn.rate import FailureRate, Shares, site_of
from idp.errors import ActivationRefused

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
WINDOW = timedelta(minutes=10)


def test_a_code_is_read_as_it_was_shown_and_as_people_type_it() -> None:
    for _ in range(100):
        code = new_code(secrets.token_bytes)
        assert not set("ILOU") & set(code.letters)
        assert len(code.shown.split("-")) == 5
        assert read_code(code.shown) == code
        assert read_code(f" {code.shown.lower().replace('-', ' ')} ") == code
    assert read_code("oil0-0000-0000-0000-0000") == Code("01100000000000000000")


def test_ENR_01_a_code_has_80_bits_that_nobody_sees_before_it_is_typed() -> None:
    assert len({new_code(secrets.token_bytes).letters[4:] for _ in range(256)}) == 256
    assert new_code(lambda count: b"\xff" * count).letters == "Z" * 20
    assert len("Z" * 16) * 5 == 80


@pytest.mark.parametrize("text", ["", "U" * 20, "0" * 19, "0" * 21, "0" * 5000, "０" * 20, "0000-0000-0000-0000-000\n"])
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(ActivationRefused):
        read_code(text)


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        (None, "unknown"),
        ("nonsense", "unknown"),
    ],
)
def test_DOS_04_an_ipv6_site_is_counted_as_one(address: str | None, site: str) -> None:
    assert site_of(address) == site


def test_DOS_04_failures_are_counted_by_address_and_window_and_memory_is_bounded() -> None:
    rate = FailureRate(2, WINDOW, most_keys=3)
    rate.failed("a", NOW)
    assert rate.wait_seconds("a", NOW) == 0
    rate.failed("a", NOW + timedelta(minutes=1))
    assert rate.wait_seconds("a", NOW + timedelta(minutes=1)) == 540
    assert rate.wait_seconds("b", NOW) == 0
    assert rate.wait_seconds("a", NOW + WINDOW) == 0
    rate.failed("a", NOW + WINDOW)
    assert rate.wait_seconds("a", NOW + WINDOW) == 0, "a new window"
    for key in "bcd":
        rate.failed(key, NOW)
    assert len(rate._counted) == 3


def test_DOS_03_one_address_holds_no_more_places_than_its_share_and_nothing_is_kept_afterwards() -> None:
    shares = Shares(2)
    with ExitStack() as held:
        taken = [held.enter_context(shares.place(key)) for key in "aaab"]
        assert taken == [True, True, False, True]
    with pytest.raises(ValueError, match="why"), shares.place("a"):
        raise ValueError("why")
    with shares.place("a") as again, shares.place("a") as more:
        assert (again, more) == (True, True)
    assert not shares._held, "whoever came once is not remembered"
