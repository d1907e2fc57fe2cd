"""The anchor process over both databases: what it verifies, keeps, and takes as an alarm (AUD-01 to AUD-05)."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, delete, update

from anchoring import standalone
from anchoring.errors import AnchorFileUnusable, DatabaseUnusable, NotStamped
from anchoring.files import AnchorFile, export
from anchoring.process import Anchorer
from anchoring.record import Anchor, imprint_of
from anchoring.settings import AnchorSettings, TsaSettings
from auditlog.catalogue import Catalogue, Event
from auditlog.chain import EMPTY, Checkpoint, append, head_of
from auditlog.errors import ChainBroken, ChainNotReady, ChainTruncated
from auditlog.sql import AuditLog, AuditTables, audit_tables
from connectors.ports.tsa import TsaRefused, TsaUnavailable
from foundation.clock import from_epoch
from foundation.errors import SettingsError
from foundation.settings import from_table
from signing.storage.engine import open_engine
from tests.fakes.tsa import FakeTsa

AT = from_epoch(1_772_366_400)


class StillClock:
    """Always the same time."""

    def now(self) -> Any:
        return AT


@dataclass
class World:
    """A database with a chain, and where its anchors go."""

    engine: Engine
    tables: AuditTables
    log: AuditLog
    settings: AnchorSettings

    def write(self, count: int) -> None:
        for number in range(count):
            with self.engine.begin() as connection:
                self.log.append(connection, "demo.event", {"number": number}, AT)

    def anchorer(self, *authorities: FakeTsa) -> Anchorer:
        """Another process, which remembers nothing."""
        return Anchorer(self.settings, self.engine, authorities or (FakeTsa(),), StillClock())

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        return AnchorFile(self.settings.anchors_file).read()

    def exported(self) -> list[dict[str, Any]]:
        folder = self.settings.export_dir
        assert folder is not None
        return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    metadata = MetaData()
    tables = audit_tables(metadata)
    log = AuditLog(tables, Catalogue([Event("demo.event", "", frozenset({"number"}))]))
    engine = open_engine(database_url)
    with engine.begin() as connection:
        metadata.create_all(connection)
        log.initialise(connection)
    (tmp_path / "export").mkdir()
    settings = AnchorSettings(
        "development",
        tmp_path / "anchors.jsonl",
        {"one": TsaSettings("rfc3161")},
        database_url=database_url,
        export_dir=tmp_path / "export",
        interval_seconds=10,
    )
    yield World(engine, tables, log, settings)
    engine.dispose()


def test_what_is_new_is_verified_exported_stamped_and_kept(world: World) -> None:
    authority, anchorer = FakeTsa("first"), None
    anchorer = world.anchorer(authority)
    assert anchorer.once().anchored is False
    world.write(3)
    done = anchorer.once()
    assert (done.records, done.fresh, done.anchored, done.authority) == (3, 3, True, "first")
    assert anchorer.once().anchored is False
    world.write(2)
    assert world.anchorer(authority).once().fresh == 2
    assert [item.checkpoint.sequence for item in world.anchors] == [3, 5]
    assert authority.stamped == [imprint_of(item.checkpoint) for item in world.anchors]
    assert [item["sequence"] for item in world.exported()] == [1, 2, 3, 4, 5]
    assert world.exported()[-1]["hash"] == world.anchors[-1].checkpoint.hash


def rewrite(world: World, count: int) -> None:
    """As somebody who may write the database: another chain, whole in itself."""
    head = EMPTY
    with world.engine.begin() as connection:
        connection.execute(delete(world.tables.entries))
        for number in range(count):
            entry = append(head, "demo.event", {"number": 100 + number}, AT)
            values = {name: getattr(entry, name) for name in entry.__slots__}
            connection.execute(world.tables.entries.insert().values(**values))
            head = head_of(entry)
        connection.execute(update(world.tables.head).values(sequence=head.sequence, hash=head.hash))


def cut(world: World, after: int) -> None:
    entries = world.tables.entries
    with world.engine.begin() as connection:
        connection.execute(delete(entries).where(entries.c.sequence > after))
        row = connection.execute(entries.select().where(entries.c.sequence == after)).one()
        connection.execute(update(world.tables.head).values(sequence=after, hash=row.hash))


def change(world: World, sequence: int) -> None:
    entries = world.tables.entries
    with world.engine.begin() as connection:
        connection.execute(update(entries).where(entries.c.sequence == sequence).values(fields='{"number":7}'))


@pytest.mark.parametrize("running", [False, True], ids=["a new process", "the same process"])
@pytest.mark.parametrize(
    ("harm", "record"),
    [
        (lambda world: cut(world, 2), 3),
        (lambda world: rewrite(world, 4), 4),
        (lambda world: rewrite(world, 6), 4),
        (lambda world: rewrite(world, 2), 3),
    ],
    ids=["tail cut off", "written anew", "written anew and longer", "written anew and shorter"],
)
def test_AUD_05_a_chain_that_does_not_continue_what_was_anchored(
    world: World, harm: Callable[[World], None], record: int, running: bool
) -> None:
    anchorer = world.anchorer()
    world.write(4)
    anchorer.once()
    harm(world)
    with pytest.raises(ChainBroken) as broken:
        (anchorer if running else world.anchorer()).once()
    assert record <= broken.value.sequence <= 4
    assert len(world.anchors) == 1


def test_AUD_01_a_record_changed_after_it_was_anchored_is_found_by_the_next_process(world: World) -> None:
    world.write(3)
    world.anchorer().once()
    change(world, 2)
    with pytest.raises(ChainBroken) as broken:
        world.anchorer().once()
    assert broken.value.sequence == 2


def test_AUD_01_a_record_changed_before_it_was_anchored_is_never_anchored(world: World) -> None:
    anchorer = world.anchorer()
    anchorer.once()
    world.write(3)
    change(world, 2)
    with pytest.raises(ChainBroken):
        anchorer.once()
    assert (world.anchors, world.exported()) == ((), [])


def test_authorities_are_asked_in_their_order_until_one_answers(world: World) -> None:
    away, other = FakeTsa("away", TsaUnavailable("away")), FakeTsa("other")
    world.write(1)
    assert world.anchorer(away, other).once().authority == "other"


def test_without_a_stamp_nothing_is_kept_and_a_later_round_makes_up_for_it(world: World) -> None:
    authority = FakeTsa(failure=TsaRefused("no"))
    anchorer = world.anchorer(authority)
    world.write(2)
    with pytest.raises(NotStamped):
        anchorer.once()
    assert world.anchors == ()
    authority.failure = None
    world.write(1)
    assert anchorer.once().fresh == 3
    assert [item["sequence"] for item in world.exported()] == [1, 2, 3]


def test_AUD_10_an_export_without_a_stamp_is_gone_on_with_and_verifies(world: World) -> None:
    """Each record stands in it once, whatever ended the round before: the auditor's tool would call it broken."""
    failing = FakeTsa(failure=TsaRefused("no"))
    for count in (2, 1, 2):
        world.write(count)
        with pytest.raises(NotStamped):
            world.anchorer(failing).once()
    folder = world.settings.export_dir
    assert folder is not None
    assert world.anchorer().once().fresh == 5
    lines = standalone.read_lines(str(path) for path in folder.glob("*.jsonl"))
    assert standalone.verify_chain(lines, {}) == (5, world.anchors[-1].checkpoint.hash)


def test_AUD_04_a_record_below_the_first_is_not_passed_over(world: World) -> None:
    world.write(2)
    row = {"sequence": -5, "at": 1, "event": "demo.event", "fields": "{}", "previous": "1" * 64, "hash": "2" * 64}
    with world.engine.begin() as connection:
        connection.execute(world.tables.entries.insert().values(**row))
    with pytest.raises(ChainBroken, match="found is -5"):
        world.anchorer().once()


def test_AUD_05_a_tail_that_was_exported_and_then_cut_off(world: World) -> None:
    world.write(4)
    with pytest.raises(NotStamped):
        world.anchorer(FakeTsa(failure=TsaRefused("no"))).once()
    cut(world, 2)
    with pytest.raises(ChainTruncated) as broken:
        world.anchorer().once()
    assert (broken.value.sequence, world.anchors) == (3, ())


@pytest.mark.parametrize("running", [False, True], ids=["a new process", "the same process"])
def test_AUD_05_a_head_row_that_was_set_back_hides_no_record(world: World, running: bool) -> None:
    anchorer = world.anchorer()
    world.write(2)
    anchorer.once()
    world.write(2)
    head = world.tables.head
    point = world.anchors[-1].checkpoint
    with world.engine.begin() as connection:
        connection.execute(update(head).values(sequence=point.sequence, hash=point.hash))
    with pytest.raises(ChainBroken) as broken:
        (anchorer if running else world.anchorer()).once()
    assert broken.value.sequence == 3


def test_alarms_do_not_end_the_process(world: World, caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()
    rounds: list[int] = []

    class Stopping(FakeTsa):
        def stamp(self, imprint: bytes, hash_name: Any, nonce: int | None = None) -> Any:
            rounds.append(1)
            stop.set()
            raise TsaUnavailable("away")

    world.write(1)
    with caplog.at_level(logging.ERROR):
        world.anchorer(Stopping()).run(stop)
    assert rounds == [1]
    assert [record.getMessage() for record in caplog.records] == ["the audit chain was not anchored"]
    change(world, 1)
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        world.anchorer().run(stop)
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]


def test_a_line_that_a_crash_left_half_written_is_made_up_for(world: World) -> None:
    world.write(1)
    world.anchorer().once()
    path = world.settings.anchors_file
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"sequence":2,"ha')
    world.write(1)
    assert world.anchorer().once().fresh == 1
    assert [item.checkpoint.sequence for item in world.anchors] == [1, 2]
    assert path.read_bytes().startswith(whole)


@pytest.mark.parametrize(
    "line", ["", "[]", "{}", '{"sequence":1,"hash":"x","at":1,"token":""}', "null", "1", '{"token":1}']
)
def test_a_line_of_somebody_elses_is_refused(world: World, line: str) -> None:
    world.settings.anchors_file.write_text(f"{line or 'x'}\n")
    with pytest.raises(AnchorFileUnusable):
        world.anchorer().once()


def test_two_processes_do_not_add_to_the_same_anchors(world: World) -> None:
    first, second = world.anchorer(), world.anchorer()
    with first.alone(), pytest.raises(AnchorFileUnusable), second.alone():
        pass
    with second.alone():
        second.once()


def test_a_database_that_is_away_or_has_no_chain(world: World) -> None:
    world.write(1)
    with world.engine.begin() as connection:
        connection.execute(delete(world.tables.head))
    with pytest.raises(ChainNotReady):
        world.anchorer().once()
    MetaData().drop_all(world.engine)
    with world.engine.begin() as connection:
        world.tables.entries.drop(connection)
        world.tables.head.drop(connection)
    with pytest.raises(DatabaseUnusable):
        world.anchorer().once()


def test_an_anchor_comes_back_as_it_was_written() -> None:
    made = Anchor(Checkpoint(7, "ab" * 32, 1_772_366_400_000_000), b"\x30\x00")
    assert Anchor.from_json(made.to_json()) == made


def test_nothing_is_exported_where_there_is_nothing(tmp_path: Path) -> None:
    assert export(tmp_path, []) is None
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(AnchorFileUnusable):
        export(tmp_path / "nowhere", [])


@pytest.mark.parametrize(
    "changes",
    [
        {"database_url_file": None},
        {"database_url": "sqlite:///x"},
        {"tsa": {}},
        {"interval_seconds": 9},
        {"mode": "production", "database_url": "sqlite:///x", "database_url_file": None},
    ],
)
def test_settings_are_judged_at_the_start(tmp_path: Path, changes: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "mode": "development",
        "anchors_file": "anchors.jsonl",
        "database_url_file": "url",
        "tsa": {"one": {"connector": "rfc3161", "settings": {}}},
    }
    from_table(AnchorSettings, good, base=tmp_path)
    table = {name: value for name, value in {**good, **changes}.items() if value is not None}
    with pytest.raises(SettingsError):
        from_table(AnchorSettings, table, base=tmp_path)
