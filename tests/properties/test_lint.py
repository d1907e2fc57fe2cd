"""The linter never raises, and what it believes of requirements is what the evaluation does with evidence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from hypothesis import event, given, settings
from hypothesis import strategies as st

from idp.policy.body import standing
from idp.policy.errors import PolicyLoadError
from idp.policy.evidence import CATEGORIES, FACTORS, FLAGS, SELF, Evidence
from idp.policy.index import Quest
from idp.policy.keys import ACTIONS, FRAMEWORKS
from idp.policy.lint import BY_ID, Deployment, findings_of, lint
from idp.policy.lint.assignment import assignable
from idp.policy.lint.offers import OWN, Offer, anything, can_be_met, mapped, of
from idp.policy.lint.render import as_json, as_sarif, as_text
from idp.policy.lint.subject import Subject
from idp.policy.load import parse_policy
from idp.policy.matching import categories
from idp.policy.model import (
    DAYS,
    PROOFING,
    Claim,
    Condition,
    CredentialCondition,
    Edge,
    EvidenceSet,
    FactorLimits,
    Facts,
    Level,
    Policy,
    Requirement,
    Rule,
    TimeCondition,
    Upstream,
    UpstreamEvidence,
    UpstreamMapping,
    Where,
)
from tests.properties.examples import examples

NOW: Final = datetime(2026, 3, 2, 10, 0, 0, tzinfo=UTC)
HERE: Final = Where("random.yaml", 1, 1)
ELSEWHERE: Final = "https://idp.example.org"
NAMES: Final = ("l0", "l1", "l2")
CLAIMS: Final = tuple(Claim(name, level) for name, levels in FRAMEWORKS.items() for level in levels)
URIS: Final = ("urn:a", "https://refeds.org/profile/mfa", "http://bsi.bund.de/eID/LoA/hoch")


def some(values: tuple[str, ...] | frozenset[str], most: int = 2) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(sorted(values)), max_size=most) if values else st.just(frozenset())


@st.composite
def requirements(draw: st.DrawFn) -> Requirement:
    wanted = draw(some(FLAGS, 1))
    factors = draw(some(FACTORS, 3))
    return Requirement(
        where=HERE,
        factors=factors,
        categories=draw(st.frozensets(st.sampled_from(CATEGORIES), min_size=0 if factors else 1, max_size=2)),
        flags=wanted,
        without=draw(some(FLAGS, 1)) - wanted,
        issuers=draw(st.sampled_from((frozenset({SELF}), frozenset({SELF, ELSEWHERE}), frozenset({ELSEWHERE})))),
        max_age=draw(st.sampled_from((None, 60))),
        per_transaction=draw(st.booleans()),
        channels=draw(st.sampled_from((frozenset(), frozenset(), frozenset({"sms"})))),
        attestations=draw(st.sampled_from((frozenset(), frozenset(), frozenset({"acme"})))),
    )


sets = st.builds(
    EvidenceSet,
    where=st.just(HERE),
    all_of=st.lists(requirements(), min_size=1, max_size=3).map(tuple),
    different_categories=st.sampled_from((1, 1, 2, 3)),
)

mappings = st.builds(
    UpstreamMapping,
    where=st.just(HERE),
    evidence=st.lists(
        st.builds(
            UpstreamEvidence,
            where=st.just(HERE),
            category=st.sampled_from(CATEGORIES),
            factor=st.sampled_from(("upstream", "password", "totp", "email_otp")),
            flags=some(FLAGS - {"transaction_bound"}),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    acr=some(("urn:x",)),
)

providers = st.builds(
    Upstream,
    where=st.just(HERE),
    issuers=st.just(frozenset({ELSEWHERE})),
    mappings=st.lists(mappings, max_size=2).map(tuple),
    cap=st.sampled_from(NAMES),
    max_age=st.sampled_from((None, 600)),
)

conditions = st.builds(
    Condition,
    clients=some(("c1", "c2")),
    groups=some(("g1", "g2")),
    credential=st.one_of(
        st.none(),
        st.builds(
            CredentialCondition, ids=some(("k1", "k2")), scal=some(("1", "2")), qualifiers=some(("eu_eidas_qes",))
        ),
    ),
    attributes=st.sampled_from(({}, {"department": frozenset({"legal"})})),
    networks=st.sampled_from(((), (ip_network("192.0.2.0/24"),), (ip_network("2001:db8::/32"),))),
    time=st.sampled_from((None, TimeCondition(), TimeCondition(days=frozenset(DAYS[:5])))),
)

limits = st.builds(
    FactorLimits,
    where=st.just(HERE),
    factor=st.just("sms_otp"),
    min_length=st.sampled_from((None, 7, 14, 15)),
    lifetime=st.sampled_from((None, 600, 601)),
    step=st.sampled_from((None, 121)),
    max_failures=st.sampled_from((None, 100, 101)),
    reset_on_resend=st.booleans(),
    restricted_notice=st.booleans(),
    transfer=st.sampled_from((None, "none", "qr")),
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Levels may imply earlier ones only, as the loader sees to."""
    levels = tuple(
        Level(
            where=HERE,
            name=name,
            any_of=draw(st.lists(sets, min_size=1, max_size=3).map(tuple)),
            claims=draw(
                st.lists(st.sampled_from(CLAIMS), max_size=3, unique_by=lambda item: item.framework).map(tuple)
            ),
            acr=draw(some(URIS, 1).map(tuple)) if index == 0 else (),
            implies=draw(some(NAMES[:index]).map(tuple)) if index else (),
            proofing=draw(st.sampled_from(PROOFING)),
            freshness=draw(st.sampled_from((None, 60))),
            session_limit=draw(st.sampled_from((None, 43200, 43201))),
            idle_limit=draw(st.sampled_from((None, 900, 3601))),
        )
        for index, name in enumerate(NAMES)
    )
    rules = tuple(
        Rule(
            where=HERE,
            id=f"r{index}",
            actions=draw(some((*ACTIONS, "admin.*", "signature.*")).map(lambda found: tuple(found) or ("sign_in",))),
            require=(draw(st.sampled_from(NAMES)),),
            when=draw(conditions),
            evidence=draw(st.lists(requirements(), max_size=1).map(tuple)),
        )
        for index in range(draw(st.integers(1, 4)))
    )
    edges = draw(st.lists(st.builds(Edge, st.just(HERE), st.sampled_from(CLAIMS), st.sampled_from(CLAIMS)), max_size=2))
    return Policy(
        name="random",
        file=HERE.file,
        sha256="0" * 64,
        rules_at=HERE,
        levels=levels,
        rules=rules,
        edges=tuple(edges),
        upstream=draw(st.lists(providers, max_size=1).map(tuple)),
        factors={name: draw(limits) for name in draw(some(("password", "sms_otp", "totp", "mobile_id"), 4))},
        frameworks=FRAMEWORKS,
    )


deployments = st.builds(
    Deployment,
    enabled=st.one_of(st.none(), some(FACTORS, 4)),
    people=st.lists(some(FACTORS, 4), max_size=3).map(tuple),
    clients=st.dictionaries(st.sampled_from(("c1", "c3")), some(URIS)),
)


@given(policies(), deployments)
@settings(max_examples=examples(30), deadline=None)
def test_linting_never_raises_and_each_finding_can_be_shown(policy: Policy, deployment: Deployment) -> None:
    findings = lint(policy, deployment)
    for finding in findings:
        event(finding.rule)
        assert finding.rule in BY_ID
        assert finding.message
        assert finding.clause
        assert finding.advice
    assert len(as_text(findings).splitlines()) == 3 * len(findings)
    assert as_json(findings)
    assert as_sarif(findings)


FILES: Final = tuple(
    path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parents[1] / "vectors/policy_lint").glob("*.yaml"))
)


@given(st.sampled_from(FILES), st.integers(0, 800), st.integers(0, 12), st.text("-:[]{}&*' \nabc019m", max_size=6))
@settings(max_examples=examples(100), deadline=None)
def test_linting_survives_a_damaged_file(text: str, start: int, length: int, insert: str) -> None:
    damaged = text[:start] + insert + text[start + length :]
    try:
        findings = lint(parse_policy(damaged.encode(), "damaged.yaml"))
        event("loaded")
    except PolicyLoadError as error:
        findings = findings_of(error)
        assert findings
    assert all(item.where.line >= 1 and item.where.column >= 1 for item in findings)


# What the linter believes of an alternative, against what the evaluation does with evidence.

FACTS: Final = Facts("sign_in", (), NOW, transaction="t1", proofing="high")


@st.composite
def simple(draw: st.DrawFn) -> tuple[Policy, Quest]:
    """A policy of one level with one alternative."""
    level = Level(HERE, "l0", (draw(sets),))
    upstream = (replace(draw(providers), cap="l0"),) if draw(st.booleans()) else ()
    policy = Policy("simple", HERE.file, "0" * 64, HERE, (level,), (), upstream=upstream, frameworks=FRAMEWORKS)
    return policy, policy.level_quests["l0"][0]


def elsewhere(policy: Policy) -> tuple[Offer, ...]:
    lowest = Offer("upstream", "knowledge", ELSEWHERE)
    return (lowest, *(offer for item in policy.upstream for one in item.mappings for offer in mapped(one, ELSEWHERE)))


@st.composite
def bodies(draw: st.DrawFn, policy: Policy) -> tuple[Evidence, ...]:
    """Evidence of the sorts that there are, with any flags that it may have."""
    offers = draw(st.lists(st.sampled_from((*OWN, *elsewhere(policy))), max_size=6))
    return tuple(
        _evidence(offer, offer.always | draw(some(offer.possible, 4)), index) for index, offer in enumerate(offers)
    )


def _evidence(offer: Offer, flags: frozenset[str], index: int) -> Evidence:
    return Evidence(
        factor=offer.factor,
        authenticator_id=f"a{index}",
        category=offer.category,
        at=NOW,
        issuer=offer.issuer,
        flags=flags,
        channel=next(iter(offer.channels), None) if offer.channels is not None else "sms",
        transaction="t1",
        attestation="acme" if offer.attestable else None,
    )


@given(simple(), st.data())
@settings(max_examples=examples(60), deadline=None)
def test_no_evidence_of_one_category_meets_what_the_linter_takes_for_two(
    made: tuple[Policy, Quest], data: st.DataObject
) -> None:
    policy, alternative = made
    subject = Subject(policy, Deployment())
    there = standing(policy, replace(FACTS, evidence=data.draw(bodies(policy))))
    found = there.meets(alternative)
    event(f"met: {found is not None}")
    if found is not None:
        assert subject.can_be_met(alternative, anything)
        assert categories(found) > 1 or subject.one_category_is_enough(alternative)
        for name in CATEGORIES:
            if subject.needs(alternative, of({name})):
                assert name in {item.category for item in found}


@given(simple())
@settings(max_examples=examples(60), deadline=None)
def test_what_the_linter_takes_for_possible_is(made: tuple[Policy, Quest]) -> None:
    """With everything at hand, the evaluation finds a selection if and only if the linter says that there is one."""
    policy, alternative = made
    columns = Subject(policy, Deployment()).columns(alternative)
    everything = dict.fromkeys(
        _evidence(item.offer, flags, 0)
        for need, column in zip(alternative.needed.all_of, columns, strict=True)
        for item in column
        for least in [item.offer.always | need.flags]
        for flags in ({least, least | {"user_verified"}} if item.maybe_verified else {least})
    )
    possible = can_be_met(columns, alternative.needed.different_categories, anything)
    event(f"possible: {possible}")
    there = standing(policy, replace(FACTS, evidence=tuple(everything)))
    assert (there.meets(alternative) is not None) == possible


@given(simple())
@settings(max_examples=examples(60), deadline=None)
def test_what_the_linter_takes_for_one_category_can_be_met_so(made: tuple[Policy, Quest]) -> None:
    policy, alternative = made
    subject = Subject(policy, Deployment())
    bodies_of_one_category = (
        tuple(
            _evidence(item.offer, item.offer.always | need.flags, 0)
            for need, column in zip(alternative.needed.all_of, subject.columns(alternative), strict=True)
            for item in column
            if item.offer.category == name and not (item.surely_verified and name == "possession")
        )
        for name in CATEGORIES
    )
    met = any(
        standing(policy, replace(FACTS, evidence=body)).meets(alternative) is not None
        for body in bodies_of_one_category
    )
    event(f"one category: {met}")
    assert met == subject.one_category_is_enough(alternative)


@given(st.lists(st.sets(st.integers(0, 5), max_size=4), max_size=6))
def test_an_assignment_is_found_whenever_there_is_one(options: list[set[int]]) -> None:
    def search(row: int, used: frozenset[int]) -> bool:
        return row == len(options) or any(search(row + 1, used | {node}) for node in options[row] - used)

    assert assignable(options) == search(0, frozenset())
