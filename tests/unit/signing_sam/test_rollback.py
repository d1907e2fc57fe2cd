"""The anchor on the token: a database that was set back is noticed with nobody remembering (SAD-12, KEY-04)."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import text

from auditlog.chain import EMPTY
from auditlog.sql import read_entries
from contract.order import Operation
from foundation.jose import VerificationKey
from signing.sam import errors, events
from signing.sam.anchor import Anchor, label_of, opened, sealed
from signing.sam.credential import Credential, SealedCredential
from signing.sam.custody import Seen
from signing.sam.ports import DeviceLost, DeviceUnavailable
from signing.sam.revocation import RevocationMemory
from signing.sam.rollback import LONGEST_SECONDS, NO_ANCHOR, OTHER_EPOCH, OTHER_VERSIONS, SHORTER_CHAIN, TOKEN_BEHIND
from signing.sam.store import Anchoring, Record, SpentOrder, Standing
from signing.storage.engine import open_engine
from signing.storage.store import SqlStore
from signing.storage.tables import audit
from tests.fakes.copies import copy_tables, put_back
from tests.fakes.device import FakeDevice
from tests.fakes.sam import REALM, World, make_world

LABEL = label_of(REALM)


def restarted(world: World) -> World:
    """Another process, which remembers nothing."""
    return replace(world, seen=Seen(), memory=RevocationMemory())


def recorded(world: World) -> list[str]:
    with world.engine.connect() as connection:
        return [entry.event for entry in read_entries(connection, audit.entries)]


def suspend(world: World, credential: Credential) -> Credential:
    return world.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))


def stopped(world: World, credential: Credential) -> str:
    """Why nothing is signed."""
    before = world.fake.signatures
    with pytest.raises(errors.LedgerBehind) as refusal:
        world.activator().sign(world.request(world.sad(credential)))
    assert world.fake.signatures == before
    return str(refusal.value)


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


# The token


def test_a_token_without_its_anchor_stops_signing_and_nobody_can_restore(world: World) -> None:
    credential = world.credential()
    for value in world.fake.read_data(LABEL):
        world.fake.remove_data(LABEL, value)
    node = restarted(world)
    assert stopped(node, credential) == NO_ANCHOR
    with pytest.raises(errors.LedgerBehind):
        node.operators().execute(node.operation("ledger.restore"))
    with pytest.raises(errors.StateRefused, match="used"):
        node.anchor.establish(())
    with (
        pytest.raises(errors.LedgerBehind, match="has no anchor"),
        world.anchor.changing(lambda anchor: anchor) as anchoring,
        world.store.standing(locked=True) as standing,
    ):
        anchoring(standing)


def test_an_anchor_that_the_module_did_not_write_counts_for_nothing(world: World) -> None:
    credential = world.credential()
    (value,) = world.fake.read_data(LABEL)
    other, number = FakeDevice(), world.anchor.latest().number
    for planted in (
        b"x",
        value[:-1] + bytes([value[-1] ^ 1]),
        sealed(world.anchor.latest(), other),
        sealed(replace(world.anchor.latest(), realm="other", number=99), world.fake),
        b"[]" + world.fake.mac(b"privyseal-anchor-1\n[]"),
        b"{" + world.fake.mac(b"privyseal-anchor-1\n{"),
    ):
        world.fake.add_data(LABEL, planted)
    node = restarted(world)
    node.anchor.check()
    assert node.anchor.report()["anchor"] == "ok"
    assert node.anchor.latest().number == number
    assert node.activator().sign(node.request(node.sad(credential)))


def test_what_the_anchor_says_comes_back_as_it_was_written(world: World) -> None:
    world.credential()
    anchor: Anchor = replace(world.anchor.latest(), used=(("ab" * 32, 5),))
    found = opened(sealed(anchor, world.fake), REALM, world.fake)
    assert found is not None

    def plain(each: Anchor) -> tuple[Any, ...]:
        keys: tuple[VerificationKey, ...] = each.operators
        return (replace(each, operators=()), [key.kid for key in keys])

    assert plain(found) == plain(anchor)


def test_a_token_that_is_away_at_the_start_is_looked_at_when_it_is_back(world: World) -> None:
    credential = world.credential()
    node = restarted(world)
    assert node.anchor.report()["anchor"] == "not looked at yet"
    node.fake.fail_next("read_data", DeviceUnavailable("away"))
    with pytest.raises(errors.ScdevUnavailable):
        node.activator().sign(node.request(node.sad(credential)))
    assert node.activator().sign(node.request(node.sad(credential)))


def test_the_first_anchor_is_written_once_and_for_one_database(world: World, tmp_path: Path) -> None:
    assert not world.anchor.establish(())
    assert len(world.anchor.latest().operators) == 2
    fresh = SqlStore(open_engine(f"sqlite:///{tmp_path / 'fresh.sqlite'}"))
    fresh.initialise(REALM, world.clock.now())
    with pytest.raises(errors.StateRefused, match="another database"):
        replace(world, store=fresh).anchor.establish(())


def test_KEY_04_a_token_that_lost_its_anchor_gets_none_for_a_database_whose_chain_was_emptied(world: World) -> None:
    world.credential()
    (anchor,) = world.fake.read_data(LABEL)
    world.fake.remove_data(LABEL, anchor)
    with world.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_entries"))
        connection.execute(text("UPDATE audit_head SET sequence = 0, hash = :hash"), {"hash": EMPTY.hash})
    with pytest.raises(errors.StateRefused, match="has been used"):
        world.anchor.establish(())
    assert not world.fake.read_data(LABEL)


class LateToken(FakeDevice):
    """Shows what was there before, for as many reads as said."""

    late = 0
    before: tuple[bytes, ...] = ()

    def read_data(self, label: str) -> tuple[bytes, ...]:
        if self.late:
            self.late -= 1
            return self.before
        return super().read_data(label)


def test_KEY_04_a_change_is_not_lost_to_a_checkpoint_of_the_same_number_that_it_did_not_see(
    world: World, credential: Credential
) -> None:
    other = world.credential("bob")
    token, node = world.fake, restarted(world)
    token.__class__ = LateToken
    assert isinstance(token, LateToken)
    node.anchor.check()
    world.activator().sign(world.request(world.sad(credential)))
    token.before = token.read_data(LABEL)
    world.anchor.checkpoint()
    (checkpoint,) = token.read_data(LABEL)
    token.late = 1
    suspend(node, credential)
    token.before, token.late = (checkpoint,), 1
    world.lifecycle().execute(world.order_token("credential.suspend", credential_id=other.id, sub="bob"))
    restarted(world).anchor.check()
    world.anchor.check()
    assert world.anchor.report()["anchor"] == "ok"
    assert events.LEDGER_BEHIND not in recorded(world)


def test_a_change_that_the_token_shows_late_is_waited_for_and_not_lost(world: World, credential: Credential) -> None:
    token = world.fake
    token.__class__ = LateToken
    assert isinstance(token, LateToken)
    for name in ("credential.suspend", "credential.resume"):
        token.before = token.read_data(LABEL)
        token.fail_next("remove_data", DeviceUnavailable("away"))  # so that what it shows late still fits the chain
        world.lifecycle().execute(world.order_token(name, credential_id=credential.id))
        token.late = 3
        other = restarted(world).credential("bob")
        assert other.status == "active"
        token.late = 3
        restarted(world).anchor.check()
        world.anchor.check()
    assert world.anchor.report()["anchor"] == "ok"
    assert events.LEDGER_BEHIND not in recorded(world)


def test_KEY_04_an_anchor_put_back_from_before_the_last_change_stops_signing(
    world: World, credential: Credential
) -> None:
    (old,) = world.fake.read_data(LABEL)
    suspend(world, credential)
    (new,) = world.fake.read_data(LABEL)
    world.fake.remove_data(LABEL, new)
    world.fake.add_data(LABEL, old)
    assert stopped(restarted(world), credential) == TOKEN_BEHIND
    with pytest.raises(errors.LedgerBehind):
        world.anchor.checkpoint()


# Whoever dies in between


def test_a_change_that_was_not_committed_leaves_the_anchor_as_it_was(world: World, credential: Credential) -> None:
    (before,) = world.fake.read_data(LABEL)
    world.fake.fail_next("add_data", DeviceLost("lost"), after=True)
    with pytest.raises(errors.ScdevUnavailable):
        suspend(world, credential)
    assert world.fake.read_data(LABEL) == (before,)
    assert world.lifecycle().credential(credential.id) == credential
    restarted(world).anchor.require()


def test_an_anchor_that_could_not_be_removed_is_removed_later(world: World, credential: Credential) -> None:
    world.fake.fail_next("remove_data", DeviceUnavailable("away"))
    suspended = suspend(world, credential)
    assert len(world.fake.read_data(LABEL)) == 2
    world.lifecycle().execute(world.order_token("credential.resume", credential_id=suspended.id))
    assert len(world.fake.read_data(LABEL)) == 1


def test_a_commit_without_an_answer_leaves_both_and_the_database_says_which(
    world: World, credential: Credential
) -> None:
    class Unknown(SqlStore):
        """Commits, and says that it does not know."""

        committed = True

        def replace_credential(
            self,
            row: SealedCredential,
            record: Record,
            order: SpentOrder | None = None,
            anchoring: Anchoring | None = None,
        ) -> bool:
            def last(standing: Any) -> int:
                assert anchoring is not None
                number = anchoring(standing)
                if not self.committed:
                    raise errors.CommitUnknown("unknown")
                return number

            super().replace_credential(row, record, order, last)
            raise errors.CommitUnknown("unknown")

    store = Unknown(world.engine)
    for committed, status in ((False, "active"), (True, "suspended")):
        store.committed = committed
        with pytest.raises(errors.CommitUnknown):
            world.lifecycle(store=store).execute(world.order_token("credential.suspend", credential_id=credential.id))
        assert len(world.fake.read_data(LABEL)) > 1
        node = restarted(world)
        node.anchor.require()
        assert node.lifecycle().credential(credential.id).status == status
    node.lifecycle().execute(node.order_token("credential.resume", credential_id=credential.id))
    assert len(world.fake.read_data(LABEL)) == 1


def test_a_change_between_the_looks_at_database_and_token_is_no_alarm(world: World, credential: Credential) -> None:
    class Late(SqlStore):
        """Another node changes both just after the database was looked at."""

        @contextmanager
        def standing(self, *, locked: bool) -> Iterator[Standing]:
            with super().standing(locked=locked) as found:
                if not locked:
                    suspend(world, credential)
                yield found

    node = replace(restarted(world), store=Late(world.engine))
    node.anchor.check()
    assert node.anchor.report()["anchor"] == "ok"
    assert events.LEDGER_BEHIND not in recorded(world)


def test_what_a_dead_process_left_is_settled_by_the_first_look(world: World, credential: Credential) -> None:
    copy = copy_tables(world.engine)
    world.fake.fail_next("remove_data", DeviceUnavailable("away"))
    suspend(world, credential)
    assert len(world.fake.read_data(LABEL)) == 2
    restarted(world).anchor.require()
    assert len(world.fake.read_data(LABEL)) == 1
    put_back(world.engine, copy)
    assert stopped(restarted(world), credential) == SHORTER_CHAIN


POINTS = {"before_add": False, "after_add": False, "before_remove": True, "after_remove": True}
"""Where a process is killed, and whether the change is committed by then."""


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


class DiskToken(FakeDevice):
    """A token whose data objects outlive a process; kills its process at a point."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self.point = "none"

    def read_data(self, label: str) -> tuple[bytes, ...]:
        return tuple(path.read_bytes() for path in sorted(self._folder.iterdir()))

    def add_data(self, label: str, value: bytes) -> None:
        self._die_at("before_add")
        (self._folder / f"{len(list(self._folder.iterdir()))}-{os.urandom(4).hex()}").write_bytes(value)
        self._die_at("after_add")

    def remove_data(self, label: str, value: bytes) -> None:
        self._die_at("before_remove")
        for path in self._folder.iterdir():
            if path.read_bytes() == value:
                path.unlink()
        self._die_at("after_remove")

    def _die_at(self, point: str) -> None:
        if self.point == point:
            die()


@pytest.fixture
def disk(database_url: str, tmp_path: Path) -> Iterator[World]:
    (tmp_path / "token").mkdir()
    world = make_world(database_url, DiskToken(tmp_path / "token"))
    yield world
    world.engine.dispose()


@pytest.mark.parametrize("point", POINTS)
def test_SAD_03_killed_while_a_change_is_anchored_the_module_starts_and_goes_on(disk: World, point: str) -> None:
    credential = disk.credential()
    token = disk.order_token("credential.suspend", credential_id=credential.id)
    disk.engine.dispose()  # connections do not survive a fork
    if (pid := os.fork()) == 0:
        try:
            assert isinstance(disk.device, DiskToken)
            disk.device.point = point
            own = replace(disk, store=SqlStore(open_engine(disk.url)), seen=Seen())
            own.lifecycle().execute(token)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    node = restarted(disk)
    node.anchor.check()
    node.anchor.require()
    status = node.lifecycle().credential(credential.id).status
    assert status == ("suspended" if POINTS[point] else "active")
    name: Operation = "credential.resume" if POINTS[point] else "credential.suspend"
    node.lifecycle().execute(node.order_token(name, credential_id=credential.id, jti="next"))
    restarted(disk).anchor.require()
    assert len(disk.device.read_data(LABEL)) == 1


def test_the_anchor_holds_no_secret_and_fits_a_small_token(world: World) -> None:
    world.credential()
    (value,) = world.fake.read_data(LABEL)
    assert len(value) < 1024
    assert '"d"' not in json.dumps(value[:-32].decode())
