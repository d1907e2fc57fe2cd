"""What a policy asks of whoever it may be: remembered, and never anything else than an evaluation says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idp.policy import anybody
from idp.policy.anybody import Anybody
from idp.policy.errors import FactsInvalid
from idp.policy.evaluate import evaluate
from idp.policy.evidence import Evidence
from idp.policy.model import Facts, Policy
from tests.properties.policies import NOW, evidence, policies, situations
from tests.unit.idp_policy import support

NOBODY: Final[dict[str, Any]] = {"evidence": (), "groups": frozenset(), "attributes": {}, "credential": None}


def of_nobody(facts: Facts) -> Facts:
    return replace(facts, **NOBODY)


@given(policies(), st.lists(situations(), min_size=2, max_size=5), st.integers(0, 14 * 24 * 60))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_remembered_is_what_would_be_decided_now(policy: Policy, asked: list[Facts], minutes: int) -> None:
    remembered = Anybody()
    for facts in (*asked, *asked):
        for now in (facts.now, facts.now + timedelta(minutes=minutes)):
            for network in (facts.network, None, "192.0.2.7", "2001:db8::7"):
                wanted = replace(of_nobody(facts), now=now, network=network, transaction=f"of {now}")
                assert remembered.decide(policy, wanted) == evaluate(policy, wanted)


@given(policies(), policies(), situations())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_another_policy_is_asked_anew(before: Policy, after: Policy, facts: Facts) -> None:
    remembered, wanted = Anybody(), of_nobody(facts)
    for policy in (before, after, before):
        assert remembered.decide(policy, wanted) == evaluate(policy, wanted)


@given(policies(), situations(), evidence())
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_somebodys_situation_is_refused(policy: Policy, facts: Facts, item: Evidence) -> None:
    theirs: tuple[dict[str, Any], ...] = (
        {"evidence": (item,)},
        {"groups": frozenset({"staff"})},
        {"attributes": {"office": ("north",)}},
    )
    for each in theirs:
        with pytest.raises(FactsInvalid):
            Anybody().decide(policy, replace(of_nobody(facts), **each))


def test_DOS_04_no_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anybody, "_MOST", 8)
    remembered, policy = Anybody(), support.policy()
    for number in range(100):
        facts = Facts(action="sign_in", evidence=(), now=NOW, acr_values=(f"urn:made:up:{number}",))
        assert remembered.decide(policy, facts) == evaluate(policy, facts)
    assert len(remembered._found) == 8
