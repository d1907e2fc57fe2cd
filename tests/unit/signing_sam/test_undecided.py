"""Looking for overdue redemptions costs as much as there are undecided ones, whatever the ledger has grown to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite

from signing.sam.ledger import State
from signing.storage.statements import overdue
from signing.storage.tables import outcomes, redemptions, undecided
from tests.fakes.sam import World
from tests.unit.signing_sam.test_group_commit import conclude, ids, ledger, reserve, results
from tests.unit.signing_sam.test_storage import add_credential_row, sql

GROWN = 5_000
FIRST = {"reserved_before": 2**40, "most": 100}
NEXT = {**FIRST, "after_second": 0, "after_id": ""}


@pytest.fixture
def grown(either_world: World) -> World:
    """With many redemptions that have their outcome, older and younger than the two that have none."""
    add_credential_row(either_world.engine)
    row = {"issuer": "x", "sad_jti": "x", "credential_id": "x", "client_id": "x", "positions": "[0]"}
    many = [{**row, "id": f"old-{each}", "txn": f"old-{each}", "reserved_at": each} for each in range(GROWN)]
    with either_world.engine.begin() as connection:
        connection.execute(insert(redemptions), many)
        of_them = [{"redemption_id": each["id"], "state": "CONSUMED", "reason": "x", "at": 1} for each in many]
        connection.execute(insert(outcomes), of_them)
        for name, second in (("open-1", 17), ("open-2", GROWN * 2)):
            connection.execute(insert(redemptions), {**row, "id": name, "txn": name, "reserved_at": second})
            connection.execute(insert(undecided), {"redemption_id": name})
        # Also where somebody has put rows back, or left some of what is gone.
        connection.execute(insert(undecided), [{"redemption_id": "old-1"}, {"redemption_id": "gone"}])
    return either_world


def test_what_is_undecided_is_in_the_table_from_its_redemption_to_its_outcome(either_world: World) -> None:
    world = either_world
    add_credential_row(world.engine)

    def there() -> set[str]:
        with world.engine.connect() as connection:
            return set(connection.execute(select(undecided.c.redemption_id)).scalars())

    ledger(world)._work([reserve("one"), reserve("refused", epoch=2), reserve("two"), reserve("three")])
    assert there() == {"one", "two", "three"} == ids(world)
    jobs = [conclude("one"), conclude("two", State.RELEASED), conclude("one", State.INDETERMINATE), conclude("none")]
    ledger(world)._work(jobs[:3])
    assert results(jobs[:3]) == [State.CONSUMED, State.RELEASED, State.CONSUMED]
    assert there() == {"three"}
    assert [each.id for each in sql(world).overdue(2**40, 10)] == ["three"]
    # What had its outcome already keeps it, and what has none at all loses no row.
    ledger(world)._work([conclude("one")])
    ledger(world)._work(jobs[3:])
    assert there() == {"three"}


def test_those_without_an_outcome_are_found_by_age_and_in_pages(grown: World) -> None:
    store = sql(grown)
    assert [each.id for each in store.overdue(2**40, 10)] == ["open-1", "open-2"]
    assert [each.id for each in store.overdue(18, 10)] == ["open-1"]
    assert [each.id for each in store.overdue(2**40, 1)] == ["open-1"]
    assert [each.id for each in store.overdue(2**40, 10, (17, "open-1"))] == ["open-2"]
    assert store.overdue(17, 10) == ()


@pytest.mark.parametrize("analysed", [False, True])
@pytest.mark.parametrize("parameters", [FIRST, NEXT])
def test_no_look_reads_the_ledger(grown: World, parameters: Mapping[str, object], analysed: bool) -> None:
    if analysed:
        with grown.engine.begin() as connection:
            connection.execute(text("ANALYZE"))
    with grown.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            assert rows_read(connection, parameters) <= 20
        else:
            found = plan(connection, parameters)
            assert not [line for line in found if line.startswith(("SCAN redemptions", "SCAN outcomes"))], found
            searched = [line for line in found if line.startswith("SEARCH")]
            assert searched
            assert all("autoindex" in line for line in searched), found  # that is, by primary key


def written_out(connection: Connection, parameters: Mapping[str, object]) -> str:
    kind = postgresql.dialect if connection.dialect.name == "postgresql" else sqlite.dialect
    dialect: Any = kind()
    statement = overdue("after_id" in parameters).params(**parameters)
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def plan(connection: Connection, parameters: Mapping[str, object]) -> list[str]:
    found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {written_out(connection, parameters)}")
    return [str(row[-1]) for row in found]


def rows_read(connection: Connection, parameters: Mapping[str, object]) -> int:
    """Of redemptions and outcomes, those looked at and thrown away included."""
    asked = f"EXPLAIN (ANALYZE, FORMAT JSON) {written_out(connection, parameters)}"
    found = connection.exec_driver_sql(asked).scalar_one()
    (root,) = json.loads(found) if isinstance(found, str) else found
    counted = 0
    for node in nodes(root["Plan"]):
        if node.get("Relation Name") in {"redemptions", "outcomes"}:
            each = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            counted += int(each * node["Actual Loops"])
    return counted


def nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from nodes(below)
