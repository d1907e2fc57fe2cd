"""SAD-03, OPS-01: the module and its device's processes are killed, anywhere; the HSM's side keeps count."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from foundation.clock import SystemClock
from signing.link import codes
from signing.link.client import SamClient
from signing.link.errors import LinkRefused, LinkUnavailable
from signing.link.frames import send_frame
from signing.link.messages import CredentialView, SignRequest
from signing.sam.reconcile import reconcile
from signing.storage.engine import open_engine
from signing.storage.store import SqlStore
from tests.fakes.sam import digest
from tests.integration.crash_node import POINTS
from tests.integration.oracle import Oracle
from tests.integration.sam_site import ROOT, Site, make_site
from tests.shim import Shim, of_digest

pytestmark = pytest.mark.hsm

ANY = None
EXPECTED: dict[str, tuple[bool | None, str | None]] = {
    "before_intent": (False, ""),
    "intent_written": (False, ""),
    "after_intent": (False, "open"),
    "worker_before_sign": (False, "open"),
    "both_before_sign": (False, "open"),
    "while_worker_signs": (True, "open"),
    "worker_after_sign": (True, "open"),
    "after_sign": (True, "open"),
    "outcome_written": (True, "open"),
    "after_outcome": (True, "consumed"),
    "answered": (True, "consumed"),
    "not_waited_for": (True, "consumed"),
    "not_waited_for_and_killed": (True, "consumed"),
    "random": (ANY, ANY),
    "random_worker": (ANY, ANY),
}
"""Where it is killed: whether C_Sign was called by then, and what the ledger says."""
GIVEN_AGAIN = frozenset({"not_waited_for"})
"""Where the values are with a process that lives, and nobody has them."""
SIGNING = "C_Sign/users"
UNANSWERED = "unanswered"
_SECONDS = 30.0


def until(reached: Callable[[], bool], pause: float = 0.005) -> None:
    end = time.monotonic() + _SECONDS
    while not reached():
        assert time.monotonic() < end, "not in time"
        time.sleep(pause)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[1] == str(pid) and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return True


@dataclass
class Crashes:
    """Nodes that are killed one after the other, on one database and one token."""

    site: Site
    shim: Shim
    engine: Engine
    oracle: Oracle
    warm: subprocess.Popen[str]
    client: SamClient
    pool: ThreadPoolExecutor
    armed: Path
    view: CredentialView = field(init=False)
    node: int = 0
    asked: int = 0
    txn: str = ""
    """Of the approval that is being asked for."""

    def start(self) -> None:
        """A node, ready."""
        self._tell("start")
        said, number = self._said()
        assert said == "ready"
        self.node = int(number)
        self.client.close()  # idle connections to the one before

    def ended(self) -> None:
        """The node was killed; its workers come to their end by themselves."""
        self._tell("wait")
        assert self._said() == ["ended", str(-signal.SIGKILL)]

    def kill(self) -> None:
        """Now, from outside."""
        os.kill(self.node, signal.SIGKILL)
        self.ended()

    def workers(self) -> list[int]:
        """Of the node's device."""
        return children(self.node)

    def ask(self, request: SignRequest) -> str:
        """A client; what it is given counts as released."""
        try:
            values = self.client.sign(request)
        except LinkUnavailable:
            return UNANSWERED
        except LinkRefused as refused:
            return refused.refusal
        self.oracle.release(request.digests, values)
        return "signed"

    def request(self) -> tuple[str, SignRequest]:
        """Of a new approval, over digests that no other is over; with its ``txn``."""
        count = random.randint(1, 3)
        sad = self.site.sad(self.view, tuple(digest(self.asked + number) for number in range(1, count + 1)))
        self.asked += count
        self.txn = sad.txn
        return sad.txn, self.site.request(sad)

    # One round

    def round(self, point: str) -> None:
        """Kill, look, come back, try again, reconcile, try again."""
        txn, request = self.request()
        wanted = {of_digest(each) for each in request.digests}
        died = getattr(self, f"_{point}", self._armed(point))(request)
        signed, state = bool(wanted & set(self.oracle.sent())), self.oracle.state(txn)
        # No signature without its committed intent, and no other state than the point's.
        assert state or not signed, point
        expected = EXPECTED[point]
        assert expected[0] in (ANY, signed), point
        assert expected[1] in (ANY, state), point
        if died:
            self.start()
        until(self._signs)
        # What was reserved is spent; and what was not can be had, once.
        before, again = self.shim.calls(SIGNING), point in GIVEN_AGAIN
        assert self.ask(request) == (codes.SAD_USED if state and not again else "signed"), point
        assert not again or self.shim.calls(SIGNING) == before, point
        self._reconcile()
        assert self.oracle.state(txn) == ("indeterminate" if state == "open" else "consumed"), point
        assert self.ask(request) == codes.SAD_USED, point

    def _signs(self) -> bool:
        try:
            self.client.ping()
        except (LinkUnavailable, LinkRefused):
            return False
        return True

    def _reconcile(self) -> None:
        """Once the deadline has passed."""
        with self.engine.begin() as connection:
            late = "UPDATE redemptions SET reserved_at = reserved_at - 3600"
            connection.execute(text(f"{late} WHERE id NOT IN (SELECT redemption_id FROM outcomes)"))
        reconcile(SqlStore(self.engine), SystemClock(), 60)

    # The points

    def _armed(self, point: str) -> Callable[[SignRequest], bool]:
        def armed(request: SignRequest) -> bool:
            self.armed.write_text(point)
            assert self.ask(request) == UNANSWERED
            self.ended()
            return True

        return armed

    def _answered(self, request: SignRequest) -> bool:
        assert self.ask(request) == "signed"
        self.kill()
        return True

    def _not_waited_for(self, request: SignRequest) -> bool:
        leave(self.site.socket(), request)
        until(lambda: self.oracle.state(self.txn) == "consumed")
        return False

    def _not_waited_for_and_killed(self, request: SignRequest) -> bool:
        self._not_waited_for(request)
        self.kill()
        return True

    def _worker_before_sign(self, request: SignRequest) -> bool:
        return self._worker_dies(request, "kill")

    def _worker_after_sign(self, request: SignRequest) -> bool:
        return self._worker_dies(request, "kill-after")

    def _worker_dies(self, request: SignRequest, action: str) -> bool:
        self.shim.fault(SIGNING, action, times=1)
        assert self.ask(request) == codes.INDETERMINATE
        self.shim.heal()
        return False

    def _both_before_sign(self, request: SignRequest) -> bool:
        asking = self._reaches_sign(request, "hang")
        workers = self.workers()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        self.kill()
        self.shim.heal()
        until(lambda: all(map(is_gone, workers)))
        assert asking.result(_SECONDS) in {UNANSWERED, codes.INDETERMINATE}
        return True

    def _while_worker_signs(self, request: SignRequest) -> bool:
        asking, workers = self._reaches_sign(request, "hang"), self.workers()
        self.kill()
        # Whatever the worker signs now, its intent was committed before.
        assert not {of_digest(each) for each in request.digests} & set(self.oracle.sent())
        self.shim.heal()
        until(lambda: all(map(is_gone, workers)))
        assert asking.result(_SECONDS) == UNANSWERED
        return True

    def _reaches_sign(self, request: SignRequest, action: str) -> Future[str]:
        before = self.shim.calls(SIGNING)
        self.shim.fault(SIGNING, action, times=1)
        asking = self.pool.submit(self.ask, request)
        until(lambda: self.shim.calls(SIGNING) > before)
        return asking

    def _random(self, request: SignRequest) -> bool:
        asking, workers = self.pool.submit(self.ask, request), self.workers()
        time.sleep(random.uniform(0, 0.02))
        self.kill()
        until(lambda: all(map(is_gone, workers)))
        asking.result(_SECONDS)
        return True

    def _random_worker(self, request: SignRequest) -> bool:
        workers = self.workers()
        asking = self.pool.submit(self.ask, request)
        time.sleep(random.uniform(0, 0.02))
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        asking.result(_SECONDS)
        until(lambda: all(map(is_gone, workers)))
        return False

    def _tell(self, what: str) -> None:
        assert self.warm.stdin is not None
        self.warm.stdin.write(f"{what}\n")
        self.warm.stdin.flush()

    def _said(self) -> list[str]:
        assert self.warm.stdout is not None
        return self.warm.stdout.readline().split()


def leave(path: Path, request: SignRequest) -> None:
    """Ask, and be gone before there is an answer."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(path))
        send_frame(link, {"op": "sign", "body": request.to_json()}, time.monotonic() + _SECONDS)


def shimmed_site(directory: Path, url: str, shim: Shim, **settings: Any) -> Site:
    """An installation, initialised, with the counting module in front of its token."""
    site = make_site(directory, url)
    site.module, site.environment = shim.library, {**site.environment, **shim.environment}
    site.write_config(**settings)
    site.init()
    return site


@contextmanager
def crashing(directory: Path, url: str, shim: Shim) -> Iterator[Crashes]:
    site, armed = shimmed_site(directory, url, shim), directory / "armed"
    engine = open_engine(url)
    command = [sys.executable, "-m", "tests.integration.crash_node", str(site.config()), str(armed)]
    with (
        site.log().open("a") as log,
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as warm,
        SamClient(site.socket()) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        crashes = Crashes(site, shim, engine, Oracle(shim, engine), warm, client, pool, armed)
        crashes.start()
        crashes.view = site.credential(client)
        crashes.oracle.begin()
        yield crashes
        assert warm.stdin is not None
        warm.stdin.close()
    engine.dispose()


def survives(crashes: Crashes, rounds: int) -> None:
    points = list(EXPECTED)
    for number in range(rounds):
        crashes.round(points[number % len(points)])
    crashes.oracle.verify()
    assert crashes.oracle.released


def test_the_named_points_are_all_gone_through() -> None:
    assert set(POINTS) < set(EXPECTED)


@pytest.mark.timeout(300)
def test_SAD_03_OPS_01_killed_at_every_point_fifty_times_on_each_database(
    database_url: str, shim: Shim, tmp_path: Path
) -> None:
    with crashing(tmp_path, database_url, shim) as crashes:
        survives(crashes, 4 * len(EXPECTED))


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_SAD_03_OPS_01_a_thousand_kills(database_url: str, shim: Shim, tmp_path: Path) -> None:
    with crashing(tmp_path, database_url, shim) as crashes:
        survives(crashes, 1000)


def test_SAD_03_OPS_01_the_product_killed_with_its_workers_while_it_signs(shim: Shim, tmp_path: Path) -> None:
    """``privyseal sam serve`` as it is, from outside; started again it takes no SAD from before."""
    url = f"sqlite:///{tmp_path / 'sam.sqlite'}"
    site = shimmed_site(tmp_path, url, shim)
    with ThreadPoolExecutor(1) as pool, site.serving() as process, SamClient(site.socket()) as client:
        workers = site.workers()
        assert len(workers) == len(children(process.pid)) == 2
        view = site.credential(client)
        birth, before = len(shim.sent()), shim.calls(SIGNING)
        sad = site.sad(view)
        shim.fault(SIGNING, "hang", times=1)
        asking = pool.submit(client.sign, site.request(sad))
        until(lambda: shim.calls(SIGNING) > before)
        for pid in (*workers, process.pid):
            os.kill(pid, signal.SIGKILL)
        shim.heal()
        with pytest.raises(LinkUnavailable):
            asking.result(_SECONDS)
    with site.serving(), SamClient(site.socket()) as client:
        until(lambda: signs(client))
        with pytest.raises(LinkRefused) as refused:
            client.sign(site.request(sad))
        assert refused.value.refusal == codes.INVALID_SAD
        # Another SAD of the same approval shares its allowance, and that is spent.
        with pytest.raises(LinkRefused) as refused:
            client.sign(site.request(site.sad(view, txn=sad.txn)))
        assert refused.value.refusal == codes.SAD_USED
        assert len(shim.sent()) == birth
        assert len(client.sign(site.request(site.sad(view)))) == 1
    assert len(shim.sent()) == birth + 1


def signs(client: SamClient) -> bool:
    try:
        client.ping()
    except (LinkUnavailable, LinkRefused):
        return False
    return True
