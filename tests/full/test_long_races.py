"""Ten thousand redemptions in races over two processes of the module, one PostgreSQL, one token (SAD-02, SAD-10)."""

from __future__ import annotations

import pytest

from tests.integration.conftest import shim_library
from tests.integration.test_sam_races import RACERS, Pair, pair, races

pytestmark = [pytest.mark.full, pytest.mark.hsm, pytest.mark.postgres, pytest.mark.timeout(3600)]
__all__ = ["pair", "shim_library"]


def test_SAD_02_SAD_10_ten_thousand_redemptions_never_give_one_too_many(pair: Pair) -> None:
    races(pair, 10_000 // RACERS)
