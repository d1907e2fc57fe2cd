"""Confined processes that are kept warm: libraries loaded once."""

from __future__ import annotations

import socket
import subprocess
import threading
import weakref
from dataclasses import dataclass
from typing import Final

from foundation.confinement import Limits
from foundation.errors import SandboxError, SandboxUnavailable, WorkTooLong
from foundation.sandbox import MAX_ARGUMENT, READY, answer_of, as_file, end, new_file, start

_GRACE: Final = 5.0
"""Seconds beyond the wall limit, at which a process ends itself, until it and its parent are killed."""
_START: Final = 120.0
"""Seconds for loading libraries, on a machine that is busy."""


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    line: socket.socket

    def close(self) -> None:
        self.line.close()
        end(self.process)


def _close(idle: list[_Worker]) -> None:
    while idle:
        idle.pop().close()


class Pool:
    """So many warm processes at most, each started when it is first needed and replaced when it is lost."""

    def __init__(
        self, module: str, limits: Limits, *, workers: int = 2, wait_seconds: float = 15.0, files: int = 100
    ) -> None:
        """
        :param module: its ``__main__`` calls :func:`foundation.sandbox.serve`.
        :param wait_seconds: how long a file waits for a process that is free.
        :param files: after how many a process ends; 1: each has one of its own.
        """
        self._module = module
        self._limits = limits
        self._wait = wait_seconds
        self._files = files
        self._free = threading.Semaphore(workers)
        self._idle: list[_Worker] = []
        weakref.finalize(self, _close, self._idle)

    def run(self, document: bytes | int, argument: bytes = b"") -> bytes:
        """Have the work done on one file; may be called by any thread.

        :param argument: at most :data:`foundation.sandbox.MAX_ARGUMENT` octets.
        :raises WorkTooLong: and killed.
        :raises WorkTooLarge: the work, or its answer.
        :raises WorkCrashed: no answer.
        :raises SandboxUnavailable: no process is free, or can be started.
        """
        if len(argument) > MAX_ARGUMENT:
            raise SandboxUnavailable("the argument is longer than it may be")
        if not self._free.acquire(timeout=self._wait):
            raise SandboxUnavailable("all confined processes are busy")
        try:
            with as_file(document) as file, new_file("answer") as answer:
                return answer_of(self._ask(file, answer, argument), answer)
        finally:
            self._free.release()

    def close(self) -> None:
        """End the processes that are idle; so does whoever forgets the pool."""
        _close(self._idle)

    def _ask(self, file: int, answer: int, argument: bytes) -> int:
        """The exit code.  An idle process that is gone already is replaced, once."""
        kept = self._taken()
        if kept is not None:
            try:
                return self._asked(kept, file, answer, argument)
            except SandboxUnavailable:
                pass
        return self._asked(self._started(), file, answer, argument)

    def _asked(self, worker: _Worker, file: int, answer: int, argument: bytes) -> int:
        try:
            code = self._told(worker, file, answer, argument)
        except SandboxError:
            worker.close()
            raise
        self._idle.append(worker)
        return code

    def _told(self, worker: _Worker, file: int, answer: int, argument: bytes) -> int:
        try:
            socket.send_fds(worker.line, [b"\0" + argument], [file, answer])
            told = worker.line.recv(2)
        except TimeoutError as error:
            raise WorkTooLong("the work took longer than it may, and did not end") from error
        except OSError as error:
            raise SandboxUnavailable("a confined process was lost") from error
        if len(told) != 2:
            raise SandboxUnavailable("a confined process was lost")
        return int.from_bytes(told, "big", signed=True)

    def _taken(self) -> _Worker | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _started(self) -> _Worker:
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise SandboxUnavailable("a confined process could not be started") from error
        descriptor = theirs.fileno()
        try:
            process = start(
                self._module,
                self._limits,
                "many",
                str(descriptor),
                str(self._files),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(descriptor,),
            )
        except OSError as error:
            ours.close()
            raise SandboxUnavailable("a confined process could not be started") from error
        finally:
            theirs.close()
        worker = _Worker(process, ours)
        try:
            ours.settimeout(_START)
            ready = ours.recv(len(READY)) == READY
        except OSError:
            ready = False
        if not ready:
            worker.close()
            raise SandboxUnavailable("a confined process did not get ready")
        ours.settimeout(self._limits.wall_seconds + _GRACE)
        return worker
