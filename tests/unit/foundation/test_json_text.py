"""The kept encoder writes what the standard one does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.json_text import encoder

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
_WAYS: tuple[dict[str, Any], ...] = (
    {},
    {"separators": (",", ":")},
    {"sort_keys": True, "separators": (",", ":")},
)


@pytest.mark.parametrize("way", _WAYS)
@given(value=_VALUES)
def test_the_text_is_that_of_the_standard_encoder(way: dict[str, Any], value: Any) -> None:
    assert encoder(**way)(value) == json.dumps(value, **way)


def test_the_next_text_does_not_depend_on_one_that_failed() -> None:
    write = encoder(allow_nan=False)
    with pytest.raises(TypeError):
        write({"a": object()})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write([float("nan")])
    assert write({"a": (1, None)}) == '{"a": [1, null]}'


def test_what_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(RecursionError):
        encoder()(value)
