"""Keeps worker processes alive and hands calls to them.

Every worker has one call at a time and is killed when that call fails in a way that leaves it in doubt, or takes too
long: a hung C_Sign cannot be cancelled, only its process can be ended.  One thread starts replacements, one after
another (so that a wrong PIN is presented once, not once a worker), with exponential backoff; a worker joins the pool
only after a canary signature of its own has been verified here.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from foundation import log
from signing.sam.ports import (
    DeviceError,
    DeviceLost,
    DeviceUnavailable,
    OperationNotPermitted,
    PinRefused,
    WrappedKeyRefused,
)
from signing.scdev.children import start
from signing.scdev.errors import FrameBroken
from signing.scdev.frames import pack, receive
from signing.scdev.settings import DeviceHealth, DeviceSettings

_log = log.get(__name__)

_START_SECONDS: Final = 60.0
"""For C_Initialize, login and the canary: with many objects on a token that is not quick."""
_TICK_SECONDS: Final = 0.2
"""How often idle workers are looked at."""
_LOOK_AHEAD: Final = 8
"""Callers among whom a worker that becomes free looks for one whose key it is likely to have."""
_PASSED_MOST: Final = 4
"""How many of them may be served before the one that has waited longest."""
_BACKOFF_FIRST: Final = 0.1
_BACKOFF_LAST: Final = 30.0

_ERRORS: Final[dict[bytes, type[DeviceError]]] = {
    kind.code.encode(): kind
    for kind in (DeviceUnavailable, DeviceLost, WrappedKeyRefused, OperationNotPermitted, PinRefused)
}
_ENDING: Final = (DeviceUnavailable, DeviceLost, PinRefused)

VerifyCanary = Callable[[bytes, bytes, bytes], None]
"""(EC point, digest, DER signature); raises DeviceUnavailable when it does not verify."""


class _Worker:
    def __init__(self, process: subprocess.Popen[bytes], line: socket.socket) -> None:
        self.process = process
        self.line = line
        self.operations = 0
        self.retiring = False

    def close(self) -> None:
        """Tell it to end; what it was doing, it finishes, and nobody reads."""
        self.line.close()

    def abandon(self) -> None:
        """Kill it, and wake whoever waits for it: closing a descriptor under a reader would not."""
        self.process.kill()
        with contextlib.suppress(OSError):
            self.line.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        self.line.close()
        self.process.kill()


class _Turn:
    """A caller that waits for a worker.  Served in order of arrival: a bare condition starves most of them."""

    def __init__(self, preferred: _Worker | None) -> None:
        self.ready = threading.Event()
        self.worker: _Worker | None = None
        self.preferred = preferred
        """The one that is likely to have the key at hand."""
        self.passed = 0
        """How often another was served first."""


class Supervisor:
    """The pool.  Thread-safe."""

    def __init__(self, settings: DeviceSettings, verify_canary: VerifyCanary) -> None:
        """Start the workers and wait for the first.

        :raises PinRefused: the token refused the PIN; it was tried once.
        :raises DeviceUnavailable: no worker could be started, or its canary did not verify.
        :raises OperationNotPermitted: the token's keys are missing or not as they have to be.
        """
        self._settings = settings
        self._verify_canary = verify_canary
        self._kek_id = settings.kek_id
        self._state = threading.Condition()
        self._idle: list[_Worker] = []
        self._turns: deque[_Turn] = deque()
        self._members: set[_Worker] = set()
        self._ending: list[subprocess.Popen[bytes]] = []
        self._starting: _Worker | None = None
        self._failure: DeviceError | None = None
        self._pin_refused = False
        self._closed = False
        self._restarts = 0
        self._keeper = threading.Thread(target=self._keep, name="scdev-keeper", daemon=True)
        self._keeper.start()
        failure = self._wait_for_first()
        if failure is not None:
            self.close()
            raise failure

    def _wait_for_first(self) -> DeviceError | None:
        with self._state:
            self._state.wait_for(lambda: self._members or self._failure, 2 * _START_SECONDS)
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
        while True:
            worker = self._take(until, near)
            try:
                worker.line.settimeout(self._settings.deadline_seconds)
                worker.line.sendall(frame)
            except OSError:
                # Not all of the frame went out, and no worker acts on a part of one: safe to try another.
                self._discard(worker, "its line was closed")
                continue
            return self._await(worker)

    def health(self) -> DeviceHealth:
        """What is known without asking the device."""
        with self._state:
            ready = len(self._members)
            return DeviceHealth(
                available=ready > 0,
                workers_ready=ready,
                workers=self._settings.workers,
                pin_refused=self._pin_refused,
                restarts=self._restarts,
            )

    def processes(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        with self._state:
            return tuple(worker.process.pid for worker in self._members)

    def close(self) -> None:
        """Let calls under way finish within the deadline, then end the workers."""
        with self._state:
            self._closed = True
            if self._starting is not None:
                self._starting.abandon()
            self._dismiss_if_hopeless()
            self._state.notify_all()
            self._state.wait_for(
                lambda: len(self._idle) == len(self._members), self._settings.deadline_seconds
            )
            for worker in self._members:
                busy = worker not in self._idle
                (worker.abandon if busy else worker.close)()
                self._ending.append(worker.process)
            self._members.clear()
            self._idle.clear()
        self._keeper.join()
        for process in self._ending:
            _end(process)
        self._ending.clear()

    # A call

    def _take(self, until: float, near: bytes | None = None) -> _Worker:
        with self._state:
            if self._idle and not self._closed:
                return self._from_idle(near)
            self._raise_if_hopeless()
            turn = _Turn(_preferred(near, self._members))
            self._turns.append(turn)
        turn.ready.wait(max(until - time.monotonic(), 0.0))
        with self._state:
            if turn.worker is not None:
                return turn.worker
            if turn in self._turns:
                self._turns.remove(turn)
            self._raise_if_hopeless()
        raise DeviceUnavailable("every worker was busy until the deadline")

    def _from_idle(self, near: bytes | None) -> _Worker:
        worker = _preferred(near, self._idle)
        if worker is None:
            return self._idle.pop()
        self._idle.remove(worker)
        return worker

    def _offer(self, worker: _Worker) -> None:
        """To one of those that have waited longest, or to the idle ones."""
        if self._turns:
            turn = self._next_turn(worker)
            turn.worker = worker
            turn.ready.set()
        else:
            self._idle.append(worker)

    def _next_turn(self, worker: _Worker) -> _Turn:
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
        if self._pin_refused and not self._members:
            raise PinRefused("the token refused the PIN; it is not presented again")
        if self._hopeless():
            raise DeviceUnavailable("the device is down")

    def _hopeless(self) -> bool:
        """Closed, or nobody left and the last start failed: to wait out the deadline would serve nobody."""
        return self._closed or (not self._members and self._failure is not None)

    def _await(self, worker: _Worker) -> list[bytes]:
        try:
            kind, *fields = receive(worker.line, self._settings.deadline_seconds)
        except TimeoutError as error:
            self._discard(worker, "it did not answer in time")
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
        refused = _refusal(kind, fields)
        if isinstance(refused, PinRefused):
            with self._state:
                self._pin_refused = True
        if isinstance(refused, _ENDING):
            self._discard(worker, str(refused))
        else:
            self._give_back(worker)
        raise refused

    def _give_back(self, worker: _Worker) -> None:
        worker.operations += 1
        with self._state:
            if worker.retiring:
                self._retire(worker)
            else:
                self._offer(worker)
            self._state.notify_all()

    def _discard(self, worker: _Worker, why: str) -> None:
        worker.kill()
        with self._state:
            self._members.discard(worker)
            self._ending.append(worker.process)
            self._restarts += 1
            self._state.notify_all()
        _log.error("device worker ended: %s", why, extra={"fields": {"event": "scdev.worker_ended"}})

    def _retire(self, worker: _Worker) -> None:
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
        fresh = sum(worker.operations < self._settings.recycle_after for worker in self._members)
        return fresh < self._settings.workers

    def _reap(self) -> None:
        """Take dead workers out of the pool; collect the exit codes of those that were ended."""
        self._ending = [process for process in self._ending if process.poll() is None]
        for worker in [worker for worker in self._idle if worker.process.poll() is not None]:
            worker.close()
            self._idle.remove(worker)
            self._members.discard(worker)
            self._restarts += 1
            _log.error("device worker died", extra={"fields": {"event": "scdev.worker_ended"}})

    def _start(self) -> _Worker:
        try:
            process, line = start("signing.scdev.worker", self._settings.environment)
        except OSError as error:
            raise DeviceUnavailable("no process for a device worker") from error
        worker = _Worker(process, line)
        with self._state:
            self._starting = worker
            if self._closed:
                worker.abandon()
        try:
            self._greet(worker)
        except DeviceError:
            worker.kill()
            _end(process)
            raise
        finally:
            with self._state:
                self._starting = None
        return worker

    def _greet(self, worker: _Worker) -> None:
        digest = secrets.token_bytes(32)
        settings = {
            "module": str(self._settings.module),
            "token_label": self._settings.token_label,
            "pin_file": str(self._settings.pin_file),
            "kek_id": self._kek_id,
            "key_wrap": self._settings.key_wrap,
            "key_cache": self._settings.key_cache,
            "key_cache_seconds": self._settings.key_cache_seconds,
            "require_trusted_kek": self._settings.require_trusted_kek,
        }
        try:
            worker.line.settimeout(_START_SECONDS)
            worker.line.sendall(pack([b"open", json.dumps(settings).encode(), digest]))
            kind, *fields = receive(worker.line, _START_SECONDS)
        except (OSError, FrameBroken) as error:
            raise DeviceUnavailable("the device's worker did not start") from error
        if kind != b"ready" or len(fields) != 3:
            raise _refusal(kind, fields)
        self._verify_canary(fields[0], digest, fields[1])
        # One that is made while this process runs changes nothing for it.
        self._kek_id = fields[2].decode()

    def _start_failed(self, error: DeviceError) -> None:
        with self._state:
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

    def _join(self, worker: _Worker) -> None:
        with self._state:
            if self._closed:
                self._retire_unjoined(worker)
                return
            self._failure = None
            self._members.add(worker)
            self._offer(worker)
            spent = [old for old in self._members if old.operations >= self._settings.recycle_after]
            if len(self._members) > self._settings.workers and spent:
                self._recycle(spent[0])
            self._state.notify_all()

    def _retire_unjoined(self, worker: _Worker) -> None:
        worker.close()
        self._ending.append(worker.process)

    def _recycle(self, worker: _Worker) -> None:
        """Its replacement has come: it ends now, or when its call is done."""
        if worker in self._idle:
            self._idle.remove(worker)
            self._retire(worker)
        else:
            worker.retiring = True


def _preferred(near: bytes | None, workers: Iterable[_Worker]) -> _Worker | None:
    """The same one for the same ``near``, as long as it is among them (rendezvous hashing)."""
    if near is None:
        return None
    return max(workers, key=lambda worker: hash((near, id(worker))), default=None)


def _refusal(kind: bytes, fields: Sequence[bytes]) -> DeviceError:
    """The error that a worker answered; an answer of no known form counts as a loss."""
    if kind == b"error" and len(fields) == 2:
        error = _ERRORS.get(fields[0])
        if error is not None:
            return error(fields[1].decode("utf-8", "replace"))
    return DeviceLost("the device's worker gave an answer of no known form")


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(2.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
