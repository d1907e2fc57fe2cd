"""Nothing gets into force that is no policy, contradicts a rule book, or fails its own cases."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.policy.errors import PolicyRejected, RejectionCause
from idp.policy.lint import Finding
from idp.policy.model import Where
from idp.policy.prepare import NO_CASES, prepare

POLICY = b"""\
policy: 1
name: tests
levels:
  - name: low
    acr: urn:example:low
    any_of:
      - all_of:
          - factor: password
rules:
  - id: sign-in
    action: sign_in
    require: low
"""
CASES = b"""\
policy-test: 1
cases:
  - name: a password signs in
    action: sign_in
    evidence: [{factor: password}]
    expect: {outcome: allow, reasons: [sign-in, level:low]}
"""
WEAK = POLICY.replace(b"    acr:", b"    claims: {nist-800-63b:r4: aal2}\n    acr:").replace(b"password", b"email_otp")


OTHER = b"  - {id: other, action: sign_in, when: {client: c}, require: low}\n"


def rejected(data: bytes, cases: bytes | None = None, *, cases_required: bool = False) -> PolicyRejected:
    with pytest.raises(PolicyRejected) as found:
        prepare(data, "p.yaml", cases, "p.test.yaml", cases_required=cases_required)
    return found.value


def test_a_sound_policy_that_passes_its_cases_is_prepared() -> None:
    made = prepare(POLICY, "p.yaml", CASES, "p.test.yaml", cases_required=True)
    assert made.policy.sha256 == hashlib.sha256(POLICY).hexdigest()
    assert made.cases_sha256 == hashlib.sha256(CASES).hexdigest()
    assert made.report is not None
    assert made.report.passed
    assert made.findings == ()


def test_without_cases_a_policy_is_prepared_only_where_none_are_required() -> None:
    made = prepare(POLICY, "p.yaml", None, "p.test.yaml")
    assert (made.report, made.cases_sha256) == (None, NO_CASES)
    error = rejected(POLICY, cases_required=True)
    assert (error.cause, error.faults[0].file) == ("cases_missing", "p.test.yaml")


def test_what_is_no_policy_is_rejected_with_all_its_faults() -> None:
    error = rejected(POLICY.replace(b"action", b"axtion").replace(b"require", b"recuire"), CASES)
    assert error.cause == "faults"
    assert len(error.faults) >= 2
    assert "p.yaml:11" in str(error)


def test_a_policy_that_contradicts_a_rule_book_is_rejected_with_the_clause() -> None:
    error = rejected(WEAK, CASES)
    assert error.cause == "lint"
    assert "L1" in {fault.rule for fault in error.faults}
    assert "63B" in str(error)


def test_a_warning_of_the_linter_is_kept_and_rejects_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    warning = Finding("L17", "warning", Where("p.yaml", 4, 5), "nobody can reach it", "", "")
    monkeypatch.setattr("idp.policy.prepare.lint", lambda _policy, _deployment: (warning,))
    assert prepare(POLICY, "p.yaml", CASES, "p.test.yaml").findings == (warning,)


@pytest.mark.parametrize(
    ("data", "cases", "words"),
    [
        (POLICY, CASES.replace(b"allow", b"step_up"), "p.test.yaml:3:5: case 'a password signs in': outcome is allow"),
        (POLICY, CASES.replace(b"[sign-in, level:low]", b"[sign-in]"), "reasons is sign-in, level:low"),
        (POLICY + OTHER, CASES, "p.yaml:13:5: no case exercises the rule 'other'"),
        (POLICY, CASES.replace(b"outcome", b"outcom"), "p.test.yaml:6"),
        (POLICY, b"", "p.test.yaml:1:1"),
    ],
    ids=["another-outcome", "other-reasons", "a-rule-that-no-case-exercises", "faults-in-the-cases", "empty"],
)
def test_a_policy_that_fails_its_own_cases_is_rejected(data: bytes, cases: bytes, words: str) -> None:
    error = rejected(data, cases)
    assert error.cause == "cases_failed"
    assert words in str(error)


CAUSES: dict[str, tuple[bytes, bytes | None, RejectionCause | None]] = {
    "sound": (POLICY, CASES, None),
    "no policy": (POLICY[:50], CASES, "faults"),
    "weak": (WEAK, CASES, "lint"),
    "wrong": (POLICY, CASES.replace(b"allow", b"deny"), "cases_failed"),
}


@given(st.sampled_from(sorted(CAUSES)), st.integers(0, len(POLICY)), st.binary(max_size=3))
def test_whatever_is_put_in_a_files_middle_what_is_prepared_passed_its_cases(
    name: str, position: int, junk: bytes
) -> None:
    data, cases, _cause = CAUSES[name]
    try:
        made = prepare(data[:position] + junk + data[position:], "p.yaml", cases, "p.test.yaml", cases_required=True)
    except PolicyRejected:
        return
    assert made.report is not None
    assert made.report.passed
    assert not [finding for finding in made.findings if finding.severity == "error"]


@pytest.mark.parametrize("name", sorted(CAUSES))
def test_the_first_thing_that_is_wrong_is_the_cause(name: str) -> None:
    data, cases, cause = CAUSES[name]
    if cause is None:
        prepare(data, "p.yaml", cases, "p.test.yaml")
    else:
        assert rejected(data, cases).cause == cause
