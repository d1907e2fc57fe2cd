"""Waits of a socket that the system itself ends (socket(7), SO_RCVTIMEO)."""

from __future__ import annotations

import socket
import struct
from typing import Final

_TIMEVAL: Final = struct.Struct("@ll")
"""``struct timeval``: seconds and microseconds."""
_MICROSECONDS: Final = 1_000_000


def wait_at_most(line: socket.socket, seconds: float | None, *, sending: bool = False) -> None:
    """From now on ``recv`` waits so long, and ends with :class:`BlockingIOError`.

    Python's own timeout asks the system three times for each wait, and after each call another thread may go first.

    :param line: without a timeout of Python's.
    :param seconds: None: for ever; zero or less: as short as can be.
    :param sending: so does ``send``.
    """
    # Zero means for ever, to the system.
    wait = 0 if seconds is None else max(1, int(seconds * _MICROSECONDS))
    value = _TIMEVAL.pack(*divmod(wait, _MICROSECONDS))
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
    if sending:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
