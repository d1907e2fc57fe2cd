"""Starts the processes in which PKCS#11 lives.

A new interpreter each, never a bare fork: the parent has threads, and a module must be initialised in the process
that uses it.  Nothing secret is in the arguments or the environment; the line is an inherited socket.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parent.parent.parent
_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"


def start(program: str, environment: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start ``python -m <program> <descriptor>`` with nothing of this process's environment.

    :raises OSError: no process, no descriptors.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and program, no shell
            [sys.executable, "-P", "-m", program, str(theirs.fileno())],
            env={
                **environment,
                "PATH": _PATH,
                "LANG": "C.UTF-8",
                "PYTHONPATH": str(_ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours
