"""Backups: everything as it was, or nothing; and only for whom it was written."""

from __future__ import annotations

import gzip
import io
import json
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
    select,
    text,
)

from archive import command, envelope, errors, side
from archive.records import Manifest, Summary, writing
from archive.side import Side
from foundation.clock import Clock
from foundation.files import write_secret

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
METADATA = MetaData()
PARENTS = Table("parents", METADATA, Column("id", Integer, primary_key=True), Column("name", String(64)))
CHILDREN = Table(
    "children",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("parent", Integer, ForeignKey("parents.id"), nullable=False),
    Column("octets", LargeBinary),
    Column("detail", JSON),
)
SESSIONS = Table("sessions", METADATA, Column("id", Integer, primary_key=True))
SECRET, PUBLIC = envelope.new_identity()
KEYS = envelope.identities(SECRET)


def silent(_table: str, _rows: int) -> None:
    """Nobody looks."""


def side_of(engine: Engine, **changes: Any) -> Side:
    found: list[Summary] = []

    def restored(_connection: Connection, summary: Summary) -> None:
        found.append(summary)

    made = Side("sam", "realm", 5, engine, engine, (PARENTS, CHILDREN), (SESSIONS,), METADATA.create_all, restored)
    return replace(made, **changes)


@pytest.fixture
def engines() -> Iterator[Callable[[], Engine]]:
    made: list[Engine] = []

    def fresh() -> Engine:
        made.append(create_engine("sqlite://"))
        with made[-1].begin() as connection:
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        return made[-1]

    yield fresh
    for engine in made:
        engine.dispose()


@pytest.fixture
def source(engines: Callable[[], Engine]) -> Engine:
    engine = engines()
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(PARENTS), [{"id": number, "name": f"ñ {number}"} for number in range(1200)])
        child = {"id": 1, "parent": 7, "octets": bytes(range(256)), "detail": {"b": [1, None]}}
        connection.execute(insert(CHILDREN), child)
        connection.execute(text("INSERT INTO children VALUES (2, 7, NULL, NULL)"))
        connection.execute(text("""INSERT INTO children VALUES (3, 8, x'', '{"b":  1, "a": 2}')"""))
        connection.execute(insert(SESSIONS), {"id": 1})
    return engine


def written(engine: Engine, **changes: Any) -> bytes:
    output = io.BytesIO()
    side.backup(side_of(engine, **changes), output, [envelope.recipient(PUBLIC)], NOW, silent)
    return output.getvalue()


def content(engine: Engine) -> dict[str, Sequence[Any]]:
    """All rows as they stand there, JSON as its text."""
    with engine.connect() as connection:
        return {
            name: connection.execute(text(f"SELECT * FROM {name} ORDER BY id")).all()
            for name in ("parents", "children", "sessions")
        }


def test_every_row_comes_back_exactly_as_it_stood_and_what_is_transient_does_not(
    source: Engine, engines: Callable[[], Engine]
) -> None:
    target = engines()
    summary = side.restore(side_of(target), io.BytesIO(written(source)), KEYS, silent)
    assert dict(summary.rows) == {"parents": 1200, "children": 3}
    assert summary.manifest.made_at == "2026-11-29T12:00:00+00:00"
    assert content(target) == {**content(source), "sessions": []}


def test_a_backup_tells_its_content_and_reading_it_writes_nothing(source: Engine) -> None:
    summary = side.verify(io.BytesIO(written(source)), KEYS)
    assert (summary.manifest.side, summary.manifest.of, summary.rows["children"]) == ("sam", "realm", 3)


def test_it_opens_to_its_recipients_only(source: Engine) -> None:
    other, _public = envelope.new_identity()
    with pytest.raises(errors.NotForUs):
        side.verify(io.BytesIO(written(source)), envelope.identities(other))


def test_nothing_of_a_row_stands_in_the_file_in_clear(source: Engine) -> None:
    data = written(source)
    assert b"parents" not in data
    assert b"age-encryption.org/v1" in data


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_restores_nothing(source: Engine, engines: Callable[[], Engine], part: float) -> None:
    data, target = written(source), engines()
    with pytest.raises(errors.ArchiveBroken):
        side.restore(side_of(target), io.BytesIO(data[: int(len(data) * part)]), KEYS, silent)
    assert all(rows == [] for rows in content(target).values())


@pytest.mark.parametrize("place", [0.05, 0.3, 0.7, 0.99])
def test_a_file_with_one_bit_altered_restores_nothing(
    source: Engine, engines: Callable[[], Engine], place: float
) -> None:
    data, target = bytearray(written(source)), engines()
    data[int(len(data) * place)] ^= 1
    with pytest.raises((errors.ArchiveBroken, errors.NotForUs)):
        side.restore(side_of(target), io.BytesIO(bytes(data)), KEYS, silent)
    assert all(rows == [] for rows in content(target).values())


@pytest.mark.parametrize(
    ("changes", "what"), [({"name": "idp"}, "side"), ({"of": "another"}, "installation"), ({"schema": 4}, "schema")]
)
def test_ADM_06_another_sides_installations_or_schemas_backup_is_refused(
    source: Engine, engines: Callable[[], Engine], changes: dict[str, Any], what: str
) -> None:
    data, target = written(source, **changes), engines()
    with pytest.raises(errors.ArchiveForeign, match=what):
        side.restore(side_of(target), io.BytesIO(data), KEYS, silent)
    assert all(rows == [] for rows in content(target).values())


@pytest.mark.parametrize("table", [PARENTS, SESSIONS])
def test_a_database_with_rows_is_left_as_it_is(source: Engine, engines: Callable[[], Engine], table: Table) -> None:
    data, target = written(source), engines()
    METADATA.create_all(target)
    with target.begin() as connection:
        connection.execute(insert(table), {"id": 99})
    with pytest.raises(errors.NotEmpty, match=table.name):
        side.restore(side_of(target), io.BytesIO(data), KEYS, silent)
    with target.connect() as connection:
        assert connection.execute(select(table.c.id)).scalars().all() == [99]


def test_what_the_side_says_at_the_end_goes_with_the_rows_or_all_is_undone(
    source: Engine, engines: Callable[[], Engine]
) -> None:
    target = engines()

    def refuse(_connection: Connection, _summary: Summary) -> None:
        raise errors.ArchiveForeign("not these")

    with pytest.raises(errors.ArchiveForeign, match="not these"):
        side.restore(side_of(target, restored=refuse), io.BytesIO(written(source)), KEYS, silent)
    assert all(rows == [] for rows in content(target).values())


def made(lines: Sequence[Any], behind: bytes = b"") -> bytes:
    """A file of these lines, encrypted to us."""
    clear, output = io.BytesIO(), io.BytesIO()
    with gzip.GzipFile(fileobj=clear, mode="wb") as packed:
        packed.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    with envelope.encrypting(output, [envelope.recipient(PUBLIC)]) as sink:
        sink.write(clear.getvalue() + behind)
    return output.getvalue()


HEAD = {
    "format": "privyseal-backup", "version": 1, "side": "sam", "of": "realm", "schema": 5, "made_at": "then",
    "product": "0",
}  # fmt: skip
PARENT = {"table": "parents", "columns": ["id", "name"]}


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [[]],
        [{**HEAD, "format": "other"}],
        [{**HEAD, "version": 2}],
        [{name: HEAD[name] for name in HEAD if name != "schema"}],
        [HEAD],
        [HEAD, PARENT, [1, "a"]],
        [HEAD, [1, "a"]],
        [HEAD, PARENT, PARENT],
        [HEAD, {**PARENT, "columns": ["id"]}],
        [HEAD, {"table": "strangers", "columns": []}],
        [HEAD, PARENT, [1]],
        [HEAD, PARENT, [1, "a"], {"end": {"parents": 1}, "sha256": "0"}],
        [HEAD, PARENT, [1, "a"], {"other": 1}],
        [HEAD, 7],
    ],
)
def test_lines_that_are_no_backup_restore_nothing(engines: Callable[[], Engine], lines: Sequence[Any]) -> None:
    target = engines()
    with pytest.raises(errors.ArchiveBroken):
        side.restore(side_of(target), io.BytesIO(made(lines)), KEYS, silent)
    assert all(rows == [] for rows in content(target).values())


@pytest.mark.parametrize("behind", [b"more", gzip.compress(b"more\n", mtime=0)], ids=["octets", "another part"])
def test_nothing_may_stand_behind_the_end(engines: Callable[[], Engine], behind: bytes) -> None:
    clear, output = io.BytesIO(), io.BytesIO()
    with writing(clear, Manifest("sam", "realm", 5, "then", "0")) as writer:
        writer.table("parents", ["id", "name"])
        writer.end()
    with envelope.encrypting(output, [envelope.recipient(PUBLIC)]) as sink:
        sink.write(clear.getvalue() + behind)
    with pytest.raises(errors.ArchiveBroken):
        side.restore(side_of(engines()), io.BytesIO(output.getvalue()), KEYS, silent)


# Commands


def opened(engine: Engine) -> Callable[[Path, Clock], Side]:
    return lambda _config, _clock: side_of(engine)


def test_the_commands_write_verify_and_restore(
    source: Engine, engines: Callable[[], Engine], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, file, target = tmp_path / "key", tmp_path / "backup.age", engines()
    assert command.key_main(["--output", str(key)]) == 0
    public = capsys.readouterr().out.strip()
    arguments = ["--config", "sam.toml", "--recipient", public, "--recipient", PUBLIC, "--output", str(file)]
    assert command.run_backup("sam", opened(source), arguments) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "1203 rows" in capsys.readouterr().out
    assert command.verify_main(["--identity", str(key), "--json", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == {"parents": 1200, "children": 3}
    restoring = ["--config", "sam.toml", "--identity", str(key), str(file)]
    assert command.run_restore("sam", opened(target), restoring, "then this") == 0
    shown = capsys.readouterr()
    assert "then this" in shown.err
    assert "children: 3 rows" in shown.err
    assert command.run_restore("sam", opened(target), restoring, "then this") == 1
    assert "has rows already" in capsys.readouterr().err


def test_a_backup_that_fails_leaves_no_file_and_one_that_is_there_is_not_replaced(
    source: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "backup.age"
    arguments = ["--config", "sam.toml", "--recipient", PUBLIC, "--output", str(file)]
    broken = Table("gone", MetaData(), Column("id", Integer, primary_key=True))
    failing = side_of(source, kept=(PARENTS, broken))
    assert command.run_backup("sam", lambda _config, _clock: failing, arguments) == 1
    assert not file.exists()
    assert "error: the database failed" in capsys.readouterr().err
    file.write_bytes(b"mine")
    assert command.run_backup("sam", opened(source), arguments) == 1
    assert file.read_bytes() == b"mine"


def test_a_key_that_is_none_is_refused_and_not_shown(
    source: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given in ("age1nobody", "AGE-SECRET-KEY-1CANARY"):
        arguments = ["--config", "sam.toml", "--recipient", given, "--output", str(tmp_path / "b")]
        assert command.run_backup("sam", opened(source), arguments) == 2
    write_secret(tmp_path / "key", b"AGE-SECRET-KEY-1CANARY")
    (tmp_path / "file").write_bytes(written(source))
    assert command.verify_main(["--identity", str(tmp_path / "key"), str(tmp_path / "file")]) == 2
    assert "CANARY" not in capsys.readouterr().err


class Full(io.RawIOBase):
    """A disk on which there is no room."""

    def writable(self) -> bool:
        return True

    def write(self, _data: Any) -> int:
        raise OSError(28, "No space left on device")


def test_DOS_07_a_full_disk_is_told_and_not_taken_for_the_end(source: Engine) -> None:
    output: IO[bytes] = Full()  # type: ignore[assignment] # a file as far as it is used as one
    with pytest.raises(errors.NotWritten):
        side.backup(side_of(source), output, [envelope.recipient(PUBLIC)], NOW, silent)
