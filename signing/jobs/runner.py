"""Carries jobs out, one after another.  Any number of runners may work on one database, on any number of nodes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Final, Protocol

from foundation.clock import Clock
from foundation.errors import PrivySealError
from foundation.log import get
from signing.jobs.errors import NotYet
from signing.jobs.model import Claimed, Outcome, Phase, milliseconds
from signing.jobs.store import JobStore

LEASE: Final = 60_000
"""Milliseconds for which a worker has a job: longer than the link's deadline and a notice's may be together."""
FIRST_PAUSE: Final = 500
LONGEST_PAUSE: Final = 30_000
FIRST_NOTICE_PAUSE: Final = 5_000
LONGEST_NOTICE_PAUSE: Final = 600_000
_POLL_SECONDS: Final = 1.0
"""How long a job waits that another node took in and did not carry out."""
_FORGET_EVERY: Final = 10_000

_log = get(__name__)


class Work(Protocol):
    """Whoever knows what jobs are about."""

    def carry_out(self, claimed: Claimed) -> Outcome:
        """Do what a job's request says.

        :raises NotYet: it has to be tried again.
        """
        ...

    def given_up(self, claimed: Claimed, *, maybe_done: bool) -> Outcome:
        """What is told of a job that is not tried again."""
        ...


class Runner:
    """Jobs that are due, carried out; clients that wait, told."""

    def __init__(
        self, store: JobStore, work: Work, tell: Callable[[str, str], bool], clock: Clock, *, notice_attempts: int
    ) -> None:
        """:param tell: at a URI, of a job; whether it was taken."""
        self._store = store
        self._work = work
        self._tell = tell
        self._clock = clock
        self._attempts = notice_attempts
        self._forgotten = 0

    def step(self, phases: Collection[Phase] = (Phase.WORK, Phase.NOTICE)) -> bool:
        """One job of these phases; False where none is due.

        :raises JobsUnavailable: the database does not answer.
        """
        now = self._now()
        if now >= self._forgotten + _FORGET_EVERY:
            self._forgotten = now
            self._store.forget(now)
        claimed = self._store.claim(now, LEASE, phases)
        if claimed is None:
            return False
        if claimed.phase is Phase.WORK:
            self._carry_out(claimed)
        else:
            self._notice(claimed)
        return True

    def _carry_out(self, claimed: Claimed) -> None:
        try:
            # What may have been done is sent again only where the module does it once however often it is asked.
            lost = claimed.maybe_done and not claimed.once
            if lost or self._now() >= claimed.ends_at:
                outcome = self._work.given_up(claimed, maybe_done=claimed.maybe_done)
            else:
                outcome = self._work.carry_out(claimed)
        except NotYet as error:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE << min(claimed.attempt - 1, 16))
            self._store.postpone(claimed, self._now() + pause, maybe_done=not error.certainly_undone)
            return
        if not self._store.finish(claimed, outcome, self._now()):
            _log.warning("a job was finished by another worker", extra={"fields": {"job": claimed.id}})

    def _notice(self, claimed: Claimed) -> None:
        if claimed.response_uri is not None and not self._tell(claimed.response_uri, claimed.id):
            if claimed.attempt < self._attempts:
                pause = min(LONGEST_NOTICE_PAUSE, FIRST_NOTICE_PAUSE << min(claimed.attempt - 1, 16))
                self._store.postpone(claimed, self._now() + pause, maybe_done=False)
                return
            _log.error("a client was never told", extra={"fields": {"job": claimed.id, "attempts": claimed.attempt}})
        self._store.told(claimed)

    def _now(self) -> int:
        return milliseconds(self._clock.now())


class Background:
    """Threads that run jobs: when woken, and once a second.

    One more tells clients, and does nothing else: whoever lets itself be told slowly, or has much to be told, keeps no
    one's signature waiting (DOS-02).
    """

    def __init__(self, runner: Runner, threads: int, poll_seconds: float = _POLL_SECONDS) -> None:
        self._runner = runner
        self._poll = poll_seconds
        self._due = threading.Condition()
        self._woken = 0
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, args=(Phase.WORK,), name=f"jobs-{number}", daemon=True)
            for number in range(threads)
        ]
        self._threads.append(threading.Thread(target=self._run, args=(Phase.NOTICE,), name="jobs-told", daemon=True))

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """A job was taken in."""
        with self._due:
            self._woken += 1
            self._due.notify_all()

    def stop(self) -> None:
        """End after the jobs at hand."""
        with self._due:
            self._stopping = True
            self._due.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self, phase: Phase) -> None:
        while not self._stopping:
            if not self._step(phase):
                self._wait(phase)

    def _wait(self, phase: Phase) -> None:
        with self._due:
            if phase is Phase.NOTICE:
                # What it has to do arises from jobs that were carried out, on any node, and nobody waits for it.
                self._due.wait_for(lambda: self._stopping, self._poll)
                return
            self._due.wait_for(lambda: self._stopping or self._woken > 0, self._poll)
            self._woken = max(0, self._woken - 1)

    def _step(self, phase: Phase) -> bool:
        try:
            return self._runner.step((phase,))
        except PrivySealError as error:
            _log.error("jobs cannot be carried out", extra={"fields": {"error": error.code}})
        except Exception:  # noqa: BLE001 - the next job may do better; without this thread there is none
            _log.exception("a job failed")
        return False
