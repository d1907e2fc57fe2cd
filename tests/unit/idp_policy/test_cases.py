"""The cases of a policy: read strictly, compared exactly, and no rule left out."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import PurePosixPath
from xml.etree import ElementTree as ET

import pytest

from idp.policy.cases import CaseReport, Cases, cases_beside, parse_cases, run_cases
from idp.policy.cases_render import as_json, as_junit, as_text
from idp.policy.errors import PolicyLoadError
from idp.policy.evidence import Evidence
from idp.policy.model import CredentialFacts, EnrolledFactor
from tests.unit.idp_policy.support import policy

FILE = "sample.test.yaml"
HEAD = "policy-test: 1\npeople:\n  anna: {proofing: high, enrolled: [password, sms_otp]}\ncases:\n"
SMALL = """\
policy: 1
name: small
levels:
  - name: low
    acr: urn:example:low
    claims: {eidas-2015-1502: low}
    any_of: [{all_of: [{factor: password}]}]
  - name: strong
    acr: urn:example:strong
    implies: low
    any_of: [{all_of: [{factor: password}, {factor: [sms_otp, totp]}]}]
rules:
  - {id: sign-in, action: sign_in, require: low}
  - {id: partner, action: sign_in, when: {client: shop}, require: strong}
"""
ENTERS = """\
  - name: enters
    person: anna
    action: sign_in
    evidence: [password]
    expect: {outcome: allow, reasons: [sign-in, "level:low"], acr: urn:example:low, loa: low}
"""
PARTNER = """\
  - name: the shop wants more
    person: anna
    action: sign_in
    client: shop
    evidence: [password]
    expect: {outcome: step_up, reasons: [sign-in, partner, "level:strong"], options: [[sms_otp]]}
"""


def cases(text: str) -> Cases:
    return parse_cases(text.encode(), FILE)


def run(text: str) -> CaseReport:
    return run_cases(policy(SMALL), cases(HEAD + text))


def faults(text: str) -> list[str]:
    with pytest.raises(PolicyLoadError) as caught:
        cases(text)
    return [str(fault).removeprefix(f"{FILE}:") for fault in caught.value.faults]


def test_cases_that_come_out_as_expected_pass() -> None:
    report = run(ENTERS + PARTNER)
    assert report.passed
    assert as_text(report) == f"policy.yaml: passed ({FILE}: 2 cases, 0 failed, 0 rules not exercised)"


@pytest.mark.parametrize(
    ("old", "new", "what", "expected", "got"),
    [
        ("outcome: allow", "outcome: step_up", "outcome", "step_up", "allow"),
        ("outcome: allow", "outcome: deny, refusal: proofing", "refusal", "proofing", "none"),
        ("acr: urn:example:low", "acr: urn:example:strong", "acr", "urn:example:strong", "urn:example:low"),
        ("loa: low", "loa: none", "loa", "none", "low"),
        ("loa: low", "session_limit: 13h", "session_limit", "13 h", "none"),
        ("loa: low", "idle_limit: 30m", "idle_limit", "30 min", "none"),
        ('[sign-in, "level:low"]', '["level:low", sign-in]', "reasons", "level:low, sign-in", "sign-in, level:low"),
        ('[sign-in, "level:low"]', "[sign-in]", "reasons", "sign-in", "sign-in, level:low"),
        ("[[sms_otp]]", "[[sms_otp], [totp]]", "options", "sms_otp; or totp", "sms_otp"),
        ("[[sms_otp]]", "[[sms_otp, totp]]", "options", "sms_otp and totp", "sms_otp"),
    ],
)
def test_anything_that_comes_out_otherwise_fails(old: str, new: str, what: str, expected: str, got: str) -> None:
    report = run((ENTERS + PARTNER).replace(old, new))
    assert not report.passed
    (result,) = report.failed
    (found,) = [item for item in result.mismatches if item.what == what]
    assert (found.expected, found.got) == (expected, got)


def test_a_reason_that_no_rule_of_the_policy_can_give_is_named() -> None:
    report = run(ENTERS.replace('"level:low"', '"level:high", renamed, request, upstream'))
    (mismatch,) = report.results[0].mismatches
    names = "sign-in, level:high, renamed, request, upstream"
    assert mismatch.expected == f"{names} (level:high, renamed: not in this policy)"


def test_a_rule_that_no_case_exercises_fails_the_run() -> None:
    report = run(ENTERS)
    assert report.failed == ()
    assert [rule.id for rule in report.unexercised] == ["partner"]
    assert not report.passed
    assert "policy.yaml:14: rule 'partner' is not exercised" in as_text(report)


def test_a_rule_is_not_exercised_by_a_case_about_which_there_is_no_rule() -> None:
    # Its reason stands at the line where the rules begin and is named like this rule.
    text = SMALL.partition("rules:")[0] + "rules: [{id: default, action: sign_in, require: low}]\n"
    case = "  - {name: n, action: credential.create, expect: {outcome: deny, refusal: no_rule, reasons: [default]}}\n"
    report = run_cases(policy(text), cases(HEAD + case))
    assert report.failed == ()
    assert [rule.id for rule in report.unexercised] == ["default"]


def test_a_rule_is_not_exercised_by_evidence_that_does_not_count() -> None:
    text = SMALL.partition("rules:")[0] + (
        "rules: [{id: evidence, action: sign_in, when: {client: x}, require: low}, "
        "{id: all, action: sign_in, require: low}]\n"
    )
    case = (
        "  - {name: n, action: sign_in, request: {max_age: 5}, evidence: [{factor: password, age: 1m}], "
        "expect: {outcome: deny, refusal: unreachable, reasons: [all, evidence, 'level:low', default]}}\n"
    )
    report = run_cases(policy(text), cases(HEAD + case))
    assert report.failed == ()
    assert [rule.id for rule in report.unexercised] == ["evidence"]


def test_a_failed_case_shows_expected_and_got_with_the_reasons_and_their_lines() -> None:
    lines = as_text(run(ENTERS.replace("allow", "step_up") + PARTNER)).splitlines()
    assert lines == [
        f"policy.yaml: FAILED ({FILE}: 2 cases, 1 failed, 0 rules not exercised)",
        f"  {FILE}:5: enters",
        "    outcome  expected step_up",
        "             got      allow",
        "    because",
        "      policy.yaml:13 [policy] Rule 'sign-in' asks for level 'low'.",
        "      policy.yaml:4 [evidence] Level 'low' is reached: password of 2026-03-02 10:00:00Z.",
    ]


def test_json_has_every_case_with_its_line_and_reasons() -> None:
    value = as_json(run(ENTERS.replace("allow", "step_up")))
    assert (value["passed"], value["cases_file"], value["policy"]["name"]) == (False, FILE, "small")
    (case,) = value["cases"]
    assert (case["name"], case["line"], case["passed"], case["outcome"]) == ("enters", 5, False, "allow")
    assert case["mismatches"] == [{"what": "outcome", "expected": "step_up", "got": "allow"}]
    assert [reason["rule"] for reason in case["reasons"]] == ["sign-in", "level:low"]
    assert value["unexercised"] == [{"rule": "partner", "line": 14}]


def test_junit_xml_is_read_back_whatever_names_say() -> None:
    report = run(ENTERS.replace("name: enters", 'name: "a & <b> \\"c\\""').replace("allow", "step_up"))
    root = ET.fromstring(as_junit([report], {"bad\x1b.yaml": "bad\x1b.yaml:1:1: <no>"}))
    assert root.attrib == {"tests": "3", "failures": "2", "errors": "1"}
    suite, broken = root.findall("testsuite")
    failed, rule = suite.findall("testcase")
    assert failed.attrib == {"name": 'a & <b> "c"', "classname": "small", "file": FILE, "line": "5"}
    failure = failed.find("failure")
    assert failure is not None
    assert failure.attrib["message"] == "outcome: expected step_up, got allow"
    assert "policy.yaml:13 [policy] Rule 'sign-in'" in (failure.text or "")
    assert rule.attrib["name"] == "rule 'partner' is exercised"
    assert [element.tag for element in rule] == ["failure"]
    error = broken.find("testcase/error")
    assert error is not None
    assert error.text == "bad\\u001b.yaml:1:1: <no>"


def test_a_passed_case_is_an_empty_test_in_junit_xml() -> None:
    root = ET.fromstring(as_junit([run(ENTERS + PARTNER)], {}))
    assert [len(case) for case in root.iter("testcase")] == [0, 0]


def test_all_the_facts_can_be_stated() -> None:
    (case,) = cases("""\
policy-test: 1
at: "2026-03-02T23:59:59Z"
people: {}
cases:
  - name: >
      over two
      lines
    person:
      proofing: substantial
      groups: [staff, legal]
      attributes: {department: [law, tax], site: bonn}
      enrolled:
        - totp
        - {factor: upstream, category: knowledge, flags: user_verified, issuer: https://i, channel: c, attestation: a}
        - {factor: password, min_length: 9}
    action: signature.activate
    client: shop
    credential: {id: c1, scal: "2", qualifier: eu_eidas_qes}
    network: 2001:db8::7
    transaction: t1
    at: "2026-06-01T00:00:00Z"
    evidence:
      - {factor: password, age: 5m}
      - {factor: password, min_length: 0}
      - {factor: sms_otp, for: t1, flags: restricted, channel: sms, id: p, category: inherence, issuer: i,
         attestation: a}
    request: {acr_values: [b, a], essential_acr: c, max_age: 0, force: true}
    expect: {outcome: deny, refusal: proofing, reasons: x}
""").cases
    facts = case.facts
    now = datetime(2026, 6, 1, tzinfo=UTC)
    assert case.name == "over two lines"
    assert (facts.action, facts.now, facts.client_id, facts.network) == (
        "signature.activate",
        now,
        "shop",
        "2001:db8::7",
    )
    assert (facts.groups, facts.proofing, facts.transaction) == (
        frozenset({"staff", "legal"}), "substantial", "t1",
    )  # fmt: skip
    assert facts.attributes == {"department": ("law", "tax"), "site": ("bonn",)}
    assert facts.credential == CredentialFacts("c1", "2", "eu_eidas_qes")
    assert facts.enrolled == (
        EnrolledFactor("totp", "possession"),
        EnrolledFactor("upstream", "knowledge", frozenset({"user_verified"}), "https://i", "c", "a"),
        EnrolledFactor("password", "knowledge", min_length=9),
    )
    assert facts.evidence == (
        # Unless a case says otherwise, it is as long as a new one.
        Evidence("password", "password", "knowledge", datetime(2026, 5, 31, 23, 55, tzinfo=UTC), min_length=15),
        Evidence("password", "password", "knowledge", now, min_length=0),
        Evidence("sms_otp", "p", "inherence", now, "i", frozenset({"restricted"}), "sms", "t1", "a"),
    )
    assert (facts.acr_values, facts.essential_acr, facts.max_age) == (("b", "a"), ("c",), 0)
    assert facts.force_reauthentication
    assert (case.expect.refusal, case.expect.reasons) == ("proofing", ("x",))


BROKERED = SMALL.replace(
    "levels:\n",
    """\
upstream:
  - issuer: https://idp.example.org
    cap: low
    max_age: 10m
    mappings:
      - when: {class: urn:two, acr: urn:acr, amr: [pwd, otp], attribute: {loa: high}}
        evidence: [{category: possession}]
levels:
""",
).replace(
    "any_of: [{all_of: [{factor: password}]}]",
    """any_of:
      - all_of: [{factor: password}]
      - all_of: [{factor: upstream, category: possession, issuer: https://idp.example.org}]""",
)
LOGIN = """\
  - name: comes from elsewhere
    action: sign_in
    logins: [{issuer: https://idp.example.org, class: urn:two, acr: urn:acr, amr: [pwd, otp], attributes: {loa: high}}]
    expect: {outcome: allow, reasons: [sign-in, "level:low"]}
"""


@pytest.mark.parametrize(
    ("old", "new", "passed"),
    [
        ("", "", True),
        ("class: urn:two, ", "", False),
        ("loa: high", "loa: low", False),
        ("}}]", "}, age: 10m}]", True),
        ("}}]", "}, age: 11m}]", False),
        ("idp.example.org", "other.example.org", False),
    ],
)
def test_what_a_login_elsewhere_counts_as_is_the_policys_to_say(old: str, new: str, *, passed: bool) -> None:
    report = run_cases(policy(BROKERED), cases(HEAD + LOGIN.replace(old, new, 1)))
    assert (report.failed == ()) is passed


def test_a_login_of_ones_own_is_no_login_elsewhere() -> None:
    assert any("another issuer than 'self'" in fault for fault in faults(HEAD + CASE % "logins: [{issuer: self}]"))
    assert any("a login has no 'issuer'" in fault for fault in faults(HEAD + CASE % "logins: [{acr: x}]"))


def test_a_case_may_leave_almost_everything_out() -> None:
    case = cases(HEAD + "  - {name: n, action: a, expect: {outcome: allow, reasons: [x]}}").named("n")
    assert case is not None
    assert case.facts.now == datetime(2026, 3, 2, 10, tzinfo=UTC)
    assert (case.facts.proofing, case.facts.enrolled, case.facts.evidence) == ("none", (), ())
    assert (case.facts.max_age, case.facts.network, case.facts.credential) == (None, None, None)
    assert cases(HEAD + "  - {name: n, action: a, expect: {outcome: allow, reasons: [x]}}").named("m") is None


CASE = "  - {name: n, action: a, expect: {outcome: allow, reasons: [x]}, %s}\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("persona: anna", "5:66: unknown key 'persona' in a case; known are name, action, expect, person, client"),
        ("person: bert", "5:74: unknown person 'bert'; known are anna"),
        ("person: {name: bert}", "unknown key 'name' in a person"),
        ("person: {proofing: good}", "unknown proofing 'good'; known are none, low, substantial, high"),
        ("person: {enrolled: [charm]}", "unknown factor 'charm'"),
        ("person: {enrolled: [upstream]}", "'upstream' has no category of its own"),
        ("person: {enrolled: [{factor: totp, age: 5m}]}", "unknown key 'age' in an enrolled factor"),
        ("person: {attributes: [a]}", "attributes is written as keys with values"),
        ("evidence: []", "evidence may not be empty"),
        ("evidence: [{factor: totp, flags: [shiny]}]", "unknown flags 'shiny'"),
        ("evidence: [{factor: totp, category: luck}]", "unknown category 'luck'"),
        ("evidence: [{factor: totp, age: 5}]", "age is a number and a unit"),
        ("evidence: [{factor: totp, age: 999999d}]", "age is at most ten years"),
        ("evidence: [{age: 5m}]", "evidence has no 'factor'"),
        ("network: 192.0.2.0/24", "network '192.0.2.0/24' is not the address of one machine"),
        ("network: ''", "network is empty"),
        ("credential: {id: c1}", "credential has no 'scal'"),
        ("credential: {id: c1, scal: '3'}", "unknown scal '3'"),
        ("at: tomorrow", "at is a time in UTC"),
        ("at: '2026-02-30T10:00:00Z'", "at is a time in UTC"),
        ("at: '0001-01-01T00:00:00Z'", "at is a time in UTC from the year 2000 on"),
        ("request: {max_age: 5m}", "max_age is a whole number"),
        ("request: {force: yes}", "force is true or false"),
        ("request: {prompt: login}", "unknown key 'prompt' in a request"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(line: str, message: str) -> None:
    assert any(message in fault for fault in faults(HEAD + CASE % line)), faults(HEAD + CASE % line)


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ("{outcome: allow}", "expect has no 'reasons'"),
        ("{outcome: maybe, reasons: [x]}", "unknown outcome 'maybe'; known are allow, step_up, deny"),
        (
            "{outcome: deny, reasons: [x]}",
            "a case that expects deny says why: refusal is no_rule, proofing,",
        ),
        ("{outcome: deny, refusal: mood, reasons: [x]}", "unknown refusal 'mood'"),
        ("{outcome: allow, refusal: proofing, reasons: [x]}", "refusal goes with the outcome deny"),
        ("{outcome: allow, options: [[totp]], reasons: [x]}", "options go with the outcome step_up"),
        ("{outcome: step_up, session_limit: 12h, reasons: [x]}", "session_limit goes with the outcome allow"),
        ("{outcome: deny, refusal: no_rule, idle_limit: 1h, reasons: [x]}", "idle_limit goes with the outcome allow"),
        ("{outcome: allow, idle_limit: 1, reasons: [x]}", "idle_limit is a number and a unit"),
        ("{outcome: step_up, options: [[charm]], reasons: [x]}", "unknown factor 'charm'"),
        ("{outcome: step_up, options: totp, reasons: [x]}", "options is a list"),
        ("{outcome: allow, loa: huge, reasons: [x]}", "unknown loa 'huge'; known are low, substantial, high, none"),
        ("allow", "expect is written as keys with values"),
    ],
)
def test_an_expectation_that_says_too_little_or_too_much_is_refused(expect: str, message: str) -> None:
    found = faults(f"{HEAD}  - {{name: n, action: a, expect: {expect}}}")
    assert any(message in fault for fault in found), found


def test_a_case_without_expectation_tests_nothing() -> None:
    assert faults(f"{HEAD}  - {{name: n, action: a}}") == ["5:5: a case has no 'expect'"]


def test_two_cases_of_one_name_are_refused() -> None:
    assert faults(HEAD + ENTERS + ENTERS) == ["10:5: case 'enters' is given twice, first in line 5"]


def test_a_file_without_cases_tests_nothing() -> None:
    assert faults("policy-test: 1\ncases: []\n") == ["2:8: cases may not be empty"]
    assert faults("policy-test: 1\n") == ["1:1: a cases file has no 'cases'"]


def test_names_of_people_need_people() -> None:
    text = "policy-test: 1\ncases:\n" + CASE % "person: bert"
    assert faults(text) == ["3:74: unknown person 'bert'; there are no 'people'"]


def test_the_reader_is_as_strict_as_for_policies() -> None:
    assert "anchors are not allowed" in faults("policy-test: 1\npeople: &p {}\ncases: []")[0]
    assert faults("policy-test: 2\ncases: [") == ["2:9: not YAML: expected the node content, but found '<stream end>'"]
    assert faults("policy-test: '1'\n" + "cases:\n" + CASE % "client: c") == [
        "1:14: 'policy-test', the version of the format, is a whole number"
    ]


def test_the_cases_of_a_file_are_beside_it() -> None:
    assert cases_beside(PurePosixPath("/etc/idp/office.yaml")) == PurePosixPath("/etc/idp/office.test.yaml")


def test_the_files_hash_identifies_the_cases() -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", cases(HEAD + ENTERS).sha256)
    assert cases(HEAD + ENTERS).sha256 != cases(HEAD + PARTNER).sha256
