"""Every file of ``tests/vectors/policy_lint``: the findings that its lines announce, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from idp.policy.errors import PolicyLoadError
from idp.policy.lint import Finding, findings_of, lint
from idp.policy.load import parse_policy

FOLDER = Path(__file__).parents[2] / "vectors" / "policy_lint"
FILES = sorted(FOLDER.glob("*.yaml"))
BAD = [path for path in FILES if not path.name.endswith(".sound.yaml")]
_MARK = re.compile(r"# <- (L\d+)(?: (warning))?$")


def announced(path: Path) -> list[tuple[int, str, str]]:
    """Line, rule and severity of each mark."""
    marks = ((number, _MARK.search(line)) for number, line in enumerate(path.read_text().splitlines(), 1))
    return [(number, mark[1], mark[2] or "error") for number, mark in marks if mark]


def found(path: Path) -> tuple[Finding, ...]:
    """What the linter says about the file."""
    try:
        return lint(parse_policy(path.read_bytes(), path.name))
    except PolicyLoadError as error:
        return findings_of(error)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_has_the_findings_that_its_lines_announce(path: Path) -> None:
    findings = found(path)
    assert [(item.where.line, item.rule, item.severity) for item in findings] == announced(path)
    assert all(item.where.file == path.name for item in findings)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_file_breaks_the_rule_that_it_is_named_after_and_has_a_sound_neighbour(path: Path) -> None:
    assert {rule for _, rule, _ in announced(path)} == {path.name.partition("-")[0]}
    neighbour = path.with_suffix(".sound.yaml")
    assert neighbour in FILES
    assert announced(neighbour) == []
