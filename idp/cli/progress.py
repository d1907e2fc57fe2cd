"""How far a long command is: a bar where a person looks on, a line now and then where none does."""

from __future__ import annotations

from typing import Final, TextIO

_WIDTH: Final = 30
_STEPS: Final = 10


class Progress:
    """Tells of work whose end is known; it never writes to standard output."""

    def __init__(self, total: int, what: str, stream: TextIO) -> None:
        """:param stream: standard error; on a terminal one line is written over and over."""
        self._total = total
        self._what = what
        self._stream = stream
        self._bar = stream.isatty()
        self._told = -1 if self._bar else 0

    def at(self, done: int) -> None:
        """So much is done."""
        share = done / self._total if self._total else 1.0
        step = int(share * (100 if self._bar else _STEPS))
        if step == self._told and done != self._total:
            return
        self._told = step
        if self._bar:
            full = int(share * _WIDTH)
            end = "\n" if done >= self._total else ""
            line = f"\r[{'#' * full}{'.' * (_WIDTH - full)}] {done}/{self._total} {self._what}{end}"
        else:
            line = f"{done}/{self._total} {self._what}\n"
        self._stream.write(line)
        self._stream.flush()
