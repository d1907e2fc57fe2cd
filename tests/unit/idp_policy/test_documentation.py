"""``docs/policy-language.md`` has every word of the language, and its examples are sound."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from idp.policy import keys
from idp.policy.evaluate import evaluate
from idp.policy.evidence import CATEGORIES, FACTORS, FLAGS
from idp.policy.load import parse_policy
from idp.policy.schema import Keys
from tests.unit.idp_policy.support import TXN, WORD, enrolled, facts, used

PAGE = (Path(__file__).parents[3] / "docs" / "policy-language.md").read_text()
EXAMPLES = [text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if text.startswith("policy:")]
ALL_KEYS = [value for value in (*vars(keys).values(), *keys.LIMIT_KEYS.values()) if isinstance(value, Keys)]


@pytest.mark.parametrize("known", ALL_KEYS)
def test_every_key_is_documented(known: Keys) -> None:
    assert not [key for key in known.usable if f"`{key}`" not in PAGE]


def test_every_factor_category_flag_framework_and_action_is_documented() -> None:
    words = {*FACTORS, *CATEGORIES, *FLAGS, *keys.FRAMEWORKS, *keys.ACTIONS}
    assert not [word for word in words if f"`{word}`" not in PAGE]


def test_every_example_is_sound_and_decides_as_the_page_says() -> None:
    (example,) = EXAMPLES
    policy = parse_policy(example.encode(), "small-office.yaml")
    situation = {"proofing": "substantial", "enrolled": (WORD, enrolled("totp"))}

    assert evaluate(policy, facts("sign_in", used("password"), **situation)).outcome == "allow"
    at_contracts = facts("sign_in", used("password"), client_id="example-contracts", **situation)
    assert evaluate(policy, at_contracts).required == ("strong",)
    decision = evaluate(policy, facts("signature.activate", used("password", 300), **situation))
    assert [option.missing for option in decision.options] == [("totp",)]
    (line,) = {reason.line for reason in decision.reasons if reason.rule == "sign" and "asks for level" in reason.text}
    assert f"small-office.yaml:{line} [policy] Rule 'sign' asks for level 'strong' (two factors)" in PAGE
    code = used("totp", 5, transaction=TXN)
    assert evaluate(policy, facts("signature.activate", used("password", 300), code, **situation)).outcome == "allow"
