"""A candidate file beside the policy in force: what is wrong with it, and what it would decide.  Nothing is kept.

The candidate is somebody's text: it is read as strictly as any policy, within the same bounds, and shown as text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flask import request
from werkzeug.wrappers import Response

from idp.errors import InputRefused
from idp.policy.cases import CaseReport, parse_cases, run_cases
from idp.policy.diff import Difference, differences
from idp.policy.document import MAX_OCTETS
from idp.policy.errors import Fault, PolicyLoadError
from idp.policy.lint import Finding, findings_of, has_errors, lint
from idp.policy.load import parse_policy
from idp.policy.model import Facts, Policy
from idp.policy.records import record_from_json
from idp.policy.replay import Replayed, summarise
from idp.policy.replay_render import as_lines
from idp.storage import decisions
from idp.storage.engine import reading
from idp.web.admin import difference, source
from idp.web.admin.explore import Answer, Question, answer, choices, facts_of, person, question_of
from idp.web.admin.guard import blueprint, page, record_view
from idp.web.admin.policy import InForce, deployment, in_force, notes_of
from idp.web.admin.source import Run
from idp.web.language import gettext as _
from idp.web.services import services

FILE: Final = "candidate.yaml"
CASES_FILE: Final = "candidate.test.yaml"
SAMPLE: Final = 500
"""So many of the latest recorded decisions are asked again; the command line takes them all."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a candidate."""

    data: bytes
    policy: Policy | None
    """None: it is no policy; the findings say why."""
    findings: tuple[Finding, ...]
    report: CaseReport | None
    case_faults: tuple[Fault, ...]
    changes: tuple[Difference, ...] = ()
    differences: tuple[difference.DiffLine, ...] = ()
    former: Answer | None = None
    """The policy in force on the question."""
    later: Answer | None = None
    """The candidate on the same question."""
    replayed: Replayed | None = None
    """The candidate on decisions that were made."""
    replayed_words: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Of the candidate's octets."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def acceptable(self) -> bool:
        """Whether it could be put in force, were it approved."""
        passed = self.report is None or self.report.passed
        return self.policy is not None and not has_errors(self.findings) and passed and not self.case_faults


@dataclass(frozen=True, slots=True)
class _Typed:
    """The form as it was sent."""

    candidate: bytes = b""
    cases: bytes = b""
    asked: Question = field(default_factory=Question)


@blueprint.get("/policy/try")
def trial() -> Response:
    """The form, with the policy in force and its cases to begin from."""
    found = in_force()
    return _page(_Typed((found.text or "").encode(), found.cases or b""))


@blueprint.post("/policy/try")
def try_candidate() -> Response:
    """Read, lint, run the cases, compare, and decide the question by both; a POST only because a file is long."""
    typed = _Typed()
    try:
        typed = _typed()
        now = services().clock.now()
        account = person(typed.asked.username)
        facts = facts_of(typed.asked, account, now)
    except InputRefused as error:
        return _page(typed, notice=str(error))
    subject = {} if account is None else {"subject": account.id}
    made = examine(typed.candidate, typed.cases, in_force(), facts)
    record_view("admin.policy.try", candidate_sha256=made.sha256, **subject)
    return _page(typed, made, facts=facts)


def _typed() -> _Typed:
    """What was sent; a file takes precedence over the field beside it.

    :raises InputRefused: there is nothing, or more than a policy may have.
    """
    candidate, cases = _octets("candidate"), _octets("cases")
    if not candidate.strip():
        raise InputRefused(_("Please choose a file, or write one."))
    return _Typed(candidate, cases, question_of(request.form))


def _octets(name: str) -> bytes:
    upload = request.files.get(f"{name}_file")
    data = b"" if upload is None else upload.stream.read(MAX_OCTETS + 1)
    # A browser sends the lines of a text area with CR LF (HTML, 4.10.21.4); in a file they are what they are.
    data = data or request.form.get(name, "").replace("\r\n", "\n").encode("utf-8", "surrogatepass")
    if len(data) > MAX_OCTETS:
        raise InputRefused(_("A policy has at most 256 KiB."))
    return data


def examine(data: bytes, cases: bytes, current: InForce, facts: Facts) -> Trial:
    """Everything that can be said about a candidate without anybody being concerned.

    1. It is a policy.  2. What the linter says.  3. Its cases.  4. What differs.  5. The question, by both.
    6. Recorded decisions, by the candidate.
    """
    try:
        policy = parse_policy(data, FILE)
    except PolicyLoadError as error:
        return Trial(data, None, findings_of(error), None, ())
    report, case_faults = _run(policy, cases)
    text = source.decoded(data)
    return Trial(
        data,
        policy,
        lint(policy, deployment()),
        report,
        case_faults,
        differences(current.policy, policy),
        difference.lines(current.text or "", text),
        answer(current.policy, facts, current.text),
        answer(policy, facts, text),
        *_replayed(policy),
    )


def _replayed(policy: Policy) -> tuple[Replayed, tuple[str, ...]]:
    """What the candidate says to the latest decisions that the audit chain vouches for."""
    with reading(services().engine) as connection:
        # What the chain and the table do not agree on is left out; `privyseal policy simulate` names it.
        kept = list(decisions.audited(connection, limit=SAMPLE, disagrees=lambda _disagreement: None))
    found = summarise(policy, [record_from_json(item) for item in kept])
    return found, tuple(as_lines(found))


def _run(policy: Policy, cases: bytes) -> tuple[CaseReport | None, tuple[Fault, ...]]:
    if not cases.strip():
        return None, ()
    try:
        return run_cases(policy, parse_cases(cases, CASES_FILE)), ()
    except PolicyLoadError as error:
        return None, error.faults


def _runs(made: Trial, text: str) -> tuple[Run, ...]:
    """The candidate's lines: with what is wrong with them, or else with what the decision rests on."""
    if made.later is not None and not made.findings:
        return made.later.runs
    return source.runs(source.lines(text, notes_of(made.findings)))


def _page(typed: _Typed, made: Trial | None = None, notice: str = "", facts: Facts | None = None) -> Response:
    text = source.decoded(typed.candidate)
    values: Mapping[str, Any] = {
        "text": text,
        "cases": source.decoded(typed.cases),
        "asked": typed.asked,
        "person": None,
        "notice": notice,
        "trial": made,
        "facts": facts,
        "runs": None if made is None else _runs(made, text),
        "approve_command": f"privyseal policy approve {FILE} --issuer {services().settings.issuer} --key OPERATOR.pem",
    }
    return page("admin_try.html", 400 if notice else 200, parent="admin.trial", **values, **choices())
