"""Handles kept for a while: how many, for how long, and what becomes of them."""

from __future__ import annotations

from signing.scdev.cache import HandleCache, name_of


class Bench:
    """A cache, its clock, and what it destroyed."""

    def __init__(self, most: int, seconds: float = 60.0) -> None:
        self.now = 1000.0
        self.destroyed: list[str] = []
        self.cache = HandleCache(most, seconds, destroy=self.destroyed.append, now=lambda: self.now)

    def use(self, name: str) -> bool:
        """Whether it was at hand."""
        held = self.cache.take(name.encode())
        self.cache.keep(name.encode(), held or self.cache.new(name))
        return held is not None


def test_what_was_used_least_recently_goes_first() -> None:
    bench = Bench(2)
    assert [bench.use(name) for name in "abacab"] == [False, False, True, False, True, False]
    assert bench.destroyed == ["b", "c"]
    assert len(bench.cache) == 2


def test_nothing_is_kept_where_nothing_may_be() -> None:
    bench = Bench(0)
    assert not bench.use("a")
    assert not bench.use("a")
    assert bench.destroyed == ["a", "a"]
    assert len(bench.cache) == 0
    assert bench.cache.expire() is None


def test_use_does_not_lengthen_a_life() -> None:
    bench = Bench(4, seconds=10)
    for _ in range(3):
        bench.use("a")
        bench.now += 4
    assert bench.destroyed == []
    assert not bench.use("a")
    assert bench.destroyed == ["a"]


def test_what_nobody_asks_for_is_destroyed_in_its_time() -> None:
    bench = Bench(4, seconds=10)
    bench.use("a")
    bench.now += 3
    bench.use("b")
    assert bench.cache.expire() == 7
    bench.now += 7
    assert bench.cache.expire() == 3
    assert bench.destroyed == ["a"]
    bench.now += 3
    assert bench.cache.expire() is None
    assert bench.destroyed == ["a", "b"]


def test_what_was_taken_is_nobody_elses_and_what_was_forgotten_is_gone() -> None:
    bench = Bench(4)
    bench.use("a")
    held = bench.cache.take(b"a")
    assert held is not None
    assert bench.cache.take(b"a") is None
    bench.cache.forget(b"a")
    assert bench.destroyed == []
    bench.cache.keep(b"a", held)
    bench.cache.forget(b"a")
    assert bench.destroyed == ["a"]


def test_a_name_covers_everything_that_a_key_is_unwrapped_by() -> None:
    given = ("aa", "aes-kwp", "ec-p256", b"blob")
    others = [("ab", *given[1:]), ("aa", "aes-kw", *given[2:]), (*given[:2], "ec-p384", b"blob"), (*given[:3], b"blub")]
    assert len({name_of(*given), *(name_of(*other) for other in others)}) == 5
