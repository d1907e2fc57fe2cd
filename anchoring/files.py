"""The file of anchors and the exported records: only ever added to, on the disk before anybody is told."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from anchoring.errors import AnchorFileUnusable
from anchoring.record import Anchor
from auditlog.chain import Entry
from foundation.files import flush_folder

_MODE: Final = 0o640
_EXPORTED: Final = re.compile(r"audit-\d{12}-(?P<last>\d{12})\.jsonl\Z")


class AnchorFile:
    """Anchors, a line each, in the order in which they were made."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[Anchor, ...]:
        """All of them.  A last line without its end was never answered for, and is left out.

        :raises AnchorFileUnusable: it cannot be read, or a line is none of ours.
        """
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise AnchorFileUnusable(f"{self._path}: cannot be read ({error.strerror})") from error
        whole = text[: text.rfind(b"\n") + 1]
        return tuple(Anchor.from_json(line.decode("utf-8", "replace")) for line in whole.splitlines() if line.strip())

    def add(self, anchor: Anchor) -> None:
        """Add one; it is on the disk when this returns.

        :raises AnchorFileUnusable: it could not be written whole.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
            with os.fdopen(descriptor, "r+b") as file:
                # What a crash left of a line goes; whole lines are never touched.
                content = file.read()
                file.truncate(content.rfind(b"\n") + 1)
                file.seek(0, os.SEEK_END)
                file.write(anchor.to_json().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            flush_folder(self._path.parent)
        except OSError as error:
            raise AnchorFileUnusable(f"{self._path}: cannot be written ({error.strerror})") from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else adds to it meanwhile.

        :raises AnchorFileUnusable: another process does.
        """
        lock = self._path.with_name(self._path.name + ".lock")
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        except OSError as error:
            raise AnchorFileUnusable(f"{lock}: cannot be made ({error.strerror})") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise AnchorFileUnusable("another process adds to the same anchors") from error
        finally:
            os.close(descriptor)


def line_of(entry: Entry) -> str:
    """A record in the export's form: that of ``privyseal audit export``."""
    return json.dumps(asdict(entry), separators=(",", ":"))


def export(folder: Path, entries: Iterable[Entry]) -> Path | None:
    """Write records into a file of their own, named after the first and the last; None: there were none.

    :raises AnchorFileUnusable: it could not be written whole.
    """
    part = folder / "being-written.jsonl.part"
    first = last = 0
    try:
        with part.open("w", encoding="ascii") as file:
            for entry in entries:
                first, last = first or entry.sequence, entry.sequence
                file.write(line_of(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if not first:
            part.unlink()
            return None
        named = folder / f"audit-{first:012d}-{last:012d}.jsonl"
        part.rename(named)
        flush_folder(folder)
    except OSError as error:
        raise AnchorFileUnusable(f"{folder}: cannot be written ({error.strerror})") from error
    return named


def exported(folder: Path) -> int | None:
    """The sequence number of the last record that was exported there; None: none was.

    :raises AnchorFileUnusable: it cannot be read.
    """
    try:
        names = [_EXPORTED.match(path.name) for path in folder.iterdir()]
    except OSError as error:
        raise AnchorFileUnusable(f"{folder}: cannot be read ({error.strerror})") from error
    return max((int(found["last"]) for found in names if found), default=None)
