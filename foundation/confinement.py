"""What a process that reads strangers' files takes away from itself, for good, before it reads them (Linux).

Limits of resources, no new privileges, no core, an end with its parent; a system call filter that refuses new sockets,
processes, programs, looks into other processes or a hand on them; and Landlock, which leaves it nothing to write and
only libraries and fonts to read.  The last two are what the kernel has of them: an older one, or another machine, has
fewer.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2
"""prctl(2)."""

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
"""Classic BPF: load a word, compare with a constant, return (seccomp(2))."""
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050001
"""Verdicts; the last is EPERM."""
_X32: Final = 0x40000000
"""Bit of the calls of another interface on x86-64, which would get around the list."""
_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_REFUSED: Final = {
    # socket, connect, bind, listen, sendto, sendmsg, sendmmsg, execve, execveat, fork, vfork, clone, clone3
    # kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo, setpgid, setsid, prctl, sched_setaffinity,
    # sched_setparam, sched_setscheduler, sched_setattr, setpriority, ioprio_set
    # ptrace, process_vm_readv and -writev, pidfd_open, -getfd and -send_signal, process_madvise, process_mrelease
    # kcmp, io_uring_setup, bpf, unshare, setns, mount, keyctl, add_key, request_key, userfaultfd, perf_event_open
    # truncate, fchmod, fchmodat, fchmodat2, fchown, fchownat, utimensat, setxattr, lsetxattr, fsetxattr, removexattr,
    # lremovexattr, fremovexattr, setxattrat, removexattrat: of these Landlock says nothing, or not in its first version
    # shmget, shmat, shmctl, semget, semop, semtimedop, semctl, msgget, msgsnd, msgrcv, msgctl, mq_open, mq_unlink
    # and those that AArch64 never had: chmod, chown, lchown, utime, utimes, futimesat
    "x86_64": (
        *(41, 42, 49, 50, 44, 46, 307, 59, 322, 57, 58, 56, 435),
        *(62, 200, 234, 129, 297, 109, 112, 157, 203, 142, 144, 314, 141, 251),
        *(101, 310, 311, 434, 438, 424, 440, 448, 312),
        *(425, 321, 272, 308, 165, 250, 248, 249, 323, 298),
        *(76, 91, 268, 452, 93, 260, 280, 188, 189, 190, 197, 198, 199, 463, 466),
        *(29, 30, 31, 64, 65, 220, 66, 68, 69, 70, 71, 240, 241),
        *(90, 92, 94, 132, 235, 261),
    ),
    "aarch64": (
        *(198, 203, 200, 201, 206, 211, 269, 221, 281, 220, 435),
        *(129, 130, 131, 138, 240, 154, 157, 167, 122, 118, 119, 274, 140, 30),
        *(117, 270, 271, 434, 438, 424, 440, 448, 272),
        *(425, 280, 97, 268, 40, 219, 217, 218, 282, 241),
        *(45, 52, 53, 452, 55, 54, 88, 5, 6, 7, 14, 15, 16, 463, 466),
        *(194, 196, 195, 190, 193, 192, 191, 186, 189, 188, 187, 180, 181),
    ),
}
_PRLIMIT: Final = {"x86_64": 302, "aarch64": 261}
"""It sets a process's own limits, and those of others: a bound of 0 seconds ends one."""
_FIRST_ARGUMENT: Final = 16
"""Offset of its lower half in ``struct seccomp_data``: the machines above are little-endian."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""landlock(7); the same numbers everywhere."""
_LANDLOCK_ALL: Final = (1 << 13) - 1
"""Every right over files of its first version, which all later ones have."""
_LANDLOCK_READ: Final = (1 << 2) | (1 << 3)
"""Read a file, read a directory."""
_READABLE: Final = ("/usr/lib", "/lib", "/lib64", "/usr/local/lib", "/usr/share", "/etc/fonts", "/etc/ld.so.cache")
"""Of libraries and fonts; not devices, `/etc`, `/proc` or anybody's home."""
_KEPT_KIBI: Final = 128 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a confined process may use."""

    address_space: int = 512 * 1024 * 1024
    """Octets of address space, with the interpreter and its libraries."""
    cpu_seconds: int = 10
    """Of processor time, for one file."""
    wall_seconds: float = 15.0
    """For one file, until it is killed."""
    open_files: int = 32
    file_octets: int = 16 * 1024 * 1024
    """Of the largest file that it writes: of its answer."""

    def text(self) -> str:
        """As one argument of a command."""
        return f"{self.address_space},{self.cpu_seconds},{self.wall_seconds},{self.open_files},{self.file_octets}"

    @classmethod
    def of_text(cls, text: str) -> Limits:
        """The reverse of :meth:`text`."""
        address_space, cpu_seconds, wall_seconds, open_files, file_octets = text.split(",")
        return cls(int(address_space), int(cpu_seconds), float(wall_seconds), int(open_files), int(file_octets))


@dataclass(frozen=True, slots=True)
class Confined:
    """What the kernel took beyond the limits, which are always there."""

    calls: bool
    """The filter of system calls."""
    files: bool
    """Landlock."""


def confine(limits: Limits, *, parent: int) -> Confined:
    """Confine this process, which must have one thread, for the rest of its life.

    :param parent: process id of whoever started it: without that one it ends.
    :raises OSError: a limit cannot be set.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _control(libc, _PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It had ended before it was asked for a signal.
        os._exit(1)
    _control(libc, _PR_SET_DUMPABLE, 0)
    _control(libc, _PR_SET_NO_NEW_PRIVS, 1)
    _limit(resource.RLIMIT_CORE, 0, 0)
    _limit(resource.RLIMIT_NOFILE, limits.open_files, limits.open_files)
    _limit(resource.RLIMIT_FSIZE, limits.file_octets, limits.file_octets)
    _limit(resource.RLIMIT_AS, limits.address_space, limits.address_space)
    for number in (signal.SIGALRM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)
    files = _without_files(libc, (*_READABLE, *sys.path, sys.prefix, sys.base_prefix))
    return Confined(calls=_without_calls(libc), files=files)


def allow(limits: Limits) -> None:
    """Give this process, which is confined, its time for one file from now on; beyond it the kernel ends it."""
    _limit(resource.RLIMIT_CPU, _used() + limits.cpu_seconds, resource.RLIM_INFINITY)
    _limit(resource.RLIMIT_AS, limits.address_space, resource.RLIM_INFINITY)
    signal.setitimer(signal.ITIMER_REAL, limits.wall_seconds)


def lower(*, cpu_seconds: int, address_space: int) -> None:
    """Take away from this process what its file should not need: work that has seen its file may do so."""
    for which, wanted in ((resource.RLIMIT_CPU, _used() + cpu_seconds), (resource.RLIMIT_AS, address_space)):
        soft, hard = resource.getrlimit(which)
        resource.setrlimit(which, (wanted if soft == resource.RLIM_INFINITY else min(soft, wanted), hard))


def _used() -> int:
    """Seconds of processor time, rounded up."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return math.ceil(used.ru_utime + used.ru_stime)


def relax() -> None:
    """Stop the clock between files."""
    signal.setitimer(signal.ITIMER_REAL, 0.0)


def grown() -> bool:
    """Whether this process is larger than one that is kept should be."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > _KEPT_KIBI


def _control(libc: ctypes.CDLL, option: int, value: int) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _limit(which: int, soft: int, hard: int) -> None:
    _, bound = resource.getrlimit(which)
    if bound != resource.RLIM_INFINITY:
        soft, hard = min(soft, bound), bound if hard == resource.RLIM_INFINITY else min(hard, bound)
    resource.setrlimit(which, (soft, hard))


def _without_calls(libc: ctypes.CDLL) -> bool:
    """Install the filter; False: the kernel or the machine has none."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        return False
    refused = _REFUSED[machine]
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, _ARCHITECTURES[machine]), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    # How far to the last instruction, from the one behind each.
    program.append((_AT_LEAST, len(refused) + 4, 0, _X32))
    program.extend((_EQUAL, len(refused) + 3 - place, 0, number) for place, number in enumerate(refused))
    # The process itself is 0.
    program.extend(((_EQUAL, 0, 2, _PRLIMIT[machine]), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_EQUAL, 0, 1, 0)))
    program.extend(((_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)))
    octets = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    code = ctypes.create_string_buffer(octets, len(octets))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    return bool(libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), head, 0, 0) == 0)


def _without_files(libc: ctypes.CDLL, readable: Iterable[str]) -> bool:
    """Leave only reading, and only below some folders; False: the kernel does not do that."""
    handled = ctypes.create_string_buffer(struct.pack("=Q", _LANDLOCK_ALL), 8)
    ruleset = libc.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    try:
        for name in sorted(set(readable)):
            _allow_reading(libc, ruleset, name)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow_reading(libc: ctypes.CDLL, ruleset: int, name: str) -> None:
    if not name or not Path(name).exists():
        return
    place = os.open(name, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = _LANDLOCK_READ if Path(name).is_dir() else 1 << 2
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, place), 12)
        libc.syscall(_ADD_RULE, ruleset, 1, rule, 0)
    finally:
        os.close(place)
