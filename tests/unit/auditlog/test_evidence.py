"""Records of a chain shown without the others, over both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import MetaData, update

from anchoring import standalone
from auditlog.catalogue import Catalogue, Event
from auditlog.errors import ChainBroken, CheckpointInvalid, EvidenceMissing
from auditlog.evidence import FORMAT, part, search, stamped
from auditlog.sql import AuditLog, audit_tables
from signing.storage.engine import open_engine
from tests.unit.auditlog.test_kept import AT, World

TEXTS = ("one", "100%", "a_b", "aXb", 'quoted "x"', "back\\slash", "\u00e9", "one")


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    metadata = MetaData()
    tables = audit_tables(metadata)
    log = AuditLog(tables, Catalogue([Event("demo.event", "", frozenset({"txn"}))]))
    engine = open_engine(database_url)
    with engine.begin() as connection:
        metadata.create_all(connection)
        log.initialise(connection)
    for text in TEXTS:
        with engine.begin() as connection:
            log.append(connection, "demo.event", {"txn": text}, AT)
    yield World(engine, tables, log)
    engine.dispose()


def note(world: World) -> str:
    made = world.maker().make(world.engine.connect, world.engine.begin)
    assert made is not None
    return made.note


def shown(world: World, text: str, sequences: list[int]) -> dict[str, Any]:
    with world.engine.connect() as connection:
        return part(connection, world.tables, note=text, sequences=sequences, attachments={"a": 1})


@pytest.mark.parametrize("text", sorted(set(TEXTS)))
def test_a_text_is_found_as_it_is_and_nothing_else(world: World, text: str) -> None:
    with world.engine.connect() as connection:
        found = list(search(connection, world.tables.entries, (text,), lambda each: each.fields["txn"] == text))
    assert [each.sequence for each in found] == [at for at, each in enumerate(TEXTS, 1) if each == text]


def test_the_records_are_in_the_tree_that_was_signed(world: World) -> None:
    made = shown(world, note(world), [1, 8, 4])
    assert (made["format"], made["attachments"]) == (FORMAT, {"a": 1})
    point = standalone.read_note(made["checkpoint"])
    for record in made["records"]:
        leaf = standalone.record_leaf(record["sequence"], record)
        path = [bytes.fromhex(each) for each in record["path"]]
        assert standalone.included(leaf, record["sequence"] - 1, point["size"], path, point["root"])
        assert not standalone.included(leaf, record["sequence"], point["size"], path, point["root"])
        assert not standalone.included(leaf, record["sequence"] - 1, point["size"], path[:-1], point["root"])
    assert [record["sequence"] for record in made["records"]] == [1, 4, 8]


def test_no_evidence_of_what_is_not_under_the_checkpoint_or_of_a_changed_chain(world: World) -> None:
    early = note(world)
    with world.engine.begin() as connection:
        world.log.append(connection, "demo.event", {"txn": "late"}, AT)
    with pytest.raises(CheckpointInvalid):
        shown(world, early, [9])
    assert len(shown(world, early, [8])["records"]) == 1
    entries = world.tables.entries
    with world.engine.begin() as connection:
        connection.execute(update(entries).where(entries.c.sequence == 3).values(fields="{}"))
    with pytest.raises(ChainBroken, match="record 3"):
        shown(world, early, [8])


def test_the_first_anchor_that_is_late_enough_is_taken(world: World) -> None:
    line = json.dumps({"sequence": 8, "note": note(world)})
    other = json.dumps({"sequence": 9})
    assert stamped([other, line], 8) == json.loads(line)
    assert stamped([other, line], 9) is None
    for bad in ("x", "1", '{"note":1}', '{"note":"x"}'):
        with pytest.raises(EvidenceMissing):
            stamped([bad], 1)
