"""Whether this process was told to end, by SIGTERM or SIGINT.

A handler that sets a ``threading.Event`` may wait for ever: it runs in the main thread, between any two steps of what
that does, and where the main thread has just taken the event's own lock to look at it, nobody gives it back.  Here the
handler takes no lock.  And the kernel may give the signal to another thread while the main one waits: the system's
half of the handler, which runs at once in whichever thread it is, writes an octet for which the main one waits.
"""

from __future__ import annotations

import select
import signal
import socket
import threading
import time
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_NUDGE: Final = signal.SIGWINCH
"""By which the main thread is woken: servers have no window, and whoever has no handler ignores it."""
_NUDGES: Final = 3
_NUDGE_SECONDS: Final = 0.1


class Termination:
    """Told once, told for good.  To be made in the main thread, once in the life of a process.

    Where that has handlers of Python's for other signals too, these wake whoever waits as well.
    """

    def __init__(self) -> None:
        """From now on these signals end nothing by themselves.

        :raises ValueError: not in the main thread.
        """
        self._told = False
        self._reader, self._writer = socket.socketpair()
        self._writer.settimeout(0)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, self._tell)

    def is_set(self) -> bool:
        """Whether it was told; any thread may ask."""
        return self._told

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is told, at most so long; whether it was."""
        readable, _, _ = select.select([self._reader], [], [], seconds)
        return self._told or bool(readable)

    def _tell(self, _number: int, _frame: FrameType | None) -> None:
        self._told = True


def wake_for_signals() -> None:
    """Have handlers of signals run at once in a program of somebody else's that waits without a limit of time.

    Granian's workers do: where the kernel gives SIGTERM to another of their threads, they would wait on until they are
    killed, and requests with them.  Does nothing where it is not called in the main thread.
    """
    main = threading.main_thread()
    if threading.current_thread() is not main or main.ident is None:
        return
    reader, writer = socket.socketpair()
    writer.settimeout(0)
    signal.signal(_NUDGE, lambda _number, _frame: None)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    arguments = (reader, writer, main.ident)
    threading.Thread(target=_pass_on, args=arguments, name="signals", daemon=True).start()


def _pass_on(reader: socket.socket, _kept_open: socket.socket, main: int) -> None:
    while numbers := reader.recv(64):
        if set(numbers) == {_NUDGE}:
            continue
        # More than once: it may just have been about to wait.
        for _ in range(_NUDGES):
            signal.pthread_kill(main, _NUDGE)
            time.sleep(_NUDGE_SECONDS)
