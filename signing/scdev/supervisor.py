"""Keeps worker processes alive and hands calls to them.

Every worker has one call at a time and is killed when that call fails in a way that leaves it in doubt, or takes too
long: a hung C_Sign cannot be cancelled, only its process can be ended.  One thread starts replacements, one after
another (so that a wrong PIN is presented once, not once a worker), with exponential backoff; a worker joins the pool
only after a canary signature of its own has been verified here.  Another thread has one of them make a canary signature
every second, whether anybody signs or not, so that what is said of the device is true.

Where a return code says that the device is lost, no worker that was started before serves another call: calls are
refused at once, until a new one has proved that the device is back.
"""

from __future__ import annotations

import itertools
import json
import secrets
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from foundation import log
from signing.sam.ports import DeviceError, DeviceLost, DeviceUnavailable, PinRefused
from signing.scdev.children import start
from signing.scdev.errors import FrameBroken
from signing.scdev.frames import pack, receive, send
from signing.scdev.returncodes import CKR_OPERATION_ACTIVE, STALE_CODES, down_for_all, name_of_code, worth_another_try
from signing.scdev.settings import DeviceHealth, DeviceSettings
from signing.scdev.vitals import Vitals
from signing.scdev.workers import Answered, Late, Turn, Worker, answered, end, health_of, opening, preferred

_log = log.get(__name__)

_START_SECONDS: Final = 60.0
"""For C_Initialize, login and the canary, the first time: with many objects on a token that is not quick."""
_START_LEAST: Final = 5.0
"""The same later on, or eight times what it took; doubled each time that it was not enough."""
_TICK_SECONDS: Final = 0.2
"""How often idle workers are looked at."""
_PROBE_SECONDS: Final = 1.0
"""Between two canaries."""
_PROBE_DEADLINE: Final = 5.0
"""For one, where the deadline of calls is not shorter."""
_LOOK_AHEAD: Final = 8
"""Callers among whom a worker that becomes free looks for one whose key it is likely to have."""
_PASSED_MOST: Final = 4
"""How many of them may be served before the one that has waited longest."""
_BACKOFF_FIRST: Final = 0.1
_BACKOFF_LAST: Final = 2.0

_ENDING: Final = (DeviceUnavailable, DeviceLost, PinRefused)
_REPEATABLE: Final = frozenset(
    {b"sign", b"generate", b"rewrap", b"keks", b"kept", b"mac", b"read-data", b"checkpoint", b"checkpoint-key"}
)
"""What leaves nothing behind where it failed before C_Sign."""

VerifyCanary = Callable[[bytes, bytes, bytes], None]
"""(EC point, digest, DER signature); raises DeviceUnavailable when it does not verify."""


class Supervisor:
    """The pool.  Thread-safe."""

    def __init__(
        self, settings: DeviceSettings, verify_canary: VerifyCanary, given_up: Callable[[], bool] = lambda: False
    ) -> None:
        """Start the workers and wait for the first.

        :param given_up: asked now and then meanwhile: whether the first is not waited for any longer.
        :raises PinRefused: the token refused the PIN; it was tried once.
        :raises DeviceUnavailable: no worker could be started, its canary did not verify, or it was given up.
        :raises OperationNotPermitted: the token's keys are missing or not as they have to be.
        """
        self._settings = settings
        self._verify_canary = verify_canary
        self._kek_id = settings.kek_id
        self._state = threading.Condition()
        self._idle: list[Worker] = []
        self._turns: deque[Turn] = deque()
        self._members: set[Worker] = set()
        self._ending: list[subprocess.Popen[bytes]] = []
        self._starting: Worker | None = None
        self._late = Late(_START_SECONDS)
        self._failure: DeviceError | None = None
        self._pin_refused = False
        self._closed = False
        self._vitals = Vitals()
        self._start_limit = _START_SECONDS
        self._keeper = threading.Thread(target=self._keep, name="scdev-keeper", daemon=True)
        self._closing = threading.Event()
        self._prober = threading.Thread(target=self._probe, name="scdev-prober", daemon=True)
        self._keeper.start()
        self._prober.start()
        failure = self._wait_for_first(given_up)
        if failure is not None:
            self.close()
            raise PinRefused("the token refused the PIN") if self._pin_refused else failure

    def _wait_for_first(self, given_up: Callable[[], bool]) -> DeviceError | None:
        until = time.monotonic() + 2 * _START_SECONDS
        with self._state:
            while not (self._members or self._failure or given_up()) and time.monotonic() < until:
                self._state.wait(_TICK_SECONDS)
            if self._members:
                return None
            return self._failure or DeviceUnavailable("no worker of the device started in time")

    def call(self, request: Sequence[bytes], near: bytes | None = None) -> list[bytes]:
        """Hand a request to a worker and wait for its answer.

        :param near: what requests have in common that had better go to the same worker, as long as it is free.
        :raises DeviceUnavailable: no worker could be had in time, so that nothing was sent; or the worker says so.
        :raises DeviceLost: sent, but no answer came in time, or the worker died.
        :raises DeviceError: whatever else the worker answered.
        """
        frame = pack(request)
        until = time.monotonic() + self._settings.deadline_seconds
        repeatable = request[0] in _REPEATABLE
        while True:
            worker = self._take(until, near)
            if not self._send(worker, frame):
                continue
            try:
                return self._await(worker, self._settings.deadline_seconds)
            except Answered as refused:
                again = refused.error.certainly_not_signed and worth_another_try(refused.rv)
                if not (again and repeatable and time.monotonic() < until):
                    if again and refused.rv in STALE_CODES:
                        _log.critical("the token does not know a key that a new process has just looked up",
                                      extra={"fields": {"event": "scdev.key_missing"}})  # fmt: skip
                    raise refused.error from None
                repeatable = False

    def health(self) -> DeviceHealth:
        """What is known without asking the device."""
        with self._state:
            return health_of(
                self._vitals,
                time.monotonic(),
                self._serving(),
                idle=self._idle,
                workers=self._settings.workers,
                pin_refused=self._pin_refused,
                failure=self._failure,
            )

    def processes(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        with self._state:
            return tuple(worker.process.pid for worker in self._members)

    def close(self) -> None:
        """Let calls under way finish within the deadline, then end the workers."""
        self._closing.set()
        with self._state:
            self._closed = True
            if self._starting is not None:
                self._starting.dismiss()
            self._dismiss_if_hopeless()
            self._state.notify_all()
            self._state.wait_for(lambda: len(self._idle) == len(self._members), self._settings.deadline_seconds)
            for worker in self._members:
                busy = worker not in self._idle
                (worker.abandon if busy else worker.close)()
                self._ending.append(worker.process)
            self._members.clear()
            self._idle.clear()
        self._keeper.join()
        self._prober.join()
        self._heed(self._late.end(self._settings.deadline_seconds))
        for process in self._ending:
            end(process)
        self._ending.clear()

    # A call

    def _take(self, until: float, near: bytes | None = None) -> Worker:
        with self._state:
            if self._idle and not self._closed:
                return self._from_idle(near)
            self._raise_if_hopeless()
            turn = Turn(preferred(near, self._serving()))
            self._turns.append(turn)
        return self._wait_for(turn, until)

    def _wait_for(self, turn: Turn, until: float) -> Worker:
        turn.ready.wait(max(until - time.monotonic(), 0.0))
        with self._state:
            if turn.worker is not None:
                return turn.worker
            if turn in self._turns:
                self._turns.remove(turn)
            self._raise_if_hopeless()
        raise DeviceUnavailable("every worker was busy until the deadline")

    def _from_idle(self, near: bytes | None) -> Worker:
        worker = preferred(near, self._idle)
        if worker is None:
            return self._idle.pop()
        self._idle.remove(worker)
        return worker

    def _offer(self, worker: Worker) -> None:
        """To one of those that have waited longest, or to the idle ones."""
        if self._turns:
            turn = self._next_turn(worker)
            turn.worker = worker
            turn.ready.set()
        else:
            self._idle.append(worker)

    def _next_turn(self, worker: Worker) -> Turn:
        """The first, unless the next few hold one whose key this worker is likely to have; nobody waits for long so."""
        first = self._turns[0]
        if first.passed < _PASSED_MOST:
            for turn in itertools.islice(self._turns, _LOOK_AHEAD):
                if turn.preferred in {None, worker}:
                    first.passed += 1
                    self._turns.remove(turn)
                    return turn
        return self._turns.popleft()

    def _dismiss_if_hopeless(self) -> None:
        """Let those who wait find out."""
        if self._hopeless():
            for turn in self._turns:
                turn.ready.set()
            self._turns.clear()

    def _raise_if_hopeless(self) -> None:
        if self._pin_refused and not self._serving():
            raise PinRefused("the token refused the PIN; it is not presented again")
        if self._hopeless():
            raise DeviceUnavailable("the device is down")

    def _hopeless(self) -> bool:
        """Closed, or nobody left and the last start failed: to wait out the deadline would serve nobody."""
        return self._closed or (not self._serving() and self._failure is not None)

    def _serving(self) -> list[Worker]:
        return [worker for worker in self._members if not worker.retiring]

    def _send(self, worker: Worker, frame: bytes) -> bool:
        """False where the worker has died: no worker acts on a part of a frame, so that another one can be tried."""
        try:
            send(worker.line, frame, self._settings.deadline_seconds)
        except OSError:
            self._discard(worker, "its line was closed")
            return False
        return True

    def _await(self, worker: Worker, seconds: float, silence: DeviceError | None = None) -> list[bytes]:
        """Its answer.

        :param silence: why the device is lost, where it is if no answer comes in time.
        :raises Answered: the worker could not.
        :raises DeviceLost: no answer, or none in time.
        """
        try:
            kind, *fields = receive(worker.line, seconds)
        except TimeoutError as error:
            self._discard(worker, "it did not answer in time", silence)
            raise DeviceLost("the device did not answer in time") from error
        except (OSError, FrameBroken) as error:
            self._discard(worker, "its line was closed")
            raise DeviceLost("the device's worker died") from error
        if kind == b"ok":
            self._give_back(worker)
            return fields
        if kind == b"ok-last":
            self._discard(worker, "it could not destroy a key")
            return fields
        refused = answered(kind, fields)
        self._note(refused)
        if isinstance(refused.error, _ENDING):
            down = DeviceUnavailable(f"the device is down: {name_of_code(refused.rv)}")
            self._discard(worker, str(refused), down if down_for_all(refused.rv) else None)
        else:
            self._give_back(worker)
        raise refused

    def _note(self, refused: Answered) -> None:
        with self._state:
            self._vitals.failed(refused.rv)
            if isinstance(refused.error, PinRefused):
                self._pin_refused = True
        if refused.rv == CKR_OPERATION_ACTIVE:
            _log.critical("an operation was active on a session that has one at a time: a fault of this program",
                          extra={"fields": {"event": "scdev.operation_active"}})  # fmt: skip

    def _lose(self, by: Worker, error: DeviceError) -> None:
        """No worker that was started before this serves another call; one that has a call finishes it.

        Under the lock.
        """
        if by.generation < self._vitals.losses:
            return
        self._vitals.losses += 1
        self._failure = error
        for worker in self._serving():
            self._vitals.restarts += 1
            if worker in self._idle:
                self._idle.remove(worker)
                self._retire(worker)
            else:
                worker.retiring = True
        self._dismiss_if_hopeless()
        _log.critical("%s", error, extra={"fields": {"event": "scdev.device_lost"}})

    def _give_back(self, worker: Worker) -> None:
        worker.operations += 1
        worker.proved = time.monotonic()
        with self._state:
            self._vitals.answered(worker.proved)
            if worker.retiring:
                self._retire(worker)
            else:
                self._offer(worker)
            # Not after each call: the keeper would wake up only to find that there is nothing to do.
            if self._has_work():
                self._state.notify_all()

    def _discard(self, worker: Worker, why: str, lost: DeviceError | None = None) -> None:
        """End a worker, and all others where the device is lost."""
        worker.kill()
        with self._state:
            self._members.discard(worker)
            self._ending.append(worker.process)
            self._vitals.restarts += 1
            if lost is not None:
                self._lose(worker, lost)
            self._state.notify_all()
        _log.error("device worker ended: %s", why, extra={"fields": {"event": "scdev.worker_ended"}})

    def _retire(self, worker: Worker) -> None:
        worker.close()
        self._members.discard(worker)
        self._ending.append(worker.process)

    # The keeper's thread

    def _keep(self) -> None:
        backoff = _BACKOFF_FIRST
        while True:
            with self._state:
                self._state.wait_for(self._has_work, _TICK_SECONDS)
                self._reap()
                if self._closed:
                    return
                if not self._wanting():
                    continue
            try:
                worker = self._start()
            except DeviceError as error:
                if self._closing.is_set():
                    return
                self._start_failed(error)
                with self._state:
                    self._state.wait_for(lambda: self._closed, backoff)
                backoff = min(2 * backoff, _BACKOFF_LAST)
                continue
            backoff = _BACKOFF_FIRST
            self._join(worker)

    def _has_work(self) -> bool:
        return self._closed or self._wanting()

    def _wanting(self) -> bool:
        """Whether another worker is to be started: one is missing, or one has served long enough."""
        if self._pin_refused:
            return False
        fresh = sum(worker.operations < self._settings.recycle_after for worker in self._serving())
        return fresh < self._settings.workers

    def _reap(self) -> None:
        """Take dead workers out of the pool; collect the exit codes of those that were ended."""
        self._ending = [process for process in self._ending if process.poll() is None]
        self._heed(self._late.look())
        for worker in [worker for worker in self._idle if worker.process.poll() is not None]:
            worker.close()
            self._idle.remove(worker)
            self._members.discard(worker)
            self._vitals.restarts += 1
            _log.error("device worker died", extra={"fields": {"event": "scdev.worker_ended"}})

    def _start(self) -> Worker:
        try:
            process, line = start("signing.scdev.worker", self._settings.environment)
        except OSError as error:
            raise DeviceUnavailable("no process for a device worker") from error
        worker = Worker(process, line)
        with self._state:
            worker.generation = self._vitals.losses
            self._starting = worker
            if self._closed:
                worker.dismiss()
        try:
            self._greet(worker)
        except DeviceError as error:
            self._drop_unready(worker, late=isinstance(error.__cause__, TimeoutError))
            raise
        finally:
            with self._state:
                self._starting = None
        return worker

    def _drop_unready(self, worker: Worker, *, late: bool) -> None:
        """Kill it where it has answered; else tell it to end, for it may be in its login, and is to finish that: on the
        way of an end of ours within the deadline of a call, otherwise within the time that the next one has, too.

        A token may write at a login: SoftHSM2 empties the file that makes a token of its directory and fills it again,
        so that who kills it in between has lost the token.  One that hangs holds nobody up, and they do not pile up.
        """
        if self._closing.is_set():
            worker.close()
            end(worker.process, self._settings.deadline_seconds)
        elif late:
            worker.finish()
            self._heed(self._late.take(worker))
        else:
            worker.kill()
            end(worker.process)

    def _heed(self, refused: Answered | None) -> None:
        """What came of a start that took too long: where the PIN was refused, no other one presents it."""
        if refused is not None:
            self._note(refused)
            if isinstance(refused.error, PinRefused):
                self._start_failed(refused.error)

    def _greet(self, worker: Worker) -> None:
        digest, began = secrets.token_bytes(32), time.monotonic()
        try:
            send(worker.line, pack([b"open", opening(self._settings, self._kek_id), digest]), self._start_limit)
            kind, *fields = receive(worker.line, self._start_limit)
        except TimeoutError as error:
            self._start_limit = min(2 * self._start_limit, _START_SECONDS)
            raise DeviceUnavailable("the device's worker did not start in time") from error
        except (OSError, FrameBroken) as error:
            raise DeviceUnavailable("the device's worker did not start") from error
        if kind != b"ready" or len(fields) != 4:
            refused = answered(kind, fields)
            self._note(refused)
            raise refused.error
        worker.point, value, kek_id, token = fields
        self._verify_canary(worker.point, digest, value)
        # One that is made while this process runs changes nothing for it.
        self._kek_id = kek_id.decode()
        worker.token = json.loads(token)
        worker.proved = time.monotonic()
        self._start_limit = min(max(_START_LEAST, 8 * (worker.proved - began)), _START_SECONDS)

    def _start_failed(self, error: DeviceError) -> None:
        with self._state:
            if not isinstance(self._failure, PinRefused):
                self._failure = error
            self._pin_refused = self._pin_refused or isinstance(error, PinRefused)
            self._dismiss_if_hopeless()
            self._state.notify_all()
        if isinstance(error, PinRefused):
            _log.critical(
                "the token refused the PIN; it is not presented again", extra={"fields": {"event": "scdev.pin_refused"}}
            )
        else:
            _log.error("device worker did not start: %s", error, extra={"fields": {"event": "scdev.start_failed"}})

    def _join(self, worker: Worker) -> None:
        with self._state:
            if self._closed or worker.generation < self._vitals.losses:
                self._retire_unjoined(worker)
                return
            back, self._failure = self._failure is not None, None
            self._vitals.canary_verified(worker.proved)
            self._members.add(worker)
            self._offer(worker)
            serving = self._serving()
            spent = [old for old in serving if old.operations >= self._settings.recycle_after]
            if len(serving) > self._settings.workers and spent:
                self._recycle(spent[0])
            self._state.notify_all()
        if back:
            _log.warning("the device works", extra={"fields": {"event": "scdev.device_back"}})

    def _retire_unjoined(self, worker: Worker) -> None:
        worker.close()
        self._ending.append(worker.process)

    def _recycle(self, worker: Worker) -> None:
        """Its replacement has come: it ends now, or when its call is done."""
        if worker in self._idle:
            self._idle.remove(worker)
            self._retire(worker)
        else:
            worker.retiring = True

    # The prober's thread

    def _probe(self) -> None:
        while not self._closing.wait(_PROBE_SECONDS):
            worker = self._take_for_probe()
            if worker is not None:
                self._prove(worker)

    def _take_for_probe(self) -> Worker | None:
        """The idle one that has proved itself least lately; where all are busy, the next that is not."""
        with self._state:
            if self._closed or not self._serving():
                return None
            if self._idle:
                worker = min(self._idle, key=lambda each: each.proved)
                self._idle.remove(worker)
                return worker
            turn = Turn(None)
            self._turns.appendleft(turn)
        try:
            return self._wait_for(turn, time.monotonic() + self._settings.deadline_seconds)
        except DeviceError:
            # Busy workers have answers of their own to give; that none comes shows by its age.
            return None

    def _prove(self, worker: Worker) -> None:
        digest = secrets.token_bytes(32)
        if not self._send(worker, pack([b"canary", digest])):
            return
        silence = DeviceUnavailable("the device is down: it does not answer")
        try:
            value, *_ = self._await(worker, min(self._settings.deadline_seconds, _PROBE_DEADLINE), silence) or [b""]
        except (Answered, DeviceLost):
            return
        try:
            self._verify_canary(worker.point, digest, value)
        except DeviceUnavailable as error:
            with self._state:
                self._lose(worker, error)
                self._state.notify_all()
        else:
            with self._state:
                self._vitals.canary_verified(time.monotonic())
