"""Work on strangers' files in a confined process of its own: started for one file, or kept warm and forked for each.

A module that does such work calls :func:`serve` in its ``__main__``.  :func:`run` starts it for one file;
:class:`foundation.sandbox_pool.Pool` keeps it, its libraries loaded, and has a fork of it made for each file.  Either
way whatever a file does, it does to a process that ends with it and that holds nothing of anybody else's.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from foundation.confinement import Limits, confine
from foundation.errors import SandboxUnavailable, WorkCrashed, WorkTooLarge, WorkTooLong

Work = Callable[[bytes, bytes], bytes]
"""The file and an argument in, the answer out; must be pure."""
OUT_OF_MEMORY: Final = 70
"""Exit code of a process whose work needed more than it may have."""
MAX_ARGUMENT: Final = 16 * 1024
READY: Final = b"ready"
"""What a process that is kept says once its libraries are loaded."""
_ROOT: Final = Path(__file__).resolve().parent.parent
_CHUNK: Final = 1024 * 1024


def run(module: str, document: bytes | int, limits: Limits, argument: bytes = b"") -> bytes:
    """Have a new process do the work on one file.

    :param module: its ``__main__`` calls :func:`serve`.
    :param document: octets, or a descriptor of a file, which stays open.
    :param argument: at most :data:`MAX_ARGUMENT` octets; other processes may see them.
    :raises WorkTooLong: and killed.
    :raises WorkTooLarge: the work, or its answer.
    :raises WorkCrashed: no answer.
    :raises SandboxUnavailable: the process cannot be started.
    """
    with as_file(document) as file, new_file("answer") as answer:
        try:
            process = start(module, limits, "once", argument.hex(), stdin=file, stdout=answer)
        except OSError as error:
            raise SandboxUnavailable("a confined process could not be started") from error
        try:
            ended = _ended(process.pid, limits.wall_seconds)
        finally:
            end(process)
        if not ended:
            raise WorkTooLong("the work took longer than it may")
        return answer_of(process.returncode, answer)


def serve(work: Work) -> None:
    """Do the work that this process was started for; for the ``__main__`` of a module."""
    form, limits = sys.argv[1], Limits.of_text(sys.argv[2])
    if form == "once":
        _Task(os.getppid(), os.dup(0), os.dup(1), bytes.fromhex(sys.argv[3])).do(work, limits)
    elif form == "many":
        _tend(work, limits, socket.socket(fileno=int(sys.argv[3])))


def start(
    module: str, limits: Limits, *arguments: str, stdin: int, stdout: int, pass_fds: tuple[int, ...] = ()
) -> subprocess.Popen[bytes]:
    """Start a module that serves, with nothing of this process's environment.

    :raises OSError: no process, no descriptors.
    """
    form, *rest = arguments
    return subprocess.Popen(  # noqa: S603 - our own interpreter and program, no shell
        [sys.executable, "-P", "-s", "-B", "-m", module, form, limits.text(), *rest],
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(_ROOT)},
        cwd="/",
        stdin=stdin,
        stdout=stdout,
        # What a parser says of a file quotes it.
        stderr=subprocess.DEVNULL,
        pass_fds=pass_fds,
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it forked, and wait for it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def answer_of(code: int, answer: int) -> bytes:
    """What a process left, by how it ended.

    :param code: as of :mod:`subprocess`: negative for a signal.
    :raises SandboxError: it left nothing good.
    """
    if code in {-signal.SIGXCPU, -signal.SIGALRM}:
        raise WorkTooLong("the work took longer than it may")
    if code == OUT_OF_MEMORY:
        raise WorkTooLarge("the work needed more memory than it may have, or its answer is too large")
    if code != 0:
        raise WorkCrashed("the work ended without an answer")
    return _read(answer)


@contextmanager
def as_file(document: bytes | int) -> Iterator[int]:
    """A descriptor of a file with those octets, in memory."""
    if isinstance(document, int):
        yield document
        return
    with new_file("document") as file:
        view = memoryview(document)
        while view:
            view = view[os.write(file, view) :]
        os.lseek(file, 0, os.SEEK_SET)
        yield file


@contextmanager
def new_file(name: str) -> Iterator[int]:
    """A new file in memory: in no folder, and gone with its last descriptor.

    :raises SandboxUnavailable: no descriptors, no memory.
    """
    try:
        file = os.memfd_create(name, os.MFD_CLOEXEC)
    except OSError as error:
        raise SandboxUnavailable("no file in memory could be made") from error
    try:
        yield file
    finally:
        os.close(file)


def _read(file: int) -> bytes:
    pieces, place = [], 0
    while piece := os.pread(file, _CHUNK, place):
        pieces.append(piece)
        place += len(piece)
    return b"".join(pieces)


def _ended(pid: int, seconds: float) -> bool:
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Task:
    """One file's work, in the process that is for it alone."""

    parent: int
    """Process id."""
    document: int
    answer: int
    """Descriptors."""
    argument: bytes

    def do(self, work: Work, limits: Limits) -> NoReturn:
        """Confine this process, work, leave the answer, end."""
        # What a library prints is not the answer.
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        code = 1
        try:
            confine(limits, parent=self.parent)
            code = _write(self.answer, work(_read(self.document), self.argument))
        except MemoryError:
            code = OUT_OF_MEMORY
        finally:
            os._exit(code)


def _write(answer: int, octets: bytes) -> int:
    """The exit code: the answer is a file, and has the limit of one."""
    view = memoryview(octets)
    try:
        while view:
            view = view[os.write(answer, view) :]
    except OSError:
        return OUT_OF_MEMORY
    return 0


def _tend(work: Work, limits: Limits, line: socket.socket) -> None:
    """Fork for each file that comes, until the other end closes; this process itself reads none of them."""
    own = os.getpid()
    line.sendall(READY)
    while True:
        argument, descriptors, _, _ = socket.recv_fds(line, MAX_ARGUMENT + 1, 2)
        if not argument:
            return
        document, answer = descriptors
        child = os.fork()
        if child == 0:
            line.close()
            _Task(own, document, answer, argument[1:]).do(work, limits)
        os.close(document)
        os.close(answer)
        _, status = os.waitpid(child, 0)
        line.sendall(os.waitstatus_to_exitcode(status).to_bytes(2, "big", signed=True))
