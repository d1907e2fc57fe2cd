"""Policies and situations made at random."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, time, timedelta
from ipaddress import ip_network
from typing import Any, Final

from hypothesis import strategies as st

from idp.policy.evidence import (
    CATEGORIES,
    FACTOR_CATEGORIES,
    FLAGS,
    MIN_LENGTH_ALONE,
    PASSWORD,
    Evidence,
    assumed_length,
)
from idp.policy.keys import UPSTREAM_FLAGS
from idp.policy.model import (
    PROOFING,
    Claim,
    Condition,
    EnrolledFactor,
    EvidenceSet,
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

NOW: Final = datetime(2026, 3, 2, 10, 0, 0, tzinfo=UTC)
HERE: Final = Where("random.yaml", 1, 1)
NAMES: Final = ("l0", "l1", "l2", "l3")
FACTORS: Final = ("password", "sms_otp", "email_otp", "totp", "passkey")
TRANSACTIONS: Final = (None, "t1", "t2")
ISSUERS: Final = ("https://a.example", "https://b.example", "https://c.example")
"""The last one is known to no policy."""
LIMITS: Final = (None, 30, 600)
LENGTHS: Final = (None, 0, MIN_LENGTH_ALONE)

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
        issuers=draw(st.sampled_from(({"self"}, {"self"}, {"self", *ISSUERS}, {ISSUERS[0]})).map(frozenset)),
        max_age=draw(st.sampled_from(LIMITS)),
        per_transaction=draw(st.integers(0, 3)) == 0,
        channels=frozenset({"sms"}) if draw(st.integers(0, 7)) == 0 else frozenset(),
        attestations=frozenset({"m1", "m2"}) if draw(st.integers(0, 7)) == 0 else frozenset(),
    )


conditions = st.one_of(
    st.just(Condition()),
    st.builds(
        Condition,
        clients=st.sampled_from((frozenset(), frozenset({"c"}))),
        groups=st.sampled_from((frozenset(), frozenset({"g"}))),
        attributes=st.sampled_from(({}, {"dept": frozenset({"x", "y"})})),
        networks=st.sampled_from(((), (ip_network("192.0.2.0/24"),), (ip_network("2001:db8::/32"),))),
        time=st.sampled_from(
            (
                None,
                TimeCondition(frozenset({"mon"})),
                TimeCondition(start=time(22), end=time(10, 30), zone="Asia/Tokyo"),
            )
        ),
    ),
)
upstream_evidence = st.builds(
    UpstreamEvidence,
    where=st.just(HERE),
    category=st.sampled_from(CATEGORIES),
    factor=st.sampled_from(("upstream", "upstream", "passkey")),
    flags=st.frozensets(st.sampled_from(sorted(UPSTREAM_FLAGS)), max_size=3),
)
mappings = st.builds(
    UpstreamMapping,
    where=st.just(HERE),
    evidence=st.lists(upstream_evidence, min_size=1, max_size=2).map(tuple),
    classes=st.sampled_from((frozenset(), frozenset({"urn:c1"}))),
    amr=st.sampled_from((frozenset(), frozenset({"mfa"}))),
)
upstreams = st.lists(
    st.builds(
        Upstream,
        where=st.just(HERE),
        issuers=st.sampled_from(ISSUERS[:2]).map(lambda name: frozenset({name})),
        mappings=st.lists(mappings, max_size=2).map(tuple),
        cap=st.sampled_from(NAMES),
        max_age=st.sampled_from(LIMITS),
    ),
    max_size=2,
    unique_by=lambda item: item.issuers,
).map(tuple)


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
            claims=draw(st.sampled_from(((), (Claim("nist-800-63b:r4", "aal1"),)))),
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
            when=Condition() if index == 0 else draw(conditions),
            evidence=draw(st.lists(requirements(), max_size=1).map(tuple)),
        )
        for index in range(draw(st.integers(1, 3)))
    )
    return Policy("random", "random.yaml", "0" * 64, HERE, levels, rules, upstream=draw(upstreams))


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    issuer = draw(st.sampled_from(("self", "self", "self", *ISSUERS)))
    factor = draw(factors if issuer == "self" else st.sampled_from(("upstream", "passkey")))
    return Evidence(
        factor=factor,
        authenticator_id=draw(st.sampled_from(("a", "b"))),
        category=FACTOR_CATEGORIES[factor] if issuer == "self" else draw(st.sampled_from(CATEGORIES)),
        issuer=issuer,
        channel=draw(st.sampled_from((None, "sms", "email"))),
        attestation=draw(st.sampled_from((None, "m1", "m3"))),
        at=NOW - timedelta(seconds=draw(st.sampled_from((-10, 0, 29, 30, 31, 600, 601)))),
        flags=draw(flags),
        transaction=draw(st.sampled_from(TRANSACTIONS)),
        min_length=draw(st.sampled_from(LENGTHS)) if factor == PASSWORD else None,
    )


bodies = st.lists(evidence(), max_size=4).map(tuple)
acrs = st.lists(st.sampled_from((*(f"urn:{name}" for name in NAMES), "urn:none")), max_size=3).map(tuple)


def _enrolled(name: str, chosen: frozenset[str], length: int | None) -> EnrolledFactor:
    return EnrolledFactor(name, FACTOR_CATEGORIES[name], chosen, min_length=length if name == PASSWORD else None)


enrolments = st.one_of(
    st.builds(_enrolled, factors, flags, st.sampled_from(LENGTHS)),
    st.builds(
        EnrolledFactor,
        factor=st.just("upstream"),
        category=st.sampled_from(CATEGORIES),
        flags=flags,
        issuer=st.sampled_from(ISSUERS),
    ),
)
circumstances: dict[str, st.SearchStrategy[Any]] = {
    "client_id": st.sampled_from((None, "c")),
    "groups": st.sampled_from((frozenset(), frozenset({"g"}))),
    "attributes": st.sampled_from(({}, {"dept": ("y",)}, {"dept": ("z",)})),
    "network": st.sampled_from((None, "192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1")),
}


@st.composite
def situations(draw: st.DrawFn) -> Facts:
    return Facts(
        action="sign_in",
        evidence=draw(bodies),
        now=NOW,
        proofing=draw(st.sampled_from(PROOFING)),
        transaction=draw(st.sampled_from(TRANSACTIONS)),
        replaces=draw(st.sampled_from((None, None, None, "password"))),
        acr_values=draw(acrs),
        essential_acr=draw(st.one_of(st.just(()), acrs)),
        max_age=draw(st.sampled_from((None, 0, 30, 600))),
        force_reauthentication=draw(st.integers(0, 4)) == 0,
        enrolled=draw(st.lists(enrolments, max_size=4).map(tuple)),
        **{name: draw(values) for name, values in circumstances.items()},
    )


well_equipped = st.builds(
    Facts,
    action=st.just("sign_in"),
    evidence=st.lists(evidence(), max_size=2).map(tuple),
    now=st.just(NOW),
    transaction=st.just("t1"),
    acr_values=acrs,
    enrolled=st.lists(enrolments, min_size=3, max_size=5, unique_by=lambda item: item.factor).map(tuple),
    **circumstances,
)
"""Situations in which a step-up is likely to be possible."""


def use(facts: Facts, names: Collection[str]) -> tuple[Evidence, ...]:
    """Every enrolled authenticator of these kinds, used now; a password of which nobody knows turns out to be long."""
    bound = frozenset({"transaction_bound"})
    return tuple(
        Evidence(
            factor=item.factor,
            authenticator_id="used",
            category=item.category,
            at=facts.now,
            issuer=item.issuer,
            flags=item.flags if facts.transaction else item.flags - bound,
            transaction=facts.transaction,
            channel=item.channel,
            attestation=item.attestation,
            min_length=assumed_length(item.factor, item.min_length),
        )
        for item in facts.enrolled
        if item.factor in names
    )
