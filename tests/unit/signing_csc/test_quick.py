"""The quick check lets nothing through that the JSON Schema library refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from signing.csc import methods
from signing.csc.dialect import dialects
from signing.csc.openapi import document, quick
from signing.csc.openapi.validation import RequestCheck
from signing.settings import IssuerSettings, WebSettings

SETTINGS = WebSettings(
    mode="development",
    public_url="http://sign.localhost:8402",
    sam_socket=Path("/run/sam.sock"),
    issuer=IssuerSettings("http://idp.localhost:8401", "csc", Path("/etc/secret")),
)


def schemas() -> dict[str, dict[str, Any]]:
    """The requests' schemas, by dialect and method."""
    found = {}
    for dialect in dialects():
        names = [method.name for method in methods.METHODS if dialect.name in method.dialects]
        described = document.build(dialect, SETTINGS, names)
        for name in names:
            schema = document.request_schema(described, name)
            if schema is not None:
                found[f"{dialect.name} {name}"] = dict(schema)
    return found


SCHEMAS = schemas()
BASE64 = st.sampled_from(["AAAA", "YQ==", "YQ==\n", "YQ=", "!", "", "A" * 44, "A" * 200])
TEXTS = st.one_of(
    st.text(max_size=8),
    BASE64,
    st.sampled_from(
        ["1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10", "1.2.840.10045.4.3.2", "2.16.840.1.101.3.4.2.1", "none",
         "chain", "de", "de-AT", "A", "S", "c1", "c1\n", "x" * 129, "x" * 25_000]
    ),
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2**40), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(BASE64, max_size=101),
        st.dictionaries(st.sampled_from(["id", "value", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)


def test_every_schema_that_is_served_has_a_quick_check() -> None:
    assert len(SCHEMAS) >= 10
    assert [name for name, schema in SCHEMAS.items() if quick.compiled(schema) is None] == []


@pytest.mark.parametrize("name", sorted(SCHEMAS))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_the_library_refuses_is_never_let_through(name: str, data: st.DataObject) -> None:
    schema = SCHEMAS[name]
    members = st.fixed_dictionaries({}, optional=dict.fromkeys(schema["properties"], VALUES))
    body = json.loads(json.dumps(data.draw(members)))
    check, library = quick.compiled(schema), RequestCheck(schema)._validator
    assert check is not None
    faults = list(library.iter_errors(body))
    if check(body):
        assert faults == []
    else:
        # The other way round only where the library is more generous: 1.0 is an integer to it.
        assert faults or any(isinstance(value, float) for value in body.values()), body


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer"}, [0, 2**70], [True, "1", None, 1.5]),
        ({"type": ["string", "null"], "minLength": 2}, ["ab", None], ["a", 1, []]),
        (
            {"type": "string", "minLength": 1, "maxLength": 3, "pattern": "^[a-c]+$", "description": "text"},
            ["a", "abc"],
            ["", "abcd", "d", "a\n", None, 1, ["a"], {"a": "a"}, True],
        ),
        ({"type": ["string", "null"], "maxLength": 1}, ["", "a", "\U0001f600", None], ["ab", 0, False, [], {}]),
        ({"pattern": "^a+$"}, ["a", 1], ["a\n", "b", "ba\na"]),
        ({"enum": ["a", None]}, ["a", None], ["b", 0, False, ""]),
        ({"required": ["x"], "properties": {"x": {"type": "boolean"}}}, [{"x": True}, []], [{}, {"x": 1}]),
        ({"items": {"type": "string"}, "minItems": 1, "maxItems": 2}, [["a"], "a"], [[], ["a", 1], ["a"] * 3]),
        (
            {"properties": {"x": {}}, "additionalProperties": False, "minProperties": 1},
            [{"x": 1}, [], "x"],
            [{}, {"x": 1, "y": 1}],
        ),
        ({"minimum": 1, "maximum": 2}, [1, 2.0, True, "x"], [0, 3, 2.5]),
        (
            {"if": {"required": ["a"], "properties": {"a": {"const": "x"}}}, "then": {"required": ["b"]}},
            [{}, {"a": "y"}, {"a": "x", "b": 1}],
            [{"a": "x"}],
        ),
    ],
)
def test_each_keyword_means_what_it_means_to_the_library(
    schema: dict[str, Any], good: list[Any], bad: list[Any]
) -> None:
    check, library = quick.compiled(schema), RequestCheck({"properties": {}, **schema})._validator
    assert check is not None
    for value in good:
        assert check(value), value
        assert list(library.iter_errors(value)) == []
    for value in bad:
        assert not check(value), value
        assert list(library.iter_errors(value)) != []


@pytest.mark.parametrize(
    "schema",
    [
        {"oneOf": [{}]},
        {"properties": {"x": {"not": {}}}},
        {"items": {"format": "uri"}},
        {"enum": [1, True]},
        {"type": "number"},
        {"if": {"properties": {"a": {"type": "string"}}}, "then": {}},
        {"if": {"required": ["a"]}, "then": {}, "else": {"required": ["b"]}},
        {"additionalProperties": False},
        {"properties": {}, "additionalProperties": {}},
        {"properties": {}, "patternProperties": {"^x": {}}, "additionalProperties": False},
    ],
)
def test_what_is_not_known_here_is_left_to_the_library(schema: dict[str, Any]) -> None:
    assert quick.compiled(schema) is None
