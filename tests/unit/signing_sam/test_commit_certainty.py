"""AUD-07, OPS-04: with its commit sent, the server's own error is certain, and a lost connection is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import DBAPIError

from signing.sam import errors
from signing.storage.ledger import Reserve
from signing.storage.script import script_on
from signing.storage.store import SqlStore
from signing.storage.tables import approvals, audit, positions, redemptions
from tests.fakes.sam import NOW, REALM
from tests.unit.signing_sam.test_group_commit import ledger_on, reserve, results
from tests.unit.signing_sam.test_storage import add_credential_row, disposing

pytestmark = pytest.mark.postgres

_STATES = ("40P01", "40001", "53100", "55P03", "57014", "XX000")
"""Deadlock, serialization failure, disk full, lock not available, statement timeout, internal error."""


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    with disposing(postgres_url) as made:
        SqlStore(made).initialise(REALM, NOW)
        add_credential_row(made)
        yield made


def at_write(engine: Engine, table: str, body: str, *, deferred: bool = False) -> None:
    """A trigger on each inserted row; deferred, it runs when the commit does."""
    kind = "CONSTRAINT TRIGGER" if deferred else "TRIGGER"
    when = "AFTER INSERT" if deferred else "BEFORE INSERT OR UPDATE"
    late = "DEFERRABLE INITIALLY DEFERRED" if deferred else ""
    made = f"""
        CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$;
        CREATE {kind} told {when} ON {table} {late} FOR EACH ROW EXECUTE FUNCTION told();"""
    with engine.begin() as connection:
        connection.execute(text(made))


def mend(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP FUNCTION told CASCADE"))


def raising(sqlstate: str) -> str:
    return f"RAISE EXCEPTION 'told to' USING ERRCODE = '{sqlstate}';"


def serves_after(engine: Engine, job: Reserve) -> None:
    """The same once more, on the pool's connections as they are; and nothing was left of what was refused."""
    ledger_on(engine)._work([job])
    assert job.result() == (0,)
    with engine.connect() as connection:
        counts = (select(func.count()).select_from(each) for each in (approvals, redemptions, positions))
        assert [connection.execute(each).scalar_one() for each in counts] == [1, 1, 1]
        assert connection.execute(select(audit.head.c.sequence)).scalar_one() == 1


@pytest.mark.parametrize("sqlstate", _STATES)
@pytest.mark.parametrize("table", ["redemptions", "audit_head"])
def test_OPS_04_a_statement_that_the_server_refuses_is_certainly_not_committed(
    engine: Engine, table: str, sqlstate: str
) -> None:
    at_write(engine, table, raising(sqlstate))
    jobs = [reserve("one"), reserve("refused", epoch=2), reserve("two")]
    ledger_on(engine)._work(jobs)
    assert results(jobs) == [errors.StoreUnavailable, errors.ChangedMeanwhile, errors.StoreUnavailable]
    mend(engine)
    serves_after(engine, reserve("one"))


def test_AUD_07_a_table_of_the_chain_that_is_not_there_is_certain(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit_entries RENAME TO away"))
    jobs = [reserve("one")]
    ledger_on(engine)._work(jobs)
    assert results(jobs) == [errors.StoreUnavailable]
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO audit_entries"))
    serves_after(engine, reserve("one"))


@pytest.mark.parametrize("sqlstate", ["40001", "53100"])
def test_OPS_04_a_commit_that_the_server_refuses_is_certain(engine: Engine, sqlstate: str) -> None:
    at_write(engine, "redemptions", raising(sqlstate), deferred=True)
    jobs = [reserve("one")]
    ledger_on(engine)._work(jobs)
    assert results(jobs) == [errors.StoreUnavailable]
    mend(engine)
    serves_after(engine, reserve("one"))


@pytest.mark.parametrize("deferred", [False, True])
def test_OPS_05_a_connection_that_ends_with_the_commit_sent_is_unknown(engine: Engine, deferred: bool) -> None:
    # FATAL, 57P01: whatever the server says last, it was not asked how the transaction is.
    at_write(engine, "redemptions", "PERFORM pg_terminate_backend(pg_backend_pid());", deferred=deferred)
    jobs = [reserve("one"), reserve("refused", epoch=2)]
    ledger_on(engine)._work(jobs)
    assert results(jobs) == [errors.CommitUnknown, errors.ChangedMeanwhile]
    mend(engine)
    serves_after(engine, reserve("one"))


def test_a_failed_transactions_commit_is_no_success(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.begin()
        script = script_on(connection)
        with pytest.raises(DBAPIError):
            script.ask([("SELECT 1/0", ())])
        with pytest.raises(errors.StoreUnavailable):
            script.finish([])
