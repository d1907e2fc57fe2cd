"""The files of a policy on disk: ``<name>.yaml``, ``<name>.test.yaml`` and ``<name>.approval.json`` beside it.

A file is opened once and read whole, so what is hashed is what is parsed.  The three are taken together only if none
was changed, or replaced by another of its name, while they were read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from idp.policy.approval import approval_beside
from idp.policy.cases import cases_beside
from idp.policy.document import MAX_OCTETS
from idp.policy.errors import Fault, PolicyRejected
from idp.policy.prepare import NO_CASES, sha256

LOOK_SECONDS: Final = 1
"""How often the files are looked at, at most."""
REREAD_SECONDS: Final = 60
"""How often they are read although nothing seems to have changed: some file systems do not tell."""
_QUIET: Final = timedelta(seconds=2)
"""A file that was written longer ago is taken at once; a younger one only if it is the same at the next look, since an
editor may be in the middle of it."""
_TRIES: Final = 5

Signature = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """Where a policy is."""

    policy: Path

    @property
    def cases(self) -> Path:
        """Of its cases."""
        return cases_beside(self.policy)

    @property
    def approval(self) -> Path:
        """Of what operators signed."""
        return approval_beside(self.policy)

    def __iter__(self) -> Iterator[Path]:
        return iter((self.policy, self.cases, self.approval))


@dataclass(frozen=True, slots=True)
class Content:
    """What was in the files at one time; octets, which nobody has judged."""

    policy: bytes = field(repr=False)
    cases: bytes | None = field(repr=False)
    approval: bytes | None = field(repr=False)

    @property
    def sha256(self) -> str:
        """Of the policy, in hexadecimal."""
        return sha256(self.policy)

    @property
    def cases_sha256(self) -> str:
        """Of its cases; :data:`~idp.policy.prepare.NO_CASES` if there are none."""
        return NO_CASES if self.cases is None else sha256(self.cases)


class _Moving(Exception):
    """The files changed while they were read."""


def read_policy_files(files: PolicyFiles) -> Content:
    """Read them now, all three as they were at one time.

    :raises PolicyRejected: ``unreadable``.
    """
    for _ in range(_TRIES):
        try:
            return _read(files)[0]
        except _Moving:
            continue
    raise PolicyRejected("unreadable", (Fault(str(files.policy), 1, 1, "changes while it is read"),))


class Watch:
    """Notices that the files of a policy changed; for one thread at a time."""

    def __init__(self, files: PolicyFiles) -> None:
        self.files = files
        self._taken: Signature | None = None
        self._waiting: Signature | None = None
        self._read_at: datetime | None = None

    def look(self, now: datetime) -> Content | None:
        """What is in them, if that may have changed since the last time; None: nothing new, or not for sure.

        :raises PolicyRejected: ``unreadable``; told again after :data:`REREAD_SECONDS`.
        """
        found = _signature(self.files)
        if found == self._taken and not self._due(now):
            return None
        if found not in (self._taken, self._waiting) and not _quiet(found, now):
            self._waiting = found
            return None
        try:
            content, signature = _read(self.files)
        except _Moving:
            self._waiting = None
            return None
        except PolicyRejected:
            self._take(found, now)
            raise
        self._take(signature, now)
        return content

    def forget(self) -> None:
        """Read them again at the next look."""
        self._read_at = None

    def _take(self, signature: Signature, now: datetime) -> None:
        self._taken, self._waiting, self._read_at = signature, None, now

    def _due(self, now: datetime) -> bool:
        # A clock that was set back must not keep a file from being read.
        return self._read_at is None or abs((now - self._read_at).total_seconds()) >= REREAD_SECONDS


def _signature(files: PolicyFiles) -> Signature:
    return tuple(_stat(path) for path in files)


def _stat(path: Path) -> tuple[int, ...] | None:
    try:
        return _identity(path.stat())
    except OSError:
        return None


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)


def _quiet(signature: Signature, now: datetime) -> bool:
    latest = int((now - _QUIET).timestamp() * 1_000_000_000)
    return all(item is None or item[0] <= latest for item in signature)


def _read(files: PolicyFiles) -> tuple[Content, Signature]:
    """:raises _Moving: one of them was changed or replaced meanwhile."""
    found = [_read_one(path, needed=path == files.policy) for path in files]
    signature = tuple(None if item is None else item[1] for item in found)
    if signature != _signature(files):
        raise _Moving
    policy, cases, approval = (None if item is None else item[0] for item in found)
    return Content(policy or b"", cases, approval), signature


def _read_one(path: Path, *, needed: bool) -> tuple[bytes, tuple[int, ...]] | None:
    """Octets, at most one more than a policy may have, and what the open file is known by."""
    try:
        # Without O_NONBLOCK, opening a pipe would wait for somebody to write.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        if needed:
            raise _unreadable(path, "there is no such file") from error
        return None
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _unreadable(path, "not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            data = stream.read(MAX_OCTETS + 1)
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return data, _identity(status)


def _unreadable(path: Path, message: str) -> PolicyRejected:
    return PolicyRejected("unreadable", (Fault(str(path), 1, 1, message),))
