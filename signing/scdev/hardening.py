"""What a process that holds a PIN does first."""

from __future__ import annotations

import ctypes
import resource
import signal
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def harden_process() -> None:
    """No core dumps, no attaching by processes of the same user; the end is told by the line, not by a signal.

    A signal to the whole process group (Ctrl-C, a service manager) must not cut off a signature under way: the
    parent closes the line when it is done.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
