"""Another policy asked about decisions that were made: every change is found, counted and said in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from idp.policy.errors import RecordInvalid
from idp.policy.evaluate import evaluate
from idp.policy.model import Facts, Policy
from idp.policy.records import DecisionRecord, facts_from_json, record_from_json, to_json, verdict_of
from idp.policy.replay import EXAMPLES, change, decided_by, headline, replay, summarise
from idp.policy.replay_render import as_json, as_lines
from tests.unit.idp_policy.support import POLICY, enrolled, facts, policy, used
from tests.unit.idp_policy.test_records import FACTS

OLD = policy()
WORD = used("password")


def record(of: Facts, number: int = 1, under: Policy = OLD) -> DecisionRecord:
    decision = evaluate(under, of)
    kept = to_json(decision_id=f"d{number}", txn="t", account_id="a", policy=under, facts=of, decision=decision)
    return record_from_json(json.loads(json.dumps(kept)))


def stricter(old: str, new: str) -> Policy:
    assert old in POLICY
    return policy(POLICY.replace(old, new, 1))


STRICT = stricter("    require: low\n", "    require: substantial\n")


def sign_in(*evidence: Any, **changes: Any) -> Facts:
    return facts("sign_in", *evidence, **changes)


@settings(max_examples=50)
@given(FACTS)
def test_the_same_policy_changes_nothing(of: Facts) -> None:
    assert list(replay(OLD, [record(of)])) == []


def test_what_would_change_is_counted_in_words_with_the_rule_responsible() -> None:
    records = [record(sign_in(WORD), number) for number in range(1, 5)]
    records.append(record(sign_in(WORD, used("sms_otp", 0, "restricted")), 5))
    found = summarise(STRICT, records)
    lines = list(as_lines(found))
    assert lines[0] == "4 of 5 recorded sign-ins would now need step-up"
    assert lines[1].startswith("  4 sign-ins: allowed → step-up by ")
    assert lines[1].endswith(", by rule 'sign-in' (policy.yaml:54)")
    assert lines[2] == "    for example d1 of 2026-03-02 10:00:00Z"
    assert "policy.yaml:54 [policy] Rule 'sign-in' asks for level 'substantial'" in lines[3]
    assert found.changed == 5
    assert lines[-4:][0] == "1 of 5 recorded sign-ins would be allowed for other levels"


@pytest.mark.parametrize(
    ("new", "of", "kind", "detail"),
    [
        (STRICT, sign_in(WORD, enrolled=(enrolled("password"),)), "deny", "allowed → refused (unreachable)"),
        (STRICT, sign_in(WORD, enrolled=(enrolled("sms_otp"),)), "step_up", "allowed → step-up by SMS code"),
        (
            stricter(
                "  - id: lawyers\n    action: sign_in\n    when: {group: [legal, board]}\n",
                "  - id: lawyers\n    action: document.write\n",
            ),
            sign_in(WORD, groups=frozenset({"legal"}), enrolled=(enrolled("totp"),)),
            "allow",
            "step-up by authenticator app code → allowed",
        ),
        (
            stricter("action: sign_in\n    require: low", "action: document.read\n    require: low"),
            sign_in(WORD),
            "deny",
            "allowed → refused (no_rule)",
        ),
        (
            stricter("    proofing: low\n", "    proofing: high\n"),
            facts("signature.activate", enrolled=(), proofing="low"),
            "refusal",
            "unreachable → proofing",
        ),
        (
            stricter(
                "  - id: sign-in\n    action: sign_in\n    require: low",
                "  - id: sign-in\n    action: sign_in\n    require: substantial",
            ),
            sign_in(WORD, used("totp")),
            "required",
            "level 'low' → 'substantial'",
        ),
        (
            stricter("[urn:example:low, urn:example:low:alias]", "[urn:example:low:alias, urn:example:low]"),
            sign_in(WORD),
            "acr",
            "urn:example:low → urn:example:low:alias",
        ),
        (
            stricter("eidas-2015-1502: low, ", ""),
            sign_in(WORD),
            "loa",
            "low → none",
        ),
        (
            stricter("session_limit: 12h", "session_limit: 8h\n    idle_limit: 30m"),
            sign_in(WORD),
            "limits",
            "session 12 h, idle none → session 8 h, idle 30 min",
        ),
        (
            stricter("[sms_otp, email_otp, totp]", "[totp]"),
            facts("signature.activate", WORD, enrolled=(enrolled("sms_otp"), enrolled("totp"))),
            "options",
            "SMS code or authenticator app code → authenticator app code",
        ),
    ],
)
def test_each_kind_of_change_is_told_apart(new: Policy, of: Facts, kind: str, detail: str) -> None:
    (group,) = summarise(new, [record(of)]).ordered()
    assert (group.kind, group.detail) == (kind, detail)


def test_what_stays_refused_or_stepped_up_alike_is_no_change() -> None:
    limits = stricter("session_limit: 12h", "session_limit: 8h")
    assert change(limits, "d", sign_in(), record(sign_in()).verdict) is None
    nobody = facts("credential.create")
    assert change(limits, "d", nobody, record(nobody).verdict) is None


def test_a_change_that_the_relying_partys_request_causes_is_said_to_be_its() -> None:
    of = sign_in(WORD, acr_values=("urn:example:extra",), enrolled=(enrolled("password"), enrolled("totp")))
    new = stricter("acr: urn:example:substantial", "acr: [urn:example:substantial, urn:example:extra]")
    (group,) = summarise(new, [record(of)]).ordered()
    assert group.kind == "step_up"
    (cause,) = group.causes
    assert cause.rule == "request"
    assert list(as_lines(summarise(new, [record(of)])))[1].endswith(
        "by what the relying party asks for (policy.yaml:54)"
    )


def test_a_missing_rule_is_named_as_such() -> None:
    new = stricter("action: sign_in\n    require: low", "action: document.read\n    require: low")
    line = list(as_lines(summarise(new, [record(sign_in(WORD, client_id="shop"))])))[1]
    assert line == "  1 sign-in at shop: allowed → refused (no_rule), by the lack of a rule about it (policy.yaml:54)"


def test_evidence_that_a_rule_asks_for_makes_the_rule_responsible() -> None:
    new = stricter("    require: low\n", "    require: low\n    evidence: [{factor: totp}]\n")
    (found,) = replay(new, [record(sign_in(WORD, enrolled=(enrolled("totp"),)))])
    assert [cause.rule for cause in found.causes] == ["sign-in"]


def test_groups_keep_a_few_examples_only() -> None:
    found = summarise(STRICT, (record(sign_in(WORD), number) for number in range(20)))
    (group,) = found.ordered()
    assert (group.count, len(group.examples)) == (20, EXAMPLES)


def test_actions_of_ones_own_are_named() -> None:
    new = stricter("action: document.*\n    require: low", "action: document.*\n    require: high")
    found = summarise(new, [record(facts("document.write", WORD))])
    assert headline(found, "step_up", "document.write").startswith("1 of 1 recorded decision on 'document.write' would")


def test_relying_parties_are_told_apart_below_one_headline() -> None:
    records = [record(sign_in(WORD, client_id=client), number) for number, client in enumerate(["a", "b", "b"])]
    lines = [line for line in as_lines(summarise(STRICT, records)) if line[:4] != "    "]
    assert lines[0] == "3 of 3 recorded sign-ins would now need step-up"
    assert [line.partition(":")[0] for line in lines[1:]] == ["  2 sign-ins at b", "  1 sign-in at a"]


def test_nothing_changed_is_said_too() -> None:
    assert list(as_lines(summarise(OLD, [record(sign_in(WORD))]))) == [
        "none of 1 recorded decisions would come out otherwise"
    ]


def test_attributes_that_were_not_recorded_are_told() -> None:
    new = stricter("when: {client: example-contracts}", "when: {attribute: {site: bonn}}")
    lines = list(as_lines(summarise(new, [record(sign_in(WORD))] * 3)))
    assert lines[-1].startswith(
        "note: 3 of 3 say nothing of the attribute 'site', which the policy then in force did not"
    )


def test_two_policies_are_compared_whatever_was_decided_then() -> None:
    recorded = record(sign_in(WORD), under=STRICT)
    assert summarise(OLD, [recorded]).changed == 1
    assert summarise(OLD, [recorded], decided_by(OLD)).changed == 0


def test_json_has_groups_with_before_and_after() -> None:
    found = summarise(STRICT, [record(sign_in(WORD, enrolled=(enrolled("sms_otp"),)))])
    value = json.loads(json.dumps(as_json(found)))
    assert (value["records"], value["changed"], value["by_action"]) == (1, 1, {"sign_in": 1})
    assert value["first"] == value["last"] == 1772445600
    (group,) = value["groups"]
    assert group["rules"] == [{"rule": "sign-in", "file": "policy.yaml", "line": 54}]
    (example,) = group["examples"]
    assert (example["before"]["outcome"], example["after"]["outcome"]) == ("allow", "step_up")
    assert [reason["rule"] for reason in example["telling"]] == ["sign-in", "level:substantial"]
    assert as_json(summarise(OLD, []))["first"] is None


def test_facts_come_out_of_a_record() -> None:
    of = sign_in(WORD)
    kept = to_json(decision_id="d", txn="t", account_id="a", policy=OLD, facts=of, decision=evaluate(OLD, of))
    assert facts_from_json(kept["facts"]) == of
    with pytest.raises(RecordInvalid):
        facts_from_json({})


def test_a_verdict_is_what_was_decided() -> None:
    assert verdict_of(evaluate(OLD, sign_in(WORD))).rules == ("sign-in", "level:low")
