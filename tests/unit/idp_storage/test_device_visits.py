"""A visit to where a device approves: answered once, and never sealed anew once somebody altered it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, update

from idp.storage import device_visits
from idp.storage.device_visits import StoredVisit, Visit
from idp.storage.models import metadata
from tests.fakes.seals import make_sealer

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
SEALS = make_sealer()
VISIT = Visit("session", "alice", "signature", "interaction", {"digest": "harmless"})


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def visit(connection: Connection) -> StoredVisit:
    device_visits.begin(connection, SEALS, "handle", VISIT, NOW, seconds=60)
    found = device_visits.find(connection, SEALS, "handle", NOW)
    assert found is not None
    return found


def take(connection: Connection) -> StoredVisit | None:
    return device_visits.take(
        connection, SEALS, "code", session_id="session", purpose="signature", target="interaction", now=NOW
    )


def test_an_answer_is_kept_once_and_taken_once(connection: Connection, visit: StoredVisit) -> None:
    assert device_visits.answer(connection, SEALS, visit, {"proof": "one"}, code="code", now=NOW)
    assert not device_visits.answer(connection, SEALS, visit, {"proof": "two"}, code="other", now=NOW)
    taken = take(connection)
    assert taken is not None
    assert (taken.visit, taken.answer) == (VISIT, {"proof": "one"})
    assert take(connection) is None


@pytest.mark.parametrize("changes", [{"asked": {"digest": "evil"}}, {"target": "another"}, {"session_id": "mallory"}])
def test_what_was_altered_after_it_was_read_is_not_sealed_anew(
    connection: Connection, visit: StoredVisit, changes: dict[str, Any]
) -> None:
    connection.execute(update(device_visits.device_visits).values(changes))
    assert not device_visits.ask_more(connection, SEALS, visit, {"device": "new"})
    assert not device_visits.answer(connection, SEALS, visit, {"proof": "one"}, code="code", now=NOW)
    assert device_visits.find(connection, SEALS, "handle", NOW) is None
    assert take(connection) is None
