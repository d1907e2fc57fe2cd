"""Ports of this machine for what tests start."""

from __future__ import annotations

import random
import socket
from typing import Final

_PORTS: Final = range(10_000, 20_000)
"""Below those that Linux gives out by itself (ip_local_port_range, 32768 by default): whoever opens a connection to
somewhere takes one of these, and there are many in the seconds that a server takes to start.  Those of tests/e2e lie
above."""
_CHANCE: Final = random.SystemRandom()
_kept: list[socket.socket] = []


def free_port() -> int:
    """A TCP port of the loopback address at which nobody listens, and which no other test process of this machine is
    given as long as this one lives."""
    while True:
        port = _CHANCE.choice(_PORTS)
        mark = socket.socket(socket.AF_UNIX)
        try:
            # A name in the kernel, which goes with the process that has it.
            mark.bind(f"\0privyseal-tests-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            mark.close()
            continue
        _kept.append(mark)
        return port
