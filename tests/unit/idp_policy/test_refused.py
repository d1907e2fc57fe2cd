"""What a policy refuses, each with the name of the attack; files made to hurt its reader are refused in bounded time
and memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import thread_time

import pytest

from idp.policy.document import MAX_FAULTS, MAX_OCTETS, MAX_VALUES
from idp.policy.errors import PolicyLoadError
from idp.policy.evaluate import evaluate
from idp.policy.keys import MAX_EDGES, MAX_FRAMEWORK_LEVELS, MAX_FRAMEWORKS, MAX_LEVELS
from idp.policy.load import load_policy, parse_policy
from tests.unit.idp_policy.support import KEY, WORD, enrolled, facts, faults, policy, used
from tests.unit.idp_policy.test_load import SMALL, changed

SECONDS = 30
"""Of processor time, on a busy machine and with every line counted; what is measured on an idle one is below 2."""
MEBIBYTES = 64


@contextmanager
def quick() -> Iterator[None]:
    """Not long."""
    started = thread_time()
    yield
    assert thread_time() - started < SECONDS


@contextmanager
def bounded() -> Iterator[None]:
    """Neither long nor large; measuring memory takes several times as long, so only what ends at once is measured."""
    tracemalloc.start()
    try:
        with quick():
            yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEBIBYTES * 2**20


# Files


def test_a_yaml_bomb_is_refused_before_it_goes_off() -> None:
    """Nine lines that would be a thousand million words."""
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    with bounded():
        found = faults("a0: &a0 [lol, lol]\n" + "\n".join(lines) + "\n")
    assert "1:5: anchor '&a0': anchors are not allowed" in found
    assert "2:10: alias '*a0': aliases are not allowed, write the value out" in found


def test_a_bomb_of_merge_keys_is_refused() -> None:
    found = faults(changed("name: low", "name: low\n    <<: {title: x}"))
    assert any("unknown key '<<'" in fault for fault in found)


def test_a_recursive_alias_is_refused() -> None:
    with bounded():
        found = faults("policy: 1\nlevels: &l\n  - any_of: *l\n")
    assert "3:13: alias '*l': aliases are not allowed, write the value out" in found


def test_a_10_MB_file_is_refused_and_not_even_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(SMALL.encode() + b"# more\n" * (10 * 2**20 // 7))
    with bounded(), pytest.raises(PolicyLoadError) as refusal:
        load_policy(path)
    assert refusal.value.faults[0].message == f"larger than {MAX_OCTETS} octets"
    with bounded(), pytest.raises(PolicyLoadError):
        parse_policy(path.read_bytes(), "big.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SMALL.replace("policy: 1", "policy: 1\npolicy: 1"), "2:1: key 'policy' is given twice, first in line 1"),
        (changed("name: low", "name: low\n    name: high"), "5:5: key 'name' is given twice, first in line 4"),
        (changed("name: low", 'name: low\n    "name": high'), "5:5: key 'name' is given twice, first in line 4"),
        (changed("require: low", "require: low\n    when: {client: a, client: b}"),
         "12:23: key 'client' is given twice, first in line 12"),
        (changed("factor: password", "{factor: password, factor: totp}"),
         "7:32: key 'factor' is given twice, first in line 7"),
    ],
)  # fmt: skip
def test_a_key_twice_is_refused_wherever_it_stands(text: str, expected: str) -> None:
    assert expected in faults(text)


def test_a_level_cycle_is_refused_however_long() -> None:
    level = "  - {{name: n{}, implies: n{}, any_of: [{{all_of: [{{factor: totp}}]}}]}}\n"
    ring = "".join(level.format(number, (number + 1) % MAX_LEVELS) for number in range(MAX_LEVELS))
    text = f"policy: 1\nname: ring\nlevels:\n{ring}rules: [{{id: a, action: sign_in, require: n0}}]\n"
    with quick():
        found = faults(text)
    assert len(found) == MAX_FAULTS
    assert found[0] == "4:25: level 'n0' implies itself by way of 'n1'"


def test_a_level_that_implies_itself_is_refused() -> None:
    assert faults(changed("name: low", "name: low\n    implies: low")) == [
        "5:14: level 'low' implies itself by way of 'low'"
    ]


def test_levels_that_all_imply_one_another_are_read_in_bounded_time() -> None:
    names = [f"n{number}" for number in range(120)]
    below = {name: f"implies: [{', '.join(names[:index])}], " if index else "" for index, name in enumerate(names)}
    level = "  - {{name: {}, {}any_of: [{{all_of: [{{factor: totp}}]}}]}}\n"
    levels = "".join(level.format(name, below[name]) for name in names)
    text = f"policy: 1\nname: all\nlevels:\n{levels}rules: [{{id: a, action: sign_in, require: n0}}]\n"
    assert len(text) < MAX_OCTETS
    with quick():
        assert policy(text).implies(names[-1], names[0])


def test_as_many_edges_as_there_may_be_are_judged_in_bounded_time() -> None:
    levels = ", ".join(f"l{number}" for number in range(MAX_FRAMEWORK_LEVELS))
    own = "".join(f"  - {{id: f{number}:1, levels: [{levels}]}}\n" for number in range(MAX_FRAMEWORKS))
    pairs = [
        (number, level) for number in range(MAX_FRAMEWORKS - 1) for level in range(MAX_FRAMEWORK_LEVELS)
    ][:MAX_EDGES]  # fmt: skip
    edges = "".join(f"  - {{from: f{number}:1/l{level}, to: f{number + 1}:1/l{level}}}\n" for number, level in pairs)
    with quick():
        read = policy(changed("levels:\n", f"frameworks:\n{own}implies:\n{edges}levels:\n"))
    assert len(read.edges) == MAX_EDGES


@pytest.mark.parametrize(
    "text",
    [
        "[" * MAX_OCTETS,
        "{a: " * (MAX_OCTETS // 4),
        "- " * (MAX_OCTETS // 2),
        "a: [" + "x, " * (MAX_OCTETS // 3 - 2) + "]",
        "".join(f"k{number}: x\n" for number in range(MAX_OCTETS // 10)),
        "policy: 1\nlevels:\n" + "  - {}\n" * (MAX_OCTETS // 7 - 3),
        "a: !" + "x" * (MAX_OCTETS - 5),
    ],
    ids=["lists", "maps", "entries", "items", "unknown", "levels", "tag"],
)
def test_a_file_made_to_be_slow_is_refused_in_bounded_time(text: str) -> None:
    assert len(text.encode()) <= MAX_OCTETS
    with quick():
        found = faults(text)
    assert 0 < len(found) <= MAX_FAULTS


def test_more_values_than_any_policy_has_are_refused_before_they_are_all_read() -> None:
    (fault,) = faults("[" + "x, " * MAX_VALUES + "]")
    assert fault == f"1:{3 * MAX_VALUES - 1}: more than {MAX_VALUES} values"
    assert "more than" not in "".join(faults("[" + "x, " * (MAX_VALUES - 1) + "]"))


# Evidence

TWO = """\
policy: 1
name: two
levels:
  - name: two
    freshness: 10m
    any_of:
      - all_of: [{factor: passkey}]
        different_categories: 2
      - all_of: [{factor: password}, {factor: passkey}]
        different_categories: 2
rules: [{id: sign-in, action: sign_in, require: two}]
"""


def test_a_passkey_without_user_verification_does_not_count_as_two_factors() -> None:
    read = policy(TWO)
    assert evaluate(read, facts("sign_in", used("passkey", 5), enrolled=())).outcome == "deny"
    assert evaluate(read, facts("sign_in", used("passkey", 5, "attested"), enrolled=())).outcome == "deny"
    assert evaluate(read, facts("sign_in", used("passkey", 5, "user_verified"), enrolled=())).outcome == "allow"
    assert evaluate(read, facts("sign_in", used("passkey", 5), used("password", 5), enrolled=())).outcome == "allow"
    # Nor is such a passkey offered as if it were enough.
    plain = enrolled("passkey")
    asked = evaluate(read, facts("sign_in", enrolled=(plain, WORD)))
    assert [option.missing for option in asked.options] == [("password", "passkey")]
    assert [option.missing for option in evaluate(read, facts("sign_in", enrolled=(KEY, WORD))).options] == [
        ("passkey",)
    ]


@pytest.mark.parametrize(("ago", "outcome"), [(600, "allow"), (601, "deny")])
def test_evidence_older_than_its_freshness_does_not_count(ago: int, outcome: str) -> None:
    read = policy(TWO)
    found = evaluate(read, facts("sign_in", used("passkey", ago, "user_verified"), enrolled=()))
    assert found.outcome == outcome
    mixed = evaluate(read, facts("sign_in", used("passkey", 5), used("password", ago), enrolled=()))
    assert mixed.outcome == outcome
    assert any("is too old" in reason.text for reason in mixed.reasons) == (outcome == "deny")


def test_a_class_reference_that_is_not_in_the_policy_reaches_nothing() -> None:
    read = policy(TWO)
    found = evaluate(read, facts("sign_in", used("passkey", 5, "user_verified"), essential_acr=("urn:none",)))
    assert (found.outcome, found.refusal) == ("deny", "unmet_request")
