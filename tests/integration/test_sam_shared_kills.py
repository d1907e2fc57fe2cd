"""SAD-03: the module is killed while many requests share a transaction; the device is a fake, so that none waits."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from auditlog.chain import verify
from auditlog.sql import read_entries
from signing.sam import errors, events
from signing.sam.reconcile import reconcile
from signing.sam.verify import SignatureRequest
from signing.storage.engine import open_engine
from signing.storage.tables import audit, outcomes, redemptions
from tests.fakes.sam import World, digest, make_world
from tests.integration.sam_node import POINTS, CountingDevice, DyingStore

KILLED = [*POINTS[1:], "random"]


@pytest.fixture
def world(database_url: str) -> World:
    return make_world(database_url)


def size(counter: Path) -> int:
    return counter.stat().st_size if counter.exists() else 0


def is_reserved(world: World, txn: str) -> bool:
    with world.engine.connect() as connection:
        return connection.execute(select(redemptions).where(redemptions.c.txn == txn)).first() is not None


def is_open(world: World, txn: str) -> bool:
    """Whether a redemption of the approval has no outcome."""
    joined = select(redemptions.c.id).outerjoin(outcomes, redemptions.c.id == outcomes.c.redemption_id)
    wanted = joined.where(redemptions.c.txn == txn, outcomes.c.redemption_id.is_(None))
    with world.engine.connect() as connection:
        return connection.execute(wanted).first() is not None


def state_of(world: World, txn: str) -> str:
    joined = select(outcomes.c.state).join(redemptions, redemptions.c.id == outcomes.c.redemption_id)
    with world.engine.connect() as connection:
        return str(connection.execute(joined.where(redemptions.c.txn == txn)).scalar_one())


def check_chain(world: World) -> None:
    """It verifies, and every intent has one outcome (AUD-06)."""
    with world.engine.connect() as connection:
        entries = list(read_entries(connection, audit.entries))
    verify(entries)
    outcome_events = {events.SIGNATURE_CONSUMED, events.SIGNATURE_INDETERMINATE}
    intents = [entry for entry in entries if entry.event == events.SIGNATURE_INTENT]
    assert len(intents) == len([entry for entry in entries if entry.event in outcome_events])


def killed_while_many_sign(world: World, requests: list[SignatureRequest], counter: Path, point: str) -> None:
    """A child process signs all of them at once, in transactions that they share, and is killed."""
    world.engine.dispose()
    pid = os.fork()
    if pid == 0:
        try:
            store = DyingStore(open_engine(world.url))
            store.point = point
            activator = world.activator(device=CountingDevice(world.device, counter, point), store=store)
            threads = [threading.Thread(target=activator.sign, args=(request,)) for request in requests]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            os._exit(0)
    if point == "random":
        time.sleep(random.uniform(0.005, 0.05))
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == -signal.SIGKILL or point == "random"


@pytest.mark.parametrize("point", KILLED)
def test_SAD_03_killed_while_many_share_a_transaction(world: World, tmp_path: Path, point: str) -> None:
    counter, credential = tmp_path / "counter", world.credential()
    sads = [world.sad(credential, (digest(number),)) for number in range(8)]
    requests = [world.request(sad) for sad in sads]
    killed_while_many_sign(world, requests, counter, point)
    made, reserved = size(counter), [is_reserved(world, sad.txn) for sad in sads]
    # No signature without its committed intent, and none of what died undecided.
    assert made <= sum(reserved)
    if point == "after_intent":
        assert any(reserved)
    # Nothing is signed twice: what was reserved is spent, and what was not can be had once.
    retry = world.activator(device=CountingDevice(world.device, counter, "none"))
    for request, spent in zip(requests, reserved, strict=True):
        if spent:
            with pytest.raises(errors.SadSpent):
                retry.sign(request)
        else:
            assert len(retry.sign(request)) == 1
    assert size(counter) == made + reserved.count(False) <= len(requests)
    open_ones = sum(is_open(world, sad.txn) for sad in sads)
    world.clock.advance(61)
    assert reconcile(world.store, world.clock, 60) == open_ones
    assert {state_of(world, sad.txn) for sad in sads} <= {"consumed", "indeterminate"}
    check_chain(world)
    world.engine.dispose()
