"""Starts services in order, waits until each is ready, watches them, and stops them in reverse order."""

from __future__ import annotations

import http.client
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import ChildFailedError
from launcher.process import Command, describe_exit, spawn, stop, tail

READY_SECONDS = 60.0
POLL_SECONDS = 0.05
PROBE_SECONDS = 2.0
SERVER_ERROR = 500

Ready = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Service:
    """A process to keep running: ``title`` is for people, ``ready`` asks whether it serves."""

    name: str
    title: str
    command: Command
    ready: Ready


def answers_http(host: str, port: int, path: str) -> Ready:
    """Ready once it answers HTTP on loopback under a host name, with anything but a server error."""

    def ready() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_SECONDS)
        try:
            connection.request("GET", path, headers={"Host": f"{host}:{port}"})
            return connection.getresponse().status < SERVER_ERROR
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return ready


def accepts_unix(path: Path) -> Ready:
    """Ready once it accepts connections on a Unix socket."""

    def ready() -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(PROBE_SECONDS)
            try:
                probe.connect(str(path))
            except OSError:
                return False
            return True

    return ready


class Supervisor:
    """The running services. Only processes started here are ever ended, by their ids."""

    def __init__(self, log_of: Callable[[str], Path], say: Callable[[str], None]) -> None:
        self._log_of = log_of
        self._say = say
        self._running: list[tuple[Service, subprocess.Popen[bytes]]] = []

    def start(self, *services: Service, deadline_seconds: float = READY_SECONDS) -> None:
        """Start services, none of which needs another of them to start, and wait until all are ready.

        :raises ChildFailedError: one cannot be started, ended early or was not ready in time.
        """
        began = time.monotonic()
        for service in services:
            self._launch(service)
        for service in services:
            self._await(service, began, deadline_seconds)

    def _launch(self, service: Service) -> None:
        log = self._log_of(service.name)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        try:
            with log.open("wb") as output:
                child = spawn(service.command, output)
        except OSError as error:
            raise ChildFailedError(f"{service.title} cannot be started: {error}") from error
        self._running.append((service, child))

    def _await(self, service: Service, began: float, deadline_seconds: float) -> None:
        while not service.ready():
            self.check()
            if time.monotonic() - began > deadline_seconds:
                log = self._log_of(service.name)
                raise ChildFailedError(
                    f"{service.title} was not ready after {deadline_seconds:.0f} s; the end of {log}:\n{tail(log)}"
                )
            time.sleep(POLL_SECONDS)
        self._say(f"{service.title} ready ({time.monotonic() - began:.1f} s)")

    def check(self) -> None:
        """Look whether all are still there.

        :raises ChildFailedError: one has ended; the text says how and shows the tail of its log.
        """
        for service, child in self._running:
            code = child.poll()
            if code is not None:
                log = self._log_of(service.name)
                raise ChildFailedError(f"{service.title} ended ({describe_exit(code)}); the end of {log}:\n{tail(log)}")

    def stop(self) -> None:
        """Stop all, the last started first."""
        while self._running:
            stop(self._running.pop()[1])
