"""Statements that are prepared: on both kinds of database they say what SQLAlchemy's own way says."""

from __future__ import annotations

from collections.abc import Iterator
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
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, MultipleResultsFound

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


def test_a_connection_that_is_cut_is_an_error_once_and_then_another(server: Engine) -> None:
    with pytest.raises(DBAPIError) as lost:
        ask_after_a_cut(server)
    assert lost.value.connection_invalidated
    with reading(server) as connection:
        assert ALL(connection).all() == []
