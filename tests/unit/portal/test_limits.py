"""How often one address may ask: bounded, in time and in memory."""

from __future__ import annotations

import pytest

from portal.errors import TooManyRequests
from portal.settings import LimitSettings
from portal.web.limits import AddressLimit, site_of
from tests.fakes.clock import Monotonic


def test_DOS_03_an_address_has_its_burst_and_then_so_many_a_minute_and_others_have_their_own() -> None:
    clock = Monotonic()
    limit = AddressLimit(LimitSettings(address_burst=2, address_per_minute=30), clock)
    limit.take("192.0.2.1")
    limit.take("192.0.2.1")
    with pytest.raises(TooManyRequests) as refused:
        limit.take("192.0.2.1")
    assert refused.value.seconds == 2
    limit.take("192.0.2.2")
    clock.now += 1.9
    with pytest.raises(TooManyRequests) as refused:
        limit.take("192.0.2.1")
    assert refused.value.seconds == 1
    clock.now += 0.1
    limit.take("192.0.2.1")
    # Whoever was away for long has the burst and no more.
    clock.now += 10_000
    for _ in range(2):
        limit.take("192.0.2.1")
    with pytest.raises(TooManyRequests):
        limit.take("192.0.2.1")


def test_DOS_04_addresses_without_an_end_cost_memory_for_so_many_and_a_busy_one_is_not_forgotten() -> None:
    limit = AddressLimit(LimitSettings(address_burst=20, address_per_minute=1), Monotonic(), most=10)
    for number in range(20):
        limit.take("busy")
        for other in range(5):
            limit.take(f"stranger {number}.{other}")
    assert len(limit) == 10
    with pytest.raises(TooManyRequests):
        limit.take("busy")


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        (None, "unknown"),
    ],
)
def test_what_one_subscriber_has_is_counted_together(address: str | None, site: str) -> None:
    assert site_of(address) == site
