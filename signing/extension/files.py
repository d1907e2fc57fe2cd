"""PDFs in files: which there are, and how one takes the place of another."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from foundation.files import flush_folder
from signing.extension.errors import FileChanged, FileUnusable

MAX_OCTETS: Final = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """A file that is to be lifted."""

    path: Path
    named: bool
    """By the command line itself, and not as one of a folder."""


@dataclass(frozen=True, slots=True)
class Content:
    """A file's octets, and which file they are of."""

    octets: bytes = field(repr=False)
    state: tuple[int, int, int, int]
    mode: int


def found(paths: Iterable[Path]) -> list[Found]:
    """Files as they are named, and of folders all that end in ``.pdf``; no link in a folder is followed.

    :raises FileUnusable: a path is neither.
    """
    every: dict[Path, Found] = {}
    for path in paths:
        if path.is_dir():
            for each in sorted(_below(path)):
                every.setdefault(each, Found(each, named=False))
        elif path.is_file():
            every.setdefault(path, Found(path, named=True))
        else:
            raise FileUnusable(f"{path}: there is no such file or folder")
    return list(every.values())


def read(path: Path) -> Content:
    """:raises FileUnusable: it cannot be read, or is larger than :data:`MAX_OCTETS`."""
    try:
        with path.open("rb") as source:
            status = os.fstat(source.fileno())
            octets = source.read(MAX_OCTETS + 1)
    except OSError as error:
        raise FileUnusable(f"cannot be read ({error.strerror})") from error
    if len(octets) > MAX_OCTETS:
        raise FileUnusable(f"larger than {MAX_OCTETS} octets")
    return Content(octets, _state(status), status.st_mode & 0o777)


def replace(path: Path, content: Content, octets: bytes) -> None:
    """Put other octets in a file's place: whoever opens it finds the old ones or the new ones, also after a crash.

    :param content: what was read there.
    :raises FileChanged: somebody else wrote meanwhile; the file is as they left it.
    :raises FileUnusable: the new file cannot be written.
    """
    # A link stays one: what it leads to is replaced.
    target = path.resolve()
    try:
        written = _written(target, content.mode, octets)
        try:
            if _state(target.stat()) != content.state:
                raise FileChanged("was changed by somebody else meanwhile")
            written.replace(target)
        finally:
            written.unlink(missing_ok=True)
        flush_folder(target.parent)
    except OSError as error:
        raise FileUnusable(f"cannot be written ({error.strerror})") from error


def _written(target: Path, mode: int, octets: bytes) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(octets)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _state(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _below(folder: Path) -> Iterator[Path]:
    for directory, _folders, names in os.walk(folder):
        for name in names:
            path = Path(directory) / name
            if name.lower().endswith(".pdf") and path.is_file() and not path.is_symlink():
                yield path
