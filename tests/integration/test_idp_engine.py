"""The identity provider's connections: when a transaction begins, when a connection is looked at, and what is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, event, select, text
from sqlalchemy.exc import OperationalError

from idp.storage import engine as module
from idp.storage.engine import create_tables, open_engine, reading
from idp.storage.models import schema_version
from tests.postgres import PostgresServer


@pytest.fixture
def engine(postgres_server: PostgresServer) -> Iterator[Engine]:
    with postgres_server.fresh_database() as url:
        made = open_engine(url)
        create_tables(made)
        yield made
        made.dispose()


def transaction(connection: Any) -> str:
    """libpq's word for where the connection is."""
    return str(connection.connection.driver_connection.info.transaction_status.name)


def test_what_may_write_is_one_transaction_and_what_only_reads_is_none(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE schema_version SET version = version + 1"))
        assert transaction(connection) == "INTRANS"
        with reading(engine) as other:
            first = other.execute(select(schema_version.c.version)).scalar_one()
            assert transaction(other) == "IDLE"
    with reading(engine) as other:
        assert other.execute(select(schema_version.c.version)).scalar_one() == first + 1


def change_and_fail(connection: Connection) -> None:
    connection.execute(text("UPDATE schema_version SET version = 99"))
    raise ZeroDivisionError


def test_what_fails_is_rolled_back(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), engine.begin() as connection:
        change_and_fail(connection)
    with engine.begin() as connection:
        with pytest.raises(ZeroDivisionError), connection.begin_nested():
            change_and_fail(connection)
        assert connection.execute(select(schema_version.c.version)).scalar_one() < 99


def test_a_connection_that_was_cut_while_it_rested_is_replaced_unseen(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reading(engine) as connection:
        cut = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    other = open_engine(engine.url.render_as_string(hide_password=False))
    with other.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": cut})
    other.dispose()
    # As if it had rested longer than a connection is trusted.
    monkeypatch.setattr(module, "_TRUSTED_SECONDS", 0.0)
    with reading(engine) as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != cut


def test_a_transaction_that_cannot_begin_is_an_error_like_any_of_the_database(engine: Engine) -> None:
    """Whoever goes on without what it wanted, such as tidying, waits for SQLAlchemy's errors and not for a driver's."""
    with engine.begin() as connection:
        cut = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    other = open_engine(engine.url.render_as_string(hide_password=False))
    with other.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": cut})
    other.dispose()
    with pytest.raises(OperationalError) as lost, engine.begin():
        pass
    assert lost.value.connection_invalidated
    with engine.begin() as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != cut
        assert transaction(connection) == "INTRANS"


def change_and_cut(connection: Connection) -> int:
    """Leaves a change in the transaction, and nobody at the other end; gives the server's process that is gone."""
    connection.execute(text("UPDATE schema_version SET version = 99"))
    cut: int = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    other = open_engine(connection.engine.url.render_as_string(hide_password=False))
    with other.begin() as end:
        end.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": cut})
    other.dispose()
    return cut


def test_a_transaction_that_cannot_be_committed_is_an_error_and_the_next_one_has_another_connection(
    engine: Engine,
) -> None:
    cut = 0
    with pytest.raises(OperationalError) as lost, engine.begin() as connection:
        cut = change_and_cut(connection)
    assert lost.value.connection_invalidated
    with engine.begin() as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != cut
        assert connection.execute(select(schema_version.c.version)).scalar_one() < 99


def test_a_connection_that_was_used_just_now_is_not_asked_whether_it_stands(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def ping(_dialect: object, connection: object) -> bool:
        asked.append(connection)
        return True

    monkeypatch.setattr(type(engine.dialect), "do_ping", ping)
    for _ in range(3):
        with reading(engine) as connection:
            connection.execute(select(schema_version.c.version))
    assert asked == []
    monkeypatch.setattr(module, "_TRUSTED_SECONDS", 0.0)
    with reading(engine):
        pass
    assert len(asked) == 1


def test_columns_are_described_to_whoever_looks(engine: Engine) -> None:
    seen: list[Any] = []

    def look(_connection: Any, cursor: Any, *_rest: Any) -> None:
        found = cursor.description
        seen.append(None if found is None else ([column.name for column in found], len(found), found))

    event.listen(engine, "after_cursor_execute", look)
    with engine.begin() as connection:
        row = connection.exec_driver_sql("SELECT 1 AS one, 'x' AS letter").one()
        connection.execute(text("UPDATE schema_version SET version = version"))
    assert row._mapping == {"one": 1, "letter": "x"}
    (names, length, described), none = seen
    assert (names, length, described[0].name) == (["one", "letter"], 2, "one")
    assert none is None


def test_columns_of_a_result_that_is_gone_are_not_told(engine: Engine) -> None:
    with reading(engine) as connection:
        driver: Any = connection.connection.driver_connection
        cursor = driver.execute("SELECT 1 AS one")
        description = cursor.description
        cursor.execute("SELECT 2 AS two")
        with pytest.raises(psycopg.InterfaceError):
            list(description)
