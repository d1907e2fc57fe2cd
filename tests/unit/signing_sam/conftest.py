"""A module on SQLite; and one on each kind of database, for what the database decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from signing.sam.credential import Credential
from tests.fakes.sam import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A module on SQLite with an in-memory device."""
    return make_world(f"sqlite:///{tmp_path / 'sam.sqlite'}")


@pytest.fixture
def either_world(database_url: str) -> World:
    """The same, once on SQLite and once on PostgreSQL."""
    return make_world(database_url)


@pytest.fixture
def credential(world: World) -> Credential:
    """An active credential of alice at SCAL2."""
    return world.credential()
