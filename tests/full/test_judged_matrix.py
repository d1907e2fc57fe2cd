"""Every key with every hash function at every level, through the running product and before other people's programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.judged_world import HASHES, KEYS, Desk, desk
from tests.integration.test_judged import judged, passed

pytestmark = [pytest.mark.full, pytest.mark.hsm, pytest.mark.timeout(1800)]
STAMPS = {"B-B": 0, "B-T": 1, "B-LT": 1, "B-LTA": 2}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("matrix")) as made:
        yield made


@pytest.mark.parametrize("level", STAMPS)
@pytest.mark.parametrize("hash_name", HASHES)
@pytest.mark.parametrize("username", KEYS)
def test_SIG_01_every_key_with_every_hash_function_at_every_level(
    running: Desk, tmp_path: Path, username: str, hash_name: str, level: str
) -> None:
    pdf = running.signed(username, f"Ades-{level}", hash_name=hash_name)
    whole, pss = level in {"B-B", "B-T"}, KEYS[username] == "pss"
    assert judged(running, tmp_path, pdf, whole=whole, pss=pss) == STAMPS[level]
    assert passed(running, pdf, running.told(pdf)) == level
