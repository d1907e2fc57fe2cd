"""The cases of a policy: situations with the decision that must come out, kept in a file beside it.

The file is read as strictly as a policy, by the same reader.  A case is passed when outcome, refusal and the rules that
the reasons rest on are exactly those expected; a run is passed when every case is and every rule of the policy was
exercised: its condition held in at least one case.  The format is described in ``docs/policy-tools.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import TypeVar

from idp.policy import wording
from idp.policy.cases_load import Case, Cases, Expectation, parse_cases
from idp.policy.evaluate import evaluate
from idp.policy.explain import applying, reason_rules
from idp.policy.model import Decision, Policy, Rule

__all__ = [
    "Case",
    "CaseReport",
    "CaseResult",
    "Cases",
    "Expectation",
    "Mismatch",
    "cases_beside",
    "parse_cases",
    "run_cases",
]

_Path = TypeVar("_Path", bound=PurePath)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that came out otherwise, in words."""

    what: str
    """The key of ``expect``."""
    expected: str
    got: str


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of a case."""

    case: Case
    decision: Decision
    mismatches: tuple[Mismatch, ...]

    @property
    def passed(self) -> bool:
        """Whether everything came out as expected."""
        return not self.mismatches


@dataclass(frozen=True, slots=True)
class CaseReport:
    """What became of all cases of a file."""

    policy: Policy
    cases: Cases
    results: tuple[CaseResult, ...]
    unexercised: tuple[Rule, ...]
    """Rules whose condition held in no case: nobody knows what they do."""

    @property
    def failed(self) -> tuple[CaseResult, ...]:
        """The cases that came out otherwise."""
        return tuple(result for result in self.results if not result.passed)

    @property
    def passed(self) -> bool:
        """Whether every case came out as expected and every rule was exercised."""
        return not self.failed and not self.unexercised


def cases_beside(policy_file: _Path) -> _Path:
    """Where the cases of a policy file are: ``<name>.test.yaml`` beside ``<name>.yaml``."""
    return policy_file.with_name(f"{policy_file.stem}.test.yaml")


def run_cases(policy: Policy, cases: Cases) -> CaseReport:
    """Decide every case and compare; the same arguments always give the same report."""
    results = []
    exercised: set[tuple[str, int]] = set()
    for case in cases.cases:
        decision = evaluate(policy, case.facts_under(policy))
        results.append(CaseResult(case, decision, tuple(_mismatches(policy, case.expect, decision))))
        exercised.update(applying(decision))
    unexercised = tuple(rule for rule in policy.rules if (rule.id, rule.where.line) not in exercised)
    return CaseReport(policy, cases, tuple(results), unexercised)


def _mismatches(policy: Policy, expect: Expectation, decision: Decision) -> Iterator[Mismatch]:
    if decision.outcome != expect.outcome:
        yield Mismatch("outcome", expect.outcome, decision.outcome)
    if decision.refusal != expect.refusal:
        yield Mismatch("refusal", expect.refusal or "none", decision.refusal or "none")
    if expect.acr is not None and decision.acr != expect.acr:
        yield Mismatch("acr", expect.acr, decision.acr)
    if expect.loa is not None and (decision.loa or "none") != expect.loa:
        yield Mismatch("loa", expect.loa, decision.loa or "none")
    if expect.session_limit is not None and decision.session_limit != expect.session_limit:
        yield Mismatch("session_limit", _limit(expect.session_limit), _limit(decision.session_limit))
    if expect.idle_limit is not None and decision.idle_limit != expect.idle_limit:
        yield Mismatch("idle_limit", _limit(expect.idle_limit), _limit(decision.idle_limit))
    options = tuple(option.missing for option in decision.options)
    if expect.options is not None and options != expect.options:
        yield Mismatch("options", _options(expect.options), _options(options))
    reasons = reason_rules(decision)
    if reasons != expect.reasons:
        unknown = [name for name in expect.reasons if not _known(policy, name)]
        note = f" ({', '.join(unknown)}: not in this policy)" if unknown else ""
        yield Mismatch("reasons", ", ".join(expect.reasons) + note, ", ".join(reasons))


def _known(policy: Policy, name: str) -> bool:
    """Whether reasons of the policy can have this name."""
    if name.startswith("level:"):
        return name.removeprefix("level:") in policy.by_name
    return name in {"default", "enrolled", "request", "evidence", "upstream"} or name in policy.rule_reasons


def _limit(seconds: int | None) -> str:
    return "none" if seconds is None else wording.duration(seconds)


def _options(options: tuple[tuple[str, ...], ...]) -> str:
    return "; or ".join(" and ".join(option) for option in options) or "none"
