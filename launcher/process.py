"""One child process: cleared environment, another user, no privileges to gain, and it ends when its parent does."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from launcher.accounts import Account

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
STOP_SECONDS = 60.0
"""The signature activation module takes up to 15 at each of two doors for what is being signed, and then for what its
device is doing; a kill of its workers may cost a token that is files (docs/hsm.md)."""

_libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, as whom, where and with which environment (which is all it gets beside PATH, HOME and LANG)."""

    argv: tuple[str, ...]
    account: Account
    cwd: Path
    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def full_environment(self) -> dict[str, str]:
        """The child's whole environment: nothing of ours is inherited, so nothing secret can be."""
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            **self.environment,
        }


def spawn(command: Command, output: IO[bytes] | int | None) -> subprocess.Popen[bytes]:
    """Start a child; its standard output and error go to ``output`` (None: ours).

    :raises OSError: it cannot be started.
    """
    as_other: dict[str, object] = {}
    if os.geteuid() == 0:
        as_other = {"user": command.account.uid, "group": command.account.gid, "extra_groups": []}
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return] # the optional keywords, or none of them
        list(command.argv),
        cwd=command.cwd,
        env=command.full_environment(),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        umask=0o077,
        start_new_session=True,  # an interrupt at the terminal is for the supervisor, who stops them in order
        preexec_fn=_bind_to(os.getpid()),  # noqa: PLW1509 - the launcher has no threads
        **as_other,
    )


def _bind_to(parent: int) -> Callable[[], None]:
    def before_exec() -> None:
        # Runs after the change of user, which would clear the signal. SIGTERM lets the child end its own workers.
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if os.getppid() != parent:  # it died before the signal was armed
            os._exit(1)

    return before_exec


def stop(child: subprocess.Popen[bytes]) -> None:
    """End a child that we started: ask, wait, and after :data:`STOP_SECONDS` insist on it and its workers."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # the session that we made for it, nobody else's
            child.wait()


def tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log, indented."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"    (no log: {error.strerror})"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (it wrote nothing)"


def describe_exit(code: int) -> str:
    """An exit code in words; negative ones are signals, as :mod:`subprocess` has it."""
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def run_to_end(command: Command, output: IO[bytes] | int | None, watch: Callable[[], None]) -> int:
    """Run a child to its end and return its exit code; ``watch`` is called now and then and may raise to stop it."""
    child = spawn(command, output)
    try:
        while True:
            try:
                return child.wait(0.1)
            except subprocess.TimeoutExpired:
                watch()
    finally:
        stop(child)


def python(interpreter: Path, module: str, *arguments: str) -> tuple[str, ...]:
    """argv of a Python module."""
    return (str(interpreter), "-m", module, *arguments)
