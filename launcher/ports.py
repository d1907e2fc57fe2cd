"""Where the development services listen: one base port, checked before anything is started."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass

from launcher.errors import PortTakenError

DEFAULT_BASE = 8400
SETTING = "--base-port"
OFFSETS = {
    "idp": (1, "identity provider"),
    "web": (2, "signing web tier"),
    "trust": (3, "certification authority, OCSP and CRL"),
    "inbox": (4, "inbox page and text message endpoint"),
    "rp": (5, "demo relying party"),
    "tsa": (6, "time-stamping authority"),
    "sign": (7, "privyseal sign, while it waits for a browser"),
    "portal": (8, "portal"),
    "smtp": (25, "inbox's mail server"),
}
"""Service to distance from the base port, and what to call it to people."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one development installation, all on loopback."""

    base: int = DEFAULT_BASE

    def of(self, service: str) -> int:
        """The port of a service of :data:`OFFSETS`."""
        return self.base + OFFSETS[service][0]

    def url(self, service: str) -> str:
        """Base URL without trailing slash. Browsers and clients see the web applications under names of their own,
        because cookies ignore ports."""
        names = {"idp": "idp.localhost", "web": "sign.localhost", "rp": "rp.localhost", "portal": "portal.localhost"}
        return f"http://{names.get(service, '127.0.0.1')}:{self.of(service)}"

    def check(self) -> None:
        """Try every port.

        :raises PortTakenError: naming the first that is taken and the setting that moves it.
        """
        for service, (_, title) in OFFSETS.items():
            port = self.of(service)
            for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                if not _free(family, address, port):
                    raise PortTakenError(
                        f"port {port} ({title}) is taken by another program on {address}: "
                        f"stop it, or move all ports with {SETTING} N (now {self.base})"
                    )


def _free(family: socket.AddressFamily, address: str, port: int) -> bool:
    # Browsers try ::1 for *.localhost too, so another program there would be spoken to instead of ours.
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError:
            # a machine without IPv6 cannot have anybody listening there
            return family == socket.AF_INET6 and not _has_ipv6()
        return True


def _has_ipv6() -> bool:
    with contextlib.closing(socket.socket(socket.AF_INET6, socket.SOCK_STREAM)) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
        return True
