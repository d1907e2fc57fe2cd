"""The shipped policies: each is sound, laid out, true to its rule book, and decides its own cases as they say."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

import policies
from idp.authn import methods
from idp.authn.roles import MATRIX
from idp.policy.cases import CaseResult, cases_beside, run_cases
from idp.policy.fmt import format_document
from idp.policy.keys import ACTIONS, LIMIT_KEYS, SIGN_IN_BAND
from idp.policy.lint import Deployment, lint
from idp.policy.model import Condition, Policy
from idp.policy.prepare import Prepared, prepare
from tests.unit.idp_policy.weakening import weakenings

FOLDER = Path(policies.__file__).parent
PACKS = (
    "default",
    "eidas-2015-1502",
    "iso29115-2013",
    "nist-800-63b-r3",
    "nist-800-63b-r4",
    "qualified-signing",
    "refeds-mfa",
    "x1254-2020",
)
HARMLESS = {
    # Such a code beside the password reaches the level by way of a stronger one.
    ("default", "level recovery: alternative 1, requirement 2 or sms_otp"),
    ("default", "level recovery: alternative 1, requirement 2 or email_otp"),
}
"""Steps that make nothing weaker."""

CHANGES = sorted({access.action for access in MATRIX.values() if access.changes})


@cache
def prepared(name: str) -> Prepared:
    """A pack, with all that is asked of it before it may decide."""
    file = FOLDER / f"{name}.yaml"
    cases = cases_beside(file)
    return prepare(file.read_bytes(), file.name, cases.read_bytes(), cases.name, cases_required=True)


def results(name: str) -> tuple[CaseResult, ...]:
    """What became of its cases."""
    report = prepared(name).report
    assert report is not None
    return report.results


def test_these_are_all() -> None:
    """A file that is added to the folder is added here, with its cases."""
    assert {path.name for path in FOLDER.glob("*.yaml")} == {
        name for pack in PACKS for name in (f"{pack}.yaml", f"{pack}.test.yaml")
    }


def test_the_page_about_them_names_each_with_its_levels() -> None:
    page = (Path(__file__).parents[3] / "docs" / "policy-packs.md").read_text(encoding="utf-8")
    rows = {name: row for row in page.splitlines() for name in PACKS if row.startswith(f"| [`{name}.yaml`]")}
    assert set(rows) == set(PACKS)
    for name, row in rows.items():
        levels = [level.name for level in prepared(name).policy.levels]
        assert f"`{levels[0]}`" in row
        assert f"`{levels[-1]}`" in row or "`signer`" in row


@pytest.mark.parametrize("name", PACKS)
def test_only_nist_refuses_a_deployment_that_has_passwords_and_codes_by_message_alone(name: str) -> None:
    """As ``docs/policy-packs.md`` says."""
    found = lint(prepared(name).policy, Deployment(enabled=frozenset({"password", "sms_otp", "email_otp"})))
    errors = {"nist-800-63b-r3": {"L2"}, "nist-800-63b-r4": {"L2", "L11"}}
    assert {finding.rule for finding in found if finding.severity == "error"} == errors.get(name, set())


@pytest.mark.parametrize("certificates", [False, True])
@pytest.mark.parametrize("name", PACKS)
def test_no_pack_is_refused_where_the_native_factors_are_there(name: str, certificates: bool) -> None:
    """What a deployment has whose settings name a gateway for each channel."""
    enabled = methods.available(sms=True, mail=True, certificates=certificates)
    assert lint(prepared(name).policy, Deployment(enabled=enabled)) == ()


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_passes_all_its_cases_and_each_rule_takes_part_in_one(name: str) -> None:
    assert len(results(name)) >= 10


@pytest.mark.parametrize("name", PACKS)
def test_the_linter_has_nothing_against_a_pack(name: str) -> None:
    assert prepared(name).findings == ()


@pytest.mark.parametrize("name", PACKS)
def test_the_cases_show_each_level_reached_and_just_missed(name: str) -> None:
    levels = {level.name for level in prepared(name).policy.levels}
    assert levels == {level for result in results(name) for level in result.decision.reached}
    assert levels == {
        level
        for result in results(name)
        for level in result.decision.required
        if result.decision.outcome == "step_up" and level not in result.decision.reached
    }


@pytest.mark.parametrize("name", PACKS)
def test_the_cases_show_what_a_request_can_do_and_what_it_cannot(name: str) -> None:
    decided = [(result.case.facts, result.case.expect, result.decision) for result in results(name)]
    assert any(expect.options is not None and len(expect.options) > 1 for _, expect, _ in decided), "a choice"
    assert any(decision.refusal == "proofing" for *_, decision in decided)
    assert any(decision.refusal == "unmet_request" for *_, decision in decided)
    assert any(
        facts.acr_values and "request" in expect.reasons and facts.action != "sign_in" and decision.outcome == "step_up"
        for facts, expect, decision in decided
    ), "a request for less"


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_is_named_like_its_file(name: str) -> None:
    assert prepared(name).policy.name == name


@pytest.mark.parametrize("name", PACKS)
@pytest.mark.parametrize("suffix", [".yaml", ".test.yaml"])
def test_a_pack_is_laid_out(name: str, suffix: str) -> None:
    file = FOLDER / f"{name}{suffix}"
    assert format_document(file.read_bytes(), file.name) == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_is_about_every_action(name: str) -> None:
    policy = prepared(name).policy
    asked = (*(ACTIONS - {SIGN_IN_BAND}), "admin.view")
    assert not [action for action in asked if not list(policy.rules_about(action))]


@pytest.mark.parametrize("name", PACKS)
def test_SAD_08_no_pack_permits_signatures_in_band(name: str) -> None:
    assert not list(prepared(name).policy.rules_about(SIGN_IN_BAND))


@pytest.mark.parametrize("name", PACKS)
@pytest.mark.parametrize("action", CHANGES)
def test_ADM_an_open_session_changes_nothing_under_any_pack(name: str, action: str) -> None:
    rules = prepared(name).policy.rules_about(action)
    assert any(rule.when == Condition() and any(need.per_transaction for need in rule.evidence) for rule in rules)


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_that_is_weakened_by_one_step_fails_its_cases_or_the_linter(name: str) -> None:
    made = prepared(name)
    assert made.report is not None
    cases, known = made.report.cases, set(made.findings)

    def noticed(policy: Policy) -> bool:
        return not run_cases(policy, cases).passed or not set(lint(policy)) <= known

    survivors = {(name, what) for what, weaker in weakenings(made.policy) if not noticed(weaker)}
    assert survivors == {item for item in HARMLESS if item[0] == name}


@pytest.mark.parametrize("name", sorted(set(PACKS) - {"default"}))
def test_factors_have_limits_and_people_are_told_of_text_messages(name: str) -> None:
    policy = prepared(name).policy
    needs = (need for level in policy.levels for way in level.any_of for need in way.all_of)
    used = {factor for need in needs for factor in need.factors}
    assert (used & set(LIMIT_KEYS)) == set(policy.factors)
    assert policy.factors["password"].min_length == {"nist-800-63b-r3": 8, "nist-800-63b-r4": 15}.get(name, 12)
    for factor, limits in policy.factors.items():
        assert not limits.reset_on_resend
        assert limits.max_failures == 100
        assert limits.lifetime is None or limits.lifetime <= 600
        assert limits.step in (None, 30)
        assert limits.restricted_notice == (factor == "sms_otp")
        assert limits.transfer == ("number" if factor == "mobile_id" else None)
