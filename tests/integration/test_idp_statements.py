"""Statements that are prepared: on both kinds of database they say what SQLAlchemy's own way says."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InvalidRequestError,
    MultipleResultsFound,
    OperationalError,
)

from idp.storage.driver import Asked, Driver
from idp.storage.engine import open_engine, reading
from idp.storage.statements import Statement
from tests.postgres import PostgresServer

THINGS: Final = Table(
    "things",
    MetaData(),
    Column("name", String(64), primary_key=True),
    Column("number", BigInteger),
    Column("flag", Boolean),
    Column("kept", JSON),
    Column("dropped", JSON(none_as_null=True)),
    Column("note", String(64)),
)
ADD: Final = Statement(insert(THINGS))
FIND: Final = Statement(select(THINGS).where(THINGS.c.name == bindparam("wanted"), THINGS.c.number >= 0))
ALL: Final = Statement(select(THINGS).order_by(THINGS.c.name).limit(3))
SET: Final = Statement(update(THINGS).where(THINGS.c.name == bindparam("wanted")))
TAKE: Final = Statement(delete(THINGS).where(THINGS.c.name == bindparam("wanted")).returning(THINGS.c.number))
FULL: Final = {
    "name": "Zoë 'x' $1 %s",
    "number": 2**62,
    "flag": True,
    "kept": {"a": [1, None, "\0\u20ac"], "b": 1.5},
    "dropped": ["x"],
    "note": "",
}
EMPTY: Final[dict[str, Any]] = {
    "name": "empty", "number": 0, "flag": False, "kept": None, "dropped": None, "note": None
}  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        made = open_engine(f"sqlite:///{tmp_path / 'things.db'}")
        THINGS.metadata.create_all(made)
        yield made
        made.dispose()
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.fresh_database() as url:
        made = open_engine(url)
        THINGS.metadata.create_all(made)
        yield made
        made.dispose()


def stored(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(select(THINGS).order_by(THINGS.c.name))
    return [dict(row._mapping) for row in rows]


def test_what_is_written_and_read_is_what_sqlalchemy_reads_and_writes(engine: Engine) -> None:
    other = {**FULL, "name": "other", "kept": 5}
    with engine.begin() as connection:
        for values in (FULL, EMPTY):
            assert ADD(connection, values).rowcount == 1
        connection.execute(insert(THINGS), other)
    with reading(engine) as connection:
        found = stored(connection)
        assert [row._asdict() for row in ALL(connection).all()] == found
        assert found == [FULL, EMPTY, other]
        row = FIND(connection, {"wanted": FULL["name"]}).one_or_none()
        assert row is not None
        assert (row.number, row.kept) == (FULL["number"], FULL["kept"])
        assert FIND(connection, {"wanted": "nobody"}).one_or_none() is None
        assert FIND(connection, {"wanted": "nobody"}).first() is None
        with pytest.raises(MultipleResultsFound):
            ALL(connection).one_or_none()
        # SQLAlchemy tells JSON's null from SQL's, and so does this.
        nulls = connection.execute(text("SELECT kept IS NULL, dropped IS NULL FROM things WHERE name = 'empty'")).one()
        assert tuple(map(bool, nulls)) == (False, True)


@pytest.mark.parametrize("written", ["[1, {}]", " [1, {}]", "[1, {}]\n", "\t[1, {}] "])
def test_json_is_read_whatever_white_space_somebody_else_put_around_it(engine: Engine, written: str) -> None:
    with engine.begin() as connection:
        ADD(connection, FULL)
        connection.execute(text("UPDATE things SET kept = :written"), {"written": written})
    with reading(engine) as connection:
        row = FIND(connection, {"wanted": FULL["name"]}).one_or_none()
        assert row is not None
        assert row.kept == [1, {}]


def test_an_update_writes_the_columns_that_are_named(engine: Engine) -> None:
    with engine.begin() as connection:
        ADD(connection, FULL)
        assert SET(connection, {"wanted": FULL["name"], "flag": False}).rowcount == 1
        assert SET(connection, {"wanted": FULL["name"], "note": None, "number": -1}).rowcount == 1
        assert SET(connection, {"wanted": "nobody", "note": None}).rowcount == 0
        assert stored(connection) == [{**FULL, "flag": False, "note": None, "number": -1}]
        assert [tuple(row) for row in TAKE(connection, {"wanted": FULL["name"]}).all()] == [(-1,)]
        assert TAKE(connection, {"wanted": FULL["name"]}).rowcount == 0


def test_what_fails_is_rolled_back_and_its_error_quotes_no_value(engine: Engine) -> None:
    with engine.begin() as connection:
        ADD(connection, EMPTY)
    with pytest.raises(IntegrityError) as refused, engine.begin() as connection:
        ADD(connection, {**EMPTY, "note": "a secret"})
    assert "a secret" not in str(refused.value)
    with engine.begin() as connection:
        with pytest.raises(IntegrityError), connection.begin_nested():
            ADD(connection, {**FULL, "name": "empty"})
        ADD(connection, FULL)
    with reading(engine) as connection:
        assert [row.name for row in ALL(connection).all()] == [FULL["name"], "empty"]


def test_whoever_listens_to_an_engines_statements_hears_of_each_once(engine: Engine) -> None:
    heard: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _k, statement, *_rest: heard.append(statement[:6]))
    with engine.begin() as connection:
        ADD(connection, FULL)
        FIND(connection, {"wanted": "x"})
    assert [word for word in heard if not word.startswith("BEGIN")] == ["INSERT", "SELECT"]


def test_without_a_transaction_nothing_is_asked(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(InvalidRequestError):
        ALL(connection)


def test_a_value_that_no_parameter_can_have_is_refused_when_the_statement_is_made(engine: Engine) -> None:
    odd = Statement(select(THINGS).where(THINGS.c.name == bindparam("wanted", type_=LargeBinary())))
    several = Statement(select(THINGS).where(THINGS.c.name.in_(bindparam("wanted", expanding=True))))
    for statement in (odd, several):
        with reading(engine) as connection, pytest.raises(TypeError):
            statement(connection, {"wanted": ["x"]})


@pytest.fixture
def server(postgres_server: PostgresServer) -> Iterator[Engine]:
    with postgres_server.fresh_database() as url:
        made = open_engine(url)
        THINGS.metadata.create_all(made)
        yield made
        made.dispose()


def test_a_text_with_a_nul_is_refused_and_not_cut(server: Engine) -> None:
    with pytest.raises(DBAPIError), server.begin() as connection:
        ADD(connection, {**FULL, "name": "a\0b"})
    with reading(server) as connection:
        assert ALL(connection).all() == []


def test_the_server_prepares_a_statement_once_for_a_connection(server: Engine) -> None:
    names = text("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'privyseal%'")
    for _ in range(3):
        with reading(server) as connection:
            ALL(connection)
            FIND(connection, {"wanted": "x"})
            assert connection.execute(names).scalar_one() == 2


def fail_to_add_twice(server: Engine) -> None:
    with server.begin() as connection:
        ADD(connection, FULL)
        for _ in range(10):
            connection.execute(select(THINGS)).all()
        ADD(connection, FULL)


def test_what_is_prepared_outlives_a_transaction_that_is_rolled_back(server: Engine) -> None:
    for _ in range(2):
        with pytest.raises(IntegrityError):
            fail_to_add_twice(server)
    with server.begin() as connection:
        with pytest.raises(ZeroDivisionError), connection.begin_nested():
            raise ZeroDivisionError
        assert ADD(connection, FULL).rowcount == 1


def backend(connection: Connection) -> int:
    driver: Any = connection.connection.driver_connection
    return int(driver.info.backend_pid)


def ask_after_a_cut(server: Engine) -> None:
    with server.connect() as cutter, reading(server) as connection:
        ALL(connection)
        cutter.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend(connection)})
        ALL(connection)


def test_a_connection_whose_server_forgot_what_it_prepared_is_an_error_once_and_then_another(server: Engine) -> None:
    with reading(server) as connection:
        ALL(connection)
    with reading(server) as connection:
        connection.exec_driver_sql("DEALLOCATE ALL")
    with pytest.raises(DBAPIError), reading(server) as connection:
        ALL(connection)
    with reading(server) as connection:
        assert ALL(connection).all() == []


def test_a_connection_that_is_cut_is_an_error_once_and_then_another(server: Engine) -> None:
    with pytest.raises(DBAPIError) as lost:
        ask_after_a_cut(server)
    assert lost.value.connection_invalidated
    with reading(server) as connection:
        assert ALL(connection).all() == []


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was sent together, by the statements' first words."""
    seen: list[list[str]] = []
    exchange = Driver._exchange

    def watched(self: Driver, sent: Sequence[Asked]) -> None:
        seen.append([asked.sql.split()[0] for asked in sent])
        exchange(self, sent)

    monkeypatch.setattr(Driver, "_exchange", watched)
    return seen


def test_what_is_put_off_goes_with_what_is_asked_next_or_with_the_commit(
    server: Engine, exchanges: list[list[str]]
) -> None:
    with server.begin() as connection:
        added = ADD.put_off(connection, FULL)
        found = FIND.put_off(connection, {"wanted": FULL["name"]})
        assert [row.name for row in ALL(connection).all()] == [FULL["name"]]
        assert (added().rowcount, [row.note for row in found().all()]) == (1, [""])
        ADD.put_off(connection, EMPTY)
    assert exchanges == [["BEGIN", "INSERT", "SELECT", "SELECT"], ["INSERT", "COMMIT"]]
    with reading(server) as connection:
        assert len(ALL(connection).all()) == 2


def test_an_answer_that_was_put_off_is_asked_for_when_it_is_wanted(engine: Engine) -> None:
    with engine.begin() as connection:
        several = ADD.put_off(connection, [FULL, EMPTY])
        changed = SET.put_off(connection, {"wanted": "empty", "note": "x"})
        assert (several().rowcount, changed().rowcount) == (2, 1)
        assert FIND(connection, {"wanted": "empty"}).all()[0].note == "x"


def test_sqlalchemys_own_statements_come_after_what_was_put_off(engine: Engine) -> None:
    with engine.begin() as connection:
        ADD.put_off(connection, FULL)
        assert stored(connection) == [FULL]
        ADD.put_off(connection, EMPTY)
        connection.execute(delete(THINGS), [{}])
    with reading(engine) as connection:
        assert stored(connection) == []


def put_off_twice(server: Engine, forced_by: str) -> None:
    with server.begin() as connection:
        ADD.put_off(connection, FULL)
        ADD.put_off(connection, {**EMPTY, "note": "a secret"})
        SET.put_off(connection, {"wanted": FULL["name"], "note": "changed"})
        changed = SET.put_off(connection, {"wanted": FULL["name"], "note": "once more"})
        if forced_by == "answer":
            changed()
        elif forced_by == "statement":
            ALL(connection)
        elif forced_by == "sqlalchemy":
            stored(connection)


@pytest.mark.parametrize("forced_by", ["answer", "statement", "sqlalchemy", "commit"])
def test_what_is_put_off_and_refused_is_told_by_whatever_it_goes_with_and_nothing_is_kept(
    server: Engine, forced_by: str
) -> None:
    with server.begin() as connection:
        ADD(connection, EMPTY)
    with pytest.raises(IntegrityError) as refused:
        put_off_twice(server, forced_by)
    assert "a secret" not in str(refused.value)
    if forced_by in {"answer", "statement"}:
        assert "INSERT INTO things" in str(refused.value)
    # The connection is as good as before.
    with server.begin() as connection:
        assert stored(connection) == [EMPTY]
        ADD.put_off(connection, FULL)
    with reading(server) as connection:
        assert [row.name for row in ALL(connection).all()] == [FULL["name"], "empty"]


def test_what_is_put_off_in_a_transaction_that_is_rolled_back_is_never_sent(
    server: Engine, exchanges: list[list[str]]
) -> None:
    later: list[Any] = []

    def give_up() -> None:
        with server.begin() as connection:
            later.append(ADD.put_off(connection, FULL))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        give_up()
    with pytest.raises(ZeroDivisionError):
        give_up()
    with server.begin() as connection:
        assert ALL(connection).all() == []
    assert exchanges == [["BEGIN", "SELECT"]]
    with pytest.raises(Exception, match="closed"):
        later[0]()


def test_whoever_goes_on_after_a_refusal_is_told_that_nothing_was_committed(server: Engine) -> None:
    """PostgreSQL takes such a COMMIT for a ROLLBACK, and calls that a success."""

    def go_on() -> None:
        with server.begin() as connection:
            ADD(connection, FULL)
            with pytest.raises(IntegrityError):
                ADD(connection, FULL)

    with pytest.raises(DBAPIError, match="nothing was committed"):
        go_on()
    with server.begin() as connection:
        assert ALL(connection).all() == []


def test_within_a_savepoint_nothing_is_put_off(server: Engine) -> None:
    with server.begin() as connection:
        ADD(connection, EMPTY)
        with pytest.raises(IntegrityError), connection.begin_nested():
            ADD.put_off(connection, EMPTY)
        ADD.put_off(connection, FULL)
    with reading(server) as connection:
        assert len(ALL(connection).all()) == 2


def test_without_a_transaction_nothing_is_put_off(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(InvalidRequestError):
        ADD.put_off(connection, FULL)


def test_nothing_that_writes_is_put_off_where_what_nobody_wanted_is_left_to_nobody(engine: Engine) -> None:
    with reading(engine) as connection:
        with pytest.raises(InvalidRequestError):
            ADD.put_off(connection, FULL)
        # Also where SQLAlchemy takes it to be within a transaction.
        assert stored(connection) == []
        with pytest.raises(InvalidRequestError):
            ADD.put_off(connection, FULL)


@pytest.mark.parametrize("put_off", [False, True])
def test_a_connection_that_ends_without_a_word_is_an_operational_error(server: Engine, *, put_off: bool) -> None:
    """The driver has no kind for it; whoever tidies up beside a sign-in goes on after an operational one."""

    def cut_and_ask() -> None:
        with server.begin() as connection:
            if not put_off:
                ALL(connection)
            driver: Any = connection.connection.driver_connection
            with socket.socket(fileno=os.dup(driver.fileno())) as line:
                line.shutdown(socket.SHUT_RD)
            ALL(connection)

    with pytest.raises(OperationalError) as lost:
        cut_and_ask()
    assert lost.value.connection_invalidated
    with server.begin() as connection:
        assert ALL(connection).all() == []


def test_what_only_reads_is_asked_together_too_and_what_nobody_wanted_is_left_to_nobody(
    server: Engine, exchanges: list[list[str]]
) -> None:
    with server.begin() as connection:
        ADD(connection, FULL)
    exchanges.clear()
    with reading(server) as connection:
        first, own = ALL.put_off(connection), backend(connection)
        assert FIND(connection, {"wanted": FULL["name"]}).first() is not None
        assert len(first().all()) == 1
        FIND.put_off(connection, {"wanted": "x"})
    with reading(server) as connection:
        assert backend(connection) == own
        assert len(ALL(connection).all()) == 1
    assert exchanges == [["SELECT", "SELECT"]]


def test_a_value_that_the_database_does_not_take_is_refused_where_it_is_given(server: Engine) -> None:
    with server.begin() as connection:
        with pytest.raises(DBAPIError):
            ADD.put_off(connection, {**FULL, "name": "a\0b"})
        ADD.put_off(connection, FULL)
    with reading(server) as connection:
        assert [row.name for row in ALL(connection).all()] == [FULL["name"]]


def test_what_fills_every_buffer_on_the_way_goes_through(server: Engine) -> None:
    large = [{**FULL, "name": f"large{number}", "kept": "x" * 1_000_000} for number in range(3)]
    with server.begin() as connection:
        ADD.put_off(connection, large)
        echoes = [ALL.put_off(connection) for _ in range(3)]
        ADD.put_off(connection, FULL)
    assert [len(echo().all()) for echo in echoes] == [3, 3, 3]


def test_whoever_waits_for_a_lock_leaves_pythons_own_to_whoever_holds_it(server: Engine) -> None:
    """Else two threads of a process would wait for each other for ever: one for a row, one for the interpreter."""
    with server.begin() as connection:
        ADD(connection, FULL)
    lock = Statement(select(THINGS).where(THINGS.c.name == bindparam("wanted")).with_for_update())
    begun = threading.Event()

    def wait_for_it() -> str | None:
        with server.begin() as connection:
            ADD.put_off(connection, EMPTY)
            begun.set()
            row = lock(connection, {"wanted": FULL["name"]}).one_or_none()
            return None if row is None else str(row.note)

    waits = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with ThreadPoolExecutor(1) as threads:
        with server.begin() as connection:
            SET(connection, {"wanted": FULL["name"], "note": "changed"})
            waiting = threads.submit(wait_for_it)
            assert begun.wait(60)
            with reading(server) as other:
                while not waiting.done() and not other.execute(waits).scalar_one():
                    pass
        assert waiting.result(60) == "changed"


def put_off_after_a_cut(server: Engine, *, ask: bool) -> None:
    with server.connect() as cutter, server.begin() as connection:
        ALL(connection)
        cutter.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend(connection)})
        ADD.put_off(connection, FULL)
        if ask:
            ALL(connection)


@pytest.mark.parametrize("ask", [True, False])
def test_a_connection_that_is_cut_before_what_was_put_off_is_an_error_and_then_another(
    server: Engine, *, ask: bool
) -> None:
    with pytest.raises(DBAPIError) as lost:
        put_off_after_a_cut(server, ask=ask)
    assert lost.value.connection_invalidated
    with server.begin() as connection:
        assert ALL(connection).all() == []
