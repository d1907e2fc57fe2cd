"""What the policy benchmark measures is what it says."""

from __future__ import annotations

import pytest

from benchmarks.policy import RULES, cases, facts, policy
from idp.policy.evaluate import evaluate


@pytest.mark.parametrize("name", cases())
def test_each_case_has_its_outcome(name: str) -> None:
    rules, asked, outcome = cases()[name]
    assert len(rules.rules) == RULES
    assert evaluate(rules, asked).outcome == outcome


def test_as_many_rules_as_stated_are_about_the_request() -> None:
    decision = evaluate(policy(RULES, about=7), facts(enough=True))
    assert len({reason.rule for reason in decision.reasons if reason.rule.startswith("rule-")}) == 7
