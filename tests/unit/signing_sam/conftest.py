"""A module on SQLite; and one on each kind of database, for what the database decides."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from signing.sam.credential import Credential
from signing.sam_app.parts import Sam
from signing.sam_settings import DeviceTable, SamSettings
from signing.storage.store import SqlStore
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


@pytest.fixture
def sam(world: World) -> Sam:
    """Its parts, as the process puts them together."""
    assert isinstance(world.store, SqlStore)
    table = DeviceTable(Path("module"), "label", Path("pin"))
    settings = SamSettings("development", "test", "id", Path("s"), Path("a"), {}, table, {}, ())
    return Sam(
        settings=settings,
        store=world.store,
        device=world.device,
        policy=world.policy,
        activator=world.activator(),
        lifecycle=world.lifecycle(),
        revocations=world.revocations(),
        operators=world.operators(),
        rewrapping=world.rewrapping(),
        orphans=world.orphans(),
        anchor=world.anchor,
        checkpoints=world.checkpoints(),
        clock=world.clock,
        device_available=lambda: True,
    )
