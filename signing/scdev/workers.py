"""A worker process as its supervisor sees it, and who waits for one."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from signing.sam.ports import (
    DeviceError,
    DeviceLost,
    DeviceUnavailable,
    OperationNotPermitted,
    PinRefused,
    WrappedKeyRefused,
)
from signing.scdev.errors import FrameBroken
from signing.scdev.frames import receive
from signing.scdev.settings import DeviceHealth, DeviceSettings, WorkerHealth
from signing.scdev.vitals import Vitals

_ERRORS: Final[dict[bytes, type[DeviceError]]] = {
    kind.code.encode(): kind
    for kind in (DeviceUnavailable, DeviceLost, WrappedKeyRefused, OperationNotPermitted, PinRefused)
}


class Worker:
    """A process and the line to it."""

    def __init__(self, process: subprocess.Popen[bytes], line: socket.socket) -> None:
        self.process = process
        self.line = line
        self.operations = 0
        self.retiring = False
        """It ends when its call is done, and does not count as one that serves."""
        self.proved = 0.0
        """When it last answered rightly; a value of ``time.monotonic``."""
        self.generation = 0
        """How often the device had been lost when this was started."""
        self.point = b""
        """EC point of the canary key on the token that it uses."""
        self.lot = secrets.token_bytes(8)
        """What :func:`preferred` draws with."""
        self.token: Mapping[str, Any] = {}
        """Slot and serial number of that token."""

    def close(self) -> None:
        """Tell it to end; what it was doing, it finishes, and nobody reads."""
        self.line.close()

    def finish(self) -> None:
        """As :meth:`close`, but it may still say what came of it; see :meth:`refusal`."""
        with contextlib.suppress(OSError):
            self.line.shutdown(socket.SHUT_WR)

    def refusal(self) -> Answered | None:
        """What a worker said last before its process ended, if that was that it could not; nothing comes any more."""
        try:
            with self.line:
                kind, *fields = receive(self.line, 0.0)
        except (OSError, FrameBroken):
            return None
        return answered(kind, fields) if kind == b"error" else None

    def dismiss(self) -> None:
        """As :meth:`close`, and wake whoever waits for it: closing a descriptor under a reader would not."""
        with contextlib.suppress(OSError):
            self.line.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """Kill it, and wake whoever waits for it."""
        self.process.kill()
        self.dismiss()

    def kill(self) -> None:
        """End it now."""
        self.line.close()
        self.process.kill()


class Late:
    """A worker that was not ready in time and was told to end: it may finish its login.  One at a time.

    Where it could not, all that ends it gives what it said: a PIN that was refused so late was refused.
    """

    def __init__(self, seconds: float) -> None:
        """:param seconds: in which it ends at the latest."""
        self._seconds = seconds
        self._worker: Worker | None = None
        self._until = 0.0

    def take(self, worker: Worker) -> Answered | None:
        """This one, and kill the one before."""
        refused = self.end(0.0)
        self._worker, self._until = worker, time.monotonic() + self._seconds
        return refused

    def look(self) -> Answered | None:
        """Whether it has ended; kill it where its time is over."""
        if self._worker is not None and (self._worker.process.poll() is not None or time.monotonic() > self._until):
            return self.end(0.0)
        return None

    def end(self, seconds: float) -> Answered | None:
        """Wait for its end, and see to it."""
        worker, self._worker = self._worker, None
        if worker is None:
            return None
        end(worker.process, seconds)
        return worker.refusal()


class Turn:
    """A caller that waits for a worker.  Served in order of arrival: a bare condition starves most of them."""

    def __init__(self, preferred: Worker | None) -> None:
        self.ready = threading.Event()
        self.worker: Worker | None = None
        self.preferred = preferred
        """The one that is likely to have the key at hand."""
        self.passed = 0
        """How often another was served first."""


class Answered(Exception):
    """A worker answered that it could not; never leaves the supervisor.

    :ivar rv: the token's return code that it comes from; 0: none.
    """

    def __init__(self, error: DeviceError, rv: int) -> None:
        super().__init__(str(error))
        self.error = error
        self.rv = rv


def preferred(near: bytes | None, workers: Iterable[Worker]) -> Worker | None:
    """The same one for the same ``near``, as long as it is among them (rendezvous hashing)."""
    if near is None:
        return None
    return max(workers, key=lambda worker: hash(near + worker.lot), default=None)


def answered(kind: bytes, fields: Sequence[bytes]) -> Answered:
    """What a worker's answer other than "ok" means; one of no known form counts as a loss."""
    if kind == b"error" and len(fields) == 3 and fields[2].isdigit():
        error = _ERRORS.get(fields[0])
        if error is not None:
            return Answered(error(fields[1].decode("utf-8", "replace")), int(fields[2]))
    return Answered(DeviceLost("the device's worker gave an answer of no known form"), 0)


def health_of(
    vitals: Vitals,
    now: float,
    serving: Collection[Worker],
    *,
    idle: Collection[Worker],
    workers: int,
    pin_refused: bool,
    failure: DeviceError | None,
) -> DeviceHealth:
    """What there is to say of a pool."""
    return DeviceHealth(
        available=bool(serving) and vitals.fresh(now),
        workers_ready=len(serving),
        workers=workers,
        pin_refused=pin_refused,
        restarts=vitals.restarts,
        losses=vitals.losses,
        canary_age_seconds=vitals.canary_age(now),
        failure=None if failure is None else str(failure),
        return_codes=vitals.return_codes(),
        processes=tuple(
            WorkerHealth(
                process=worker.process.pid,
                slot=str(worker.token.get("slot", "")),
                serial=str(worker.token.get("serial", "")),
                operations=worker.operations,
                busy=worker not in idle,
                proved_seconds_ago=now - worker.proved,
            )
            for worker in sorted(serving, key=lambda each: each.process.pid)
        ),
    )


def opening(settings: DeviceSettings, kek_id: str | None) -> bytes:
    """What a worker is told first (JSON); names the PIN's file, and not the PIN."""
    return json.dumps(
        {
            "module": str(settings.module),
            "parameters": settings.parameters,
            "token_label": settings.token_label,
            "pin_file": str(settings.pin_file),
            "kek_id": kek_id,
            "key_wrap": settings.key_wrap,
            "key_cache": settings.key_cache,
            "key_cache_seconds": settings.key_cache_seconds,
            "require_trusted_kek": settings.require_trusted_kek,
        }
    ).encode()


def end(process: subprocess.Popen[bytes], seconds: float = 2.0) -> None:
    """Wait for its end, and see to it."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
