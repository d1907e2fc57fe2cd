"""``docs/policy-language.md``: what it says a reader would see is what a reader sees."""

from __future__ import annotations

import re

import pytest

from idp.policy import keys
from idp.policy.cases import parse_cases, run_cases
from idp.policy.evidence import CATEGORIES, FACTORS, FLAGS
from idp.policy.lint import has_errors, lint
from idp.policy.load import parse_policy
from idp.policy.schema import Keys
from tests.unit.idp_policy import guide
from tests.unit.idp_policy.test_json_schema import mistakes

PAGE = guide.PAGE.read_text()
ALL_KEYS = [value for value in (*vars(keys).values(), *keys.LIMIT_KEYS.values()) if isinstance(value, Keys)]


def test_every_command_prints_what_the_page_shows() -> None:
    """Write it anew with: python -m tests.unit.idp_policy.guide."""
    assert guide.played().page == PAGE


def test_the_reader_ends_with_a_policy_that_passes_and_has_seen_it_fail() -> None:
    said = guide.played().commands
    seen = {(command.split()[2], code) for command, code in said if command.startswith("privyseal")}
    assert seen >= {
        ("check", 1),
        ("check", 0),
        ("lint", 3),
        ("lint", 0),
        ("test", 3),
        ("test", 0),
        ("fmt", 3),
        ("approve", 0),
    }
    assert {name for name, _ in seen} == {"check", "lint", "test", "explain", "fmt", "approve", "diff", "simulate"}


@pytest.mark.parametrize("name", ["small-office", "candidate"])
def test_the_policies_that_the_reader_made_are_sound(name: str) -> None:
    files = guide.played().files
    policy = parse_policy(files[f"{name}.yaml"].encode(), f"{name}.yaml")
    assert not has_errors(lint(policy))
    assert run_cases(policy, parse_cases(files[f"{name}.test.yaml"].encode(), f"{name}.test.yaml")).passed
    assert mistakes(files[f"{name}.yaml"]) == []


@pytest.mark.parametrize("known", ALL_KEYS)
def test_every_key_is_documented(known: Keys) -> None:
    assert not [key for key in known.usable if f"`{key}`" not in PAGE]


def test_every_factor_category_flag_framework_and_action_is_documented() -> None:
    words = {*FACTORS, *CATEGORIES, *FLAGS, *keys.FRAMEWORKS, *keys.ACTIONS}
    assert not [word for word in words if f"`{word}`" not in PAGE]


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("<!-- what -->\n```yaml\n```\n", "what is"),
        ("<!-- file a.yaml -->\n```yaml\nb\nb\n```\n<!-- edit a.yaml -->\n```diff\n-b\n+c\n```\n", "2 times"),
        ('<!-- file a.yaml -->\n```yaml\na\n```\n<!-- add to a.yaml: before "x" -->\n```yaml\nb\n```\n', "0 times"),
        ("```console\n$ rm -r /\n```\n", "the page runs"),
    ],
)
def test_a_page_that_cannot_be_played_is_noticed(page: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        guide.play(page)


def test_output_that_the_page_does_not_show_is_noticed() -> None:
    page = "```console\n$ touch a.yaml\n$ privyseal policy check a.yaml\n```\n"
    assert guide.play(page).page == page.replace("a.yaml\n```", "a.yaml\na.yaml:1:1: the file is empty\n```")
