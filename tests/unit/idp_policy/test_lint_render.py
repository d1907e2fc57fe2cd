"""Findings as text, JSON and SARIF; their order; what is an error."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from idp.policy.errors import Fault, PolicyLoadError
from idp.policy.lint import BY_ID, RULES, Finding, findings_of, has_errors, strictly
from idp.policy.lint.render import as_json, as_sarif, as_text
from idp.policy.model import Where

SEVERE = Finding("L7", "error", Where("a.yaml", 3, 5), "too long", "RFC 6238 5.2", "write step: 30s")
MILD = Finding("L5", "warning", Where("b c/ü.yaml", 1, 2), "rather long", "NIST SP 800-63B-4, 2.2.3", "write less")


def test_text_names_place_severity_rule_clause_and_advice() -> None:
    assert as_text((SEVERE, MILD)) == (
        "a.yaml:3:5: error L7: too long\n"
        "    clause: RFC 6238 5.2\n"
        "    advice: write step: 30s\n"
        "b c/ü.yaml:1:2: warning L5: rather long\n"
        "    clause: NIST SP 800-63B-4, 2.2.3\n"
        "    advice: write less"
    )
    assert as_text(()) == ""


def test_no_escape_sequence_of_a_file_reaches_the_terminal() -> None:
    hostile = Finding("L7", "error", Where("a\x1b[2J.yaml", 1, 1), "\u202eevil\x07\n", "c\x9b", "a\r")
    text = as_text((hostile,))
    assert len(text.splitlines()) == 3
    assert all(char.isprintable() for char in text.replace("\n", ""))
    assert "\\u001b[2J" in text


def test_json_has_every_part_of_a_finding() -> None:
    assert json.loads(as_json((SEVERE,))) == [
        {
            "rule": "L7",
            "severity": "error",
            "file": "a.yaml",
            "line": 3,
            "column": 5,
            "message": "too long",
            "clause": "RFC 6238 5.2",
            "advice": "write step: 30s",
        }
    ]


def test_a_warning_is_an_error_only_where_strictness_is_asked_for() -> None:
    assert has_errors((MILD, SEVERE))
    assert not has_errors((MILD,))
    assert not has_errors(())
    assert has_errors(strictly((MILD,)))
    assert strictly((SEVERE,)) == (SEVERE,)


def test_faults_of_the_loader_become_findings_in_the_order_of_the_file() -> None:
    faults = (Fault("a.yaml", 9, 1, "later"), Fault("a.yaml", 2, 7, "unknown key 'x'"))
    later, earlier = faults
    findings = findings_of(PolicyLoadError((later, earlier)))
    assert [(item.rule, item.where.line, item.message) for item in findings] == [
        ("L20", 2, "unknown key 'x'"),
        ("L20", 9, "later"),
    ]
    assert all(item.severity == "error" and item.clause and item.advice for item in findings)


# SARIF 2.1.0: what the schema and the text of the standard require of the parts that are used.


def sarif(*findings: Finding) -> dict[str, Any]:
    log = json.loads(as_sarif(findings))
    assert isinstance(log, dict)
    return log


def test_a_sarif_log_has_the_required_properties() -> None:
    log = sarif(SEVERE, MILD)
    assert set(log) <= {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert run["columnKind"] in {"utf16CodeUnits", "unicodeCodePoints"}
    driver = run["tool"]["driver"]
    assert driver["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", driver["semanticVersion"])
    ids = [rule["id"] for rule in driver["rules"]]
    assert ids == [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_each_sarif_rule_is_described(rule: Any) -> None:
    (described,) = [item for item in sarif()["runs"][0]["tool"]["driver"]["rules"] if item["id"] == rule.id]
    for part in ("shortDescription", "fullDescription", "help"):
        assert described[part]["text"].endswith((".", ")"))
    assert described["defaultConfiguration"]["level"] in {"none", "note", "warning", "error"}
    ours_alone = all(clause.startswith("policy language") for clause in rule.clauses)
    assert ("helpUri" not in described) == (ours_alone or rule.id == "L29")
    assert described.get("helpUri", "https://").startswith("https://")


def test_each_sarif_result_points_into_a_file_and_at_its_rule() -> None:
    (run,) = sarif(SEVERE, MILD)["runs"]
    rules = run["tool"]["driver"]["rules"]
    severe, mild = run["results"]
    for result in (severe, mild):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"none", "note", "warning", "error"}
        assert result["message"]["text"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["region"]["startLine"] >= 1
        assert location["physicalLocation"]["region"]["startColumn"] >= 1
    assert mild["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "b%20c/%C3%BC.yaml"
    assert "RFC 6238 5.2" in severe["message"]["text"]


def test_an_absolute_path_is_a_file_uri() -> None:
    log = sarif(Finding("L7", "error", Where("/etc/privy seal/p.yaml", 1, 1), "m", "c", "a"))
    (result,) = log["runs"][0]["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "file:///etc/privy%20seal/p.yaml"


def test_the_table_is_in_the_order_of_its_numbers_and_each_rule_says_why_and_what_to_do() -> None:
    numbers = [int(rule.id[1:]) for rule in RULES]
    assert numbers == sorted(set(numbers))
    assert list(BY_ID) == [rule.id for rule in RULES]
    for rule in RULES:
        assert all((rule.title, rule.why, rule.clauses, rule.advice))
