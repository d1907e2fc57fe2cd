"""The chain in a database, and the command that verifies it, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, MetaData, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from auditlog import cli
from auditlog.catalogue import Catalogue, Event
from auditlog.chain import EMPTY, Head, append, verify
from auditlog.cli import main
from auditlog.errors import ChainNotReady, EventRefused
from auditlog.sql import AuditLog, AuditTables, asked, audit_tables, read_entries
from auditlog.sql import Written as Record
from foundation.clock import from_epoch
from foundation.files import write_secret
from signing.storage.engine import open_engine

AT = from_epoch(1_772_366_400)


@dataclass
class Written:
    """A database with a chain."""

    engine: Engine
    tables: AuditTables
    log: AuditLog
    source: list[str]
    """Arguments of the command that name it."""

    def append(self, count: int = 1) -> None:
        """So many records, a transaction each."""
        for number in range(count):
            with self.engine.begin() as connection:
                self.log.append(connection, "demo.event", {"number": number}, AT)

    def change(self, change: Callable[[Connection, AuditTables], object]) -> None:
        """As somebody who may write the database."""
        with self.engine.begin() as connection:
            change(connection, self.tables)


@pytest.fixture
def written(database_url: str, tmp_path: Path) -> Iterator[Written]:
    metadata = MetaData()
    tables = audit_tables(metadata)
    log = AuditLog(tables, Catalogue([Event("demo.event", "", frozenset({"number"}))]))
    engine = open_engine(database_url)
    with engine.begin() as connection:
        metadata.create_all(connection)
        log.initialise(connection)
        log.initialise(connection)
    write_secret(tmp_path / "url", database_url.encode())
    written = Written(engine, tables, log, ["--database-url-file", str(tmp_path / "url")])
    written.append(6)
    yield written
    engine.dispose()


def test_records_are_written_in_the_callers_transaction(written: Written) -> None:
    with written.engine.connect() as connection:
        written.log.append(connection, "demo.event", {"number": 7}, AT)
        connection.rollback()
        assert written.log.head(connection).sequence == 6


def test_a_record_that_is_not_in_the_catalogue_is_refused(written: Written) -> None:
    with written.engine.begin() as connection, pytest.raises(EventRefused):
        written.log.append(connection, "demo.event", {"secret": "x"}, AT)


def test_writers_at_once_make_one_chain(written: Written) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(written.append, [5] * 8))
    with written.engine.connect() as connection:
        assert verify(read_entries(connection, written.tables.entries)) == written.log.head(connection)
        assert written.log.head(connection).sequence == 46


def test_a_long_chain_is_read_in_pages(written: Written) -> None:
    head = EMPTY
    with written.engine.begin() as connection:
        connection.execute(delete(written.tables.entries))
        rows = []
        for number in range(2001):
            entry = append(head, "demo.event", {"number": number}, AT)
            rows.append({name: getattr(entry, name) for name in entry.__slots__})
            head = Head(entry.sequence, entry.hash)
        connection.execute(insert(written.tables.entries), rows)
        assert verify(read_entries(connection, written.tables.entries)) == head


def test_without_a_head_nothing_is_written(written: Written) -> None:
    written.change(lambda connection, tables: connection.execute(delete(tables.head)))
    with written.engine.begin() as connection:
        with pytest.raises(ChainNotReady):
            written.log.append(connection, "demo.event", {"number": 1}, AT)
        with pytest.raises(ChainNotReady):
            written.log.head(connection)


def test_a_head_that_moved_under_its_lock_is_refused(written: Written) -> None:
    head = written.tables.head
    with written.engine.begin() as connection:
        locked = written.log.lock(connection)
        connection.execute(update(head).values(sequence=locked.sequence + 1))
        with pytest.raises(ChainNotReady):
            written.log.extend(connection, locked, [Record("demo.event", {"number": 1}, AT)])


def test_a_head_that_moved_under_its_lock_is_refused_by_the_database_where_nobody_asks(written: Written) -> None:
    head = written.tables.head
    log = AuditLog(written.tables, Catalogue([Event("demo.event", "", frozenset({"number"}))]), put_off=asked)
    with written.engine.begin() as connection:
        log.append(connection, "demo.event", {"number": 1}, AT)
    with written.engine.connect() as connection:
        assert verify(read_entries(connection, written.tables.entries)) == log.head(connection)
    with written.engine.begin() as connection:
        locked = log.lock(connection)
        connection.execute(update(head).values(sequence=locked.sequence + 1))
        with pytest.raises(IntegrityError):
            log.extend(connection, locked, [Record("demo.event", {"number": 1}, AT)])
        connection.rollback()


def test_records_written_during_a_verification_are_left_for_the_next(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    with written.engine.connect() as connection:
        whole = list(read_entries(connection, written.tables.entries))
        known, now = Head(3, whole[2].hash), Head(6, whole[5].hash)
        heads = iter([known, now])
        monkeypatch.setattr(cli, "read_head", lambda _connection, _table: next(heads))
        assert list(cli._until(connection, written.tables, known)) == whole[:3]


def test_the_command_verifies_and_takes_checkpoints(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["checkpoint", *written.source]) == 0
    (tmp_path / "kept").write_text(capsys.readouterr().out)
    written.append(2)
    assert main(["verify", *written.source, "--checkpoint", str(tmp_path / "kept")]) == 0
    assert capsys.readouterr().out.startswith("ok: 8 records, head ")
    assert main(["verify", *written.source, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 8
    assert main(["export", *written.source]) == 0
    assert [json.loads(line)["sequence"] for line in capsys.readouterr().out.splitlines()] == list(range(1, 9))


def _last(connection: Connection, tables: AuditTables, sequence: int) -> None:
    """Set the head row back to that record."""
    digest = connection.execute(select(tables.entries.c.hash).where(tables.entries.c.sequence == sequence)).scalar_one()
    connection.execute(update(tables.head).values(sequence=sequence, hash=digest))


def _modify(connection: Connection, tables: AuditTables) -> None:
    connection.execute(update(tables.entries).where(tables.entries.c.sequence == 3).values(fields='{"number":9}'))


def _delete(connection: Connection, tables: AuditTables) -> None:
    connection.execute(delete(tables.entries).where(tables.entries.c.sequence == 3))


def _reorder(connection: Connection, tables: AuditTables) -> None:
    for before, after in ((3, 99), (4, 3), (99, 4)):
        connection.execute(update(tables.entries).where(tables.entries.c.sequence == before).values(sequence=after))


def _insert(connection: Connection, tables: AuditTables) -> None:
    for before in (6, 5, 4, 3):
        wanted = tables.entries.c.sequence == before
        connection.execute(update(tables.entries).where(wanted).values(sequence=before + 1))
    row = {"sequence": 3, "at": 1, "event": "demo.event", "fields": "{}", "previous": "1" * 64, "hash": "2" * 64}
    connection.execute(insert(tables.entries).values(**row))


def _insert_below(connection: Connection, tables: AuditTables) -> None:
    """No verification from the first record on would come by it, and administrators' pages would show it."""
    row = {"sequence": -5, "at": 1, "event": "demo.event", "fields": "{}", "previous": "1" * 64, "hash": "2" * 64}
    connection.execute(insert(tables.entries).values(**row))


def _truncate(connection: Connection, tables: AuditTables) -> None:
    connection.execute(delete(tables.entries).where(tables.entries.c.sequence > 4))


def _truncate_with_head(connection: Connection, tables: AuditTables) -> None:
    _truncate(connection, tables)
    _last(connection, tables, 4)


def _set_head_back(connection: Connection, tables: AuditTables) -> None:
    _last(connection, tables, 4)


def _forge_head(connection: Connection, tables: AuditTables) -> None:
    connection.execute(update(tables.head).values(hash="0" * 64))


@pytest.mark.parametrize(
    ("attack", "record"),
    [
        (_modify, 3),
        (_delete, 3),
        (_reorder, 3),
        (_insert, 3),
        (_insert_below, 1),
        (_truncate, 5),
        (_truncate_with_head, 5),
        (_set_head_back, 5),
        (_forge_head, 6),
    ],
    ids=[
        "AUD-01",
        "AUD-02",
        "AUD-03",
        "AUD-04",
        "AUD-04 below the first",
        "AUD-05",
        "AUD-05 and head",
        "head set back",
        "head forged",
    ],
)
def test_AUD_01_to_05_the_command_names_the_first_bad_record(
    written: Written,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    attack: Callable[[Connection, AuditTables], None],
    record: int,
) -> None:
    assert main(["checkpoint", *written.source]) == 0
    (tmp_path / "kept").write_text(capsys.readouterr().out)
    written.change(attack)
    assert main(["verify", *written.source, "--checkpoint", str(tmp_path / "kept"), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], answer["record"]) == (False, record)
    assert main(["verify", *written.source, "--checkpoint", str(tmp_path / "kept")]) == 1
    assert f"record {record}:" in capsys.readouterr().err


def test_AUD_05_a_tail_cut_off_without_its_head_row_is_found_without_a_checkpoint(
    written: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    written.change(_truncate)
    assert main(["verify", *written.source]) == 1
    assert "record 5:" in capsys.readouterr().err


def test_AUD_05_without_a_checkpoint_a_truncation_with_its_head_is_not_found(written: Written) -> None:
    written.change(_truncate_with_head)
    assert main(["verify", *written.source]) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--database-url", "postgresql+psycopg://user:geheim@127.0.0.1:1/x"],
        ["--database-url", "sqlite:////nonexistent/x.sqlite"],
        ["--database-url", "sqlite://"],
        ["--database-url", "no url"],
    ],
)
def test_what_cannot_be_read_is_an_error_that_quotes_no_password(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", *arguments]) == 2
    assert "geheim" not in "".join(capsys.readouterr())


def test_a_database_without_a_chain_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.sqlite").touch()
    assert main(["verify", "--database-url", f"sqlite:///{tmp_path / 'x.sqlite'}"]) == 2
    assert "OperationalError" in capsys.readouterr().err


def test_checkpoints_that_cannot_be_read_are_an_error(written: Written, tmp_path: Path) -> None:
    assert main(["verify", *written.source, "--checkpoint", str(tmp_path / "none")]) == 2
