"""Laws of SAML's comparisons, over every order that four levels can have and every request for them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations, product
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.policy.comparison import COMPARISONS, Matched, NoAuthnContext, RequestedContext, Strength, match
from idp.policy.evaluate import join
from idp.policy.model import PROOFING, Claim, Edge, EvidenceSet, Level, Policy, Requirement, Where
from tests.properties.examples import examples

HERE: Final = Where("random.yaml", 1, 1)
NAMES: Final = ("a", "b", "c", "d")
CHANCE: Final = 0.4
PAIRS: Final = tuple(combinations(NAMES, 2))
FRAMEWORKS: Final = {"f": ("f1", "f2", "f3"), "g": ("g1", "g2")}
CLAIMS: Final = tuple(Claim(framework, level) for framework, levels in FRAMEWORKS.items() for level in levels)
ANY: Final = (EvidenceSet(HERE, (Requirement(HERE, frozenset({"password"})),)),)


def ref(name: str) -> str:
    return f"urn:example:{name}"


def level(name: str, implies: tuple[str, ...] = (), **values: object) -> Level:
    return Level(HERE, name, ANY, implies=implies, saml=(ref(name),), **values)  # type: ignore[arg-type] # named by the tests


def policy_of(levels: tuple[Level, ...], edges: tuple[Edge, ...] = ()) -> Policy:
    return Policy("random", "random.yaml", "", HERE, levels, (), edges, frameworks=FRAMEWORKS)


def every_order() -> Iterator[Policy]:
    """All that ``implies`` can say of four levels, but for their names: a later level may imply any earlier one."""
    for chosen in product((False, True), repeat=len(PAIRS)):
        implied = {name: tuple(low for (low, high), on in zip(PAIRS, chosen, strict=True) if on and high == name)
                   for name in NAMES}  # fmt: skip
        yield policy_of(tuple(level(name, implied[name]) for name in NAMES))


REQUESTS: Final = tuple(
    tuple(ref(name) for name in chosen) for size in range(1, 4) for chosen in combinations(NAMES, size)
)


def candidates(policy: Policy, comparison: str, refs: tuple[str, ...]) -> list[str]:
    found = match(policy, RequestedContext(refs, comparison))  # type: ignore[arg-type] # one of the four
    assert all(item.class_ref == ref(item.level) for item in found.candidates)
    names = [item.level for item in found.candidates]
    assert len(names) == len(set(names))
    return names


def test_every_comparison_is_what_saml_says_over_every_order_and_request() -> None:
    for policy in every_order():
        for refs in REQUESTS:
            asked = {uri.rpartition(":")[2] for uri in refs}
            said = {
                "exact": asked,
                "minimum": {x for x in NAMES if any(policy.implies(x, r) for r in asked)},
                "better": {x for x in NAMES if any(policy.implies(x, r) and x != r for r in asked)},
                "maximum": {x for x in NAMES if any(policy.implies(r, x) for r in asked)},
            }
            for comparison in COMPARISONS:
                assert set(candidates(policy, comparison, refs)) == said[comparison], (comparison, refs)


def random_policy(seed: int) -> Policy:
    """Levels of several frameworks, edges between these, whatever they say."""
    dice = random.Random(seed)
    levels = []
    for index, name in enumerate(NAMES):
        implied = tuple(low for low in NAMES[:index] if dice.random() < CHANCE)
        claims = tuple(dice.sample(CLAIMS, dice.randrange(3)))
        levels.append(level(name, implied, claims=claims, proofing=dice.choice(PROOFING)))
    edges = (dice.sample(CLAIMS, 2) for _ in range(dice.randrange(4)))
    return policy_of(tuple(levels), tuple(Edge(HERE, high, low) for high, low in edges))


policies: Final = st.integers(0, 2**32).map(random_policy)
requests = st.lists(st.sampled_from([ref(name) for name in NAMES]), min_size=1, max_size=4).map(tuple)


@settings(max_examples=examples(60))
@given(policies)
def test_strength_is_an_order_that_keeps_what_the_levels_imply(policy: Policy) -> None:
    order = Strength(policy)
    for x in NAMES:
        assert order.at_least(x, x)
        assert not order.stronger(x, x)
        for y in NAMES:
            if policy.implies(x, y):
                assert order.at_least(x, y)
                assert x == y or order.stronger(x, y), "no edge makes a level as strong as one that implies it"
            for z in NAMES:
                assert not (order.at_least(x, y) and order.at_least(y, z)) or order.at_least(x, z)


@settings(max_examples=examples(60))
@given(policies)
def test_without_claims_there_is_no_order_but_the_levels_own(policy: Policy) -> None:
    bare = policy_of(tuple(level(item.name, item.implies) for item in policy.levels), policy.edges)
    order = Strength(bare)
    for x, y in product(NAMES, repeat=2):
        assert order.at_least(x, y) == bare.implies(x, y)


@settings(max_examples=examples(60))
@given(policies, st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_an_edge_alone_orders_only_where_every_claim_and_the_proofing_are_met(policy: Policy, x: str, y: str) -> None:
    levels = {item.name: item for item in policy.levels}
    pair = policy_of((level_alone(levels[x]), level_alone(levels[y])) if x != y else (level_alone(levels[x]),),
                     policy.edges)  # fmt: skip
    met = bool(levels[y].claims) and set(levels[y].claims) <= pair.claims_of(x)
    proofed = PROOFING.index(levels[x].proofing) >= PROOFING.index(levels[y].proofing)
    assert Strength(pair).at_least(x, y) == (x == y or (met and proofed))


def level_alone(item: Level) -> Level:
    return level(item.name, claims=item.claims, proofing=item.proofing)


@settings(max_examples=examples(60))
@given(policies, requests)
def test_exact_is_within_minimum_and_maximum_and_better_is_minimum_without_equals(
    policy: Policy, refs: tuple[str, ...]
) -> None:
    exact, minimum, maximum, better = (set(candidates(policy, name, refs)) for name in COMPARISONS)
    assert exact == {uri.rpartition(":")[2] for uri in refs}
    assert exact <= minimum
    assert exact <= maximum
    assert better <= minimum
    for uri in refs:
        (one,) = {uri}
        order, name = Strength(policy), one.rpartition(":")[2]
        equals = {x for x in NAMES if order.at_least(x, name) and order.at_least(name, x)}
        assert set(candidates(policy, "better", (one,))) == set(candidates(policy, "minimum", (one,))) - equals
        assert set(candidates(policy, "minimum", (one,))) & set(candidates(policy, "maximum", (one,))) == equals


@settings(max_examples=examples(60))
@given(policies, requests, st.sampled_from(COMPARISONS))
def test_a_request_is_the_union_of_its_references_and_unknown_ones_add_nothing(
    policy: Policy, refs: tuple[str, ...], comparison: str
) -> None:
    whole = set(candidates(policy, comparison, refs))
    assert whole == {name for uri in refs for name in candidates(policy, comparison, (uri,))}
    for place in range(len(refs) + 1):
        padded = (*refs[:place], "urn:example:nowhere", *refs[place:])
        assert candidates(policy, comparison, padded) == candidates(policy, comparison, refs)


@settings(max_examples=examples(60))
@given(policies, st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_asking_for_more_never_admits_more_from_below(policy: Policy, x: str, y: str) -> None:
    if not Strength(policy).at_least(x, y):
        return
    for comparison in ("minimum", "better"):
        assert set(candidates(policy, comparison, (ref(x),))) <= set(candidates(policy, comparison, (ref(y),)))
    assert set(candidates(policy, "maximum", (ref(y),))) <= set(candidates(policy, "maximum", (ref(x),)))


@settings(max_examples=examples(60))
@given(policies, requests, st.sampled_from(COMPARISONS), st.frozensets(st.sampled_from(NAMES)))
def test_the_choice_is_a_reachable_candidate_and_none_is_passed_over(
    policy: Policy, refs: tuple[str, ...], comparison: str, reachable: frozenset[str]
) -> None:
    order = Strength(policy)
    found = match(policy, RequestedContext(refs, comparison), reachable=reachable.__contains__)  # type: ignore[arg-type] # one of the four
    able = [item.level for item in found.candidates if item.level in reachable]
    if isinstance(found, NoAuthnContext):
        assert not able
        assert found.cause == ("unreachable" if found.candidates else "nothing_compares")
        return
    assert isinstance(found, Matched)
    chosen = found.chosen.level
    assert chosen == able[0]
    if comparison == "maximum":
        assert not any(order.stronger(other, chosen) for other in able), "as strong as possible"
    if comparison in {"minimum", "better"}:
        first = next(uri for uri in refs if any(x in able for x in candidates(policy, comparison, (uri,))))
        rivals = set(candidates(policy, comparison, (first,))) & set(able)
        assert chosen in rivals, "the first reference that can be answered at all"
        assert not any(order.stronger(chosen, other) for other in rivals), "no more than is asked for"


@settings(max_examples=examples(60))
@given(policies, requests, st.sampled_from(COMPARISONS), st.frozensets(st.sampled_from(NAMES), min_size=1))
def test_OAU_12_whatever_is_asked_for_the_floor_stays(
    policy: Policy, refs: tuple[str, ...], comparison: str, floor: frozenset[str]
) -> None:
    found = match(policy, RequestedContext(refs, comparison))  # type: ignore[arg-type] # one of the four
    if isinstance(found, Matched):
        demanded = join(policy, (*floor, found.chosen.level))
        assert all(any(policy.implies(name, low) for name in demanded) for low in floor)


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_the_same_request_is_always_answered_alike(comparison: str) -> None:
    for policy in list(every_order())[::7]:
        for refs in REQUESTS:
            assert candidates(policy, comparison, refs) == candidates(policy, comparison, (*refs, *refs))
