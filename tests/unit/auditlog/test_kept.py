"""Who makes signed checkpoints: from the last one on, over both databases, and never of a chain that is not whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Engine, MetaData, delete, event, update

from auditlog.catalogue import Catalogue, Event
from auditlog.chain import ORIGIN
from auditlog.errors import ChainBroken
from auditlog.kept import Checkpointer, read_notes
from auditlog.merkle import root_of
from auditlog.notes import open_note
from auditlog.sql import AuditLog, AuditTables, audit_tables, read_entries
from foundation.clock import FixedClock, from_epoch
from signing.storage.engine import open_engine
from tests.unit.auditlog.test_notes import KEY, public

AT = from_epoch(1_772_366_400)


@dataclass
class Key:
    key: ec.EllipticCurvePrivateKey = KEY
    signed: list[bytes] = field(default_factory=list)

    def checkpoint_key(self) -> bytes:
        return public(self.key)

    def sign_checkpoint(self, text: bytes) -> bytes:
        self.signed.append(text)
        return self.key.sign(ORIGIN.encode() + text, ec.ECDSA(hashes.SHA256()))


@dataclass
class World:
    engine: Engine
    tables: AuditTables
    log: AuditLog

    def write(self, count: int) -> None:
        for number in range(count):
            with self.engine.begin() as connection:
                self.log.append(connection, "demo.event", {"number": number}, AT)

    def maker(self, key: Key | None = None) -> Checkpointer:
        return Checkpointer(self.tables, "example/sam", key or Key(), FixedClock(AT))

    def make(self, maker: Checkpointer | None = None) -> int:
        made = (maker or self.maker()).make(self.engine.connect, self.engine.begin)
        if made is None:
            return 0
        with self.engine.connect() as connection:
            entries = list(read_entries(connection, self.tables.entries))[: made.point.size]
        assert open_note(made.note, [public()]) == made.point
        assert made.point.root == root_of(entry.leaf() for entry in entries)
        assert (made.point.hash, made.point.origin) == (entries[-1].hash, "example/sam")
        return made.point.size

    def sizes(self) -> list[int]:
        with self.engine.connect() as connection:
            return [size for size, _ in read_notes(connection, self.tables.checkpoints)]


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with made_world(database_url) as made:
        yield made


@contextmanager
def made_world(database_url: str) -> Iterator[World]:
    metadata = MetaData()
    tables = audit_tables(metadata)
    log = AuditLog(tables, Catalogue([Event("demo.event", "", frozenset({"number"}))]))
    engine = open_engine(database_url)
    with engine.begin() as connection:
        metadata.create_all(connection)
        log.initialise(connection)
    yield World(engine, tables, log)
    engine.dispose()


def test_checkpoints_go_on_from_one_another_in_one_process_and_in_the_next(world: World) -> None:
    maker = world.maker()
    assert world.make(maker) == 0
    world.write(3)
    assert (world.make(maker), world.make(maker), world.make()) == (3, 3, 3)
    world.write(2)
    assert world.make() == 5
    world.write(1)
    assert (world.make(maker), world.make()) == (6, 6)
    assert world.sizes() == [3, 5, 6]


def test_nothing_is_signed_twice_for_one_size(world: World) -> None:
    key = Key()
    maker = world.maker(key)
    world.write(2)
    assert [world.make(maker), world.make(maker), world.make(world.maker(key))] == [2, 2, 2]
    assert len(key.signed) == 1


@pytest.mark.parametrize("running", [False, True], ids=["a new process", "the same process"])
def test_AUD_05_a_chain_that_does_not_go_on_from_the_last_checkpoint_gets_none(world: World, running: bool) -> None:
    maker = world.maker()
    world.write(3)
    world.make(maker)
    entries = world.tables.entries
    with world.engine.begin() as connection:
        connection.execute(delete(entries).where(entries.c.sequence == 3))
        second = connection.execute(entries.select().where(entries.c.sequence == 2)).one()
        connection.execute(update(world.tables.head).values(sequence=2, hash=second.hash))
    for _ in range(3):
        with pytest.raises(ChainBroken) as broken:
            world.make(maker if running else None)
        assert broken.value.sequence in {3, 4}
        world.write(1)
    assert world.sizes() == [3]


def test_AUD_01_a_changed_record_is_never_signed_for(world: World) -> None:
    world.write(3)
    entries = world.tables.entries
    with world.engine.begin() as connection:
        connection.execute(update(entries).where(entries.c.sequence == 2).values(fields="{}"))
    with pytest.raises(ChainBroken, match="record 2"):
        world.make()


def test_what_somebody_else_wrote_about_the_tree_is_not_believed(world: World) -> None:
    world.write(3)
    world.make()
    table = world.tables.checkpoints
    with world.engine.begin() as connection:
        connection.execute(update(table).values(frontier="3 " + "00" * 32 + " " + "11" * 32))
        connection.execute(table.insert().values(size=9, at=1, note="none", frontier="x"))
    world.write(1)
    # Begun anew, with the root of all records: see World.make.
    assert world.make() == 4


def test_another_key_begins_anew_and_so_does_a_restored_database(world: World) -> None:
    world.write(2)
    world.make()
    world.write(1)
    other = Key(ec.generate_private_key(ec.SECP256R1()))
    made = world.maker(other).make(world.engine.connect, world.engine.begin)
    assert made is not None
    assert open_note(made.note, [other.checkpoint_key()]).size == 3
    maker = world.maker()
    world.write(1)
    world.make(maker)
    entries, table = world.tables.entries, world.tables.checkpoints
    with world.engine.begin() as connection:
        connection.execute(delete(entries).where(entries.c.sequence > 2))
        connection.execute(delete(table).where(table.c.size > 2))
        last = connection.execute(entries.select().where(entries.c.sequence == 2)).one()
        connection.execute(update(world.tables.head).values(sequence=2, hash=last.hash))
    world.write(1)
    with pytest.raises(ChainBroken):
        world.make(maker)
    maker.forget()
    assert world.make(maker) == 3


@pytest.mark.postgres
def test_two_processes_that_sign_the_same_at_once_both_have_it(postgres_url: str) -> None:
    with made_world(postgres_url) as world:
        world.write(2)
        first, second = world.maker(), world.maker()
        meanwhile = open_engine(postgres_url)
        asked: list[int] = []

        @event.listens_for(world.engine, "before_cursor_execute")
        def overtaken(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if statement.startswith("INSERT INTO audit_checkpoints") and not asked:
                asked.append(1)
                assert second.make(meanwhile.connect, meanwhile.begin) is not None

        assert world.make(first) == 2
        assert asked == [1]
        assert world.sizes() == [2]
        world.write(1)
        assert (world.make(first), world.sizes()) == (3, [2, 3])
        meanwhile.dispose()
