"""What is at the other end of the shim's network: answers an octet with an octet, to any number of processes.

``python -m tests.shim.device SOCKET``; says "ready" and serves until it is killed.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


class RemoteDevice:
    """That process, for a test to start, stop and kill."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process: subprocess.Popen[str] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What the shim needs to be behind it."""
        return {"PRIVYSEAL_SHIM_DEVICE": str(self._path)}

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._path.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.shim.device", str(self._path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        """SIGSTOP: whoever asks waits."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL; may be called twice."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def main(path: str) -> None:
    """Serve."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(64)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    os.close(sys.stdout.fileno())
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            link = key.fileobj
            assert isinstance(link, socket.socket)
            try:
                octets = link.recv(64)
                link.sendall(octets)
            except OSError:
                octets = b""
            if not octets:
                selector.unregister(link)
                link.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
