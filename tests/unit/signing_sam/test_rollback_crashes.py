"""Whoever dies between the database and the anchor on the token: what is left is settled (SAD-03)."""

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

from contract.order import Operation
from signing.sam import errors, events
from signing.sam.credential import Credential, SealedCredential
from signing.sam.custody import Seen
from signing.sam.ports import DeviceLost, DeviceUnavailable
from signing.sam.rollback import SHORTER_CHAIN
from signing.sam.store import Anchoring, Record, SpentOrder, Standing
from signing.storage.engine import open_engine
from signing.storage.store import SqlStore
from tests.fakes.copies import copy_tables, put_back
from tests.fakes.device import FakeDevice
from tests.fakes.sam import World, make_world
from tests.unit.signing_sam.anchors import LABEL, recorded, restarted, stopped, suspend


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
