"""Processes of a stand: started, watched, measured and ended by their ids, as the user who runs the benchmark."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from benchmarks.errors import StandFailed
from benchmarks.measure import Report
from foundation.errors import PrivySealError
from launcher.accounts import Account
from launcher.process import Command, python, run_to_end, spawn, stop, tail

ROOT: Final = Path(__file__).resolve().parents[1]
_READY_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def end_in_order() -> None:
    """From now on SIGTERM unwinds the program, so that everything it started is ended and removed."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def measured_and_printed(measure: Callable[[], Report], *, in_json: bool) -> int:
    """Measure, ended in order by SIGTERM, and print the report, or on standard error why there is none.

    :returns: the exit code: 0 within the limits, 1 not, 3 not measured.
    """
    end_in_order()
    try:
        report = measure()
    except (PrivySealError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    print(report.to_json() if in_json else report.to_text())
    return 0 if report.good else 1


@dataclass(frozen=True, slots=True)
class Usage:
    """Who used the processors during a window."""

    by_part: Mapping[str, float]
    """Seconds; parts that used none are left out."""
    others_share: float | None
    """Share of what the machine has that went to processes which are no part of the stand."""


class Meter:
    """Reads processor time from its making on."""

    def __init__(self, parts: Callable[[], Mapping[str, float]]) -> None:
        self._parts = parts
        self._before, self._machine = parts(), machine_seconds()

    def read(self) -> Usage:
        """What was used since."""
        after, (busy, total) = self._parts(), machine_seconds()
        spent = {part: seconds - self._before.get(part, 0.0) for part, seconds in after.items()}
        busy, total = busy - self._machine[0], total - self._machine[1]
        others = max(0.0, busy - sum(spent.values())) / total if total else None
        return Usage({part: seconds for part, seconds in spent.items() if seconds > 0}, others)


class Processes:
    """The running parts; also knows of roots that it did not start, to count their processor time."""

    def __init__(self, directory: Path) -> None:
        """:param directory: private; logs are written there."""
        self._directory = directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._guests: dict[str, int] = {}

    def run(self, name: str, module: str, *arguments: str, **environment: str) -> None:
        """Run a Python module to its end.

        :raises StandFailed: it ended with another code than 0.
        """
        log = self._log(name)
        with log.open("wb") as output:
            code = run_to_end(self._command(module, arguments, environment), output, self.check)
        if code:
            raise StandFailed(f"{name} ended with exit code {code}; the end of its output:\n{tail(log)}")

    def capture(self, name: str, module: str, *arguments: str, **environment: str) -> str:
        """Run a Python module to its end, for what it prints.

        :raises StandFailed: it ended with another code than 0.
        """
        command = self._command(module, arguments, environment)
        done = subprocess.run(
            command.argv, cwd=command.cwd, env=command.full_environment(), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=_READY_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            raise StandFailed(f"{name} ended with exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def start(self, name: str, ready: Callable[[], bool], module: str, *arguments: str, **environment: str) -> None:
        """Start a Python module and wait until it serves.

        :raises StandFailed: it ended, or was not ready in time.
        """
        with self._log(name).open("wb") as output:
            self._running[name] = spawn(self._command(module, arguments, environment), output)
        until = time.monotonic() + _READY_SECONDS
        while not ready():
            self.check()
            if time.monotonic() > until:
                raise StandFailed(f"{name} was not ready in time; the end of its log:\n{tail(self._log(name))}")
            time.sleep(_POLL_SECONDS)

    def pids(self, name: str) -> list[int]:
        """Of a part that was started here: its process and those below it."""
        table, root = _process_table(), self._running[name].pid
        return sorted(pid for pid in table if owner_of(pid, table, {root: name}) == root)

    def add_guest(self, name: str, pid: int) -> None:
        """A process that somebody else ends, whose processor time is wanted as well."""
        self._guests[name] = pid

    def check(self) -> None:
        """Look whether all are still there.

        :raises StandFailed: one has ended.
        """
        for name, child in self._running.items():
            if child.poll() is not None:
                raise StandFailed(f"{name} ended; the end of its log:\n{tail(self._log(name))}")

    def stop(self) -> None:
        """End all that were started here, the last one first."""
        while self._running:
            stop(self._running.popitem()[1])

    def meter(self) -> Meter:
        """A meter that begins now."""
        return Meter(self.cpu_seconds)

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time of each part so far, and of this process as ``driver``."""
        roots = {child.pid: name for name, child in self._running.items()}
        roots.update({pid: name for name, pid in self._guests.items()})
        roots[os.getpid()] = "driver"
        table = _process_table()
        ours = {pid for pid in table if owner_of(pid, table, roots) is not None}
        roots.update({pid: "device" for pid in ours if _is_device(pid)})
        return attribute(table, roots)

    def _log(self, name: str) -> Path:
        return self._directory / f"{name.replace(' ', '-')}.log"

    def _command(self, module: str, arguments: tuple[str, ...], environment: Mapping[str, str]) -> Command:
        entry = pwd.getpwuid(os.geteuid())
        account = Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
        return Command(python(Path(sys.executable), module, *arguments), account, ROOT, self._directory, environment)


ProcessTable = Mapping[int, tuple[int, float]]
"""Process id to parent and processor seconds, those of children that have ended and been waited for included."""


def attribute(table: ProcessTable, roots: Mapping[int, str]) -> dict[str, float]:
    """Processor seconds by part: each process counts for its nearest ancestor that has a name, or for nobody."""
    spent = dict.fromkeys(roots.values(), 0.0)
    for pid, (_parent, seconds) in table.items():
        owner = owner_of(pid, table, roots)
        if owner is not None:
            spent[roots[owner]] += seconds
    return spent


def owner_of(pid: int, table: ProcessTable, roots: Mapping[int, str]) -> int | None:
    """The nearest ancestor that has a name, the process itself included."""
    owner: int | None = pid
    while owner is not None and owner not in roots:
        owner = table[owner][0] if owner in table else None
    return owner


def _is_device(pid: int) -> bool:
    """Whether it is a worker that the module started: the token's own cost, apart from the module's."""
    try:
        return b"signing.scdev.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False  # it has ended meanwhile


def _process_table() -> dict[int, tuple[int, float]]:
    table = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text()
        except OSError:
            continue  # it has ended meanwhile
        # The name in parentheses may hold blanks and parentheses itself (proc(5)).
        fields = text.rpartition(")")[2].split()
        table[int(entry.name)] = (int(fields[1]), sum(map(int, fields[11:15])) / _TICKS)
    return table


def machine_seconds() -> tuple[float, float]:
    """Processor seconds since the machine started, over all processors: in use, and altogether (proc(5), stat)."""
    first = Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]
    user, nice, system, idle, iowait, irq, softirq, steal = (int(field) / _TICKS for field in first)
    busy = user + nice + system + irq + softirq + steal
    return busy, busy + idle + iowait
