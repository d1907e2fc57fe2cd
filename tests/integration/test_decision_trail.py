"""Recorded decisions, on SQLite and on PostgreSQL: the audit chain says which are to be believed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, delete, select, update

from foundation.clock import FixedClock
from idp.policy.evaluate import evaluate
from idp.policy.load import parse_policy
from idp.policy.model import Facts
from idp.policy.records import record_from_json
from idp.storage import decisions
from idp.storage.audit import DatabaseAudit
from idp.storage.decisions import Disagreement, audited
from idp.storage.engine import create_tables, open_engine, reading
from idp.storage.models import decisions as table
from tests.fakes.idp import POLICY

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
SAMPLE = parse_policy(POLICY, "tests.yaml")
AUDIT = {
    "client_id": "shop", "action": "sign_in", "account_id": "a", "session_id": "s", "policy": "tests",
    "policy_sha256": SAMPLE.sha256, "acr": "0", "amr": [],
}  # fmt: skip


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    create_tables(made)
    with made.begin() as connection:
        DatabaseAudit(FixedClock(NOW)).initialise(connection)
    yield made
    made.dispose()


def decide(engine: Engine, number: int, *, chain: bool = True) -> None:
    """Keep the decision of a minute, and say so in the chain."""
    now = NOW + timedelta(minutes=number)
    facts = Facts("sign_in", (), now, client_id="shop")
    with engine.begin() as connection:
        digest = decisions.record(
            connection, decision_id=f"d{number}", txn=f"t{number}", account_id="a", policy=SAMPLE, facts=facts,
            decision=evaluate(SAMPLE, facts),
        )  # fmt: skip
        if chain:
            DatabaseAudit(FixedClock(now)).record(
                connection, "transaction.approved", txn=f"t{number}", decision_id=f"d{number}", decision_sha256=digest,
                **AUDIT,
            )  # fmt: skip


def refuse_before_anybody_signed_in(engine: Engine) -> None:
    with engine.begin() as connection:
        DatabaseAudit(FixedClock(NOW)).record(
            connection, "transaction.refused", txn="t", cause="login", client_id="shop", action="sign_in"
        )


def read(engine: Engine, **options: Any) -> tuple[list[str], list[Disagreement]]:
    told: list[Disagreement] = []
    with reading(engine) as connection:
        found = [record_from_json(item).decision_id for item in audited(connection, disagrees=told.append, **options)]
    return found, told


def test_records_come_newest_first_and_those_without_a_decision_are_passed_over(engine: Engine) -> None:
    decide(engine, 1)
    refuse_before_anybody_signed_in(engine)
    decide(engine, 2)
    assert read(engine) == (["d2", "d1"], [])


def test_records_are_read_in_pages(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        decide(engine, number)
    monkeypatch.setattr(decisions, "_PAGE", 3)
    assert read(engine) == ([f"d{number}" for number in range(6, -1, -1)], [])
    assert read(engine, limit=4) == (["d6", "d5", "d4", "d3"], [])


def test_since_and_limit_leave_out_what_is_older(engine: Engine) -> None:
    for number in range(4):
        decide(engine, number)
    assert read(engine, since=NOW + timedelta(minutes=2)) == (["d3", "d2"], [])
    assert read(engine, limit=1) == (["d3"], [])
    assert read(engine, limit=4) == (["d3", "d2", "d1", "d0"], [])
    assert read(engine, since=NOW + timedelta(hours=1)) == ([], [])


def test_an_empty_chain_has_no_decisions(engine: Engine) -> None:
    assert read(engine) == ([], [])


def test_a_decision_that_the_table_lacks_is_told(engine: Engine) -> None:
    decide(engine, 1)
    decide(engine, 2)
    with engine.begin() as connection:
        connection.execute(delete(table).where(table.c.id == "d1"))
    text = "the audit chain names this decision, and the table does not have it"
    assert read(engine) == (["d2"], [Disagreement("d1", text)])


def test_a_record_that_was_changed_is_left_out_and_told(engine: Engine) -> None:
    decide(engine, 1)
    with engine.begin() as connection:
        detail = connection.execute(select(table.c.detail)).scalar_one()
        detail["facts"]["proofing"] = "high"
        connection.execute(update(table).values(detail=detail))
    text = "the table's record is not the one that the audit chain names"
    assert read(engine) == ([], [Disagreement("d1", text)])


def test_decisions_that_the_chain_does_not_name_are_counted_and_left_out(engine: Engine) -> None:
    decide(engine, 1)
    decide(engine, 2, chain=False)
    text = "the table has 1 decisions that the audit chain does not name"
    assert read(engine) == (["d1"], [Disagreement("", text)])
    assert read(engine, since=NOW) == (["d1"], [])
