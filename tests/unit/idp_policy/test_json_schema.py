"""The published JSON Schema: current, sound, and of one mind with the loader."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from idp.policy.cases_json_schema import cases_schema, cases_schema_text
from idp.policy.cases_load import parse_cases
from idp.policy.document import Mapping, Node, Scalar, Sequence, read_document
from idp.policy.errors import PolicyLoadError
from idp.policy.json_schema import policy_schema, schema_text, table
from idp.policy.schema import Keys
from tests.unit.idp_policy.support import POLICY, faults
from tests.unit.idp_policy.test_load import SMALL
from tests.unit.idp_policy.test_load_wider import EVERYTHING

ROOT = Path(__file__).parents[3]
SHIPPED = sorted(path for path in (ROOT / "policies").glob("**/*.yaml") if not path.name.endswith(".test.yaml"))
EXAMPLES = [
    text
    for page in sorted((ROOT / "docs").glob("policy*.md"))
    for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    if text.startswith("policy:")
]
CASES = [
    *(path.read_text() for path in sorted((ROOT / "policies").glob("**/*.test.yaml"))),
    *(
        text
        for page in sorted((ROOT / "docs").glob("policy*.md"))
        for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
        if text.startswith("policy-test:")
    ),
]
CASES_VALIDATOR = Draft202012Validator(cases_schema())
VALIDATOR = Draft202012Validator(policy_schema())


def value(node: Node) -> Any:
    """As an editor reads it (YAML 1.2, core schema)."""
    if isinstance(node, Scalar):
        if node.plain and node.text in {"true", "false"}:
            return node.text == "true"
        return int(node.text) if node.plain and re.fullmatch(r"[0-9]+", node.text) else node.text
    if isinstance(node, Sequence):
        return [value(item) for item in node.items]
    assert isinstance(node, Mapping)
    return {key.text: value(item) for key, item in node.entries}


def mistakes(text: str) -> list[str]:
    found = value(read_document(text.encode(), "policy.yaml", []))
    return [error.message for error in VALIDATOR.iter_errors(found)]


def case_mistakes(text: str) -> list[str]:
    found = value(read_document(text.encode(), "policy.test.yaml", []))
    return [error.message for error in CASES_VALIDATOR.iter_errors(found)]


def test_the_published_schema_is_current() -> None:
    """Write it with: privyseal policy schema > docs/policy.schema.json."""
    assert (ROOT / "docs" / "policy.schema.json").read_text() == schema_text()


def test_the_published_schema_of_cases_is_current() -> None:
    """Write it with: privyseal policy schema --cases > docs/policy-cases.schema.json."""
    assert (ROOT / "docs" / "policy-cases.schema.json").read_text() == cases_schema_text()


def test_the_schema_is_one_of_draft_2020_12() -> None:
    Draft202012Validator.check_schema(json.loads(schema_text()))
    Draft202012Validator.check_schema(json.loads(cases_schema_text()))


def test_all_cases_that_are_shipped_or_shown_validate() -> None:
    assert CASES
    for text in CASES:
        assert case_mistakes(text) == []


CASE = """\
policy-test: 1
people:
  anna: {proofing: low, enrolled: [password, {factor: upstream, category: knowledge}]}
cases:
  - name: signs in
    person: anna
    action: sign_in
    evidence: [password, {factor: totp, age: 5m}]
    logins:
      - {issuer: "https://idp.example.org", class: c, acr: a, amr: [pwd], attributes: {loa: high}, age: 1m, for: t}
    expect: {outcome: deny, refusal: no_rule, reasons: default}
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("policy-test: 1", "policy-test: 2"),
        ("proofing: low", "proofing: superb"),
        (", category: knowledge", ""),
        ("age: 5m", "age: 5"),
        ("[password, {factor: totp, age: 5m}]", "[upstream]"),
        ("outcome: deny, refusal: no_rule", "outcome: deny"),
        ("outcome: deny", "outcome: allow"),
        ("    action: sign_in\n", ""),
        ("https://idp.example.org", "self"),
        ("amr: [pwd]", "amr: []"),
        ("{issuer: \"https://idp.example.org\", ", "{"),
        ("    person: anna", "    person: anna\n    when: now"),
    ],
)
def test_what_the_schema_of_cases_marks_is_refused(old: str, new: str) -> None:
    assert case_mistakes(CASE) == []
    assert len(parse_cases(CASE.encode(), "x.test.yaml").cases) == 1
    assert CASE.count(old) == 1
    text = CASE.replace(old, new)
    assert case_mistakes(text)
    with pytest.raises(PolicyLoadError):
        parse_cases(text.encode(), "x.test.yaml")


def test_everything_shipped_and_every_example_validates() -> None:
    assert len(SHIPPED) > 0
    assert len(EXAMPLES) > 0
    for text in (*(path.read_text() for path in SHIPPED), *EXAMPLES, POLICY, EVERYTHING, SMALL):
        assert mistakes(text) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("policy: 1", "policy: 2"),
        ("policy: 1", 'policy: "1"'),
        ("name: everything", "nmae: everything"),
        ("name: everything", "name: Every thing"),
        ("name: everything", "name: everything\ncolour: red"),
        ("to: iso29115:2013/loa3", "to: iso29115"),
        ("password: {min_length: 15}", "password: {}"),
        ("password: {min_length: 15}", "password: {lifetime: 5m}"),
        ("password: {min_length: 15}", "passkey: {max_failures: 3}"),
        ("lifetime: 5m", "lifetime: 5"),
        ("    cap: two\n", ""),
        ("{category: knowledge}", "{factor: upstream}"),
        ("flags: [phishing_resistant]", "flags: [transaction_bound]"),
        ("    notified: true\n    statement: OJ C, 2026/1.\n", "    notified: true\n"),
        ("    notified: true\n", ""),
        ("nist-800-63b:r4: aal2, ", "nist-800-63b: aal2, "),
        ("nist-800-63b:r4: aal2, ", "nist-800-63b:r4: aal4, "),
        ("attestation: [maker-1]", "attestation: []"),
        ("{factor: passkey, channel: [usb, nfc], attestation: [maker-1]}", "{flags: attested}"),
        ("{department: [legal, board]}", "{}"),
        ("days: [mon, fri]", "days: [mon, friday]"),
        ('to: "18:00"', 'to: "24:00"'),
        ("action: sign_in", "action: sign-in"),
        ("require: two", "require: []"),
    ],
)
def test_what_the_schema_marks_the_loader_refuses(old: str, new: str) -> None:
    assert EVERYTHING.count(old) == 1
    text = EVERYTHING.replace(old, new)
    assert mistakes(text)
    assert faults(text)


def test_a_key_without_a_schema_is_noticed() -> None:
    with pytest.raises(KeyError, match="new"):
        table(Keys(optional=("new",)), {})
