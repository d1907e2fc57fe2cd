"""The table of attacks names tests that exist, and that say which attack they refuse."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

DOCUMENT = ROOT / "docs" / "attacks.md"
ROW = re.compile(r"\| ([A-Z]{3}-\d\d) \| ([^|]+) \| ([^|]+) \|\Z")
TEST = re.compile(r"`(tests/[^`:]+\.py)::(test_[A-Za-z0-9_]+)`")
EXPECTED = {
    "SAD": tuple(range(1, 16)),
    "OTP": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
    "SES": (1, 2, 3, 4, 5, 7, 8, 10, 12),
    "OAU": (1, 2, 3, 4, 6, 8, 10, 11, 17),
    "JOS": (2, 3),
    "AUD": tuple(range(1, 12)),
    "KEY": tuple(range(1, 15)),
    "ADM": (1, 2, 4, 6),
    "OPS": (1, 2, 3, 4, 5, 7, 8),
    "DOS": (2, 3, 4, 7),
    "PKI": (1, 2),
}
"""Those that this version has to refuse at least."""


def rows() -> dict[str, list[tuple[str, str]]]:
    """Attack to tests, as the document has them."""
    found = (ROW.match(line) for line in DOCUMENT.read_text(encoding="utf-8").splitlines())
    return {match[1]: TEST.findall(match[3]) for match in found if match}


@cache
def functions(path: Path) -> frozenset[str]:
    """Names of the tests in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_attack_that_has_to_be_refused_is_in_the_table() -> None:
    expected = {f"{kind}-{number:02}" for kind, numbers in EXPECTED.items() for number in numbers}
    assert expected - set(rows()) == set()


def test_no_attack_is_in_the_table_twice() -> None:
    """Of two rows the second would hide the first."""
    found = [match[1] for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if (match := ROW.match(line))]
    assert [attack for attack, times in Counter(found).items() if times > 1] == []


@pytest.mark.parametrize(("attack", "tests"), rows().items(), ids=lambda value: value if isinstance(value, str) else "")
def test_the_tests_of_an_attack_exist_and_name_it(attack: str, tests: list[tuple[str, str]]) -> None:
    assert tests, "no test is named"
    for path, name in tests:
        file = ROOT / path
        assert file.is_file(), path
        assert name in functions(file), f"{path} has no {name}"
        # In its name, or in its file: among the cases that it goes through.
        named = attack.replace("-", "_") in name or attack in file.read_text(encoding="utf-8")
        assert named, f"{path}::{name} does not say that it is {attack}"
