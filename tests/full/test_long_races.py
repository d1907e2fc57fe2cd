"""Ten thousand redemptions in races over two processes of the module, one PostgreSQL, one token (SAD-02, SAD-10)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from signing.link import codes
from tests.fakes.sam import digest
from tests.integration.test_sam_races import Pair, pair

pytestmark = [pytest.mark.full, pytest.mark.hsm, pytest.mark.postgres, pytest.mark.timeout(3600)]
RACERS = 20
ROUNDS = 500
__all__ = ["pair"]


def test_SAD_02_SAD_10_ten_thousand_redemptions_never_give_one_too_many(pair: Pair) -> None:
    view = pair.site.credential(pair.clients[0])
    seen: Counter[str] = Counter()
    for number in range(ROUNDS):
        before = pair.made()
        allowed = 1 + number % 3
        sad = pair.site.sad(view, (digest(1),) * allowed)
        requests = [
            # every other one with a SAD of its own for the same approval
            pair.site.request(replace(sad, jti=f"{sad.jti}-{racer % 2}"))
            for racer in range(RACERS)
        ]
        outcome = pair.at_once([replace(request, digests=(digest(1),)) for request in requests])
        assert outcome == {"1 signed": allowed, codes.SAD_USED: RACERS - allowed}, f"round {number}: {outcome}"
        assert pair.made() == before + allowed
        seen += outcome
    assert seen.total() == RACERS * ROUNDS
