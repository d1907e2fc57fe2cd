"""Work for a confined process that does what it is told, to see what becomes of it."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from foundation.sandbox import serve
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


def _remember(document: bytes) -> bytes:
    KEPT.append(document)
    return b",".join(KEPT)


def work(document: bytes, argument: bytes) -> bytes:
    """Do what the argument says."""
    acts: dict[bytes, Callable[[], bytes]] = {
        b"": lambda: document,
        b"reverse": lambda: document[::-1],
        b"remember": lambda: _remember(document),
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
        b"read": lambda: _refused(Path(document.decode()).read_bytes),
        b"write": lambda: _refused(lambda: Path(document.decode()).write_bytes(b"x")),
        b"environment": lambda: repr(sorted(process_environment())).encode(),
    }
    return acts[argument]()


if __name__ == "__main__":
    serve(work)
