"""What became of cases: for people, as JSON values, and as JUnit XML for the tools that read test results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from idp.policy.cases import CaseReport, CaseResult, Mismatch
from idp.policy.explain import reason_json, reason_line
from idp.policy.model import Rule
from idp.policy.wording import count

_UNEXERCISED = "its condition holds in no case, so nobody knows what it does"


def as_text(report: CaseReport) -> str:
    """For people: a line for the file, then what is wrong; ends without a newline."""
    return "\n".join(_lines(report))


def _lines(report: CaseReport) -> Iterator[str]:
    state = "passed" if report.passed else "FAILED"
    cases, rules = count(len(report.results), "case"), count(len(report.unexercised), "rule not exercised")
    counts = f"{cases}, {len(report.failed)} failed, {rules}"
    yield f"{report.policy.file}: {state} ({report.cases.file}: {counts})"
    for result in report.failed:
        yield f"  {result.case.where.file}:{result.case.where.line}: {result.case.name}"
        for mismatch in result.mismatches:
            yield f"    {mismatch.what:<8} expected {mismatch.expected}"
            yield f"             got      {mismatch.got}"
        yield "    because"
        yield from (f"      {reason_line(reason)}" for reason in result.decision.reasons)
    for rule in report.unexercised:
        yield f"  {rule.where.file}:{rule.where.line}: rule '{rule.id}' is not exercised: {_UNEXERCISED}"


def as_json(report: CaseReport) -> dict[str, Any]:
    """As JSON values."""
    policy = report.policy
    return {
        "policy": {"name": policy.name, "file": policy.file, "sha256": policy.sha256},
        "cases_file": report.cases.file,
        "cases_sha256": report.cases.sha256,
        "passed": report.passed,
        "cases": [_result_json(result) for result in report.results],
        "unexercised": [{"rule": rule.id, "line": rule.where.line} for rule in report.unexercised],
    }


def _result_json(result: CaseResult) -> dict[str, Any]:
    return {
        "name": result.case.name,
        "line": result.case.where.line,
        "passed": result.passed,
        "outcome": result.decision.outcome,
        "mismatches": [{"what": item.what, "expected": item.expected, "got": item.got} for item in result.mismatches],
        "reasons": [reason_json(reason) for reason in result.decision.reasons],
    }


def as_junit(reports: Sequence[CaseReport], unusable: Mapping[str, str]) -> str:
    """As JUnit XML, a suite for each file: cases by their names, and a test for each rule that no case exercises.

    :param unusable: files that cannot be used, with what is wrong with them: an error each.
    """
    totals = _totals(reports)
    totals |= {"tests": totals["tests"] + len(unusable), "errors": len(unusable)}
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', _element("testsuites", totals)]
    for report in reports:
        lines.append("  " + _element("testsuite", {"name": report.policy.file, **_totals([report])}))
        for result in report.results:
            lines.extend(_junit_case(report, result))
        for rule in report.unexercised:
            lines.extend(_junit_rule(report, rule))
        lines.append("  </testsuite>")
    for file, faults in unusable.items():
        lines.extend(_junit_unusable(file, faults))
    return "\n".join([*lines, "</testsuites>", ""])


def _totals(reports: Sequence[CaseReport]) -> dict[str, int]:
    return {
        "tests": sum(len(report.results) + len(report.unexercised) for report in reports),
        "failures": sum(len(report.failed) + len(report.unexercised) for report in reports),
        "errors": 0,
    }


def _junit_case(report: CaseReport, result: CaseResult) -> Iterator[str]:
    case = result.case
    attributes = {
        "name": case.name,
        "classname": report.policy.name,
        "file": case.where.file,
        "line": case.where.line,
    }
    if result.passed:
        yield "    " + _element("testcase", attributes, empty=True)
        return
    reasons = "\n".join(reason_line(reason) for reason in result.decision.reasons)
    yield "    " + _element("testcase", attributes)
    failure = _element("failure", {"message": "; ".join(map(_short, result.mismatches))})
    yield f"      {failure}{escape(_printable(reasons))}</failure>"
    yield "    </testcase>"


def _junit_rule(report: CaseReport, rule: Rule) -> Iterator[str]:
    attributes = {
        "name": f"rule '{rule.id}' is exercised",
        "classname": report.policy.name,
        "file": rule.where.file,
        "line": rule.where.line,
    }
    yield "    " + _element("testcase", attributes)
    yield "      " + _element("failure", {"message": _UNEXERCISED}, empty=True)
    yield "    </testcase>"


def _junit_unusable(file: str, faults: str) -> Iterator[str]:
    yield "  " + _element("testsuite", {"name": file, "tests": 1, "failures": 0, "errors": 1})
    yield "    " + _element("testcase", {"name": "the file and its cases can be read", "classname": file, "file": file})
    yield "      " + _element("error", {"message": "it cannot be used"}) + f"{escape(_printable(faults))}</error>"
    yield "    </testcase>"
    yield "  </testsuite>"


def _short(mismatch: Mismatch) -> str:
    return f"{mismatch.what}: expected {mismatch.expected}, got {mismatch.got}"


def _element(name: str, attributes: dict[str, Any], *, empty: bool = False) -> str:
    given = "".join(f" {key}={quoteattr(_printable(str(value)))}" for key, value in attributes.items())
    return f"<{name}{given}{'/' if empty else ''}>"


def _printable(text: str) -> str:
    """XML has no way to write most control characters, and a file may be named with any."""
    return "".join(char if char.isprintable() or char == "\n" else f"\\u{ord(char):04x}" for char in text)
