"""Fixtures of the integration tests: the authorization server over HTTP, and a module that fails on demand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.softhsm import SOFTHSM2_MODULE
from tests.integration.oidc_world import Seed, World, seed_sqlite, start_copy
from tests.shim import Shim, compile_shim


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


@pytest.fixture(scope="session")
def shim_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module of tests/shim, built once."""
    return compile_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def shim(shim_library: Path, tmp_path: Path) -> Shim:
    """It in front of SoftHSM2, with counters and faults of this test's own."""
    return Shim(shim_library, tmp_path / "shim", SOFTHSM2_MODULE)
