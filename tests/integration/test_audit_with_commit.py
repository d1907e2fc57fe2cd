"""What is written of the identity provider's chain goes with the commit: all of it, or nothing and an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from auditlog.chain import Head, verify
from auditlog.sql import Written, read_entries, read_head
from idp.storage.audit import TABLES, DatabaseAudit
from idp.storage.engine import writing
from tests.fakes.idp import NOW, Idp, make_idp

FIELDS = {"account_id": "account", "session_id": "session", "cause": "test"}


@pytest.fixture
def idp(tmp_path: Path, database_url: str) -> Iterator[Idp]:
    made = make_idp(tmp_path, database_url)
    yield made
    made.engine.dispose()


def head(idp: Idp) -> Head:
    """Of a chain that holds."""
    with idp.engine.connect() as connection:
        found = read_head(connection, TABLES.head)
        assert verify(read_entries(connection, TABLES.entries)) == found
    return found


def note(idp: Idp, connection: Connection) -> None:
    DatabaseAudit(idp.clock).record(connection, "session.ended", **FIELDS)


def record(idp: Idp) -> None:
    with writing(idp.engine) as connection:
        note(idp, connection)


def move_the_head(idp: Idp) -> None:
    """As nobody can while it is locked."""
    log = DatabaseAudit(idp.clock)._log
    with writing(idp.engine) as connection:
        locked = log.lock(connection)
        connection.execute(update(TABLES.head).values(sequence=locked.sequence + 1))
        log.extend(connection, locked, [Written("session.ended", FIELDS, NOW)])


def test_a_head_that_moved_under_its_lock_is_an_error_and_nothing_is_committed(idp: Idp) -> None:
    before = head(idp)
    with pytest.raises(IntegrityError):
        move_the_head(idp)
    assert head(idp) == before
    record(idp)
    assert head(idp).sequence == before.sequence + 1


def test_around_savepoints_what_was_not_rolled_back_is_there_and_nothing_else(idp: Idp) -> None:
    before = head(idp)
    with writing(idp.engine) as connection:
        note(idp, connection)
        with connection.begin_nested():
            note(idp, connection)
        undone = connection.begin_nested()
        note(idp, connection)
        undone.rollback()
        note(idp, connection)
    assert head(idp).sequence == before.sequence + 3
    with writing(idp.engine) as connection:
        note(idp, connection)
        connection.get_transaction().rollback()  # type: ignore[union-attr] # there is one
    assert head(idp).sequence == before.sequence + 3


def lose_the_server(idp: Idp) -> None:
    with writing(idp.engine) as connection, idp.engine.connect() as other:
        process = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        note(idp, connection)
        other.execute(text("SELECT pg_terminate_backend(:process, 5000)"), {"process": process})


@pytest.mark.postgres
def test_AUD_07_a_server_that_is_lost_before_the_commit_is_an_error_and_nothing_is_committed(
    tmp_path: Path, postgres_url: str
) -> None:
    idp = make_idp(tmp_path, postgres_url)
    before = head(idp)
    with pytest.raises(DBAPIError):
        lose_the_server(idp)
    assert head(idp) == before
    record(idp)
    assert head(idp).sequence == before.sequence + 1
    idp.engine.dispose()
