"""Fixtures of the tests that speak with the authorization server over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.oidc_world import Seed, World, seed_sqlite, start_copy


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seed:
    """A database with a person and clients in it, made once and only copied."""
    return seed_sqlite(tmp_path_factory.mktemp("seed"))


@pytest.fixture
def world(seeded: Seed, tmp_path: Path) -> Iterator[World]:
    """An identity provider on a copy of it."""
    made = start_copy(seeded, tmp_path)
    yield made
    made.engine.dispose()
