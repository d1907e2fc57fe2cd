"""Kannel, a real gateway: its HTTP door, its SMPP client towards a centre of ours, and its SMPP server for tests."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fakes.smsc import Smsc
from tests.sockets import free_port

USER: Final = "privyseal"
PASSWORD: Final = "kannel-secret"
_SECONDS: Final = 15.0
_DRIVER: Final = "/usr/lib/kannel/test/drive_smpp"
_CONFIG: Final = """\
group = core
admin-port = {admin}
admin-interface = 127.0.0.1
smsbox-port = {box}
smsbox-interface = 127.0.0.1
admin-password = admin
box-allow-ip = 127.0.0.1
dlr-storage = internal

group = smsc
smsc = smpp
smsc-id = centre
host = 127.0.0.1
port = {smsc}
transceiver-mode = 1
smsc-username = kannel
smsc-password = secret
system-type = ""

group = smsbox
bearerbox-host = 127.0.0.1
bearerbox-port = {box}
sendsms-port = {send}
sendsms-interface = 127.0.0.1

group = sendsms-user
username = {user}
password = {password}
max-messages = 3
concatenation = 1
"""


@dataclass(frozen=True)
class Kannel:
    """A gateway that runs, and the centre behind it."""

    url: str
    centre: Smsc


@contextmanager
def kannel(directory: Path) -> Iterator[Kannel]:
    """Bearerbox and smsbox, bound to a centre of ours, until the end."""
    centre = Smsc()
    admin, box, send = (free_port() for _ in range(3))
    config = directory / "kannel.conf"
    config.write_text(_CONFIG.format(admin=admin, box=box, send=send, smsc=centre.port, user=USER, password=PASSWORD))
    with running("/usr/sbin/bearerbox", str(config), log=directory / "bearerbox.log"):
        until(lambda: listens(box))
        with running("/usr/sbin/smsbox", str(config), log=directory / "smsbox.log"):
            until(lambda: listens(send))
            until(lambda: centre.binds > 0)
            yield Kannel(f"http://127.0.0.1:{send}/cgi-bin/sendsms", centre)
    centre.stop()


@contextmanager
def smpp_driver(directory: Path) -> Iterator[tuple[int, Path]]:
    """Kannel's own SMPP server: its port and its log.  It lives for some seconds where no bearerbox of its own runs."""
    port = free_port()
    log = directory / "driver.log"
    with running(_DRIVER, "-v", "0", "-p", str(port), "-m", "0", log=log):
        until(lambda: listens(port))
        yield port, log


@contextmanager
def running(*command: str, log: Path) -> Iterator[None]:
    """A process, killed at the end: it has nothing to lose."""
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process:
        try:
            yield
        finally:
            process.kill()


def listens(port: int) -> bool:
    """Whether somebody does; without a connection, which the driver would take for a client."""
    return any(f":{port:04X} 00000000:0000 0A" in line for line in Path("/proc/net/tcp").read_text().splitlines())


def until(condition: Callable[[], bool]) -> None:
    """Wait for something.

    :raises TimeoutError: it does not happen.
    """
    end = time.monotonic() + _SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("Kannel does not do what it should")
        time.sleep(0.02)
