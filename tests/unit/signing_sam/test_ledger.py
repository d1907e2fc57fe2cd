"""The pure part of the ledger: positions, allowances, states."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from signing.sam.errors import DigestNotAuthorized, SadSpent, TransitionRefused
from signing.sam.ledger import State, allowance_of, assign, check_transition
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
