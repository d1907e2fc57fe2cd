"""ENR-02: what has to be proved before a person's factors change, over policies and situations made at random."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from idp.policy.body import standing
from idp.policy.evaluate import evaluate, join
from idp.policy.evidence import Evidence
from idp.policy.keys import FACTOR_CHANGES
from idp.policy.model import EnrolledFactor, Facts, Policy
from idp.policy.strength import ENROLLED
from tests.properties.examples import examples
from tests.properties.policies import bodies, enrolments, policies, use, well_equipped

EXAMPLES = examples(40)
BUSY = (HealthCheck.too_slow,)
actions = st.sampled_from(sorted(FACTOR_CHANGES))


def about(policy: Policy, facts: Facts, action: str) -> tuple[Policy, Facts]:
    """The same rules and the same person, about a change of their factors that nobody asks more of."""
    rules = tuple(replace(rule, actions=(action,)) for rule in policy.rules)
    return replace(policy, rules=rules), replace(facts, action=action, acr_values=(), essential_acr=())


def in_reach(policy: Policy, facts: Facts, have: tuple[EnrolledFactor, ...]) -> set[str]:
    """Levels that these factors reach, all of them used now."""
    equipped = replace(facts, enrolled=have)
    used = standing(policy, replace(equipped, evidence=use(equipped, {item.factor for item in have})))
    return {level.name for level in policy.levels if used.reaches(level.name)}


@given(policies(), well_equipped, enrolments, actions)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_ENR_02_the_strongest_level_that_a_new_factor_leads_to_is_proved_unless_it_was_out_of_reach(
    policy: Policy, facts: Facts, new: EnrolledFactor, action: str
) -> None:
    """The rule in its own words, level by level, against the engine's shorter way."""
    policy, facts = about(policy, facts, action)
    before = in_reach(policy, facts, facts.enrolled)
    after = in_reach(policy, facts, (*facts.enrolled, new))
    needed = {name for name in join(policy, after) if name in before}
    if not set(join(policy, after)) <= before:
        needed |= set(join(policy, before))
    decision = evaluate(policy, facts)

    event(f"out of reach before: {bool(after - before)}")
    assert all(any(policy.implies(top, name) for top in decision.required) for name in needed)
    if decision.outcome == "allow":
        assert needed <= set(decision.reached)
    by_rules = evaluate(policy, replace(facts, enrolled=()))
    assert set(decision.required) == set(join(policy, (*by_rules.required, *needed)))


@given(policies(), well_equipped, enrolments, actions, bodies)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_ENR_02_having_more_never_asks_for_less_and_proving_more_never_loses(
    policy: Policy, facts: Facts, more: EnrolledFactor, action: str, evidence: tuple[Evidence, ...]
) -> None:
    policy, facts = about(policy, facts, action)
    one = evaluate(policy, facts)
    richer = evaluate(policy, replace(facts, enrolled=(*facts.enrolled, more)))
    assert all(any(policy.implies(top, name) for top in richer.required) for name in one.required)
    if one.outcome == "allow":
        assert evaluate(policy, replace(facts, evidence=(*facts.evidence, *evidence))).outcome == "allow"


@given(policies(), well_equipped, actions)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_ENR_02_every_level_that_the_rules_did_not_ask_for_has_its_reason(
    policy: Policy, facts: Facts, action: str
) -> None:
    policy, facts = about(policy, facts, action)
    decision = evaluate(policy, facts)
    by_rules = set(evaluate(policy, replace(facts, enrolled=())).required)
    explained = [item for item in decision.reasons if item.rule == ENROLLED]
    assert len(explained) >= len(set(decision.required) - by_rules)
    assert all(item.contributor == "person" for item in explained)
    # Elsewhere it changes nothing.
    assert not any(item.rule == ENROLLED for item in evaluate(*about(policy, facts, "sign_in")).reasons)
