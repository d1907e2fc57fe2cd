"""The shipped policies: each is sound, laid out, true to its rule book, and decides its own cases as they say."""

from __future__ import annotations

from pathlib import Path

import pytest

import policies
from idp.authn.roles import MATRIX
from idp.policy.cases import cases_beside, run_cases
from idp.policy.fmt import format_document
from idp.policy.keys import ACTIONS
from idp.policy.lint import lint
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
CHANGES = sorted({access.action for access in MATRIX.values() if access.changes})


def prepared(name: str) -> Prepared:
    """A pack, with all that is asked of it before it may decide."""
    file = FOLDER / f"{name}.yaml"
    cases = cases_beside(file)
    return prepare(file.read_bytes(), file.name, cases.read_bytes(), cases.name, cases_required=True)


def test_these_are_all() -> None:
    """A file that is added to the folder is added here, with its cases."""
    assert {path.name for path in FOLDER.glob("*.yaml")} == {
        name for pack in PACKS for name in (f"{pack}.yaml", f"{pack}.test.yaml")
    }


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_passes_all_its_cases_and_each_rule_takes_part_in_one(name: str) -> None:
    report = prepared(name).report
    assert report is not None
    assert len(report.results) >= 10


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
    assert not [action for action in (*ACTIONS, "admin.view") if not list(policy.rules_about(action))]


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

    survivors = [what for what, weaker in weakenings(made.policy) if not noticed(weaker)]
    assert survivors == []
