"""Findings for people, for programs, and as SARIF."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import quote

from foundation import __version__
from idp.policy.lint.catalogue import RULES
from idp.policy.lint.documents import uri_of
from idp.policy.lint.model import Finding, LintRule

SARIF_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def as_text(findings: Iterable[Finding]) -> str:
    """A finding as three lines: where and what, by which clause, and what to write instead."""
    return "\n".join(_text(finding) for finding in findings)


def _text(finding: Finding) -> str:
    where = finding.where
    place = f"{where.file}:{where.line}:{where.column}"
    lines = (
        f"{place}: {finding.severity} {finding.rule}: {finding.message}",
        f"    clause: {finding.clause}",
        f"    advice: {finding.advice}",
    )
    return "\n".join(_shown(line) for line in lines)


def _shown(text: str) -> str:
    """A file may hold escape sequences that would act on the terminal of whoever lints it."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def as_json(findings: Iterable[Finding]) -> str:
    """A list with an object for each finding."""
    return json.dumps([to_json(finding) for finding in findings], indent=2)


def to_json(finding: Finding) -> dict[str, Any]:
    """A finding as JSON values; line and column count from 1."""
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "file": finding.where.file,
        "line": finding.where.line,
        "column": finding.where.column,
        "message": finding.message,
        "clause": finding.clause,
        "advice": finding.advice,
    }


def as_sarif(findings: Iterable[Finding]) -> str:
    """A SARIF 2.1.0 log of one run, with the whole table of rules."""
    indexes = {rule.id: index for index, rule in enumerate(RULES)}
    run = {
        "tool": {
            "driver": {
                "name": "privyseal policy lint",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_sarif_rule(rule) for rule in RULES],
            }
        },
        # PyYAML counts characters, not UTF-16 code units (SARIF 3.14.17).
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(finding, indexes) for finding in findings],
    }
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _sarif_rule(rule: LintRule) -> dict[str, Any]:
    clauses = "; ".join(rule.clauses)
    described: dict[str, Any] = {
        "id": rule.id,
        "shortDescription": {"text": f"{rule.title}."},
        "fullDescription": {"text": f"{rule.why} ({clauses})"},
        "help": {"text": f"{rule.advice}."},
        "defaultConfiguration": {"level": rule.severity},
    }
    # Absolute URIs only (SARIF 3.49.12), so a rule that rests on our own language alone has none.
    uri = next((found for clause in rule.clauses if (found := uri_of(clause)) is not None), None)
    return described if uri is None else {**described, "helpUri": uri}


def _sarif_result(finding: Finding, indexes: Mapping[str, int]) -> dict[str, Any]:
    where = finding.where
    return {
        "ruleId": finding.rule,
        "ruleIndex": indexes[finding.rule],
        "level": finding.severity,
        "message": {"text": f"{finding.message} ({finding.clause}). Advice: {finding.advice}."},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(where.file)},
                    "region": {"startLine": where.line, "startColumn": where.column},
                }
            }
        ],
    }


def _uri(file: str) -> str:
    """A file's name as a URI reference: a relative one stays relative, so that the log can be moved with the files."""
    path = PurePath(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
