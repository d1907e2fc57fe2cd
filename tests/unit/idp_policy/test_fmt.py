"""One layout: every comment and every meaning stays, and what cannot be laid out is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from idp.policy import cases_load as cases
from idp.policy import fmt, keys
from idp.policy.diff import differences
from idp.policy.errors import LayoutRefused, PolicyLoadError
from idp.policy.fmt import ORDER, WIDTH, format_document
from idp.policy.fmt_source import comments_of
from idp.policy.load import parse_policy
from idp.policy.schema import Keys
from tests.unit.idp_policy.support import POLICY

POLICIES = sorted((Path(__file__).parents[3] / "policies").rglob("*.yaml"))


def laid_out(text: str) -> str:
    made = format_document(text.encode(), "policy.yaml")
    assert format_document(made.encode(), "policy.yaml") == made
    assert Counter(comments_of(made)) == Counter(comments_of(text))
    return made


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_the_shipped_files_are_laid_out(path: Path) -> None:
    assert format_document(path.read_bytes(), path.name) == path.read_text()


@pytest.mark.parametrize("path", [path for path in POLICIES if "test" not in path.name], ids=lambda path: path.name)
def test_a_policy_says_the_same_after_it_was_laid_out(path: Path) -> None:
    # a dash on a line of its own, which an author may have written
    before = parse_policy(path.read_bytes(), path.name)
    after = parse_policy(laid_out(path.read_text().replace("  - id:", "  -\n    id:")).encode(), path.name)
    assert differences(before, after) == ()


def test_keys_stand_in_the_order_of_the_grammar() -> None:
    text = "rules:\n  - {require: low, action: sign_in, id: a}\nlevels: []\nname: x\npolicy: 1\n"
    assert laid_out(text) == ("policy: 1\nname: x\nlevels: []\nrules:\n  - {id: a, action: sign_in, require: low}\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("policy:   1\n\n\n\nname: x   ", "policy: 1\n\nname: x\n"),
        ("\n\npolicy: 1\n\n", "policy: 1\n"),
        ("---\npolicy: 1\n...\n", "policy: 1\n"),
        ("\ufeffpolicy: 1\r\nname: x\r\n", "policy: 1\nname: x\n"),
        ("actions:\n  - a.b\n  - c\n", "actions: [a.b, c]\n"),
        ("levels:\n- name: a\n  acr: x\n", "levels:\n  - name: a\n    acr: x\n"),
        ("levels:\n    -   name: a\n        any_of:\n        - all_of:\n          - factor: a\n",
         "levels:\n  - name: a\n    any_of:\n      - all_of:\n          - factor: a\n"),
        ("name: 'x'\n", 'name: "x"\n'),
        ("name: 'say \"x\"'\n", "name: 'say \"x\"'\n"),
        ('name: "it\'s \\"x\\""\n', "name: 'it''s \"x\"'\n"),
        ('name: "a\\u2028b\\U000e0001\\n\\""\n', 'name: "a\\u2028b\\U000e0001\\n\\""\n'),
        ("name: a\n  b\n", "name: a b\n"),
        ("name: a\n\n  b\n", 'name: "a\\nb"\n'),
        ("name: |\n      one\n        two\n\n      three\n\n\nrules: []\n",
         "name: |\n  one\n    two\n\n  three\n\nrules: []\n"),
        ("name: >-   # why\n    one\n    two\n", "name: >-  # why\n  one\n  two\n"),
        ("frameworks: [{levels: [a], id: x}]\n", "frameworks: [{id: x, levels: [a]}]\n"),
        ("frameworks: [{levels: [a], # one\n id: x}] # two\n",
         "frameworks:  # two\n  - id: x\n    levels: [a]  # one\n"),
        ("actions: [\n  a, # one\n  b # two\n]\n", "actions:\n  - a  # one\n  - b  # two\n"),
        ("actions: # all\n  - a\n", "actions: [a]  # all\n"),
        ("# head\n\nname: x\npolicy: 1\n", "# head\n\npolicy: 1\n\nname: x\n"),
        ("actions:\n  - a]b\n", "actions:\n  - a]b\n"),
        ("actions:\n  - |\n    x\n  - b\n", "actions:\n  - |\n    x\n  - b\n"),
        ("{name: x, policy: 1}\n# end\n", "policy: 1\nname: x\n# end\n"),
        ("actions:\n  - a,b\n  - 'c'\n", 'actions:\n  - a,b\n  - "c"\n'),
        ("'a b': 1\na,b: {'c]d': 2}\n'': x\n", '"a b": 1\na,b: {"c]d": 2}\n"": x\n'),
        ("actions:\n  - [ # c\n    ]\n", "actions:\n  - []  # c\n"),
        ("k" * 130 + ": {}\n", "k" * 130 + ": {}\n"),
        ("name: x\n  # last\n", "name: x\n# last\n"),
        ("name: [a,\n b]  # one\nx: {y: [\n# two\n]}\n", 'name: [a, b]  # one\nx: {y: []}\n# two\n'),
        ("? a\n: b\n", "a: b\n"),
        ("factors:\n  totp: {max_failures: 5, step: 30s}\n", "factors:\n  totp: {step: 30s, max_failures: 5}\n"),
        ("zzz: 1\nname: x\naaa: 2\n", "name: x\nzzz: 1\naaa: 2\n"),
        ("options: [[a], [b]]\n", "options: [[a], [b]]\n"),
        ("options:\n  - - a\n    - b\n", "options:\n  - [a, b]\n"),
        ("options:\n  - - a # c\n    - {b: c}\n", "options:\n  - - a  # c\n    - {b: c}\n"),
    ],
)  # fmt: skip
def test_layout(before: str, after: str) -> None:
    assert laid_out(before) == after


def test_long_lines_are_broken_where_that_changes_nothing() -> None:
    words = "word " * 40
    made = laid_out(f'description: {words}\nname: "{words}"\nactions: [{", ".join(f"action{n}" for n in range(30))}]\n')
    lines = made.splitlines()
    assert lines[1] == "description: >-"
    assert lines[0].startswith('name: "word ')
    assert "  - action29" in lines
    assert all(len(line) <= WIDTH for line in lines[1:])


COMMENTED = """\
# head

# about the policy
policy: 1  # one
# about the name

name: x
levels:
  # the first
  - acr: u  # at acr
    # above the name
    name: low
    # below the first

  # about the second
  - # beside a dash
    name: high
  # below the last
rules:
  - id: a
    require: low
      # deeper than what comes
  # between
  - {id: b,
     # in braces
     require: low}
# at the end
"""


def test_comments_stay_with_what_they_are_about() -> None:
    assert (
        laid_out(COMMENTED)
        == """\
# head

# about the policy
policy: 1  # one
# about the name

name: x
levels:
  # the first
  # above the name
  - name: low
    acr: u  # at acr
    # below the first

  # about the second
  # beside a dash
  - name: high
  # below the last
rules:
  - id: a
    require: low
    # deeper than what comes
  # between
  - id: b
    # in braces
    require: low
# at the end
"""
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: |+\n  a\n\n", "a text after '|+' cannot be laid out"),
        ("name: |2\n    a\n", "a text after '|2' cannot be laid out"),
        ("- a\n", "not a mapping"),
    ],
)
def test_what_cannot_be_laid_out_safely_is_refused(text: str, message: str) -> None:
    with pytest.raises(LayoutRefused, match=message.replace("|", "[|]").replace("+", "[+]")):
        format_document(text.encode(), "policy.yaml")


def test_a_layout_that_would_change_the_meaning_is_never_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fmt, "_quoted", lambda text: text)
    with pytest.raises(LayoutRefused, match="without changing what it says"):
        format_document(b"scal: '2'\n", "policy.yaml")


def test_a_layout_that_would_lose_a_comment_is_never_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fmt, "_head", lambda _source: [])
    with pytest.raises(LayoutRefused, match="without losing a comment"):
        format_document(b"# head\npolicy: 1\n", "policy.yaml")


def test_the_strict_reader_comes_first() -> None:
    with pytest.raises(PolicyLoadError, match="aliases are not allowed"):
        format_document(b"a: &x 1\nb: *x\n", "policy.yaml")
    with pytest.raises(PolicyLoadError, match="not YAML"):
        format_document(b"a: [", "policy.yaml")


def words(module: object) -> set[str]:
    """All words of the tables of keys of a module."""
    tables = [value for value in vars(module).values() if isinstance(value, Keys)]
    return {key for table in tables for key in table.usable}


def test_every_key_of_the_language_has_its_place() -> None:
    placed = {key for order in ORDER.values() for key in order}
    limits = {key for table in keys.LIMIT_KEYS.values() for key in table.usable}
    assert words(keys) | words(cases) | limits == placed


def test_the_sample_policy_says_the_same() -> None:
    text = laid_out(POLICY)
    assert differences(parse_policy(POLICY.encode(), "a"), parse_policy(text.encode(), "a")) == ()
