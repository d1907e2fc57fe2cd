"""A module on SQLite; and one on each kind of database, for what the database decides."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from signing.sam.credential import Credential
from tests.fakes.sam import World, make_world


@pytest.fixture(autouse=True)
def mask() -> Iterator[None]:
    """The commands narrow their process's umask; the test process goes on, and others read its files."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A module on SQLite with an in-memory device."""
    world = make_world(f"sqlite:///{tmp_path / 'sam.sqlite'}")
    yield world
    world.engine.dispose()


@pytest.fixture
def either_world(database_url: str) -> Iterator[World]:
    """The same, once on SQLite and once on PostgreSQL."""
    world = make_world(database_url)
    yield world
    world.engine.dispose()


@pytest.fixture
def credential(world: World) -> Credential:
    """An active credential of alice at SCAL2."""
    return world.credential()
