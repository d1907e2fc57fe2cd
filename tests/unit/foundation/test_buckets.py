"""Token buckets: no more is taken than there is, and nobody makes memory grow."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from foundation.buckets import Buckets
from tests.fakes.clock import Monotonic


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic(100.0)


def test_so_many_at_once_and_so_many_a_second(monotonic: Monotonic) -> None:
    buckets = Buckets(burst=3, per_second=2.0, monotonic=monotonic)
    assert [buckets.take("a") for _number in range(4)] == [0, 0, 0, 1]
    assert buckets.take("b") == 0
    monotonic.now += 0.49
    assert buckets.take("a") == 1
    monotonic.now += 0.01
    assert [buckets.take("a"), buckets.take("a")] == [0, 1]
    monotonic.now += 1000
    assert [buckets.take("a") for _number in range(4)] == [0, 0, 0, 1]


def test_how_long_to_wait_is_told_in_whole_seconds_and_looking_takes_nothing(monotonic: Monotonic) -> None:
    buckets = Buckets(burst=1, per_second=0.1, monotonic=monotonic)
    assert buckets.wait("a") == 0
    assert len(buckets) == 0
    buckets.take("a")
    assert (buckets.wait("a"), buckets.take("a")) == (10, 10)
    monotonic.now += 9.5
    assert buckets.wait("a") == 1
    monotonic.now += 0.5
    assert buckets.wait("a") == 0
    assert buckets.take("a") == 0


def test_DOS_05_the_buckets_longest_unused_make_room(monotonic: Monotonic) -> None:
    buckets = Buckets(burst=1, per_second=1.0, monotonic=monotonic, most=3)
    for key in ("a", "b", "c"):
        buckets.take(key)
    buckets.take("a")
    buckets.take("d")
    assert len(buckets) == 3
    assert [buckets.wait(key) for key in ("a", "b", "c", "d")] == [1, 0, 1, 1]
    for number in range(10_000):
        buckets.take(str(number))
        buckets.wait(f"looked at {number}")
    assert len(buckets) == 3


def test_many_threads_take_no_more_than_there_is(monotonic: Monotonic) -> None:
    buckets, gate = Buckets(burst=50, per_second=1.0, monotonic=monotonic), threading.Barrier(8)

    def take(_number: int) -> int:
        gate.wait()
        return sum(buckets.take("a") == 0 for _time in range(20))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 50


def test_a_clock_that_is_set_back_takes_nothing_away_and_gives_nothing(monotonic: Monotonic) -> None:
    buckets = Buckets(burst=2, per_second=1.0, monotonic=monotonic)
    assert buckets.take("a") == 0
    monotonic.now -= 50
    assert (buckets.take("a"), buckets.take("a")) == (0, 1)
    monotonic.now += 1
    assert (buckets.take("a"), buckets.take("a")) == (0, 1)
