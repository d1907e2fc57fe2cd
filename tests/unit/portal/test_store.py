"""What the portal's tables do for one person does nothing for another session."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine

from portal.errors import NoSuchDocument
from portal.settings import KeepingSettings
from portal.store import documents, sessions
from portal.store.seal import Sealer
from portal.store.tables import metadata

KEEP = KeepingSettings()
SEAL = Sealer(b"k" * 32, secrets.token_bytes)
NOW = 1_000_000


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.begin() as made:
        yield made
    engine.dispose()


def test_SES_03_a_session_that_nobody_used_is_over_whatever_the_person_does_in_another(connection: Connection) -> None:
    later = NOW + KEEP.idle_seconds
    for token, began in (("left", NOW), ("used", later - 1)):
        sessions.begin(connection, SEAL, token, subject="alice", service_token="t", now=began, keep=KEEP)
    used = sessions.find(connection, SEAL, "used", later, KEEP)
    assert used is not None
    sessions.hold(connection, used)
    assert sessions.find(connection, SEAL, "left", later, KEEP) is None


@pytest.mark.parametrize("name", ["", "\0", "0\0", "0\n", "../0", "A"])
def test_what_never_was_an_identifier_names_no_document(name: str, connection: Connection) -> None:
    with pytest.raises(NoSuchDocument):
        documents.find(connection, SEAL, ("owner",), name, NOW)
    with pytest.raises(NoSuchDocument):
        documents.find_any(connection, SEAL, name, NOW)
