"""The content of a backup: gzip of lines of JSON.

======== ======================================================================================================
first    ``{"format": "privyseal-backup", "version": 1, "side", "of", "schema", "made_at", "product"}``
a table  ``{"table": NAME, "columns": [NAME...]}``, followed by its rows, a JSON array each
last     ``{"end": {NAME: ROWS...}, "sha256": HEX}``: of all lines before, line ends included
======== ======================================================================================================

A file without its last line is a part, whatever decrypted it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, BinaryIO, Final

from archive.errors import ArchiveBroken, NotWritten
from foundation.errors import TokenMalformed
from foundation.jose import parse_json

FORMAT: Final = "privyseal-backup"
VERSION: Final = 1
MAX_LINE_OCTETS: Final = 16 * 1024 * 1024
"""No row comes near it; whoever can make a file to our recipients must not thereby take all memory."""
_LARGER_LINES: Final = {"portal": 400 * 1024 * 1024}
"""By side: a row is a person's document there, of 256 MiB at most, and base64 adds a third."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Whose backup it is, and from when."""

    side: str
    """``idp``, ``sam`` or ``portal``."""
    of: str
    """The issuer, the realm, or where the portal is: which installation."""
    schema: int
    made_at: str
    """ISO 8601, UTC; when the snapshot was taken."""
    product: str
    """Version of the product that wrote it."""

    @property
    def max_line(self) -> int:
        """Octets of its longest line at most."""
        return _LARGER_LINES.get(self.side, MAX_LINE_OCTETS)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a backup holds, told once all of it was read."""

    manifest: Manifest
    rows: Mapping[str, int]
    """By table."""
    sha256: str


class Writer:
    """Writes a backup's lines."""

    def __init__(self, output: BinaryIO | gzip.GzipFile, manifest: Manifest) -> None:
        self._output = output
        self._hash = hashlib.sha256()
        self._rows: dict[str, int] = {}
        self._table = ""
        self._manifest = manifest
        head = {name: getattr(manifest, name) for name in Manifest.__slots__}
        self._line({"format": FORMAT, "version": VERSION, **head})

    def table(self, name: str, columns: list[str]) -> None:
        """Begin a table."""
        self._table = name
        self._rows[name] = 0
        self._line({"table": name, "columns": columns})

    def row(self, values: list[Any]) -> None:
        """A row of the table begun last."""
        self._rows[self._table] += 1
        self._line(values)

    def end(self) -> Summary:
        """The last line; nothing may follow."""
        digest = self._hash.hexdigest()
        self._line({"end": self._rows, "sha256": digest})
        return Summary(self._manifest, dict(self._rows), digest)

    def _line(self, value: Any) -> None:
        line = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode() + b"\n"
        if len(line) > self._manifest.max_line:
            # Nobody would read it again.
            raise NotWritten(f"a row of {self._table} is larger than a backup holds")
        self._hash.update(line)
        self._output.write(line)


@contextmanager
def writing(output: IO[bytes], manifest: Manifest) -> Iterator[Writer]:
    """A writer of a compressed backup."""
    with gzip.GzipFile(fileobj=output, mode="wb", mtime=0) as packed:
        yield Writer(packed, manifest)


def read(
    source: IO[bytes],
    begin: Callable[[Manifest], None],
    table: Callable[[str, list[str]], None],
    row: Callable[[list[Any]], None],
) -> Summary:
    """Read a backup to its end, line by line.

    :param begin: told whose it is, before anything else.
    :param table: told of each table's begin.
    :param row: told of each row.
    :raises ArchiveBroken: not in the form, or without its last line.
    """
    hashed = hashlib.sha256()
    rows: dict[str, int] = {}
    current: str | None = None
    try:
        with gzip.GzipFile(fileobj=source, mode="rb") as clear:
            manifest = _manifest(_parsed(_take(clear, hashed, MAX_LINE_OCTETS)))
            begin(manifest)
            while True:
                before = hashed.hexdigest()
                value = _parsed(_take(clear, hashed, manifest.max_line))
                if isinstance(value, list):
                    if current is None:
                        raise ArchiveBroken("a row stands before its table")
                    rows[current] += 1
                    row(value)
                elif set(value) == {"table", "columns"}:
                    current = str(value["table"])
                    if current in rows or not isinstance(value["columns"], list):
                        raise ArchiveBroken("a table stands twice, or without its columns")
                    rows[current] = 0
                    table(current, [str(name) for name in value["columns"]])
                else:
                    _check_end(value, rows, before)
                    if clear.read(1):
                        raise ArchiveBroken("something stands behind the last line")
                    return Summary(manifest, rows, before)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ArchiveBroken("the file ends before its end, or is no backup") from error


def product_at(at: datetime) -> str:
    """A time as the manifest has it."""
    return at.isoformat(timespec="seconds")


def _take(source: gzip.GzipFile, hashed: Any, most: int) -> bytes:
    line = source.readline(most + 1)
    if not line.endswith(b"\n"):
        raise ArchiveBroken("the file ends before its end, or has a line that is too long")
    hashed.update(line)
    return line


def _parsed(line: bytes) -> Any:
    try:
        value = parse_json(line)
    except TokenMalformed as error:
        raise ArchiveBroken("a line is no JSON") from error
    if not isinstance(value, (dict, list)):
        raise ArchiveBroken("a line is neither an object nor a row")
    return value


def _manifest(value: Any) -> Manifest:
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise ArchiveBroken("the file is no backup")
    if value.get("version") != VERSION:
        raise ArchiveBroken(f"the backup is of version {value.get('version')!r}, and this program reads {VERSION}")
    try:
        return Manifest(
            side=str(value["side"]),
            of=str(value["of"]),
            schema=int(value["schema"]),
            made_at=str(value["made_at"]),
            product=str(value["product"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArchiveBroken("the backup's first line lacks something") from error


def _check_end(value: Mapping[str, Any], rows: Mapping[str, int], sha256: str) -> None:
    if set(value) != {"end", "sha256"}:
        raise ArchiveBroken("a line is of no kind that is known")
    if value["end"] != rows or value["sha256"] != sha256:
        raise ArchiveBroken("the rows are not those that the last line tells of")
