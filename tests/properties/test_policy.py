"""Laws that every policy obeys, over policies and situations made at random."""

from __future__ import annotations

import random
import re
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Final

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from idp.policy import keys
from idp.policy.body import Body, standing
from idp.policy.conditions import applies
from idp.policy.errors import Fault, PolicyLoadError
from idp.policy.evaluate import evaluate, join
from idp.policy.evidence import FACTOR_CATEGORIES, MIN_LENGTH_ALONE, Evidence
from idp.policy.index import quest
from idp.policy.load import parse_policy
from idp.policy.matching import categories, misfit, obstacle
from idp.policy.model import Claim, EvidenceSet, Facts, Policy, Requirement, StepUpOption
from idp.policy.schema import Keys
from idp.policy.upstream import UpstreamLogin, evidence_of
from tests.properties.examples import examples
from tests.properties.policies import (
    HERE,
    ISSUERS,
    LENGTHS,
    LIMITS,
    NAMES,
    NOW,
    bodies,
    evidence,
    factors,
    policies,
    situations,
    use,
    well_equipped,
)

EXAMPLES: Final = examples(30)
"""Of each law: making a policy at random takes longer than asking it."""
BUSY: Final = (HealthCheck.too_slow,)
"""On a busy machine the making is slow; that says nothing about a law."""


@given(policies(), situations(), bodies)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_more_evidence_never_turns_allow_into_less(policy: Policy, facts: Facts, more: tuple[Evidence, ...]) -> None:
    before = evaluate(policy, facts)
    after = evaluate(policy, replace(facts, evidence=(*facts.evidence, *more)))

    assert set(before.reached) <= set(after.reached)
    if before.outcome == "allow":
        assert after.outcome == "allow"


def _takes_a_password(policy: Policy) -> Policy:
    """The same policy, whose weakest level is reached by a password alone and claims revision 4."""
    need = Requirement(HERE, factors=frozenset({"password"}))
    first = replace(policy.levels[0], any_of=(EvidenceSet(HERE, (need,)),), claims=(Claim("nist-800-63b:r4", "aal1"),))
    return replace(policy, levels=(first, *policy.levels[1:]))


lone = policies().map(_takes_a_password)


def _typed(facts: Facts, length: int | None) -> Facts:
    typed = Evidence("password", "typed", "knowledge", facts.now, transaction=facts.transaction, min_length=length)
    others = [replace(item, min_length=length) if item.factor == "password" else item for item in facts.evidence]
    return replace(facts, evidence=(typed, *others))


@given(lone, st.one_of(situations(), well_equipped))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_a_longer_password_never_turns_allow_into_less_and_one_that_nobody_measured_is_a_short_one(
    policy: Policy, facts: Facts
) -> None:
    unknown, short, long = (evaluate(policy, _typed(facts, length)) for length in (None, 0, MIN_LENGTH_ALONE))
    event(f"the length decides: {short.reached != long.reached}, {short.outcome} or {long.outcome}")
    assert (unknown.outcome, unknown.reached, unknown.options) == (short.outcome, short.reached, short.options)
    assert set(short.reached) <= set(long.reached)
    if short.outcome == "allow":
        assert long.outcome == "allow"


@given(lone, st.one_of(situations(), well_equipped), st.sampled_from(LENGTHS))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_where_revision_4_is_claimed_no_level_rests_on_a_short_password_alone(
    policy: Policy, facts: Facts, length: int | None
) -> None:
    facts = _typed(replace(facts, replaces=None), length)
    for found in (standing(policy, facts).level(level.name) for level in policy.levels):
        if found is None or not any(claim.framework == "nist-800-63b:r4" for claim in found.by.included):
            continue
        (item, *others) = found.evidence
        own = (item.factor, item.issuer) == ("password", "self")
        event(f"alone: {own and not others}")
        assert others or not own or item.min_length == MIN_LENGTH_ALONE


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
@settings(max_examples=examples(200), deadline=None, suppress_health_check=BUSY)
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


@given(policies(), well_equipped, bodies, st.randoms(use_true_random=False))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
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
    return replace(facts, evidence=(*facts.evidence, *use(facts, option.missing)))


@given(policies(), st.one_of(situations(), well_equipped), st.randoms(use_true_random=False))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
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
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_a_fresh_factor_is_never_asked_for_again(policy: Policy, facts: Facts, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted({item.factor for item in facts.enrolled})))
    fresh = replace(facts, evidence=(*facts.evidence, *use(facts, (name,))))

    assert all(name not in option.missing for option in evaluate(policy, fresh).options)


@given(policies(), situations())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_a_request_only_raises(policy: Policy, facts: Facts) -> None:
    plain = replace(facts, acr_values=(), essential_acr=(), max_age=None, force_reauthentication=False)
    asked, unasked = evaluate(policy, facts), evaluate(policy, plain)

    for name in unasked.required:
        assert any(policy.implies(stronger, name) for stronger in asked.required)
    assert set(asked.reached) <= set(unasked.reached)
    if asked.outcome == "allow":
        assert unasked.outcome == "allow"


@given(policies(), situations())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
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
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
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
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_the_order_of_evidence_and_of_rules_decides_nothing(policy: Policy, facts: Facts, rng: random.Random) -> None:
    body, rules = list(facts.evidence), list(policy.rules)
    rng.shuffle(body)
    rng.shuffle(rules)
    other = replace(policy, rules=tuple(rules))

    one, two = evaluate(policy, facts), evaluate(other, replace(facts, evidence=tuple(body)))

    assert (one.outcome, one.required, one.reached, one.acr) == (two.outcome, two.required, two.reached, two.acr)
    assert {option.missing for option in one.options} == {option.missing for option in two.options}


@given(evidence())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
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
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_the_loader_answers_any_octets_with_a_policy_or_with_faults(data: bytes) -> None:
    _load(data)


@given(st.integers(0, len(SOUND)), st.integers(0, 20), st.text(alphabet="-:[]{}&*!%#'\" \n\tabc01", max_size=8))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
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


# What the wider language adds


@given(policies(), situations())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_what_is_required_is_the_join_of_every_floor_and_of_what_was_asked_for(policy: Policy, facts: Facts) -> None:
    floors = [name for rule in policy.rules if applies(rule.when, facts) for name in rule.require]
    floor, required = join(policy, floors), evaluate(policy, facts).required

    assert all(any(policy.implies(top, name) for top in required) for name in floors)
    if not (facts.acr_values or facts.essential_acr):
        assert required == floor
    more = [name for name in required if name not in floor]
    asked = {policy.by_acr[uri].name for uri in facts.essential_acr or facts.acr_values if uri in policy.by_acr}
    assert set(more) <= asked
    assert len(more) <= 1


@given(policies(), situations())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_the_same_arguments_give_the_same_decision_and_stay_as_they_were(policy: Policy, facts: Facts) -> None:
    first = evaluate(policy, facts)
    copies = deepcopy((facts.evidence, facts.attributes, facts.enrolled))

    assert evaluate(policy, facts) == first
    assert evaluate(replace(policy), replace(facts)) == first
    assert (facts.evidence, facts.attributes, facts.enrolled) == copies


@given(policies(), well_equipped)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_no_option_asks_for_a_factor_that_could_be_left_out(policy: Policy, facts: Facts) -> None:
    options = evaluate(policy, facts).options
    event(f"options: {min(len(options), 3)}")
    for option in options:
        for spared in set(option.missing):
            rest = use(facts, [name for name in option.missing if name != spared])
            assert evaluate(policy, replace(facts, evidence=(*facts.evidence, *rest))).outcome != "allow"


@given(policies(), well_equipped)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_among_options_of_one_size_phishing_resistant_ones_come_first(policy: Policy, facts: Facts) -> None:
    resistant = {item.factor for item in facts.enrolled if "phishing_resistant" in item.flags}

    def rank(option: StepUpOption) -> tuple[int, bool]:
        return len(option.missing), resistant.isdisjoint(option.missing)

    ranks = [rank(option) for option in evaluate(policy, facts).options]
    assert ranks == sorted(ranks)


@given(policies(), situations())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_every_rule_every_level_and_every_piece_of_evidence_that_does_not_count_has_its_reason(
    policy: Policy, facts: Facts
) -> None:
    decision = evaluate(policy, facts)
    applying = [rule for rule in policy.rules if applies(rule.when, facts)]
    told = [(reason.rule, reason.contributor) for reason in decision.reasons]

    for rule in applying:
        assert told.count((rule.id, policy.rule_reasons[rule.id].contributor)) == 1
        about = [reason for reason in decision.reasons if reason.rule == rule.id and "The evidence" in reason.text]
        assert len(about) == (1 if rule.evidence else 0)
    for name in decision.required:
        assert f"level:{name}" in {rule for rule, _ in told}
    refused = [item for item in facts.evidence if obstacle(item, facts, policy.by_issuer.get(item.issuer))]
    assert len([1 for reason in decision.reasons if "does not count" in reason.text]) == len(refused)
    known = {"policy", "client", "group", "attribute", "credential", "network", "time", "request", "evidence", "person"}
    for reason in decision.reasons:
        assert set(reason.contributor.split("+")) <= known | {"upstream"}
        assert (reason.file, reason.line) == (HERE.file, HERE.line)


@given(policies(), situations())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_all_that_is_judged_at_once_is_judged_as_one_by_one(policy: Policy, facts: Facts) -> None:
    body = Body(policy, facts, facts.evidence)
    usable = [item for item in facts.evidence if body.obstacle(item) is None]
    quests = [each for level in policy.levels for each in policy.level_quests[level.name]]
    for each in (*quests, *policy.rule_quests.values()):
        one_by_one = [any(body.misfit(each, need, item) is None for item in usable) for need in each.needed.all_of]
        assert [bool(bits & body.there) for bits in body.fits(each).bits] == one_by_one


@given(policies(), situations(), st.lists(evidence(), max_size=5))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_a_cap_holds_whatever_others_vouch_for(policy: Policy, facts: Facts, items: list[Evidence]) -> None:
    """With evidence of one issuer only, nothing beyond its cap is reached."""
    for provider in policy.upstream:
        (issuer,) = provider.issuers
        theirs = tuple(replace(item, issuer=issuer) for item in items)
        reached = evaluate(policy, replace(facts, evidence=theirs)).reached
        event(f"reached: {len(reached)}")
        assert set(reached) <= policy.implied[provider.cap]


@given(
    policies(),
    st.builds(
        UpstreamLogin,
        issuer=st.sampled_from(ISSUERS),
        subject=st.just("s"),
        auth_time=st.sampled_from((-10, 0, 30, 31, 600, 601)).map(lambda ago: NOW - timedelta(seconds=ago)),
        class_ref=st.sampled_from((None, "urn:c1", "urn:c2")),
        amr=st.sampled_from((frozenset(), frozenset({"mfa"}), frozenset({"pwd"}))),
    ),
)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_SML_25_what_is_not_mapped_is_the_least_and_what_is_too_old_nothing(
    policy: Policy, login: UpstreamLogin
) -> None:
    items = evidence_of(policy, login, NOW)
    provider = policy.by_issuer.get(login.issuer)
    if provider is None:
        assert items == ()
        return
    ago = (NOW - login.auth_time).total_seconds()
    counts = ago >= -5 and (provider.max_age is None or ago <= provider.max_age)
    assert bool(items) == counts
    mapped = any(
        (not each.classes or login.class_ref in each.classes) and each.amr <= login.amr for each in provider.mappings
    )
    if counts and not mapped:
        assert [(item.factor, item.category, item.flags) for item in items] == [("upstream", "knowledge", frozenset())]
    assert {(item.issuer, item.at) for item in items} <= {(login.issuer, login.auth_time)}


FULL: Final = """\
policy: 1
name: full
frameworks: FRAMEWORKS
implies: EDGES
factors: FACTORS
upstream: [{issuer: ISSUER, cap: CAP, max_age: 1m, mappings: [{when: MAPPING, evidence: EVIDENCE}]}]
levels:
  - {name: low, claims: CLAIMS, acr: ACR, saml: SAML, notified: NOTIFIED, statement: x, any_of: [{all_of: ALL}]}
rules:
  - {id: a, action: ACTION, when: {attribute: ATTRIBUTE, network: NETWORK, time: TIME}, require: REQUIRE}
"""
PLACES: Final = tuple(re.findall(r"\b[A-Z]{2,}\b", FULL))
COMPLETE: Final = {
    "policy": "1",
    "name": "x",
    "levels": "[{name: low, any_of: [{all_of: [{factor: totp}]}]}]",
    "rules": "[{id: a, action: sign_in, require: low}]",
}
ALL_KEYS: Final = [value for value in (*vars(keys).values(), *keys.LIMIT_KEYS.values()) if isinstance(value, Keys)]

scalars = st.one_of(
    st.sampled_from(
        (
            "1",
            "low",
            "sign_in",
            "password",
            "possession",
            "mon",
            '"08:00"',
            "Europe/Berlin",
            "192.0.2.0/24",
            "true",
            "5m",
        )
    ),
    st.text(alphabet="ab01:/.*-\u00e9 ", max_size=6).map(lambda text: f'"{text}"'),
)
every_key: Final = sorted({key for known in ALL_KEYS for key in known.usable} | {"password", "sms_otp", "a:1"})
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(every_key), inner, max_size=4).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"
        ),
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(keys.FILE_KEYS.usable), trees, max_size=6), st.booleans())
@settings(max_examples=2 * EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_the_loader_answers_any_tree_of_the_languages_own_words(top: dict[str, str], complete: bool) -> None:
    if complete:
        top = {**COMPLETE, **top}
    _load("".join(f"{key}: {value}\n" for key, value in top.items()).encode())


@given(st.sampled_from(PLACES), trees)
@settings(max_examples=2 * EXAMPLES, deadline=None, suppress_health_check=BUSY)
def test_the_loader_answers_a_sound_file_with_any_tree_in_one_place(place: str, tree: str) -> None:
    _load(FULL.replace(place, tree).encode())
