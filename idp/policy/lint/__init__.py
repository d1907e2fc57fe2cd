"""The linter: what a policy says, held against the rule books that it names.

Pure, and it never raises: whatever can be loaded can be linted.

============ ===============================================================
file         what it holds
============ ===============================================================
model        findings, and the rules that make them
deployment   what is known beside the file
documents    where clauses can be read
frameworks   what each edition demands at which level, with its clause
assignment   whether everybody can have something of their own
offers       which evidence could come, and what it could meet
scope        whether one condition holds whenever another does
subject      the policy, with what several checks ask of it
factors      L1, L2, L5, L6, L33
levels       L3, L4, L11, L13, L22 to L25
limits       L7 to L10
loading      L12, L15, L16, L19, L20: what the loader finds
upstream     L14, L27, L28
reachability L17, L31, L32
protocol     L18, L26
actions      L21, L29, L30
catalogue    the table of all rules
render       findings as text, JSON and SARIF
============ ===============================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from idp.policy.errors import PolicyLoadError
from idp.policy.lint.catalogue import BY_ID, RULES, number
from idp.policy.lint.deployment import NOTHING_KNOWN, Deployment
from idp.policy.lint.model import Finding, Hit, LintRule, Severity
from idp.policy.lint.subject import Subject
from idp.policy.model import Policy, Where

__all__ = [
    "BY_ID",
    "NOTHING_KNOWN",
    "RULES",
    "Deployment",
    "Finding",
    "LintRule",
    "Severity",
    "findings_of",
    "has_errors",
    "lint",
    "strictly",
]


def lint(policy: Policy, deployment: Deployment = NOTHING_KNOWN) -> tuple[Finding, ...]:
    """Everything that the rules have against the policy, in the order of file and line."""
    subject = Subject(policy, deployment)
    return _ordered(rule.finding(hit) for rule in RULES if rule.check is not None for hit in rule.check(subject))


def findings_of(error: PolicyLoadError) -> tuple[Finding, ...]:
    """The faults of a file that could not be loaded, as findings of the rules that they break."""
    found = []
    for fault in error.faults:
        rule = BY_ID[fault.rule]
        found.append(rule.finding(Hit(Where(fault.file, fault.line, fault.column), fault.message)))
    return _ordered(found)


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether the policy may not be used."""
    return any(finding.severity == "error" for finding in findings)


def strictly(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The same with every warning made an error."""
    return tuple(replace(finding, severity="error") for finding in findings)


def _ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(dict.fromkeys(findings), key=_place))


def _place(finding: Finding) -> tuple[str, int, int, int, str]:
    where = finding.where
    return where.file, where.line, where.column, number(finding.rule), finding.message
