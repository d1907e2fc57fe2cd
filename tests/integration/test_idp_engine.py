"""The identity provider's connections: when a transaction begins, when a connection is looked at, and what is asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, event, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from idp.storage import engine as module
from idp.storage.engine import create_tables, for_snapshot, open_engine, reading, writing
from idp.storage.models import schema_version
from idp.storage.statements import Statement
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


def test_what_is_read_behind_a_lock_is_seen_as_it_is_then_whatever_the_database_has_as_its_default(
    engine: Engine,
) -> None:
    with engine.begin() as connection:
        name = engine.url.database
        connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_isolation = "repeatable read"'))
    engine.dispose()
    with engine.connect() as connection:
        assert connection.execute(text("SHOW default_transaction_isolation")).scalar_one() == "repeatable read"
        assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"


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
    # It begins with what is asked first.
    with pytest.raises(OperationalError) as lost, engine.begin() as connection:
        connection.execute(text("SELECT 1"))
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


PARTS = {"yield_per": 1}
CHANGED = Statement(update(schema_version))
ADDED = Statement(insert(schema_version))


def test_a_result_that_comes_in_parts_is_within_its_transaction_and_after_what_was_put_off(engine: Engine) -> None:
    """A backup reads so: its BEGIN, kept back, has to go before the cursor is declared."""
    versions = select(schema_version.c.version)
    with for_snapshot(engine).connect() as connection:
        (before,) = (row.version for row in connection.execute(versions, execution_options=PARTS))
        assert transaction(connection) == "INTRANS"
    with engine.begin() as connection:
        CHANGED.put_off(connection, {"version": before + 1})
        assert [row.version for row in connection.execute(versions, execution_options=PARTS)] == [before + 1]


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


MINE = Statement(select(schema_version.c.version))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a busy machine takes, what was parked is trusted."""
    monkeypatch.setattr(module, "_TRUSTED_SECONDS", 3600.0)


def backend(connection: Connection) -> int:
    """The server's process at the other end."""
    driver: Any = connection.connection.driver_connection
    return int(driver.info.backend_pid)


def read(engine: Engine) -> int:
    with reading(engine) as connection:
        MINE(connection)
        return backend(connection)


@pytest.mark.usefixtures("slow")
def test_whoever_reads_again_has_the_connection_that_was_parked_and_the_pool_the_others(engine: Engine) -> None:
    first = read(engine)
    assert [read(engine) for _ in range(3)] == [first] * 3
    with reading(engine) as one, reading(engine) as two, engine.begin() as three:
        assert len({backend(each) for each in (one, two, three)}) == 3
    with engine.begin() as connection:
        assert backend(connection) not in {read(engine), read(engine)}


def write_and_fail(engine: Engine) -> None:
    with writing(engine) as connection:
        change_and_fail(connection)


@pytest.mark.usefixtures("slow")
def test_whoever_writes_again_has_the_connection_that_was_parked_for_writing(engine: Engine) -> None:
    with writing(engine) as connection:
        own = backend(connection)
        MINE(connection)
        assert transaction(connection) == "INTRANS"
    with reading(engine) as one, writing(engine) as two, writing(engine) as three:
        MINE(three)
        assert backend(two) == own
        assert len({backend(each) for each in (one, two, three)}) == 3
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            write_and_fail(engine)
    with writing(engine) as connection:
        assert MINE(connection).first().version < 99  # type: ignore[union-attr] # there is one row
        connection.execute(text("UPDATE schema_version SET version = version + 1"))
    with writing(engine) as connection:
        assert transaction(connection) == "IDLE", "nothing was asked yet"


def write_what_is_refused_at_its_commit(engine: Engine) -> None:
    with writing(engine) as connection:
        CHANGED.put_off(connection, {"version": 99})
        ADDED.put_off(connection, {"id": 1, "version": 99})


@pytest.mark.usefixtures("slow")
def test_after_a_commit_that_was_refused_the_next_one_who_writes_is_not_within_its_transaction(engine: Engine) -> None:
    with writing(engine) as connection:
        own = backend(connection)
    with pytest.raises(IntegrityError):
        write_what_is_refused_at_its_commit(engine)
    with writing(engine) as connection:
        assert (backend(connection), transaction(connection)) == (own, "IDLE")
        assert MINE(connection).first().version < 99  # type: ignore[union-attr] # there is one row


@pytest.mark.usefixtures("slow")
def test_what_the_server_has_in_a_transaction_is_not_parked(engine: Engine) -> None:
    with reading(engine) as connection:
        driver: Any = connection.connection.driver_connection
        driver.begin()
        MINE(connection)
        assert transaction(connection) == "INTRANS"
    pool: Any = engine.pool
    assert pool.checkedout() == 0
    with engine.connect() as connection:
        assert transaction(connection) == "IDLE"


@pytest.mark.usefixtures("slow")
def test_no_more_are_parked_than_leave_room_for_who_writes(engine: Engine) -> None:
    with ExitStack() as stack:
        for _ in range(10):
            MINE(stack.enter_context(reading(engine)))
    pool: Any = engine.pool
    assert pool.checkedout() == module._MOST_PARKED
    engine.dispose()
    assert read(engine) > 0


@pytest.mark.usefixtures("slow")
def test_a_parked_connection_that_was_cut_fails_once_and_is_not_parked_again(engine: Engine) -> None:
    cut = read(engine)
    other = open_engine(engine.url.render_as_string(hide_password=False))
    with other.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": cut})
    other.dispose()
    with pytest.raises(DBAPIError) as lost:
        read(engine)
    assert lost.value.connection_invalidated
    assert read(engine) != cut


@pytest.mark.usefixtures("slow")
def test_threads_that_read_at_one_time_never_share_a_connection(engine: Engine) -> None:
    together = threading.Barrier(6, timeout=60)

    def look(_number: int) -> list[int]:
        found = []
        for _ in range(20):
            with reading(engine) as connection:
                MINE(connection)
                together.wait()
                found.append(backend(connection))
                together.wait()
        return found

    with ThreadPoolExecutor(6) as threads:
        rounds = list(zip(*threads.map(look, range(6)), strict=True))
    assert [len(set(at_once)) for at_once in rounds] == [6] * 20
