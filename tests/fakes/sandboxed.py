"""Work for a confined process that does what it is told, to see what becomes of it."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import socket
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from foundation.sandbox import PATIENCE, serve
from foundation.settings import process_environment

KEPT: list[bytes] = []
"""What an earlier file left in this process."""


def _refused(act: Callable[[], object]) -> bytes:
    try:
        act()
    except OSError as error:
        return os.strerror(error.errno or 0).encode()
    return b"done"


def _spin() -> bytes:
    while True:
        pass


def _sleep() -> bytes:
    while True:
        os.read(os.pipe()[0], 1)


def _own_hand(number: int, *arguments: object) -> bytes:
    """A system call by its number on x86-64."""
    library = ctypes.CDLL(None, use_errno=True)
    told = library.syscall(number, *arguments)
    return b"done" if told >= 0 else os.strerror(ctypes.get_errno()).encode()


def _limit_parent() -> object:
    return resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))


def _linger() -> bytes:
    select.select([], [], [], 2 * PATIENCE)
    return b"lingered"


def _remember(document: bytes) -> bytes:
    KEPT.append(document)
    return b",".join(KEPT)


def _chatter() -> bytes:
    """Answer ahead for files that nobody has given it yet, wherever there is somebody to be told."""
    for descriptor in range(3, 32):
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.write(descriptor, b"\0\0")
                os.write(descriptor, b"\0\0")
    return b""


def work(document: bytes, argument: bytes) -> bytes:
    """Do what the argument says; or, if that is ``each``, what the file says."""
    if argument == b"each":
        argument = document
    acts: dict[bytes, Callable[[], bytes]] = {
        b"": lambda: document,
        b"reverse": lambda: document[::-1],
        b"remember": lambda: _remember(document),
        b"linger": _linger,
        b"spin": _spin,
        b"sleep": _sleep,
        b"memory": lambda: b"x" * (1 << 40),
        b"long": lambda: b"x" * (1 << 22),
        b"grow": lambda: (b"x" * (160 << 20))[:0],
        b"raise": lambda: bytes([1 // 0]),
        b"crash": lambda: bytes(ctypes.string_at(1)),
        b"print": lambda: str(os.write(1, b"noise")).encode(),
        b"connect": lambda: _refused(socket.socket),
        b"fork": lambda: _refused(os.fork),
        b"program": lambda: _refused(lambda: subprocess.run(["/bin/true"], check=True)),
        b"kill": lambda: _refused(lambda: os.kill(os.getppid(), 0)),
        b"limit": lambda: _refused(_limit_parent),
        b"leave": lambda: _refused(os.setsid),
        b"cut": lambda: _refused(lambda: os.truncate(document, 0)),
        b"open up": lambda: _refused(lambda: Path(document.decode()).chmod(0o777)),
        b"touch": lambda: _refused(lambda: os.utime(document)),
        b"tgkill": lambda: _own_hand(234, os.getppid(), os.getppid(), 0),
        b"queue": lambda: _own_hand(129, os.getppid(), 0, ctypes.create_string_buffer(128)),
        b"chatter": _chatter,
        b"pid": lambda: str(os.getpid()).encode(),
        b"read": lambda: _refused(Path(document.decode()).read_bytes),
        b"write": lambda: _refused(lambda: Path(document.decode()).write_bytes(b"x")),
        b"environment": lambda: repr(sorted(process_environment())).encode(),
    }
    return acts[argument]()


if __name__ == "__main__":
    serve(work)
