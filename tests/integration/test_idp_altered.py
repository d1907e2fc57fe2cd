"""Somebody writes to the identity provider's database: what they write is never acted on, and it is said."""

from __future__ import annotations

import base64
import copy
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from idp.storage.models import interactions
from tests.integration import oidc_world
from tests.integration.oidc_world import Seed, World, answer

HARMLESS, EVIL = b"a harmless document", b"sell the house"


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seed:
    return oidc_world.seed_sqlite(tmp_path_factory.mktemp("seed"))


@pytest.fixture
def world(seeded: Seed, tmp_path: Path) -> Iterator[World]:
    made = oidc_world.start_copy(seeded, tmp_path / "idp")
    yield made
    made.engine.dispose()


def with_evil_payload(request: dict[str, Any]) -> dict[str, Any]:
    """What is shown stays; what is given out at the end is another digest."""
    changed = copy.deepcopy(request)
    digest = base64.b64encode(hashlib.sha256(EVIL).digest()).decode()
    changed["payload"]["intent"]["digests"][0]["digest"] = digest
    return changed


def test_OAU_10_what_is_given_out_is_what_was_shown_whoever_writes_to_the_interactions_row(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    rp, browser = world.rp(), world.browser()
    page = browser.step_up(browser.sign_in(browser.get(rp.pushed_url(rp.signing(HARMLESS)))))
    with world.engine.begin() as connection:
        row = connection.execute(select(interactions).where(interactions.c.state == "open")).one()
        connection.execute(update(interactions).values(request=with_evil_payload(row.request)))
    with caplog.at_level(logging.CRITICAL):
        refused = answer(browser.approve(page))
    assert refused["error"] == "server_error"
    assert [(item["table"], item["cause"]) for item in world.events("record.altered")] == [("interactions", "binding")]
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    assert world.events("sad.issued") == []
