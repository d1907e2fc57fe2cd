"""Secrets on disk: owner-only files, read and written so that nobody else can come between; and folders that last."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from foundation.errors import SecretFileError

MAX_SECRET_BYTES = 64 * 1024
"""No key, PIN or password needs more; a larger file is a mistake in the settings."""


def read_secret(path: Path) -> bytes:
    """Read a secret from a file that only its owner can read.

    One trailing newline is dropped, because editors add one.

    :raises SecretFileError: missing, a symbolic link, not a regular file, another owner than this process (or root),
        readable or writable by group or others, empty, or above :data:`MAX_SECRET_BYTES`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise SecretFileError(f"{path}: cannot be opened ({error.strerror})") from error
    try:
        _check(path, os.fstat(descriptor))
        data = os.read(descriptor, MAX_SECRET_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_SECRET_BYTES:
        raise SecretFileError(f"{path}: larger than {MAX_SECRET_BYTES} octets")
    data = data.removesuffix(b"\n").removesuffix(b"\r")
    if not data:
        raise SecretFileError(f"{path}: empty")
    return data


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SecretFileError(f"{path}: not a regular file")
    if status.st_mode & 0o077:
        raise SecretFileError(f"{path}: mode {stat.S_IMODE(status.st_mode):04o} lets others at it; it must be 0600")
    if status.st_uid not in {os.geteuid(), 0}:
        raise SecretFileError(f"{path}: belongs to user {status.st_uid}")


def write_secret(path: Path, data: bytes) -> None:
    """Write a new owner-only file (mode 0600); never replaces one that exists.

    :raises SecretFileError: the file exists or cannot be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise SecretFileError(f"{path}: cannot be made ({error.strerror})") from error
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def flush_folder(folder: Path) -> None:
    """Have on the disk which files a folder has: a file that was renamed there is otherwise there until a power cut.

    :raises OSError: it cannot be done.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
