"""Statements past the driver's cursors: the same rows and errors, and a connection that is lost is used no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import Engine, PoolProxiedConnection, event, text

from signing.sam.errors import StoreUnavailable
from signing.storage.script import script_on
from signing.storage.store import SqlStore
from signing.storage.transactions import Transactions
from signing.storage.wire import Wire, rows_of
from tests.fakes.sam import NOW, REALM
from tests.unit.signing_sam.test_storage import add_credential_row, disposing

pytestmark = pytest.mark.postgres

EACH = (
    "SELECT $1::text, $2::bigint, $2::bigint::int, 7::smallint, $2::bigint > 0, decode($3, 'hex'), NULL::text,"
    " $1::varchar(9)"
)


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    with disposing(postgres_url) as made:
        SqlStore(made).initialise(REALM, NOW)
        add_credential_row(made)
        yield made


@pytest.fixture
def lent(engine: Engine) -> Iterator[PoolProxiedConnection]:
    connection = engine.raw_connection()
    yield connection
    connection.close()


@pytest.mark.parametrize("number", [0, 1, -1, 2**31 - 1, -(2**31)])
def test_values_of_every_type_come_as_they_are(lent: PoolProxiedConnection, number: int) -> None:
    expected = ["Zo\u00eb $1", number, number, 7, number > 0, b"\0\xff", None, "Zo\u00eb $1"]
    wire = Wire(lent)
    for _ in range(2):  # prepared, and asked again
        assert wire.one(EACH, ("Zo\u00eb $1", number, "00ff")) == [expected]
        assert [rows_of(each) for each in wire.many([(EACH, ("Zo\u00eb $1", number, "00ff"))] * 2)] == [[expected]] * 2
    assert wire.one("SELECT 1 WHERE $1::text IS NOT NULL", (None,)) == ()


def test_a_column_of_a_type_that_nobody_reads_is_an_error_and_no_guess(lent: PoolProxiedConnection) -> None:
    with pytest.raises(psycopg.NotSupportedError):
        Wire(lent).one("SELECT now()", ())


def test_a_text_with_a_nul_is_refused_unsent(lent: PoolProxiedConnection) -> None:
    wire = Wire(lent)
    for ask in (lambda: wire.one("SELECT $1::text", ("a\0b",)), lambda: wire.many([("SELECT $1::text", ("a\0b",))])):
        with pytest.raises(psycopg.DataError):
            ask()
    assert wire.one("SELECT $1::text", ("ab",)) == [["ab"]]


def test_what_fails_keeps_the_rest_from_being_executed_and_is_the_error(lent: PoolProxiedConnection) -> None:
    wire = Wire(lent)
    wire.many([("CREATE TEMPORARY TABLE things (number bigint PRIMARY KEY)", ())])
    add = "INSERT INTO things VALUES ($1)"
    for _ in range(2):  # COMMIT is prepared behind what failed: not at the first time
        with pytest.raises(psycopg.errors.UniqueViolation):
            wire.many([("BEGIN", ()), (add, (1,)), (add, (1,)), (add, (2,)), ("COMMIT", ())])
        assert wire.status is TransactionStatus.INERROR
        assert wire.many([("ROLLBACK", ())])[0].command_status == b"ROLLBACK"
    assert wire.one("SELECT number FROM things", ()) == ()
    wire.many([("BEGIN", ()), (add, (1,)), ("COMMIT", ())])
    assert wire.one("SELECT number FROM things", ()) == [[1]]


def test_what_the_server_does_not_take_at_once_is_sent_while_its_answers_are_taken_in(
    lent: PoolProxiedConnection,
) -> None:
    # More in each direction than sockets hold: who only sent would wait for one that only sends.
    wire, large = Wire(lent), "x" * 3_000_000
    found = wire.many([("SELECT $1::text", (large,))] * 4)
    assert [rows_of(each)[0][0] == large for each in found] == [True] * 4


def test_a_rollback_forgets_nothing_that_is_prepared(engine: Engine) -> None:
    store = Transactions(engine)
    for _ in range(3):
        assert store.quick("SELECT $1::text", ("a",)) == [["a"]]
        with engine.connect() as connection:
            for _again in range(8):
                connection.execute(text("SELECT 1"))
            connection.rollback()


@pytest.mark.parametrize(
    "happens", ["DEALLOCATE ALL", "ALTER TABLE sam_state ALTER epoch TYPE bigint"], ids=["forgotten", "altered"]
)
@pytest.mark.parametrize("in_transaction", [True, False])
def test_OPS_05_a_connection_with_other_statements_than_we_think_fails_once(
    engine: Engine, happens: str, *, in_transaction: bool
) -> None:
    transactions = Transactions(engine)
    ask = "SELECT epoch FROM sam_state WHERE $1::text IS NOT NULL"

    def asked() -> Any:
        if not in_transaction:
            return transactions.quick(ask, ("a",))
        with transactions.writing() as connection:
            return script_on(connection).ask([(ask, ("a",))])[0]

    assert asked() == [[1]]
    with engine.connect() as connection:
        connection.exec_driver_sql(happens)
        connection.commit()
    with pytest.raises(StoreUnavailable):
        asked()
    assert asked() == [[1]]


def test_SAD_02_a_transaction_sees_what_it_waited_for_whatever_the_servers_default(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("SET default_transaction_isolation TO 'repeatable read'")
        connection.commit()
    for _ in range(2):
        with engine.connect() as connection:
            assert Wire(connection).one("SHOW default_transaction_isolation", ()) == [["repeatable read"]]
            assert script_on(connection).ask([("SHOW transaction_isolation", ())]) == [[["read committed"]]]


def terminated(engine: Engine) -> None:
    """Every connection but the one that does it, on the server's side."""
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    with psycopg.connect(engine.url.set(drivername="postgresql").render_as_string(hide_password=False)) as link:
        link.execute(f"{others} AND pid <> pg_backend_pid()".encode())


def test_OPS_05_a_connection_that_is_lost_is_closed_and_told(lent: PoolProxiedConnection, engine: Engine) -> None:
    wire: Any = Wire(lent)
    wire.one("SELECT 1", ())
    terminated(engine)
    with pytest.raises(psycopg.OperationalError):
        wire.many([("SELECT 1", ())] * 3)
    assert wire._driver.closed
    assert wire.status is TransactionStatus.UNKNOWN
    with pytest.raises(psycopg.OperationalError):
        wire.one("SELECT 1", ())
    lent.invalidate()


def test_OPS_05_a_read_survives_a_server_that_was_started_again(engine: Engine) -> None:
    store = SqlStore(engine)
    several = threading.Barrier(3)

    def read() -> None:
        several.wait(10)
        store.for_signature("credential-1")

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = [engine.raw_connection() for _ in range(3)]
    for each in held:
        each.close()
    for _ in range(2):
        terminated(engine)
        # One answer a row, also by the first that asks: all connections of the pool are dead.
        assert store.for_signature("nobody")[0] is None


def test_a_read_that_the_server_refuses_is_no_answer(engine: Engine) -> None:
    transactions = Transactions(engine)
    with pytest.raises(StoreUnavailable):
        transactions.quick("SELECT 1 FROM nowhere", ())
    assert transactions.quick("SELECT 1", ()) == [[1]]


def test_what_is_read_alone_opens_no_transaction(engine: Engine) -> None:
    states: list[Any] = []
    event.listen(engine, "checkin", lambda driver, _entry: states.append(driver.info.transaction_status))
    SqlStore(engine).for_signature("nobody")
    assert states == [TransactionStatus.IDLE]
