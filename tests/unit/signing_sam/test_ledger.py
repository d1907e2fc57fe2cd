"""The pure part of the ledger: positions, allowances, states."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product

import pytest

from signing.sam.errors import DigestNotAuthorized, SadSpent, TransitionRefused
from signing.sam.ledger import SpentMemory, State, allowance_of, assign, check_transition
from tests.fakes.sam import World, digest

D1, D2, D3 = (digest(number) for number in range(1, 4))


def test_each_digest_gets_its_lowest_free_position_in_the_requests_order(world: World) -> None:
    sad = world.sad(world.credential(), (D1, D2, D1, D3))
    assert assign(sad, (D1, D1, D3), ()) == (0, 2, 3)
    assert assign(sad, (D3, D1), (0,)) == (3, 2)


def test_SAD_10_a_digest_is_spent_as_often_as_it_was_authorised(world: World) -> None:
    sad = world.sad(world.credential(), (D1, D2, D1))
    with pytest.raises(SadSpent):
        assign(sad, (D1, D1), (0,))
    with pytest.raises(DigestNotAuthorized):
        assign(sad, (D1, D1, D1), ())
    with pytest.raises(DigestNotAuthorized):
        assign(sad, (D3,), ())


def test_SAD_10_without_digests_positions_run_below_sign_count(world: World) -> None:
    sad = world.sad(world.credential(), (), sign_count=2)
    assert assign(sad, (D1, D2), ()) == (0, 1)
    assert assign(sad, (D3,), (0,)) == (1,)
    with pytest.raises(SadSpent):
        assign(sad, (D3,), (0, 1))


def test_an_allowance_is_what_was_approved_and_nothing_else(world: World) -> None:
    sad = world.sad(world.credential(), (D1, D2))
    same = replace(sad, jti="other", iat=sad.iat + 1, exp=sad.exp + 1, amr=("x",))
    assert allowance_of(same) == allowance_of(sad)
    others = [
        replace(sad, sub="bob"),
        replace(sad, client_id="other"),
        replace(sad, credential_id="other"),
        replace(sad, dtbsr=(D2, D1)),
        replace(sad, dtbsr=(D1,)),
        replace(sad, sign_count=3),
        replace(sad, hash_alg="other"),
        replace(sad, hash_type="sdr"),
    ]
    assert len({allowance_of(item) for item in [sad, *others]}) == len(others) + 1


def test_a_redemption_leaves_reserved_once() -> None:
    for before, after in product(State, State):
        if before is State.RESERVED and after is not State.RESERVED:
            check_transition(before, after)
        else:
            with pytest.raises(TransitionRefused):
                check_transition(before, after)


def test_SAD_12_memory_keeps_what_can_still_be_redeemed() -> None:
    memory = SpentMemory()
    memory.remember("i", "a", (0, 1), expires=10, now=0)
    memory.remember("i", "b", (0,), expires=100, now=0)
    memory.remember("i", "c", (0,), expires=100, now=10)
    assert [memory.knows_any("i", txn, (0,)) for txn in "abc"] == [False, True, True]
    memory.forget("i", "c", (0, 1))
    assert not memory.knows_any("i", "c", (0,))


def test_SAD_12_what_is_remembered_again_lasts_until_its_later_end() -> None:
    memory = SpentMemory()
    memory.remember("i", "a", (0,), expires=10, now=0)
    memory.forget("i", "a", (0,))
    memory.remember("i", "a", (0,), expires=50, now=0)
    memory.remember("i", "b", (0,), expires=50, now=10)
    assert memory.knows_any("i", "a", (0,))


def test_memory_does_not_keep_what_expired_long_ago() -> None:
    memory = SpentMemory()
    for number in range(2000):
        memory.remember("i", str(number), (0,), expires=300, now=0)
    for number in range(2000):
        memory.remember("i", f"later-{number}", (0,), expires=100_300, now=100_000)
    assert len(memory) == 2000


def test_what_other_threads_remember_at_the_same_time_is_not_forgotten() -> None:
    memory = SpentMemory()

    def remember(thread: int) -> None:
        for number in range(500):
            memory.remember("i", f"{thread}-{number}", (0,), expires=number + 1 if number % 2 else 10_000, now=number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(remember, range(8)))
    assert all(memory.knows_any("i", f"{thread}-{number}", (0,)) for thread in range(8) for number in range(0, 500, 2))
