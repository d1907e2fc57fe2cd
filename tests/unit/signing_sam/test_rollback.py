"""The anchor on the token: a database that was set back is noticed with nobody remembering (SAD-12, KEY-04)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import text

from signing.sam import anchor, errors, events
from signing.sam.rollback import LONGEST_SECONDS, OTHER_EPOCH, OTHER_VERSIONS, SHORTER_CHAIN
from signing.sam.store import Record, Standing
from tests.fakes.copies import copy_tables, put_back
from tests.fakes.sam import World
from tests.unit.signing_sam.anchors import LABEL, recorded, restarted, stopped, suspend


def test_SAD_12_credentials_ledger_and_audit_set_back_together_stop_signing_until_two_operators_restore(
    either_world: World,
) -> None:
    world = either_world
    credential = world.credential()
    copy = copy_tables(world.engine)
    spent = world.request(world.sad(credential))
    world.activator().sign(spent)
    suspend(world, credential)
    put_back(world.engine, copy)
    node = restarted(world)
    assert stopped(node, credential) == SHORTER_CHAIN
    assert recorded(node).count(events.LEDGER_BEHIND) == 1
    for refused in (
        lambda: node.lifecycle().create(node.order_token()),
        lambda: suspend(node, credential),
        lambda: node.lifecycle().link(credential.id, credential.certificates),
        lambda: node.operators().execute(node.operation("credential.suspend", credential_id=credential.id)),
        node.anchor.checkpoint,
    ):
        with pytest.raises(errors.LedgerBehind):
            refused()
    assert node.operators().execute(node.operation("ledger.restore")).epoch == 2
    with pytest.raises(errors.SadRefused, match="epoch"):
        node.activator().sign(spent)
    node.clock.advance(6)
    assert node.activator().sign(node.request(node.sad(credential)))
    # And so it is in every process.
    assert restarted(world).activator().sign(node.request(node.sad(credential)))


def test_SAD_12_what_was_spent_since_the_last_checkpoint_is_found_once_a_checkpoint_was_taken(world: World) -> None:
    credential = world.credential()
    copy = copy_tables(world.engine)
    world.activator().sign(world.request(world.sad(credential)))
    put_back(world.engine, copy)
    restarted(world).anchor.require()  # the window that is not anchored
    world.activator().sign(world.request(world.sad(credential)))
    world.anchor.checkpoint()
    put_back(world.engine, copy)
    assert stopped(restarted(world), credential) == SHORTER_CHAIN


def test_KEY_04_an_older_row_put_back_is_noticed_with_nobody_remembering(either_world: World) -> None:
    world = either_world
    credential = world.credential()
    copy = copy_tables(world.engine)
    suspend(world, credential)
    put_back(world.engine, copy, {"credentials"})
    assert stopped(restarted(world), credential) == OTHER_VERSIONS


def test_KEY_04_an_older_row_put_back_between_two_looks_is_refused_by_a_process_that_never_opened_it(
    either_world: World,
) -> None:
    world = either_world
    credential = world.credential()
    copy = copy_tables(world.engine)
    suspend(world, credential)
    node = restarted(world)
    node.anchor.check()
    put_back(world.engine, copy, {"credentials"})
    before = world.fake.signatures
    with pytest.raises(errors.RowAltered, match="older version"):
        node.activator().sign(node.request(node.sad(credential)))
    assert world.fake.signatures == before
    assert recorded(node).count(events.CREDENTIAL_ALTERED) == 1
    node.anchor.check()
    assert stopped(node, credential) == OTHER_VERSIONS


def test_KEY_04_after_a_restore_a_process_takes_the_versions_that_operators_took(world: World) -> None:
    credential = world.credential()
    copy = copy_tables(world.engine)
    suspend(world, credential)
    node = restarted(world)
    node.anchor.check()
    put_back(world.engine, copy)
    world.operators().execute(world.operation("ledger.restore"))
    node.clock.advance(6)
    node.anchor.check()
    assert node.activator().sign(node.request(node.sad(credential)))


def test_SAD_12_whoever_makes_every_look_at_the_anchor_fail_does_not_keep_signing_going(world: World) -> None:
    credential = world.credential()
    node = restarted(world)
    node.anchor.check()
    with world.engine.begin() as connection:
        connection.execute(text("DELETE FROM sam_anchored"))
    with pytest.raises(errors.StoreUnavailable):
        node.anchor.check()
    node.clock.advance(LONGEST_SECONDS + 1)
    before = world.fake.signatures
    with pytest.raises(errors.StoreUnavailable):
        node.activator().sign(node.request(node.sad(credential)))
    with pytest.raises(errors.StoreUnavailable):
        node.anchor.require()
    assert world.fake.signatures == before


@pytest.mark.parametrize("seconds", [LONGEST_SECONDS + 1, -1])
def test_SAD_12_what_was_found_too_long_ago_or_by_another_time_is_looked_at_again(world: World, seconds: int) -> None:
    node = restarted(world)
    node.anchor.check()
    before = world.fake.calls["read_data"]
    node.anchor.require()
    assert world.fake.calls["read_data"] == before
    node.clock.advance(seconds)
    for _ in range(2):
        node.anchor.require()
    assert world.fake.calls["read_data"] == before + 1


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM credentials WHERE status = 'deleted'",
        "UPDATE credentials SET version = version + 1",
        "UPDATE credentials SET id = 'other' WHERE status = 'deleted'",
    ],
)
def test_KEY_04_rows_taken_away_or_renamed_are_noticed(world: World, change: str) -> None:
    credential, other = world.credential(), world.credential("bob")
    world.lifecycle().execute(world.order_token("credential.delete", credential_id=other.id, sub="bob"))
    with world.engine.begin() as connection:
        connection.execute(text(change))
    assert stopped(restarted(world), credential) == OTHER_VERSIONS


def test_AUD_04_an_audit_chain_that_was_written_anew_does_not_fit(world: World) -> None:
    credential = world.credential()
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE audit_entries SET hash = lower(hex(randomblob(32))) WHERE sequence > 1"))
    assert stopped(restarted(world), credential) == SHORTER_CHAIN


@pytest.mark.parametrize("number", [1, 3])
def test_SAD_12_an_epoch_that_was_not_raised_by_operators_does_not_fit(world: World, number: int) -> None:
    credential = world.credential()
    world.raise_epoch()
    world.clock.advance(6)
    with world.engine.begin() as connection:
        connection.execute(text(f"UPDATE sam_state SET epoch = {number}"))
    assert stopped(restarted(world), credential) == OTHER_EPOCH


def test_a_running_process_notices_at_its_next_look_and_stays_stopped_until_a_restore(world: World) -> None:
    credential = world.credential()
    early = copy_tables(world.engine)
    suspend(world, credential)
    late = copy_tables(world.engine)
    put_back(world.engine, early)
    world.anchor.check()
    assert world.anchor.report()["anchor"] == SHORTER_CHAIN
    world.anchor.check()
    assert recorded(world).count(events.LEDGER_BEHIND) == 1
    # Whoever puts it right again has had the time in between.
    put_back(world.engine, late)
    world.anchor.check()
    assert stopped(world, credential) == SHORTER_CHAIN
    world.operators().execute(world.operation("ledger.restore"))
    world.anchor.require()
    assert world.anchor.report()["anchor"] == "ok"


def test_after_a_restore_every_process_takes_the_rows_as_they_are(world: World) -> None:
    credential, other = world.credential(), restarted(world)
    copy = copy_tables(world.engine)
    suspend(world, credential)
    with pytest.raises(errors.CredentialDisabled):
        other.activator().sign(other.request(other.sad(credential)))
    put_back(world.engine, copy)
    for node in (world, other):
        node.anchor.check()
        assert stopped(node, credential) == SHORTER_CHAIN
    world.operators().execute(world.operation("ledger.restore"))
    world.clock.advance(6)
    for node in (world, other):
        assert node.activator().sign(node.request(node.sad(credential)))


def test_two_nodes_change_credentials_in_turn_over_one_token(either_world: World) -> None:
    one, other = either_world, restarted(either_world)
    credential = one.credential()
    for node in (other, one) * 2:
        suspend(node, credential)
        node.lifecycle().execute(node.order_token("credential.resume", credential_id=credential.id))
    one.anchor.check()
    other.anchor.check()
    other.anchor.checkpoint()
    one.anchor.check()
    assert len(one.fake.read_data(LABEL)) == 1


def test_a_checkpoint_writes_only_where_the_chain_has_gone_on(world: World) -> None:
    world.credential()
    world.anchor.checkpoint()
    writes = world.fake.calls["add_data"]
    world.anchor.checkpoint()
    assert world.fake.calls["add_data"] == writes
    world.store.note(
        Record(events.SAM_STARTED, {"sam_id": "x", "realm": "x", "epoch": 1, "mode": "x"}, world.clock.now())
    )
    world.anchor.checkpoint()
    assert world.fake.calls["add_data"] == writes + 1
    assert world.anchor.report()["anchored_records"] == world.anchor.latest().head.sequence


def test_a_checkpoint_of_a_database_that_was_set_back_is_not_taken(world: World) -> None:
    credential = world.credential()
    copy = copy_tables(world.engine)
    suspend(world, credential)
    put_back(world.engine, copy)
    with pytest.raises(errors.LedgerBehind):
        world.anchor.checkpoint()
    assert stopped(world, credential) == SHORTER_CHAIN


def test_a_change_in_another_epoch_than_the_anchors_is_not_made(world: World) -> None:
    pending = world.lifecycle().create(world.order_token())
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE sam_state SET epoch = 7"))
    with pytest.raises(errors.LedgerBehind):
        world.lifecycle().link(pending.id, [world.authority.issue(pending.request)])
    assert world.anchor.report()["anchor"] == OTHER_EPOCH
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE sam_state SET epoch = 1"))
    assert restarted(world).lifecycle().credential(pending.id) == pending


def test_an_alarm_that_cannot_be_recorded_stops_signing_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential = world.credential()
    copy = copy_tables(world.engine)
    suspend(world, credential)
    put_back(world.engine, copy)
    node = restarted(world)

    def down(_record: object) -> None:
        raise errors.StoreUnavailable("down")

    monkeypatch.setattr(world.store, "note", down)
    assert stopped(node, credential) == SHORTER_CHAIN
    assert stopped(node, credential) == SHORTER_CHAIN


def test_a_thread_that_comes_late_with_an_older_anchor_changes_nothing(world: World) -> None:
    old = world.anchor.latest()
    world.credential()
    known = world.anchor.report()
    world.anchor._accept(old)
    assert world.anchor.report() == known


def test_signatures_do_not_write_the_token(world: World) -> None:
    credential = world.credential()
    calls = {name: world.fake.calls[name] for name in ("read_data", "add_data", "remove_data")}
    for _ in range(20):
        world.activator().sign(world.request(world.sad(credential)))
    assert {name: world.fake.calls[name] for name in calls} == calls


def test_a_look_sums_versions_as_they_come_so_that_no_transaction_waits_for_it(
    either_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, summed, behind = either_world, list[str](), list[int]()
    made = {world.credential(owner).id for owner in ("alice", "bob", "carol")}
    standing_of, term_of = world.store.standing, anchor.term

    def term(key: bytes, credential_id: str, version: int) -> int:
        summed.append(credential_id)
        return term_of(key, credential_id, version)

    @contextmanager
    def watched(*, locked: bool) -> Iterator[Standing]:
        with standing_of(locked=locked) as standing:

            def versions() -> Iterator[tuple[str, int]]:
                for number, each in enumerate(standing.versions()):
                    behind.append(number - len(summed))
                    yield each

            yield replace(standing, versions=versions)

    monkeypatch.setattr(anchor, "term", term)
    monkeypatch.setattr(world.store, "standing", watched)
    world.anchor.check()
    assert set(summed) == made
    # Before the next row is asked for, the one before has been summed.
    assert behind == [0, 0, 0]
