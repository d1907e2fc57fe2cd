"""Confined processes that are kept warm: libraries loaded once."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import Final

from foundation.confinement import Limits
from foundation.errors import SandboxError, SandboxUnavailable, WorkTooLong
from foundation.sandbox import AT_ONCE, GOES_ON, MAX_ARGUMENT, READY, answer_of, as_file, end, new_file, start
from foundation.sockets import wait_at_most

_GRACE: Final = 5.0
"""Seconds beyond the wall limit, at which a process ends itself, until it and its parent are killed: also for a whole
exchange, of which all files but one are quick (:data:`foundation.sandbox.PATIENCE`)."""
"""Seconds: none at all would mean that nobody waits."""
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
        (answer,) = self.run_some([document], argument)
        if isinstance(answer, SandboxError):
            raise answer
        return answer

    def run_some(self, documents: Sequence[bytes | int], argument: bytes = b"") -> list[bytes | SandboxError]:
        """Have the work done on the first of some files of one owner, in one process, each with the limits of one.

        What a file makes of the process can reach those beside it: files of several owners are not to be mixed.

        :param documents: 1 to :data:`foundation.sandbox.AT_ONCE`.
        :param argument: at most :data:`foundation.sandbox.MAX_ARGUMENT` octets.
        :returns: for one file at least, in their order, its answer; or, as the last, what :meth:`run` would raise.
            The process has not seen the rest: it had enough, or one took long.
        :raises SandboxUnavailable: no process is free, can be started, or is left.
        """
        if len(argument) > MAX_ARGUMENT:
            raise SandboxUnavailable("the argument is longer than it may be")
        if not 1 <= len(documents) <= AT_ONCE:
            raise SandboxUnavailable("so many files are not taken at once")
        if not self._free.acquire(timeout=self._wait):
            raise SandboxUnavailable("all confined processes are busy")
        try:
            with ExitStack() as open_files:
                files = [open_files.enter_context(as_file(each)) for each in documents]
                answers = [open_files.enter_context(new_file("answer")) for _ in documents]
                codes = self._ask(list(chain.from_iterable(zip(files, answers, strict=True))), argument)
                return [_outcome(code, answer) for code, answer in zip(codes, answers, strict=False)]
        finally:
            self._free.release()

    def close(self) -> None:
        """End the processes that are idle; so does whoever forgets the pool."""
        _close(self._idle)

    def _ask(self, files: list[int], argument: bytes) -> list[int | WorkTooLong]:
        """The exit codes.  An idle process that is gone already is replaced, once."""
        kept = self._taken()
        if kept is not None:
            try:
                return self._asked(kept, files, argument)
            except SandboxUnavailable:
                pass
        return self._asked(self._started(), files, argument)

    def _asked(self, worker: _Worker, files: list[int], argument: bytes) -> list[int | WorkTooLong]:
        codes: list[int | WorkTooLong] = []
        deadline = time.monotonic() + self._limits.wall_seconds + _GRACE
        try:
            socket.send_fds(worker.line, [b"\0" + argument], files)
            goes_on = True
            while goes_on and len(codes) < len(files) // 2:
                wait_at_most(worker.line, deadline - time.monotonic(), sending=True)
                goes_on = _told(worker, codes)
        except (TimeoutError, BlockingIOError):
            worker.close()
            return [*codes, WorkTooLong("the work took longer than it may, and did not end")]
        except OSError as error:
            worker.close()
            if codes:
                # The others are asked for anew, in files that nobody wrote to.
                return codes
            raise SandboxUnavailable("a confined process was lost") from error
        if goes_on:
            # It tells more than it was asked for.
            worker.close()
        else:
            self._idle.append(worker)
        return codes

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
            wait_at_most(ours, _START, sending=True)
            ready = ours.recv(len(READY)) == READY
        except OSError:
            ready = False
        if not ready:
            worker.close()
            raise SandboxUnavailable("a confined process did not get ready")
        return worker


def _told(worker: _Worker, codes: list[int | WorkTooLong]) -> bool:
    """Add the next exit code; whether another is to come."""
    told = worker.line.recv(2 + len(GOES_ON))
    if len(told) < 2:
        raise ConnectionError("nobody is there")
    codes.append(int.from_bytes(told[:2], "big", signed=True))
    return told[2:] == GOES_ON


def _outcome(code: int | WorkTooLong, answer: int) -> bytes | SandboxError:
    if isinstance(code, WorkTooLong):
        return code
    try:
        return answer_of(code, answer)
    except SandboxError as error:
        return error
