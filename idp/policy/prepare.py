"""From octets to a policy that may decide: read, judged by the rule books, tried on its own cases.

Nothing here reads a file, so what was hashed and approved is what is parsed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from idp.policy.cases import CaseReport, parse_cases, run_cases
from idp.policy.errors import Fault, PolicyLoadError, PolicyRejected
from idp.policy.lint import NOTHING_KNOWN, Deployment, Finding, lint
from idp.policy.load import parse_policy
from idp.policy.model import Policy

NO_CASES: Final = ""
"""In the place of a hash, where there is no file of cases."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A policy that may be put in force."""

    policy: Policy
    findings: tuple[Finding, ...]
    """What the linter warns of; it found no error."""
    cases_sha256: str
    """Hexadecimal SHA-256 of the file of cases, or :data:`NO_CASES`."""
    report: CaseReport | None
    """What became of its cases, all of them passed; None: it has none."""


def prepare(
    data: bytes,
    file: str,
    cases: bytes | None,
    cases_file: str,
    deployment: Deployment = NOTHING_KNOWN,
    *,
    cases_required: bool = False,
) -> Prepared:
    """Prepare a policy.

    :param file: the name to use in reasons and faults; ``cases_file`` that of the cases.
    :param cases: the octets of ``<name>.test.yaml``; None: there is no such file.
    :param deployment: what is known beside the file, for the linter.
    :raises PolicyRejected: it may not be put in force, with everything that is wrong.
    """
    if cases is None and cases_required:
        missing = Fault(cases_file, 1, 1, "is missing: a policy is tried on its own cases before it decides")
        raise PolicyRejected("cases_missing", (missing,))
    # 1. It is a policy.
    try:
        policy = parse_policy(data, file)
    except PolicyLoadError as error:
        raise PolicyRejected("faults", error.faults) from error
    # 2. It claims nothing that the rule books do not allow.
    findings = lint(policy, deployment)
    errors = tuple(_fault(finding) for finding in findings if finding.severity == "error")
    if errors:
        raise PolicyRejected("lint", errors)
    # 3. It decides its own cases as its author expects, and each of its rules takes part in one.
    if cases is None:
        return Prepared(policy, findings, NO_CASES, None)
    try:
        report = run_cases(policy, parse_cases(cases, cases_file))
    except PolicyLoadError as error:
        raise PolicyRejected("cases_failed", error.faults) from error
    if not report.passed:
        raise PolicyRejected("cases_failed", tuple(_failures(report)))
    return Prepared(policy, findings, sha256(cases), report)


def _fault(finding: Finding) -> Fault:
    where = finding.where
    text = f"{finding.rule}: {finding.message} ({finding.clause})"
    return Fault(where.file, where.line, where.column, text, rule=finding.rule)


def _failures(report: CaseReport) -> Iterator[Fault]:
    for result in report.failed:
        where = result.case.where
        for item in result.mismatches:
            text = f"case '{result.case.name}': {item.what} is {item.got}, and {item.expected} was expected"
            yield Fault(where.file, where.line, where.column, text)
    for rule in report.unexercised:
        where = rule.where
        yield Fault(where.file, where.line, where.column, f"no case exercises the rule '{rule.id}'")


def sha256(data: bytes) -> str:
    """What names a file's content, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
