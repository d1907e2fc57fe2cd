"""What a side says of its database, and the two ways: out of it into a file, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, Final

from sqlalchemy import Connection, Engine, Table, select
from sqlalchemy.exc import SQLAlchemyError

from archive.envelope import Identity, Recipient, decrypting, encrypting
from archive.errors import ArchiveBroken, ArchiveForeign, DatabaseFailed, NotEmpty
from archive.records import Manifest, Summary, Writer, product_at, read, writing
from archive.rows import PAGE, count_up, read_rows, write_rows
from foundation import __version__

Progress = Callable[[str, int], None]
"""Told of a table's name, and how many of its rows are done."""


@dataclass(frozen=True, slots=True)
class Side:
    """A side's database."""

    name: str
    """``idp``, ``sam`` or ``portal``."""
    of: str
    """The issuer, the realm, or where the portal is."""
    schema: int
    engine: Engine
    reading: Engine
    """The same with the options of a transaction that only reads and sees one moment."""
    kept: tuple[Table, ...]
    """What a backup holds, referred to before referring."""
    transient: tuple[Table, ...]
    """What ends with a restore: nothing in it is worth a second life."""
    create: Callable[[Engine], None]
    """Make all tables, without rows."""
    restored: Callable[[Connection, Summary], None]
    """Called in the transaction that restored all rows: what has to be said of it, and set, before it counts."""
    large: frozenset[str] = frozenset()
    """Names of tables whose rows are in memory one at a time: each may be as large as a document."""

    def page_of(self, table: Table) -> int:
        """How many of a table's rows may be in memory at one time."""
        return 1 if table.name in self.large else PAGE


def backup(
    side: Side, output: IO[bytes], recipients: Sequence[Recipient], now: datetime, progress: Progress
) -> Summary:
    """Write every kept row, as it is at one moment.

    :raises DatabaseFailed: the database cannot be read.
    :raises NotWritten: the output did not take it.
    """
    manifest = Manifest(side.name, side.of, side.schema, product_at(now), __version__)
    with encrypting(output, recipients) as clear, writing(clear, manifest) as writer, _database():
        with side.reading.connect() as connection:
            for table in side.kept:
                _write_table(connection, table, side.page_of(table), writer, progress)
        return writer.end()


def restore(side: Side, source: IO[bytes], keys: Sequence[Identity], progress: Progress) -> Summary:
    """Put a backup's rows into an empty database: all of them, or none.

    :raises NotForUs: :raises ArchiveBroken: see :func:`archive.envelope.decrypting` and :func:`archive.records.read`.
    :raises ArchiveForeign: it is another side's, installation's or schema's.
    :raises NotEmpty: a table has a row.
    :raises DatabaseFailed: the database refused.
    """
    with _database():
        side.create(side.engine)
        with side.engine.begin() as connection:
            _check_empty(connection, (*side.kept, *side.transient))
            with decrypting(source, keys) as clear:
                loader = _Loader(side, connection, progress)
                summary = read(clear, loader.begin, loader.table, loader.row)
                loader.flush()
                _read_out(clear)
            for table in side.kept:
                count_up(connection, table)
            side.restored(connection, summary)
            # Nothing is committed before the context of the decryption has ended: only then all of it was authentic.
    return summary


def verify(source: IO[bytes], keys: Sequence[Identity]) -> Summary:
    """Read a backup to its end, and keep nothing.

    :raises NotForUs: :raises ArchiveBroken: as :func:`restore` does.
    """
    with decrypting(source, keys) as clear:
        summary = read(clear, lambda _manifest: None, lambda _name, _columns: None, lambda _row: None)
        _read_out(clear)
    return summary


class _Loader:
    """Takes what is read, and inserts it by the page."""

    def __init__(self, side: Side, connection: Connection, progress: Progress) -> None:
        self._side = side
        self._tables = {table.name: table for table in side.kept}
        self._connection = connection
        self._progress = progress
        self._current: Table | None = None
        self._most = PAGE
        self._page: list[list[Any]] = []
        self._done = 0

    def begin(self, manifest: Manifest) -> None:
        side = self._side
        found, wanted = (manifest.side, manifest.of, manifest.schema), (side.name, side.of, side.schema)
        for what, is_, should_be in zip(("side", "installation", "schema"), found, wanted, strict=True):
            if is_ != should_be:
                raise ArchiveForeign(f"the backup is of {what} {is_!r}, and this is {should_be!r}")

    def table(self, name: str, columns: list[str]) -> None:
        self.flush()
        table = self._tables.get(name)
        if table is None or columns != [column.name for column in table.columns]:
            raise ArchiveBroken(f"the backup has a table {name[:64]!r} that this schema has not, or with other columns")
        self._current, self._done, self._most = table, 0, self._side.page_of(table)

    def row(self, values: list[Any]) -> None:
        self._page.append(values)
        if len(self._page) >= self._most:
            self.flush()

    def flush(self) -> None:
        if self._current is not None and self._page:
            write_rows(self._connection, self._current, self._page)
            self._done += len(self._page)
            self._page = []
            self._progress(self._current.name, self._done)


def _write_table(connection: Connection, table: Table, page: int, writer: Writer, progress: Progress) -> None:
    writer.table(table.name, [column.name for column in table.columns])
    done = 0
    with closing(read_rows(connection, table, page)) as rows:
        for values in rows:
            writer.row(values)
            done += 1
            if done % PAGE == 0:
                progress(table.name, done)
    progress(table.name, done)


def _check_empty(connection: Connection, tables: Sequence[Table]) -> None:
    for table in tables:
        if connection.execute(select(*table.primary_key.columns).limit(1)).first() is not None:
            raise NotEmpty(f"the database has rows already (table {table.name}): restore into an empty one")


_REST: Final = 1024


def _read_out(clear: IO[bytes]) -> None:
    """gzip leaves what stands behind its end."""
    if clear.read(_REST):
        raise ArchiveBroken("something stands behind the last line")


@contextmanager
def _database() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        # Its text may quote what was to be written.
        raise DatabaseFailed(f"the database failed ({type(error).__name__})") from error
