"""What is written is read back the same by the standard library."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.toml import dumps

# a lone surrogate has no UTF-8 form, so no TOML file can hold one
TEXT = st.text(st.characters(codec="utf-8"))
PLAIN = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), TEXT)
ITEMS = st.one_of(PLAIN, st.dictionaries(TEXT, PLAIN, max_size=2))
TABLES = st.recursive(
    st.dictionaries(TEXT, st.one_of(PLAIN, st.lists(ITEMS, max_size=3)), max_size=4),
    lambda inner: st.dictionaries(TEXT, st.one_of(PLAIN, inner), max_size=3),
    max_leaves=8,
)


@given(TABLES)
def test_every_table_survives_the_round_trip(table: dict[str, object]) -> None:
    assert tomllib.loads(dumps(table)) == table


def test_paths_become_strings_and_none_is_left_out() -> None:
    assert tomllib.loads(dumps({"file": Path("/a b"), "absent": None, "t": {"x": (1, 2)}})) == {
        "file": "/a b",
        "t": {"x": [1, 2]},
    }


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(TypeError):
        dumps({"when": object()})
