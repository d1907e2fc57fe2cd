"""What is kept of a decision: enough to decide again, and no more than the policy looks at."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.policy.errors import RecordInvalid
from idp.policy.evaluate import evaluate
from idp.policy.evidence import CATEGORIES, FACTORS, FLAGS, Evidence
from idp.policy.model import PROOFING, CredentialFacts, EnrolledFactor, Facts
from idp.policy.records import digest, facts_from_json, record_from_json, to_json, verdict_of
from tests.unit.idp_policy.support import NOW, POLICY, enrolled, facts, policy, used

SAMPLE = policy()
ATTRIBUTES = policy(
    POLICY.replace("when: {client: example-contracts}", "when: {attribute: {site: bonn, unit: [a]}}", 1)
)
TEXT = st.text(max_size=8)
IDS = st.text(min_size=1, max_size=8)
TIMES = st.integers(-2000, 10).map(lambda seconds: NOW + timedelta(seconds=seconds))
FLAG_SETS = st.frozensets(st.sampled_from(sorted(FLAGS)))
EVIDENCE = st.builds(
    Evidence,
    st.sampled_from(sorted(FACTORS)), IDS, st.sampled_from(CATEGORIES), TIMES, IDS, FLAG_SETS,
    st.none() | TEXT, st.none() | st.sampled_from(["t1", "t2"]), st.none() | TEXT,
)  # fmt: skip
FACTS = st.builds(
    Facts,
    action=st.sampled_from(["sign_in", "signature.activate", "document.read", "other"]),
    evidence=st.lists(EVIDENCE, max_size=3).map(tuple),
    now=st.integers(0, 999_999).map(lambda micros: NOW + timedelta(microseconds=micros)),
    client_id=st.none() | st.sampled_from(["example-contracts", "x"]),
    groups=st.frozensets(st.sampled_from(["legal", "staff"])),
    attributes=st.dictionaries(st.sampled_from(["site", "unit"]), st.lists(TEXT, max_size=2).map(tuple)),
    proofing=st.sampled_from(PROOFING),
    credential=st.none() | st.builds(CredentialFacts, IDS, st.sampled_from(["1", "2"]), st.none() | TEXT),
    network=st.none() | st.sampled_from(["192.0.2.7", "?"]),
    transaction=st.none() | st.sampled_from(["t1", "t2"]),
    acr_values=st.lists(st.sampled_from(["urn:example:high", "x"]), max_size=2).map(tuple),
    essential_acr=st.lists(st.sampled_from(["urn:example:substantial", "x"]), max_size=2).map(tuple),
    max_age=st.none() | st.integers(0, 10**9),
    force_reauthentication=st.booleans(),
    enrolled=st.lists(
        st.builds(
            EnrolledFactor,
            st.sampled_from(sorted(FACTORS)),
            st.sampled_from(CATEGORIES),
            FLAG_SETS,
            IDS,
            st.none() | TEXT,
            st.none() | TEXT,
        ),
        max_size=3,
    ).map(tuple),
)


def record(of: Facts, under: Any = SAMPLE) -> dict[str, Any]:
    return to_json(decision_id="d1", txn="t1", account_id="a1", policy=under, facts=of, decision=evaluate(under, of))


@given(FACTS)
def test_a_decision_is_made_again_exactly_from_its_record(of: Facts) -> None:
    decision = evaluate(ATTRIBUTES, of)
    read = record_from_json(json.loads(json.dumps(record(of, ATTRIBUTES))))
    assert evaluate(ATTRIBUTES, read.facts) == decision
    assert read.verdict == verdict_of(decision)
    assert (read.decision_id, read.txn, read.account_id) == ("d1", "t1", "a1")
    assert (read.policy_name, read.policy_sha256) == ("sample", ATTRIBUTES.sha256)


def test_attributes_that_the_policy_does_not_name_are_not_kept() -> None:
    of = facts("sign_in", attributes={"site": ("bonn",), "salary": ("high",)})
    assert record(of, ATTRIBUTES)["facts"]["attributes"] == {"site": ["bonn"], "unit": []}
    assert record(of)["facts"]["attributes"] == {}


def test_a_record_that_was_changed_has_another_digest() -> None:
    kept = record(facts("sign_in", used("password")))
    assert digest(json.loads(json.dumps(kept))) == digest(kept)
    kept["facts"]["proofing"] = "low"
    assert digest(kept) != digest(record(facts("sign_in", used("password"))))


def altered(path: str, value: Any) -> dict[str, Any]:
    """A good record with one thing that is wrong."""
    kept = record(
        facts(
            "signature.activate", used("password"), credential=CredentialFacts("c", "2"), enrolled=(enrolled("totp"),),
            attributes={"site": ("bonn",)},
        ),
        ATTRIBUTES,
    )  # fmt: skip
    place: Any = kept
    *way, last = path.split(".")
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[last] = value
    return kept


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", 2, "format 2 is not 1"),
        ("more", 1, "a record of a decision is an object with exactly the keys"),
        ("txn", None, "'txn' is a text"),
        ("facts", [], "'facts' is an object"),
        ("facts.more", 1, "'facts' is an object with exactly"),
        ("facts.now", "soon", "'now' is a whole number"),
        ("facts.now", True, "'now' is a whole number"),
        ("facts.now", 10**18, "'now' is out of range"),
        ("facts.evidence", {}, "'evidence' is a list"),
        ("facts.evidence.0.factor", "charm", "unknown factor 'charm'"),
        ("facts.groups", [1], "'groups' is a list of texts"),
        ("facts.attributes", [], "'attributes' is an object"),
        ("facts.attributes.site", "bonn", "'site' is a list"),
        ("facts.proofing", "good", "'proofing' is none, low, substantial, high"),
        ("facts.credential.scal", "3", "'scal' is 1, 2"),
        ("facts.credential.pin", "1234", "'credential' is an object with exactly"),
        ("facts.max_age", "60", "'max_age' is a whole number or null"),
        ("facts.max_age", False, "'max_age' is a whole number or null"),
        ("facts.max_age", -1, "max_age may not be negative"),
        ("facts.force_reauthentication", 1, "'force_reauthentication' is true or false"),
        ("facts.enrolled.0.category", "luck", "'category' is knowledge, possession, inherence"),
        ("facts.enrolled.0.flags", ["shiny"], "unknown flags ['shiny']"),
        ("facts.enrolled.0.address", "+34", "an enrolled factor is an object with exactly"),
        ("decision", None, "'decision' is an object"),
        ("decision.outcome", "maybe", "'outcome' is allow, step_up, deny"),
        ("decision.refusal", "mood", "'refusal' is no_rule"),
        ("decision.loa", "huge", "'loa' is low, substantial, high"),
        ("decision.idle_limit", "1h", "limits are whole numbers of seconds or null"),
        ("decision.options", [[]], "'decision' does not have the form of a decision"),
        ("decision.reasons", [{}], "'decision' does not have the form of a decision"),
    ],
)
def test_a_record_of_another_form_is_refused(path: str, value: Any, message: str) -> None:
    with pytest.raises(RecordInvalid) as caught:
        record_from_json(altered(path, value))
    assert message in str(caught.value)


def test_a_record_is_an_object() -> None:
    with pytest.raises(RecordInvalid, match="a record of a decision is an object"):
        record_from_json([])
    with pytest.raises(RecordInvalid, match="'facts' is an object"):
        facts_from_json(None)
