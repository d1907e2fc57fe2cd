"""One SAD in another one's place: one allowance, one that serves, and no way round what was taken back."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from contract import sad as sads
from contract.errors import SadInvalid
from contract.sad import Sad
from signing.sam import events
from signing.sam.credential import Credential
from signing.sam.custody import Seen
from signing.sam.errors import (
    CredentialDisabled,
    DigestNotAuthorized,
    FloorNotMet,
    SadExpired,
    SadRefused,
    SadRevoked,
    SadSpent,
    SadSuperseded,
    SamError,
    StoreUnavailable,
    WrongClient,
)
from signing.sam.ledger import SpentMemory
from signing.sam.revocation import RevocationMemory
from signing.sam.verify import first_second_after
from signing.storage.store import SqlStore
from signing.storage.tables import approvals, audit, positions
from tests.fakes.sam import CLIENT, World, digest

THREE = (digest(1), digest(2), digest(3))


def sign(world: World, sad: Sad, *digests: bytes) -> int:
    return len(world.activator().sign(world.request(sad, digests=digests or sad.dtbsr)))


def extend(world: World, sad: Sad, client_id: str | None = CLIENT) -> None:
    world.activator().extend(sads.encode(sad, world.idp_key), client_id)


def recorded(world: World, event: str) -> list[dict[str, Any]]:
    table = audit.entries.c
    with world.engine.connect() as connection:
        rows = connection.execute(select(table.fields).where(table.event == event).order_by(table.sequence)).scalars()
        return [json.loads(row) for row in rows]


def test_a_successor_signs_what_is_left_and_its_predecessor_nothing_any_more(either_world: World) -> None:
    world = either_world
    first = world.sad(world.credential(), THREE)
    assert sign(world, first, THREE[0]) == 1
    second = world.successor(first)
    assert sign(world, second, THREE[1]) == 1
    with pytest.raises(SadSuperseded):
        sign(world, first, THREE[2])
    # What was spent through the first one is spent.
    with pytest.raises(SadSpent):
        sign(world, second, THREE[0])
    with pytest.raises(SadSpent):
        sign(world, second)
    assert sign(world, second, THREE[2]) == 1
    assert [record.get("supersedes") for record in recorded(world, events.SIGNATURE_INTENT)] == [
        None, [first.jti], [first.jti],
    ]  # fmt: skip


def test_told_of_at_once_it_retires_its_predecessor_and_signs_nothing(either_world: World) -> None:
    world = either_world
    first = world.sad(world.credential(), THREE)
    sign(world, first, THREE[0])
    second = world.successor(first)
    made = world.fake.signatures
    extend(world, second)
    extend(world, second)
    with pytest.raises(SadSuperseded):
        sign(world, first, THREE[1])
    assert world.fake.signatures == made
    (record,) = recorded(world, events.SAD_SUCCEEDED)
    assert (record["jti"], record["supersedes"], record["unspent"]) == (second.jti, [first.jti], 2)
    assert sign(world, second, *THREE[1:]) == 2


class Meanwhile(SqlStore):
    """Somebody else changes something after the first look at a credential's row."""

    def __init__(self, world: World, change: Callable[[], object]) -> None:
        super().__init__(world.engine)
        self._change: Callable[[], object] | None = change

    def for_signature(self, credential_id: str) -> Any:
        found = super().for_signature(credential_id)
        change, self._change = self._change, None
        if change is not None:
            change()
        return found


def test_a_credential_that_changed_meanwhile_is_looked_at_again(world: World) -> None:
    credential = world.credential()
    first = world.sad(credential, THREE)
    sign(world, first, THREE[0])
    second = world.successor(first)

    # Another node, of which this one has not heard.
    other = replace(world, seen=Seen(), memory=RevocationMemory())
    other.anchor = world.anchor

    def suspend() -> None:
        other.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))

    with pytest.raises(CredentialDisabled):
        world.activator(store=Meanwhile(world, suspend)).extend(sads.encode(second, world.idp_key), CLIENT)
    assert recorded(world, events.SAD_SUCCEEDED) == []


def test_told_of_before_anything_was_signed_it_holds_as_well(either_world: World) -> None:
    world = either_world
    first = world.sad(world.credential(), THREE)
    second = world.successor(first)
    extend(world, second)
    with pytest.raises(SadSuperseded):
        sign(world, first, THREE[0])
    assert sign(world, second) == 3


def test_in_whatever_order_three_are_presented_none_serves_after_a_later_one(either_world: World) -> None:
    world = either_world
    credential = world.credential()
    for order in itertools.permutations(range(3)):
        first = world.sad(credential, THREE)
        second = world.successor(first)
        chain = (first, second, world.successor(second))
        latest = -1
        for place in order:
            try:
                sign(world, chain[place], THREE[place])
            except SadSuperseded:
                assert place < latest
            else:
                assert place > latest
                latest = place
        assert latest == 2


def test_of_two_successors_of_one_sad_the_first_one_presented_serves(either_world: World) -> None:
    world = either_world
    first = world.sad(world.credential(), THREE)
    one, other = world.successor(first), world.successor(first)
    assert sign(world, one, THREE[0]) == 1
    for refused in (other, world.successor(other)):
        with pytest.raises(SadSuperseded):
            sign(world, refused, THREE[1])
        with pytest.raises(SadSuperseded):
            extend(world, refused)
    assert sign(world, one, *THREE[1:]) == 2


def test_SAD_02_of_two_successors_told_of_at_once_exactly_one_wins(either_world: World) -> None:
    world = either_world
    first = world.sad(world.credential(), THREE)
    rivals = [world.successor(first) for _ in range(8)]
    won: list[str] = []
    barrier = threading.Barrier(len(rivals))

    def run(sad: Sad) -> None:
        node = world.activator()
        barrier.wait()
        try:
            node.extend(sads.encode(sad, world.idp_key), CLIENT)
        except SadSuperseded:
            return
        won.append(sad.jti)

    threads = [threading.Thread(target=run, args=(sad,)) for sad in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    with world.engine.connect() as connection:
        assert connection.execute(select(approvals.c.live).where(approvals.c.txn == first.txn)).scalar_one() == won[0]


def test_two_sads_of_one_approval_that_replace_nobody_serve_both_until_one_is_replaced(world: World) -> None:
    first = world.sad(world.credential(), THREE)
    twin = replace(first, jti="twin")
    assert sign(world, first, THREE[0]) == sign(world, twin, THREE[1]) == 1
    assert sign(world, world.successor(first), THREE[2]) == 1
    with pytest.raises(SadSuperseded):
        sign(world, twin, THREE[2])


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("another digest", lambda s: {"dtbsr": (*THREE[:2], digest(9))}),
        ("another order", lambda s: {"dtbsr": THREE[::-1]}),
        ("one digest less", lambda s: {"dtbsr": THREE[:2], "sign_count": 2}),
        ("one digest more", lambda s: {"dtbsr": (*THREE, digest(9)), "sign_count": 4}),
    ],
)
def test_SAD_04_a_successor_has_its_predecessors_digests(
    world: World, reason: str, change: Callable[[Sad], dict[str, Any]]
) -> None:
    first = world.sad(world.credential(), THREE)
    sign(world, first, THREE[0])
    changed = world.successor(first, **change(first))
    with pytest.raises(SadRefused):
        sign(world, changed, changed.dtbsr[1])
    with pytest.raises(SadRefused):
        extend(world, changed)
    # It retired nobody.
    assert sign(world, first, THREE[1]) == 1


def test_SAD_04_a_digest_that_was_not_approved_is_no_successors_either(world: World) -> None:
    first = world.sad(world.credential(), THREE)
    with pytest.raises(DigestNotAuthorized):
        sign(world, world.successor(first), digest(9))


def test_at_scal1_without_digests_there_is_no_successor(world: World) -> None:
    first = world.sad(world.credential(profile="scal1"), (), sign_count=2)
    with pytest.raises(SadInvalid):
        sads.encode(world.successor(first), world.idp_key)


def test_a_refused_successor_retires_nobody(world: World) -> None:
    first = world.sad(world.credential(), THREE)
    sign(world, first, THREE[0])
    with pytest.raises(SadSpent):
        sign(world, world.successor(first), THREE[0])
    assert sign(world, first, THREE[1]) == 1


def test_digests_of_documents_are_extended_like_others(world: World) -> None:
    first = world.sad(world.credential(), THREE, hash_type="sdr")
    extend(world, world.successor(first))
    assert [record["unspent"] for record in recorded(world, events.SAD_SUCCEEDED)] == [3]


def test_nothing_is_extended_of_which_nothing_is_left(world: World) -> None:
    first = world.sad(world.credential(), THREE)
    sign(world, first)
    with pytest.raises(SadSpent):
        extend(world, world.successor(first))


def test_what_replaces_nobody_extends_nothing(world: World) -> None:
    with pytest.raises(SadRefused):
        extend(world, world.sad(world.credential(), THREE))
    with pytest.raises(SadInvalid):
        world.activator().extend("not a SAD", CLIENT)


@pytest.mark.parametrize(
    ("reason", "prepare", "error"),
    [
        ("another client's", lambda w, c, s: None, WrongClient),
        ("expired", lambda w, c, s: w.clock.advance(300), SadExpired),
        (
            "suspended",
            lambda w, c, s: w.lifecycle().execute(w.order_token("credential.suspend", credential_id=c.id, sub=c.owner)),
            CredentialDisabled,
        ),
        (
            "withdrawn",
            lambda w, c, s: w.revocations().record(w.event_token("transaction-withdrawn", s.txn)),
            SadRevoked,
        ),
    ],
)
def test_extending_is_verified_like_signing(
    world: World, reason: str, prepare: Callable[[World, Credential, Sad], None], error: type[SamError]
) -> None:
    credential = world.credential()
    first = world.sad(credential, THREE)
    second = world.successor(first)
    prepare(world, credential, second)
    with pytest.raises(error):
        extend(world, second, "another" if error is WrongClient else CLIENT)
    assert recorded(world, events.SIGNATURE_REFUSED)


def test_SAD_06_a_successor_is_no_newer_than_what_was_approved(world: World) -> None:
    """Suspended and resumed in between: what was approved before does not serve after it, under no SAD."""
    credential = world.credential()
    first = world.sad(credential, THREE)
    world.clock.advance(20)
    for operation in ("credential.suspend", "credential.resume"):
        order: Any = operation
        world.lifecycle().execute(world.order_token(order, credential_id=credential.id, sub=credential.owner))
    world.clock.advance(20)
    with pytest.raises(SadRefused):
        sign(world, world.successor(first))


@pytest.mark.parametrize("event", ["authenticator-changed", "account-disabled", "client-disabled"])
def test_SAD_06_SAD_11_what_was_taken_back_is_not_brought_back_by_a_successor(world: World, event: Any) -> None:
    first = world.sad(world.credential(), THREE)
    world.clock.advance(20)
    subject = first.client_id if event == "client-disabled" else first.sub
    world.revocations().record(world.event_token(event, subject))
    world.clock.advance(20)
    for use in (sign, extend):
        with pytest.raises(SadRevoked):
            use(world, world.successor(first))
    # What is approved after it serves.
    assert sign(world, world.sad(world.credential(), THREE)) == 3


def test_SAD_12_a_successor_is_refused_after_a_restore_and_a_restart(world: World) -> None:
    first = world.sad(world.credential(), THREE)
    world.clock.advance(20)
    restarted = replace(world.policy, sads_not_before=first_second_after(world.clock.now()) - 10)
    world.raise_epoch()
    world.clock.advance(20)
    second = world.successor(first)
    with pytest.raises(SadRefused):
        sign(world, second)
    with pytest.raises(SadRefused):
        world.activator(policy=restarted).sign(world.request(second))


def test_SAD_12_what_was_spent_is_remembered_for_as_long_as_a_successor_may_serve(world: World) -> None:
    """The ledger is set back after the first SAD expired: this process still knows."""
    memory = SpentMemory()
    first = world.sad(world.credential(), THREE)
    world.activator(memory=memory).sign(world.request(first, digests=THREE[:1]))
    with world.engine.begin() as connection:
        connection.execute(positions.delete())
    world.clock.advance(600)
    other = world.sad(world.credential(), THREE)
    world.activator(memory=memory).sign(world.request(other))
    with pytest.raises(SadSpent):
        world.activator(memory=memory).sign(world.request(world.successor(first), digests=THREE[:1]))


def test_a_transactions_sads_serve_no_longer_than_the_module_allows(world: World) -> None:
    credential = world.credential()
    first = world.sad(credential, THREE)
    world.clock.advance(600)
    second = world.successor(first)
    assert sign(world, second, THREE[0]) == 1
    world.clock.advance(1)
    with pytest.raises(SadRefused):
        sign(world, world.successor(second), THREE[1])
    assert sign(world, world.successor(second, exp=world.now + 299), THREE[1]) == 1
    world.policy = replace(world.policy, max_transaction_seconds=0)
    fresh = world.sad(credential, THREE)
    with pytest.raises(SadRefused):
        sign(world, world.successor(fresh))
    assert sign(world, fresh) == 3


def test_the_floors_age_of_evidence_counts_from_the_evidence_on(world: World) -> None:
    world.policy = replace(world.policy, max_transaction_seconds=3600)
    first = world.sad(world.credential(), THREE)
    world.clock.advance(900 - 60)
    assert sign(world, world.successor(first), THREE[0]) == 1
    world.clock.advance(1)
    with pytest.raises(FloorNotMet):
        sign(world, world.successor(first), THREE[1])


def test_a_live_sad_that_somebody_changed_under_the_lock_stops_the_transaction(world: World) -> None:
    """It cannot happen while the row is locked; a database that lets it happen is not believed."""
    first = world.sad(world.credential(), THREE)
    sign(world, first, THREE[0])

    second = world.successor(first)
    ledger = world.store._ledger  # type: ignore[attr-defined] # the store's inside
    swap = ledger._sql
    ledger._sql = replace(swap, succeed=swap.succeed.replace("COALESCE(r.before, '')", "'another'"))
    with pytest.raises(StoreUnavailable):
        sign(world, second, THREE[1])
    ledger._sql = swap
    assert sign(world, first, THREE[1]) == 1

