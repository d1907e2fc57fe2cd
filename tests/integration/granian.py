"""One of the three web applications under granian, in a process of its own, as in production."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from foundation.settings import process_environment
from tests.architecture.source import ROOT

CONFIG = {"idp": "PRIVYSEAL_IDP_CONFIG", "signing": "PRIVYSEAL_WEB_CONFIG", "portal": "PRIVYSEAL_PORTAL_CONFIG"}
"""Of each application of ``wsgi.py``: what names its settings."""
ACCESS_LOG = ("--access-log", "--access-log-fmt", "%(method)s %(path)s")
"""Options with which it writes a line for each request that it is given."""
PATIENCE = 60.0
"""Seconds in which a server has to answer for the first time."""


@contextmanager
def granian(
    application: str,
    port: int,
    config: Path,
    *,
    log: Path,
    health: str = "ready",
    workers: int = 1,
    threads: int = 4,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Serve on a port of this machine; it answers when the block begins, and has ended when it is left.

    :param application: one of :data:`CONFIG`.
    :param log: is written anew with all that it says.
    :param health: what is asked whether it answers: ``ready``, or ``live`` where what it needs is not there.
    """
    command = (
        sys.executable, "-m", "granian", "--interface", "wsgi", "--factory", "--workers-kill-timeout", "10",
        "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers), "--blocking-threads", str(threads),
        "--no-ws", "--log-level", "warning", *options, f"wsgi:{application}",
    )  # fmt: skip
    given = {**process_environment(), **(environment or {}), CONFIG[application]: str(config)}
    url = f"http://127.0.0.1:{port}/health/{health}"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=given, stdout=output, stderr=output)
        try:
            wait(lambda: requests.get(url, timeout=5).ok, process, [log])
            yield
        finally:
            process.terminate()
            process.wait(30)


def wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], logs: Sequence[Path]) -> None:
    """Wait until a server answers; the test fails with what its logs say when it ends, or does not in time."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if ready():
                return
        except (requests.RequestException, OSError, ValueError):
            pass
        time.sleep(0.1)
    said = "\n".join(path.read_text() for path in logs if path.exists())
    pytest.fail(f"{process.args!r} does not answer\n{said[-4000:]}")
