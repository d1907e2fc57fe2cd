"""``docs/policy-lint.md`` has an entry for every rule and no other, and its examples are those that are linted."""

from __future__ import annotations

import re
import textwrap

import pytest

from idp.policy.lint import RULES, LintRule
from tests.unit.idp_policy.test_lint_files import FILES, FOLDER

PAGE = (FOLDER.parents[2] / "docs" / "policy-lint.md").read_text(encoding="utf-8")
ENTRIES = {
    heading.partition(":")[0]: (heading, body)
    for heading, _, body in (part.partition("\n") for part in PAGE.partition("## The rules\n")[2].split("\n### ")[1:])
}
FILE_LINES = {path.name: path.read_text(encoding="utf-8").splitlines() for path in FILES}


def test_every_rule_has_an_entry_and_no_other_has() -> None:
    assert list(ENTRIES) == [rule.id for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_an_entry_says_what_why_by_which_clause_and_what_to_write(rule: LintRule) -> None:
    heading, body = ENTRIES[rule.id]
    words = " ".join(body.split())
    assert heading == f"{rule.id}: {rule.title}"
    assert f"*{rule.severity}* · {'; '.join(rule.clauses)}" in words
    assert f"Why: {' '.join(rule.why.split())}" in words
    assert f"Instead: {' '.join(rule.advice.split())}." in words
    assert body.count("```yaml") >= 1


@pytest.mark.parametrize("name", [name for name in ENTRIES if name != "L18"])
def test_the_examples_are_parts_of_the_files_that_are_linted(name: str) -> None:
    """L18 needs a deployment, so no file alone shows it."""
    examples = re.findall(r"```yaml\n(.*?)\n```", ENTRIES[name][1], re.DOTALL)
    marks = [f"# <- {name}" in example for example in examples]
    assert marks == [True, False][: len(marks)]
    for marked, example in zip(marks, examples, strict=True):
        files = [file for file in FILE_LINES if file.startswith(f"{name}-") and file.endswith(".sound.yaml") != marked]
        assert any(_has(FILE_LINES[file], example) for file in files), example


def _has(lines: list[str], example: str) -> bool:
    count = example.count("\n") + 1
    parts = ("\n".join(lines[start : start + count]) for start in range(len(lines)))
    return any(textwrap.dedent(part) == example for part in parts)


def test_every_rule_that_a_file_alone_can_break_has_a_file() -> None:
    shown = {path.name.partition("-")[0] for path in FILES}
    assert shown == {rule.id for rule in RULES} - {"L18"}
