"""``docs/policy-language.md``: it has every key of the language and no other, its examples are sound, and what it says
that a reader would see is what a reader sees."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from itertools import pairwise
from typing import Any, Final

import pytest

from idp.cli import administration
from idp.policy import keys
from idp.policy.cases import parse_cases, run_cases
from idp.policy.cases_render import as_text
from idp.policy.evidence import CATEGORIES, FACTORS, FLAGS
from idp.policy.json_schema import policy_schema
from idp.policy.lint import has_errors, lint
from idp.policy.lint.catalogue import RULES
from idp.policy.lint.render import as_text as findings
from idp.policy.load import parse_policy
from idp.policy.model import OUTCOMES, REFUSALS
from idp.policy.schema import Keys
from idp.settings import ApprovalSettings, IdpSettings, PolicySettings
from tests.unit.idp_policy import guide
from tests.unit.idp_policy.test_json_schema import mistakes

PAGE = guide.PAGE.read_text()
REFERENCE = PAGE.partition("\n## Reference\n")[2]
TABLES: Final[Mapping[str, Keys]] = {
    "key of the file": keys.FILE_KEYS,
    "key of a framework": keys.FRAMEWORK_KEYS,
    "key of an edge": keys.EDGE_KEYS,
    "key of a level": keys.LEVEL_KEYS,
    "key of an alternative": keys.SET_KEYS,
    "key of a requirement": keys.REQUIREMENT_KEYS,
    "key of a rule": keys.RULE_KEYS,
    "key of when": keys.CONDITION_KEYS,
    "key of a credential": keys.CREDENTIAL_KEYS,
    "key of a time": keys.TIME_KEYS,
    "key of a provider": keys.UPSTREAM_KEYS,
    "key of a mapping": keys.MAPPING_KEYS,
    "key of a mapping's when": keys.MAPPING_CONDITION_KEYS,
    "key of what a login counts as": keys.UPSTREAM_EVIDENCE_KEYS,
}
"""By the head of the table in the reference."""


def test_every_command_prints_what_the_page_shows() -> None:
    """Write it anew with: python -m tests.unit.idp_policy.guide."""
    assert guide.played().page == PAGE


def test_the_reader_ends_with_policies_that_pass_and_has_seen_each_check_fail() -> None:
    said = guide.played().commands
    seen = {(command.split()[2], code) for command, code in said if command.startswith("privyseal")}
    assert seen >= {(name, code) for name in ("lint", "test") for code in (0, 3)} | {("check", 1), ("fmt", 3)}
    assert {name for name, _ in seen} == {"check", "lint", "test", "explain", "fmt", "approve", "diff", "simulate"}
    assert {code for command, code in said if " approve " in command} == {0}


@pytest.mark.parametrize("name", ["small-office", "candidate"])
def test_the_policies_that_the_reader_made_are_sound(name: str) -> None:
    files = guide.played().files
    text, cases = files[f"{name}.yaml"], files[f"{name}.test.yaml"]
    policy = parse_policy(text.encode(), f"{name}.yaml")
    assert not has_errors(lint(policy))
    assert run_cases(policy, parse_cases(cases.encode(), f"{name}.test.yaml")).passed
    assert mistakes(text) == []


# The reference


def rows(head: str) -> list[list[str]]:
    """The cells of the table with that head."""
    (table,) = re.findall(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", REFERENCE, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


def names(cell: str) -> list[str]:
    """The words in a cell."""
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("head", TABLES)
def test_a_table_has_every_key_of_its_place_and_no_other(head: str) -> None:
    known = TABLES[head]
    found = {name: cells for cells in rows(head) for name in names(cells[0])}
    assert sorted(found) == sorted(known.usable)
    assert [name for name, cells in found.items() if cells[1] == "required"] == list(known.required)


def test_every_limit_of_a_factor_is_documented_with_the_factors_that_have_it() -> None:
    documented = {name: names(cells[1]) for cells in rows("limit") for name in names(cells[0])}
    limits = {limit for known in keys.LIMIT_KEYS.values() for limit in known.usable}
    assert {limit: sorted(of) for limit, of in documented.items()} == {
        limit: sorted(factor for factor, known in keys.LIMIT_KEYS.items() if limit in known.usable) for limit in limits
    }


def test_no_table_of_the_language_is_missing_here() -> None:
    of_the_language = {name: value for name, value in vars(keys).items() if isinstance(value, Keys)}
    assert [
        name for name, value in of_the_language.items() if not any(value is known for known in TABLES.values())
    ] == []
    assert set(re.findall(r"^\| (key of .*?) \|", REFERENCE, re.MULTILINE)) == set(TABLES)


def properties(schema: Any) -> Iterator[str]:
    """Every property that the published schema knows, wherever it is."""
    if isinstance(schema, Mapping):
        if schema.get("type") == "object":
            yield from schema.get("properties", {})
        for value in schema.values():
            yield from properties(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from properties(value)


def test_every_property_of_the_published_schema_is_in_a_table() -> None:
    documented = {name for head in (*TABLES, "limit") for cells in rows(head) for name in names(cells[0])}
    assert set(properties(json.loads(json.dumps(policy_schema())))) == documented | FACTORS & set(
        keys.LIMIT_KEYS
    ) | set(keys.FRAMEWORKS)


def test_every_word_that_is_a_value_is_documented() -> None:
    words = {*FACTORS, *CATEGORIES, *FLAGS, *keys.ACTIONS, *OUTCOMES, *REFUSALS}
    assert [word for word in words if f"`{word}`" not in REFERENCE] == []
    assert {cells[0].strip("`"): tuple(names(cells[2])) for cells in rows("framework")} == dict(keys.FRAMEWORKS)
    assert {name for cells in rows("factor") for name in names(cells[0])} == FACTORS
    assert {name for cells in rows("flag") for name in names(cells[0])} == FLAGS
    assert {name for cells in rows("refusal") for name in names(cells[0])} == set(REFUSALS)


def test_what_the_linter_cites_of_this_page_is_a_heading_of_it() -> None:
    headings = set(re.findall(r"^##+ (.*)$", PAGE, re.MULTILINE))
    cited = {
        clause.removeprefix("policy language 1, ").partition(" (")[0]
        for rule in RULES
        for clause in rule.clauses
        if clause.startswith("policy language 1, ")
    }
    assert cited
    assert cited <= headings


def test_what_the_page_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)]*)\)", PAGE):
        name, _, anchor = target.partition("#")
        page = guide.PAGE.parent / name if name else guide.PAGE
        assert page.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, target


# Examples.  In the reference, a block of YAML is a part of a policy, or cases about the part before them.


def parts(text: str) -> dict[str, str]:
    """The text of each key at the top."""
    return {found[1]: found[0] for found in re.finditer(r"^(\w[\w-]*):.*\n(?:(?![\w#]).*\n)*", text, re.MULTILINE)}


def completed(part: str) -> str:
    """The whole policy that a part stands for: what it does not have comes from the reader's own policy.  If it has
    levels and no rules, signing in asks for all of its levels."""
    given = parts(part)
    whole = parts(guide.played().files["small-office.yaml"]) | given
    if "levels" in given and "rules" not in given:
        required = re.findall(r"^  - name: (.*)$", given["levels"], re.MULTILINE)
        whole["rules"] = f"rules:\n  - {{id: sign-in, action: sign_in, require: [{', '.join(required)}]}}\n"
    return "".join(whole.values())


BLOCKS = re.findall(r"```yaml\n(.*?)```", REFERENCE, re.DOTALL)
PARTS = [text for text in BLOCKS if not text.startswith("policy-test:")]
CASES = [(before, text) for before, text in pairwise(BLOCKS) if text.startswith("policy-test:")]


def test_there_is_an_example_of_every_key() -> None:
    used = set(re.findall(r"(\w+):(?: |$)", "".join(PARTS) + guide.played().files["small-office.yaml"], re.MULTILINE))
    everything = {key for known in (*TABLES.values(), *keys.LIMIT_KEYS.values()) for key in known.usable}
    assert everything - used == set()


@pytest.mark.parametrize("part", PARTS)
def test_every_example_is_sound_by_loader_schema_and_linter(part: str) -> None:
    text = completed(part)
    assert parts(part).items() <= parts(text).items()
    found = lint(parse_policy(text.encode(), "example.yaml"))
    assert not has_errors(found), findings(found)
    assert mistakes(text) == []


@pytest.mark.parametrize(("part", "cases"), CASES)
def test_the_cases_of_an_example_come_out_and_leave_no_rule_out(part: str, cases: str) -> None:
    policy = parse_policy(completed(part).encode(), "example.yaml")
    report = run_cases(policy, parse_cases(cases.encode(), "example.test.yaml"))
    assert report.passed, as_text(report)


def test_no_example_is_left_out() -> None:
    tutorial = PAGE.partition("\n## Reference\n")[0]
    assert len(CASES) + len(PARTS) == len(BLOCKS)
    assert not re.findall(r"(?<! -->\n)```(?:yaml|diff)", tutorial)
    assert set(re.findall(r"^```(\w+)$", PAGE, re.MULTILINE)) == {"yaml", "diff", "console", "toml", "sh"}


def test_settings_and_commands_of_the_server_that_the_page_names_are_there() -> None:
    kinds = {"": IdpSettings, "policy": PolicySettings, "approval": ApprovalSettings}
    for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL):
        settings = tomllib.loads(block)
        policy = settings.get("policy", {})
        for name, table in (("", settings), ("policy", policy), ("approval", policy.get("approval", {}))):
            assert table.keys() <= {field.name for field in fields(kinds[name])}
    commands = re.findall(r"privyseal idp ([^`\n]*--config idp\.toml[^`\n]*)", PAGE.replace("\n--config", " --config"))
    assert len(commands) == 3
    for command in commands:
        assert administration.parser().parse_args(shlex.split(command)).run


# The player


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
