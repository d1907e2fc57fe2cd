"""SAD-03: the module is killed, anywhere; nothing is signed twice, and nothing without its intent."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from auditlog.chain import verify
from auditlog.sql import read_entries
from signing.link import codes
from signing.link.client import SamClient
from signing.link.errors import LinkRefused, LinkUnavailable
from signing.link.messages import SignRequest
from signing.sam import errors, events
from signing.sam.credential import Credential
from signing.sam.reconcile import reconcile
from signing.sam.verify import SignatureRequest
from signing.storage.engine import open_engine
from signing.storage.store import SqlStore
from signing.storage.tables import audit, outcomes, redemptions
from tests.fakes.sam import World, digest, make_world
from tests.integration.sam_node import POINTS, CountingDevice, DyingStore
from tests.integration.sam_site import make_site

KILLED = [*POINTS[1:], "random"]
OPEN_AFTER = {"before_intent": False, "after_intent": True, "after_sign": True, "after_outcome": False}
RESERVED_AFTER = {"before_intent": False, "after_intent": True, "after_sign": True, "after_outcome": True}


@pytest.fixture
def world(database_url: str) -> World:
    return make_world(database_url)


def killed_while_signing(world: World, request: SignatureRequest, counter: Path, point: str) -> None:
    """A child process signs and is killed: at the point by itself, or at any moment by us."""
    world.engine.dispose()  # connections do not survive a fork
    pid = os.fork()
    if pid == 0:
        try:
            store = DyingStore(open_engine(world.url))
            store.point = point
            device = CountingDevice(world.device, counter, point)
            world.activator(device=device, store=store).sign(request)
        finally:
            os._exit(0)
    if point == "random":
        time.sleep(random.uniform(0, 0.015))
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == -signal.SIGKILL or point == "random"


def check(world: World, credential: Credential, point: str, counter: Path) -> None:
    """One round: kill, look, try again, reconcile, look again."""
    sad = world.sad(credential, (digest(1), digest(2)))
    request, before = world.request(sad), size(counter)
    killed_while_signing(world, request, counter, point)
    made = size(counter) - before
    reserved = is_reserved(world, sad.txn)
    # No signature without its committed intent.
    assert made in (0, 2)
    assert reserved or not made
    if point in RESERVED_AFTER:
        assert reserved == RESERVED_AFTER[point]
    # Nothing is signed twice: what was reserved is spent, and what was not can be had once.
    retry = CountingDevice(world.device, counter, "none")
    if reserved:
        with pytest.raises(errors.SadSpent):
            world.activator(device=retry).sign(request)
    else:
        assert len(world.activator(device=retry).sign(request)) == 2
    assert size(counter) - before <= 2
    # What nobody finished is closed by the reconciler, for good.
    left_open = is_open(world, sad.txn)
    assert left_open == OPEN_AFTER.get(point, left_open)
    world.clock.advance(61)
    assert reconcile(world.store, world.clock, 60) == left_open
    assert not is_open(world, sad.txn)
    with pytest.raises((errors.SadSpent, errors.SadExpired)):
        world.activator(device=retry).sign(request)
    assert state_of(world, sad.txn) in {"consumed", "indeterminate"}


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


def rounds(world: World, counter: Path, each: int, progress: Callable[[int], None] = lambda _round: None) -> None:
    credential = world.credential()
    for number in range(each):
        for point in KILLED:
            check(world, credential, point, counter)
        progress(number)
    check_chain(world)
    world.engine.dispose()


def test_SAD_03_killed_at_every_point(world: World, tmp_path: Path) -> None:
    rounds(world, tmp_path / "counter", 4)


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


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_SAD_03_a_thousand_kills(world: World, tmp_path: Path) -> None:
    rounds(world, tmp_path / "counter", 1000 // len(KILLED))


@pytest.mark.hsm
def test_SAD_03_killed_at_every_point_on_a_real_token(tmp_path: Path) -> None:
    site = make_site(tmp_path, f"sqlite:///{tmp_path / 'sam.sqlite'}")
    site.write_config()
    site.init()
    counter = tmp_path / "counter"
    with site.serving(), SamClient(site.socket()) as client:
        view = site.credential(client)
    for point in POINTS[1:]:
        before = size(counter)
        node = ("tests.integration.sam_node", str(site.config()), str(counter), point)
        with site.serving(*node) as process, SamClient(site.socket()) as client:
            sad = site.sad(view)
            with pytest.raises(LinkUnavailable):
                client.sign(site.request(sad))
            assert process.wait(10) == -signal.SIGKILL
        assert size(counter) - before == (1 if point in {"after_sign", "after_outcome"} else 0)
        node = ("tests.integration.sam_node", str(site.config()), str(counter), "none")
        with site.serving(*node), SamClient(site.socket()) as client:
            again = site.run("sam", "status", "--config", str(site.config()), "--json")
            assert again.returncode == 0
            # Whatever became of it, the SAD is from before the start; another one of the same approval may serve.
            with pytest.raises(LinkRefused) as refusal:
                client.sign(site.request(sad))
            assert refusal.value.refusal == codes.INVALID_SAD
            again_approved = site.request(site.sad(view, txn=sad.txn))
            assert signs_again(client, again_approved) == (point == "before_intent")
        assert size(counter) - before <= 1
    engine = open_engine(f"sqlite:///{tmp_path / 'sam.sqlite'}")
    assert SqlStore(engine).counts()["reserved"] == 2
    engine.dispose()


def signs_again(client: SamClient, request: SignRequest) -> bool:
    try:
        return len(client.sign(request)) == 1
    except LinkRefused as refused:
        if refused.refusal != codes.SAD_USED:
            raise
        return False
