"""``docs/policy-tools.md`` has every word of the cases' format, and its example passes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from idp.policy import cases_load
from idp.policy.cases import parse_cases, run_cases
from idp.policy.cases_render import as_text
from idp.policy.load import parse_policy
from idp.policy.schema import Keys

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "policy-tools.md").read_text()
KEYS = {name: value for name, value in vars(cases_load).items() if isinstance(value, Keys)}


def examples(page: str, start: str) -> list[str]:
    """The YAML blocks of a page that begin with a key."""
    blocks: list[str] = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return [text for text in blocks if text.startswith(f"{start}:")]


@pytest.mark.parametrize("name", sorted(KEYS))
def test_every_key_of_a_cases_file_is_documented(name: str) -> None:
    format_ = PAGE.partition("### The format")[2].partition("\n## ")[0]
    assert [key for key in KEYS[name].usable if f"`{key}`" not in format_] == []


def test_the_example_passes_and_says_what_the_page_says() -> None:
    (policy_text,) = [text for text in examples("policy-language.md", "policy") if "name: small-office" in text]
    (text,) = examples("policy-tools.md", "policy-test")
    policy = parse_policy(policy_text.encode(), "small-office.yaml")
    report = run_cases(policy, parse_cases(text.encode(), "small-office.test.yaml"))
    assert f"$ privyseal policy test small-office.yaml\n{as_text(report)}\n" in PAGE
