"""Explanations, as text and as JSON."""

from __future__ import annotations

import json

from idp.policy.evaluate import evaluate
from idp.policy.explain import decision_json, explain, explain_json
from tests.unit.idp_policy.support import MAIL, TXN, WORD, facts, policy, used

SAMPLE = policy()


def test_a_step_up_is_explained_line_by_line() -> None:
    situation = facts("signature.activate", used("password", 60), enrolled=(WORD, MAIL), proofing="low")

    lines = explain(SAMPLE, situation, evaluate(SAMPLE, situation)).splitlines()

    assert lines[:8] == [
        "signature.activate: more is needed",
        f"  policy    sample, policy.yaml, sha256 {SAMPLE.sha256}",
        "  required  substantial",
        "  reached   low",
        "  acr       urn:example:low",
        "  eIDAS     low",
        "  amr       pwd",
        "  auth_time 2026-03-02 09:59:00Z",
    ]
    assert "ways on, best first" in lines
    assert "  e-mail code: leads to substantial" in lines
    assert "  low: reached (line 8)" in lines
    assert "  substantial: not reached (line 14)" in lines
    assert "      + password (line 25)" in lines
    assert "      - SMS code, e-mail code or authenticator app code (line 26)" in lines
    assert "    - identity proofed at 'high'; this person's was at 'low'" in lines
    assert any(line.startswith("  policy.yaml:") and "[policy] Rule 'sign' asks" in line for line in lines)


def test_an_allowed_sign_in_shows_limits_and_how_a_level_was_reached() -> None:
    situation = facts("sign_in", used("passkey", 0, "user_verified"))

    lines = explain(SAMPLE, situation, evaluate(SAMPLE, situation)).splitlines()

    assert lines[0] == "sign_in: allowed"
    assert "  session   at most 8 h" in lines
    assert "  idle      at most 30 min" in lines
    assert "  low: reached by way of substantial (line 8)" in lines


def test_a_refusal_says_which_one() -> None:
    situation = facts("credential.create", enrolled=())

    lines = explain(SAMPLE, situation, evaluate(SAMPLE, situation)).splitlines()

    assert lines[0] == "credential.create: refused (no_rule)"
    assert lines[2:7] == [
        "  required  nothing", "  reached   nothing", "  acr       0", "  eIDAS     none", "  amr       none",
    ]  # fmt: skip
    assert lines[7] == ""


def test_json_has_the_decision_and_the_derivation() -> None:
    code = used("totp", 5, transaction=TXN)
    situation = facts("signature.activate", used("password", 60), code)
    decision = evaluate(SAMPLE, situation)

    value = explain_json(SAMPLE, situation, decision)

    assert json.loads(json.dumps(value)) == value
    assert value["policy"] == {"name": "sample", "file": "policy.yaml", "sha256": SAMPLE.sha256}
    assert value["action"] == "signature.activate"
    assert value["decision"] == decision_json(decision)
    assert value["decision"]["outcome"] == "allow"
    assert value["decision"]["auth_time"] == 1772445540
    assert [item["factor"] for item in value["decision"]["relied_on"]] == ["password", "totp"]
    low, substantial, high = value["levels"][:3]
    assert (low["reached"], low["by_way_of"], low["proofed"]) == (True, None, True)
    assert substantial["any_of"][0] == {
        "line": 24,
        "met": True,
        "all_of": [
            {"line": 25, "asks": "password", "met": True},
            {"line": 26, "asks": "SMS code, e-mail code or authenticator app code", "met": True},
        ],
        "different_categories": 2,
    }
    assert (substantial["any_of"][1]["met"], high["reached"]) == (False, False)


def test_json_of_a_step_up_and_of_a_refusal() -> None:
    step_up = decision_json(evaluate(SAMPLE, facts("sign_in", enrolled=(WORD,))))
    assert step_up["options"] == [{"level": "low", "missing": ["password"]}]
    assert (step_up["auth_time"], step_up["refusal"]) == (None, None)
    assert {"rule", "file", "line", "text", "contributor"} == set(step_up["reasons"][0])
    assert decision_json(evaluate(SAMPLE, facts("nothing")))["refusal"] == "no_rule"


def test_json_tells_by_which_level_another_one_was_reached() -> None:
    situation = facts("sign_in", used("passkey", 0, "user_verified"))
    value = explain_json(SAMPLE, situation, evaluate(SAMPLE, situation))
    assert value["levels"][0]["by_way_of"] == "substantial"
