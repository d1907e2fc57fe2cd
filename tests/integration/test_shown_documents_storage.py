"""Documents of open approvals on both databases: as they were put there, or believed by nobody."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from idp.errors import BoxBroken
from idp.storage import shown_documents
from idp.storage.engine import create_tables, open_engine
from idp.storage.shown_documents import Kept, Keys, Place

KEYS = Keys(lambda purpose: purpose.encode().ljust(32, b"-"), secrets.token_bytes)
OTHER_KEYS = Keys(lambda _purpose: b"x" * 32, secrets.token_bytes)
FIRST, SECOND = Place("one", 0), Place("one", 1)
DOCUMENT = bytes(range(256)) * 4096


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    create_tables(made)
    yield made
    made.dispose()


def test_a_document_is_read_as_it_was_kept_and_goes_with_its_approval(engine: Engine) -> None:
    with engine.begin() as connection:
        shown_documents.put(connection, KEYS, FIRST, Kept({"state": "failed"}, None, 100))
        shown_documents.put(connection, KEYS, FIRST, Kept({"state": "shown"}, DOCUMENT, 100))
        shown_documents.put(connection, KEYS, SECOND, Kept({"state": "failed"}, None, 100))
        shown_documents.put(connection, KEYS, Place("two", 0), Kept({"state": "shown"}, b"x", 200))
    with engine.connect() as connection:
        known = shown_documents.of_interaction(connection, KEYS, "one")
        assert known == {0: {"state": "shown"}, 1: {"state": "failed"}}
        assert shown_documents.content(connection, KEYS, FIRST) == DOCUMENT
        assert shown_documents.content(connection, KEYS, SECOND) is None
        assert shown_documents.content(connection, KEYS, Place("three", 0)) is None
        assert shown_documents.kept_octets(connection, 50) == len(DOCUMENT) + 1
        assert shown_documents.kept_octets(connection, 150) == 1
    with engine.begin() as connection:
        shown_documents.purge(connection, 99)
        shown_documents.forget(connection, "two")
        assert shown_documents.kept_octets(connection, 0) == len(DOCUMENT)
        shown_documents.purge(connection, 100)
        assert shown_documents.of_interaction(connection, KEYS, "one") == {}


def test_under_another_key_nothing_is_read(engine: Engine) -> None:
    with engine.begin() as connection:
        shown_documents.put(connection, KEYS, FIRST, Kept({"state": "shown"}, DOCUMENT, 100))
    with engine.connect() as connection:
        with pytest.raises(BoxBroken):
            shown_documents.of_interaction(connection, OTHER_KEYS, "one")
        with pytest.raises(BoxBroken):
            shown_documents.content(connection, OTHER_KEYS, FIRST)


@pytest.mark.parametrize("column", ["about", "content"])
def test_what_was_moved_to_another_place_is_not_read(engine: Engine, column: str) -> None:
    table = shown_documents.shown_documents
    with engine.begin() as connection:
        shown_documents.put(connection, KEYS, FIRST, Kept({"state": "shown"}, DOCUMENT, 100))
        shown_documents.put(connection, KEYS, SECOND, Kept({"state": "shown"}, b"another", 100))
        moved = connection.execute(table.select().where(table.c.position == 0)).one()
        connection.execute(table.update().where(table.c.position == 1).values({column: getattr(moved, column)}))
    with engine.connect() as connection:
        if column == "about":
            with pytest.raises(BoxBroken):
                shown_documents.of_interaction(connection, KEYS, "one")
        else:
            with pytest.raises(BoxBroken):
                shown_documents.content(connection, KEYS, SECOND)
