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
from tests.unit.idp_policy import guide

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "policy-tools.md").read_text()
KEYS = {name: value for name, value in vars(cases_load).items() if isinstance(value, Keys)}


@pytest.mark.parametrize("name", sorted(KEYS))
def test_every_key_of_a_cases_file_is_documented(name: str) -> None:
    format_ = PAGE.partition("### The format")[2].partition("\n## ")[0]
    assert [key for key in KEYS[name].usable if f"`{key}`" not in format_] == []


def test_the_example_passes_and_says_what_the_page_says() -> None:
    (text,) = [text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if text.startswith("policy-test:")]
    policy = parse_policy(guide.played().files["small-office.yaml"].encode(), "small-office.yaml")
    report = run_cases(policy, parse_cases(text.encode(), "small-office.test.yaml"))
    assert f"$ privyseal policy test small-office.yaml\n{as_text(report)}\n" in PAGE
