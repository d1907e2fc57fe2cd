"""Laws that every policy obeys, over policies and situations made at random."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Final

from hypothesis import event, given, settings
from hypothesis import strategies as st

from idp.policy.errors import Fault, PolicyLoadError
from idp.policy.evaluate import evaluate, join
from idp.policy.evidence import CATEGORIES, FACTOR_CATEGORIES, FLAGS, Evidence
from idp.policy.index import quest
from idp.policy.load import parse_policy
from idp.policy.matching import categories, misfit, standing
from idp.policy.model import (
    PROOFING,
    Condition,
    EnrolledFactor,
    EvidenceSet,
    Facts,
    Level,
    Policy,
    Requirement,
    Rule,
    Where,
)

NOW: Final = datetime(2026, 3, 2, 10, 0, 0, tzinfo=UTC)
HERE: Final = Where("random.yaml", 1, 1)
NAMES: Final = ("l0", "l1", "l2", "l3")
FACTORS: Final = ("password", "sms_otp", "email_otp", "totp", "passkey")
TRANSACTIONS: Final = (None, "t1", "t2")
LIMITS: Final = (None, 30, 600)

flags = st.frozensets(st.sampled_from(sorted(FLAGS)), max_size=2)
factors = st.sampled_from(FACTORS)


@st.composite
def requirements(draw: st.DrawFn) -> Requirement:
    wanted = draw(flags)
    named = draw(st.frozensets(factors, max_size=3))
    return Requirement(
        where=HERE,
        factors=named,
        categories=draw(st.frozensets(st.sampled_from(CATEGORIES[:2]), min_size=0 if named else 1, max_size=2)),
        flags=wanted if draw(st.integers(0, 3)) == 0 else frozenset(),
        without=draw(flags) - wanted if draw(st.integers(0, 3)) == 0 else frozenset(),
        max_age=draw(st.sampled_from(LIMITS)),
        per_transaction=draw(st.integers(0, 3)) == 0,
    )


sets = st.builds(
    EvidenceSet,
    where=st.just(HERE),
    all_of=st.lists(requirements(), min_size=1, max_size=3).map(tuple),
    different_categories=st.sampled_from((1, 1, 2)),
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Levels may imply earlier ones only, so there is no cycle."""
    levels = tuple(
        Level(
            where=HERE,
            name=name,
            any_of=draw(st.lists(sets, min_size=1, max_size=2).map(tuple)),
            acr=(f"urn:{name}",),
            implies=draw(st.lists(st.sampled_from(NAMES[:index]), max_size=2, unique=True).map(tuple)) if index else (),
            freshness=draw(st.sampled_from(LIMITS)),
        )
        for index, name in enumerate(NAMES)
    )
    rules = tuple(
        Rule(
            where=HERE,
            id=f"r{index}",
            actions=("sign_in",),
            require=draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True).map(tuple)),
            when=Condition(groups=draw(st.sampled_from((frozenset(), frozenset({"g"}))))),
            evidence=draw(st.lists(requirements(), max_size=1).map(tuple)),
        )
        for index in range(draw(st.integers(1, 3)))
    )
    return Policy("random", "random.yaml", "0" * 64, HERE, levels, rules)


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    factor = draw(factors)
    return Evidence(
        factor=factor,
        authenticator_id=draw(st.sampled_from(("a", "b"))),
        category=FACTOR_CATEGORIES[factor],
        at=NOW - timedelta(seconds=draw(st.sampled_from((-10, 0, 29, 30, 31, 600, 601)))),
        flags=draw(flags),
        transaction=draw(st.sampled_from(TRANSACTIONS)),
    )


bodies = st.lists(evidence(), max_size=4).map(tuple)
acrs = st.lists(st.sampled_from((*(f"urn:{name}" for name in NAMES), "urn:none")), max_size=3).map(tuple)


@st.composite
def situations(draw: st.DrawFn) -> Facts:
    enrolled = draw(st.lists(st.tuples(factors, flags), max_size=4))
    return Facts(
        action="sign_in",
        evidence=draw(bodies),
        now=NOW,
        groups=draw(st.sampled_from((frozenset(), frozenset({"g"})))),
        proofing=draw(st.sampled_from(PROOFING)),
        transaction=draw(st.sampled_from(TRANSACTIONS)),
        acr_values=draw(acrs),
        essential_acr=draw(st.one_of(st.just(()), acrs)),
        max_age=draw(st.sampled_from((None, 0, 30, 600))),
        force_reauthentication=draw(st.integers(0, 4)) == 0,
        enrolled=tuple(EnrolledFactor(name, FACTOR_CATEGORIES[name], chosen) for name, chosen in enrolled),
    )


@given(policies(), situations(), bodies)
@settings(max_examples=150, deadline=None)
def test_more_evidence_never_turns_allow_into_less(policy: Policy, facts: Facts, more: tuple[Evidence, ...]) -> None:
    before = evaluate(policy, facts)
    after = evaluate(policy, replace(facts, evidence=(*facts.evidence, *more)))

    assert set(before.reached) <= set(after.reached)
    if before.outcome == "allow":
        assert after.outcome == "allow"


loose_needs = st.builds(
    Requirement,
    where=st.just(HERE),
    factors=st.frozensets(factors, min_size=1, max_size=4),
    max_age=st.sampled_from(LIMITS),
)
loose_sets = st.builds(
    EvidenceSet,
    where=st.just(HERE),
    all_of=st.lists(loose_needs, min_size=2, max_size=3).map(tuple),
    different_categories=st.sampled_from((1, 2)),
)
recent = st.builds(
    lambda factor, ago: Evidence(factor, "a", FACTOR_CATEGORIES[factor], NOW - timedelta(seconds=ago)),
    factors,
    st.sampled_from((0, 10, 20, 40)),
)


@given(loose_sets, st.lists(recent, min_size=2, max_size=5))
@settings(max_examples=400, deadline=None)
def test_a_selection_is_found_exactly_if_there_is_one(needed: EvidenceSet, items: list[Evidence]) -> None:
    """Against trying all selections; requirements overlap, so the first that fits is often the wrong one."""
    policy = Policy("none", "none.yaml", "0" * 64, HERE, (), ())
    facts = Facts("sign_in", tuple(items), NOW)
    possible = any(
        len({item.factor for item in chosen}) == len(chosen)
        and categories(chosen) >= needed.different_categories
        and all(misfit(need, item, facts, None) is None for need, item in zip(needed.all_of, chosen, strict=True))
        for chosen in permutations(items, len(needed.all_of))
    )

    found = standing(policy, facts).meets(quest(needed))

    event(f"possible: {possible}")
    assert (found is not None) == possible


well_equipped = st.builds(
    Facts,
    action=st.just("sign_in"),
    evidence=st.lists(evidence(), max_size=2).map(tuple),
    now=st.just(NOW),
    groups=st.just(frozenset({"g"})),
    transaction=st.just("t1"),
    acr_values=acrs,
    enrolled=st.lists(
        st.builds(lambda name, chosen: EnrolledFactor(name, FACTOR_CATEGORIES[name], chosen), factors, flags),
        min_size=3,
        max_size=5,
        unique_by=lambda item: item.factor,
    ).map(tuple),
)
"""Situations in which a step-up is likely to be possible."""


@given(policies(), well_equipped, bodies, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_more_evidence_never_turns_allow_into_less_when_there_is_just_enough(
    policy: Policy, facts: Facts, more: tuple[Evidence, ...], rng: random.Random
) -> None:
    """After a step-up that was followed, so that the interesting case is not left to luck."""
    followed = _follow(policy, facts, rng)
    event("step-up followed" if followed is not None else "no step-up possible")
    if followed is not None:
        assert evaluate(policy, replace(followed, evidence=(*followed.evidence, *more))).outcome == "allow"


def _follow(policy: Policy, facts: Facts, rng: random.Random) -> Facts | None:
    decision = evaluate(policy, facts)
    if decision.outcome != "step_up":
        return None
    option = rng.choice(decision.options)
    return replace(facts, evidence=(*facts.evidence, *_use(facts, option.missing)))


def _use(facts: Facts, names: tuple[str, ...]) -> tuple[Evidence, ...]:
    """Every enrolled authenticator of these kinds, used now."""
    bound = frozenset({"transaction_bound"})
    return tuple(
        Evidence(
            factor=item.factor,
            authenticator_id="used",
            category=item.category,
            at=facts.now,
            flags=item.flags if facts.transaction else item.flags - bound,
            transaction=facts.transaction,
        )
        for item in facts.enrolled
        if item.factor in names
    )


@given(policies(), st.one_of(situations(), well_equipped), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_each_option_leads_to_allow_and_none_is_empty(policy: Policy, facts: Facts, rng: random.Random) -> None:
    decision = evaluate(policy, facts)
    if decision.outcome != "step_up":
        assert decision.options == ()
        return
    assert decision.options
    sizes = [len(option.missing) for option in decision.options]
    assert sizes == sorted(sizes)
    assert min(sizes) > 0
    kinds = {item.factor for item in facts.enrolled}
    assert all(set(option.missing) <= kinds for option in decision.options)
    followed = _follow(policy, facts, rng)
    assert followed is not None
    assert evaluate(policy, followed).outcome == "allow"


@given(policies(), well_equipped, st.data())
@settings(max_examples=150, deadline=None)
def test_a_fresh_factor_is_never_asked_for_again(policy: Policy, facts: Facts, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted({item.factor for item in facts.enrolled})))
    fresh = replace(facts, evidence=(*facts.evidence, *_use(facts, (name,))))

    assert all(name not in option.missing for option in evaluate(policy, fresh).options)


@given(policies(), situations())
@settings(max_examples=150, deadline=None)
def test_a_request_only_raises(policy: Policy, facts: Facts) -> None:
    plain = replace(facts, acr_values=(), essential_acr=(), max_age=None, force_reauthentication=False)
    asked, unasked = evaluate(policy, facts), evaluate(policy, plain)

    for name in unasked.required:
        assert any(policy.implies(stronger, name) for stronger in asked.required)
    assert set(asked.reached) <= set(unasked.reached)
    if asked.outcome == "allow":
        assert unasked.outcome == "allow"


@given(policies(), situations())
@settings(max_examples=150, deadline=None)
def test_an_allowed_action_has_reached_what_it_requires_and_names_only_what_it_reached(
    policy: Policy, facts: Facts
) -> None:
    decision = evaluate(policy, facts)

    assert decision.reasons
    assert set(decision.relied_on) <= set(facts.evidence)
    if decision.outcome == "allow":
        assert set(decision.required) <= set(decision.reached)
        assert decision.relied_on
        assert decision.auth_time == min(item.at for item in decision.relied_on)
        assert not facts.essential_acr or decision.acr in facts.essential_acr
    if decision.acr != "0":
        assert policy.by_acr[decision.acr].name in decision.reached
    assert (decision.refusal is not None) == (decision.outcome == "deny")


@given(policies(), st.lists(st.sampled_from(NAMES), max_size=6), st.randoms(use_true_random=False))
def test_the_join_does_not_depend_on_order_grouping_or_repetition(
    policy: Policy, names: list[str], rng: random.Random
) -> None:
    shuffled = names * 2
    rng.shuffle(shuffled)
    half = len(names) // 2

    whole = join(policy, names)
    assert join(policy, shuffled) == whole
    assert join(policy, (*join(policy, names[:half]), *join(policy, names[half:]))) == whole
    assert all(any(policy.implies(top, name) for top in whole) for name in names)


@given(policies(), situations(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_evidence_and_of_rules_decides_nothing(policy: Policy, facts: Facts, rng: random.Random) -> None:
    body, rules = list(facts.evidence), list(policy.rules)
    rng.shuffle(body)
    rng.shuffle(rules)
    other = Policy(policy.name, policy.file, policy.sha256, policy.rules_at, policy.levels, tuple(rules))

    one, two = evaluate(policy, facts), evaluate(other, replace(facts, evidence=tuple(body)))

    assert (one.outcome, one.required, one.reached, one.acr) == (two.outcome, two.required, two.reached, two.acr)
    assert {option.missing for option in one.options} == {option.missing for option in two.options}


@given(evidence())
def test_evidence_survives_json(item: Evidence) -> None:
    assert Evidence.from_json(item.to_json()) == item


SOUND: Final = b"""\
policy: 1
name: small
levels:
  - {name: low, acr: urn:a, any_of: [{all_of: [{factor: password}]}]}
rules:
  - {id: sign-in, action: sign_in, require: low}
"""


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))))
@settings(max_examples=150, deadline=None)
def test_the_loader_answers_any_octets_with_a_policy_or_with_faults(data: bytes) -> None:
    _load(data)


@given(st.integers(0, len(SOUND)), st.integers(0, 20), st.text(alphabet="-:[]{}&*!%#'\" \n\tabc01", max_size=8))
@settings(max_examples=150, deadline=None)
def test_the_loader_survives_a_damaged_policy(start: int, length: int, insert: str) -> None:
    _load(SOUND[:start] + insert.encode() + SOUND[start + length :])


def _load(data: bytes) -> None:
    faults: tuple[Fault, ...] = ()
    try:
        parse_policy(data, "random.yaml")
    except PolicyLoadError as error:
        faults = error.faults
        event("faults")
    assert all(fault.line >= 1 and fault.column >= 1 and fault.message for fault in faults)
