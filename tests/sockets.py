"""Ports of this machine for what tests start."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A TCP port of the loopback address at which nobody listens; somebody else may take it before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
