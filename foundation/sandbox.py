"""Work on strangers' files in a confined process: started for one file, or kept warm.

A module that does such work calls :func:`serve` in its ``__main__``.  :func:`run` starts it for one file;
:class:`foundation.sandbox_pool.Pool` keeps it, its libraries loaded, as a nursery: it forks one confined process at a
time, which works on file after file until one is too much for it, or it has had its share, which may be a single one;
then the next is forked.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

from foundation.confinement import Limits, allow, confine, grown, relax
from foundation.errors import SandboxUnavailable, WorkCrashed, WorkTooLarge, WorkTooLong
from foundation.memory import give_back_large_blocks, keep_for_good

Work = Callable[[bytes, bytes], bytes]
"""The file and an argument in, the answer out; must be pure."""
OUT_OF_MEMORY: Final = 70
"""Exit code of a process whose work needed more than it may have."""
FAILED: Final = 1
_TOLD: Final = 3
"""Octets that a child says of a file: how it ended, and whether it can have another."""
_STAYS: Final = b"\1"
_SHORT: Final = 4 * 1024
"""Octets of an answer that is read in one go."""
MAX_ARGUMENT: Final = 16 * 1024
AT_ONCE: Final = 8
"""Files that may be given to a nursery in one exchange."""
GOES_ON: Final = b"+"
"""Behind a file's exit code: the process works on the exchange's next one now.  Without it the exchange is over."""
PATIENCE: Final = 0.5
"""Seconds for a file, after which its exchange is over: whoever waits for the process is to have a turn."""
READY: Final = b"ready"
"""What a process that is kept says once its libraries are loaded."""
_ROOT: Final = Path(__file__).resolve().parent.parent


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
        _once(work, limits, bytes.fromhex(sys.argv[3]))
    _tend(work, limits, int(sys.argv[4]), socket.socket(fileno=int(sys.argv[3])))


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
    # Most are small, and every call of the system lets another thread go first.
    told = os.pread(answer, _SHORT, 0)
    return told if len(told) < _SHORT else _read(answer)


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
        # Whoever reads it says from where.
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
    pieces, place, size = [], 0, os.fstat(file).st_size
    # In one piece, where the kernel gives as much: a second copy would count.
    while place < size and (piece := os.pread(file, size - place, place)):
        pieces.append(piece)
        place += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _ended(pid: int, seconds: float) -> bool:
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def _once(work: Work, limits: Limits, argument: bytes) -> NoReturn:
    document, answer = os.dup(0), os.dup(1)
    code = 1
    try:
        _silence()
        confine(limits, parent=os.getppid())
        allow(limits)
        code = _worked(work, document, answer, argument)
    finally:
        os._exit(code)


def _worked(work: Work, document: int, answer: int, argument: bytes) -> int:
    """The exit code."""
    try:
        return _write(answer, work(_read(document), argument))
    except MemoryError:
        return OUT_OF_MEMORY
    except Exception:  # noqa: BLE001 - what it was is the file's secret
        return FAILED


def _write(answer: int, octets: bytes) -> int:
    """The exit code: the answer is a file, and has the limit of one."""
    view = memoryview(octets)
    try:
        while view:
            view = view[os.write(answer, view) :]
    except OSError:
        return OUT_OF_MEMORY
    return 0


def _silence() -> None:
    """What a library prints is not the answer."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def _tend(work: Work, limits: Limits, files: int, line: socket.socket) -> None:
    """Have confined children work, one after the other, until the other end closes; this one itself reads no file.

    Children never have the line: for each file there is exactly one answer on it, whatever one of them does.
    """
    # Nothing that is there now is garbage, and a fork shares what nobody touches; a file's memory goes with the file.
    keep_for_good()
    give_back_large_blocks()
    line.sendall(READY)
    child = _Child(work, limits, line)
    while True:
        argument, descriptors, _, _ = socket.recv_fds(line, MAX_ARGUMENT + 1, 2 * AT_ONCE)
        if not argument:
            child.end()
            return
        rest = list(descriptors)
        while rest:
            if not child.is_idle():
                child.end()
                child = _Child(work, limits, line, rest)
            began = time.monotonic()
            code = child.ask(argument, rest[:2])
            lost = child.files >= files or not child.stays
            over = lost or time.monotonic() - began > PATIENCE or len(rest) <= 2
            done, rest = (rest, []) if over else (rest[:2], rest[2:])
            for descriptor in done:
                os.close(descriptor)
            if lost:
                child.end()
            line.sendall(code.to_bytes(2, "big", signed=True) + (b"" if over else GOES_ON))
            if lost:
                child = _Child(work, limits, line)


class _Child:
    """A confined process that was forked, as the one that forked it sees it."""

    def __init__(self, work: Work, limits: Limits, line: socket.socket, not_its: Iterable[int] = ()) -> None:
        """:param not_its: descriptors that are open just now: it is given those of its files, and has no others."""
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        own = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            self._ours.close()
            line.close()
            for descriptor in not_its:
                os.close(descriptor)
            _work_on(work, limits, theirs, own)
        theirs.close()
        self.files = 0
        """How many it was given."""
        self.stays = True
        """Whether it can have another one."""

    def is_idle(self) -> bool:
        """Whether it waits for a file: it neither ended meanwhile nor says what nobody asked."""
        try:
            self._ours.recv(_TOLD, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def ask(self, argument: bytes, descriptors: list[int]) -> int:
        """The exit code for one file."""
        self.files += 1
        told = b""
        with suppress(OSError):
            socket.send_fds(self._ours, [argument], descriptors)
            told = self._ours.recv(_TOLD)
        if len(told) == _TOLD:
            code = int.from_bytes(told[:2], "big", signed=True)
            self.stays = code == 0 and told[2:] == _STAYS
            return code
        # It ended in the midst of the file, and says nothing by itself.
        self.stays = False
        return self.end() or FAILED

    def end(self) -> int:
        """Kill it, unless it has ended; how it did."""
        self._ours.close()
        if self._pid == 0:
            return 0
        ended = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if ended is None:
            os.kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)


def _work_on(work: Work, limits: Limits, line: socket.socket, parent: int) -> NoReturn:
    """File after file, until one fails or whoever forked this process ends it."""
    code = FAILED
    try:
        _silence()
        confine(limits, parent=parent)
        while True:
            argument, descriptors, _, _ = socket.recv_fds(line, MAX_ARGUMENT + 1, 2)
            if not argument:
                break
            document, answer = descriptors
            allow(limits)
            done = _worked(work, document, answer, argument[1:])
            relax()
            os.close(document)
            os.close(answer)
            # Not send: a confined process has no such call.
            os.write(line.fileno(), done.to_bytes(2, "big", signed=True) + (b"\0" if grown() else _STAYS))
            code = 0
    finally:
        os._exit(code)

