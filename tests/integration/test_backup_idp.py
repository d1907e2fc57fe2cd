"""A backup of the identity provider: people, factors, clients and the chain come back, nothing that was under way."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Table, Text, cast, func, select, type_coerce
from sqlalchemy.types import JSON

from archive import envelope, side
from auditlog.chain import verify
from auditlog.sql import read_entries
from foundation.clock import SystemClock
from idp.storage import accounts, history
from idp.storage.accounts import NewAccount
from idp.storage.audit import TABLES, DatabaseAudit
from idp.storage.backup import KEPT, TRANSIENT, backup_side
from idp.storage.engine import create_tables, open_engine
from idp.storage.models import metadata
from tests.integration.oidc_world import World

ISSUER = "https://idp.example.org"
SECRET, PUBLIC = envelope.new_identity()


def rows(connection: Connection, table: Table) -> list[Any]:
    """As they stand; JSON as its text, as far as the database keeps it."""
    postgresql = connection.dialect.name == "postgresql"
    columns = [
        (cast(column, Text) if postgresql else type_coerce(column, Text)) if isinstance(column.type, JSON) else column
        for column in table.columns
    ]
    return list(connection.execute(select(*columns).order_by(*table.primary_key.columns)).all())


@pytest.fixture
def target(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


def test_every_table_is_either_kept_or_left_out() -> None:
    assert set(metadata.tables) == KEPT | TRANSIENT
    assert not KEPT & TRANSIENT


def test_no_kept_table_refers_to_one_that_is_left_out() -> None:
    for name in KEPT:
        assert not {key.column.table.name for key in metadata.tables[name].foreign_keys} & TRANSIENT, name


def test_people_clients_and_the_chain_come_back_and_nobody_is_signed_in(world: World, target: Engine) -> None:
    assert world.rp().tokens()["access_token"]
    file, clock = io.BytesIO(), SystemClock()
    before = backup_side(world.engine, ISSUER, clock)
    side.backup(before, file, [envelope.recipient(PUBLIC)], clock.now(), lambda _table, _rows: None)
    file.seek(0)
    after = backup_side(target, ISSUER, clock)
    summary = side.restore(after, file, envelope.identities(SECRET), lambda _table, _rows: None)
    assert summary.rows["accounts"] > 0
    assert summary.rows["account_history"] > 0

    chain = {"audit_entries", "audit_head"}
    with world.engine.connect() as old, target.connect() as new:
        for name in KEPT - chain:
            assert rows(new, metadata.tables[name]) == rows(old, metadata.tables[name]), name
        for name in TRANSIENT:
            assert rows(new, metadata.tables[name]) == [], name
        assert rows(old, metadata.tables["sessions"])
        # The chain goes on: what it had, and that it was restored.
        entries = list(read_entries(new, TABLES.entries))
        assert entries[:-1] == list(read_entries(old, TABLES.entries))
        assert entries[-1].event == "database.restored"
        verify(entries)
    with target.begin() as connection:
        highest = connection.execute(select(func.max(history.account_history.c.id))).scalar_one()
        row = connection.execute(select(history.account_history).limit(1)).mappings().one()
        values = {name: value for name, value in row.items() if name != "id"}
        connection.execute(history.account_history.insert().values(**values))
        assert connection.execute(select(func.max(history.account_history.c.id))).scalar_one() == highest + 1


def test_a_backup_is_made_of_either_kind_of_database(target: Engine, tmp_path: Path) -> None:
    """Rows come in parts, from a cursor on the server where there is one."""
    create_tables(target)
    file, clock = io.BytesIO(), SystemClock()
    with target.begin() as connection:
        DatabaseAudit(clock).initialise(connection)
        accounts.create(connection, "alice", NewAccount("alice", "Alice Example"), clock.now())
    source = backup_side(target, ISSUER, clock)
    side.backup(source, file, [envelope.recipient(PUBLIC)], clock.now(), lambda _table, _rows: None)
    file.seek(0)
    into = open_engine(f"sqlite:///{tmp_path / 'other.sqlite'}")
    after = backup_side(into, ISSUER, clock)
    summary = side.restore(after, file, envelope.identities(SECRET), lambda _table, _rows: None)
    into.dispose()
    assert summary.rows["accounts"] == 1


def test_all_that_a_backup_reads_is_of_one_moment(target: Engine) -> None:
    clock = SystemClock()
    create_tables(target)
    made = backup_side(target, ISSUER, clock)
    counted = select(func.count()).select_from(metadata.tables["accounts"])
    with made.reading.connect() as reader:
        assert reader.execute(counted).scalar_one() == 0
        with target.begin() as writer:
            accounts.create(writer, "alice", NewAccount("alice", "Alice Example"), clock.now())
        assert reader.execute(counted).scalar_one() == 0
    with made.reading.connect() as reader:
        assert reader.execute(counted).scalar_one() == 1
