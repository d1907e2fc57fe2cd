"""The documents: every method is in them, they are valid, and they say of requests what is checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from signing.csc import errors, methods
from signing.csc.dialect import V1, V2, V2_2, Dialect
from signing.csc.openapi import document, page, source
from signing.csc.openapi.validation import RequestCheck
from signing.settings import IssuerSettings, ServiceSettings, WebSettings
from tests.unit.signing_csc.conftest import Bench

DIALECTS = {dialect.name: dialect for dialect in (V1, V2, V2_2)}
SETTINGS = WebSettings("development", "http://sign.localhost:8402", IssuerSettings("http://idp", "csc", Path("x")))


def whole(dialect: Dialect) -> dict[str, Any]:
    """A document of everything there is."""
    return document.build(dialect, SETTINGS, [item.name for item in methods.METHODS if dialect.name in item.dialects])


def test_every_method_is_described_and_nothing_else() -> None:
    assert {method.name for method in methods.METHODS} == source.described()


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in references(item)]
    return [found for item in value for found in references(item)] if isinstance(value, list) else []


@pytest.mark.parametrize("name", DIALECTS)
def test_a_document_refers_to_nothing_that_is_not_there_and_keeps_nothing_of_other_dialects(name: str) -> None:
    made = whole(DIALECTS[name])
    for reference in references(made):
        found: Any = made
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
    assert "x-dialects" not in str(made)
    assert "'use'" not in str(made)
    used = {reference.rpartition("/")[2] for reference in references(made)}
    assert used == set(made["components"]["schemas"]) | set(made["components"]["responses"])


@pytest.mark.parametrize("name", DIALECTS)
def test_every_schema_is_a_schema_and_a_request_needs_no_references(name: str) -> None:
    made = whole(DIALECTS[name])
    for schema in made["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for path, item in made["paths"].items():
        schema = document.request_schema(made, path.removeprefix("/"))
        assert schema is not None
        Draft202012Validator.check_schema(schema)
        assert references(schema) == []
        for response in item["post"]["responses"].values():
            for content in response.get("content", {}).values():
                Draft202012Validator.check_schema(content["schema"])


@pytest.mark.parametrize("name", DIALECTS)
def test_members_have_the_dialects_own_names(name: str) -> None:
    dialect = DIALECTS[name]
    schema = document.request_schema(whole(dialect), "signatures/signHash")
    assert schema is not None
    assert {dialect.hashes, dialect.hash_algorithm} <= set(schema["properties"])
    assert dialect.hashes in schema["required"]
    assert ("hash" in schema["properties"]) is (name == "v1")


@pytest.mark.parametrize("name", DIALECTS)
def test_a_page_has_every_method_and_member_and_runs_nothing(name: str) -> None:
    made = whole(DIALECTS[name])
    shown = page.render(made)
    assert "<script" not in shown
    assert "style=" not in shown
    for path, item in made["paths"].items():
        assert f'id="{item["post"]["operationId"]}"' in shown
        assert path.removeprefix("/") in shown
        schema = document.request_schema(made, path.removeprefix("/"))
        assert schema is not None
        assert all(f"<code>{member}</code>" in shown for member in schema["properties"])


def test_a_page_escapes_what_it_shows() -> None:
    assert page.prose("<b> `a<b` & *c*\n\nd") == (
        "<p>&lt;b&gt; <code>a&lt;b</code> &amp; <em>c</em></p><p>d</p>"
    )
    named = replace(SETTINGS, service=ServiceSettings(name="<i>Sign</i>"))
    assert "<i>" not in page.render(document.build(V2, named, ["info"]))


@pytest.mark.loopback
def test_document_and_page_are_for_everybody_and_allow_no_foreign_content(bench: Bench) -> None:
    for base in (dialect.path for dialect in DIALECTS.values()):
        served = bench.client.get(f"{base}/openapi.json")
        assert (served.status_code, served.get_json()["openapi"]) == (200, "3.1.0")
        shown = bench.client.get(f"{base}/docs")
        policy = shown.headers["Content-Security-Policy"]
        assert shown.mimetype == "text/html"
        assert policy.startswith("default-src 'none'; style-src 'self'")
        assert "script-src" not in policy
        assert "unsafe" not in policy
    with bench.client.get("/static/api.css") as style:
        assert style.status_code == 200
    assert bench.client.post("/csc/v2/openapi.json").status_code == 405


@pytest.mark.parametrize("name", DIALECTS)
def test_every_example_is_what_its_schema_says(name: str) -> None:
    made, seen = whole(DIALECTS[name]), 0
    for path, item in made["paths"].items():
        content = item["post"]["requestBody"]["content"]["application/json"]
        for example in content.get("examples", {}).values():
            RequestCheck(content["schema"]).check(example["value"])
            seen += 1
        for response in item["post"]["responses"].values():
            told = response.get("content", {}).get("application/json", {})
            for example in told.get("examples", {}).values():
                schema = {**told["schema"], "components": made["components"]}
                assert list(Draft202012Validator(schema).iter_errors(example["value"])) == [], path
                seen += 1
    assert seen > 8


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("item", [0, "", {}, [], "!"])
def test_DOS_01_a_list_of_ten_thousand_wrong_items_costs_no_more_than_one(name: str, item: object) -> None:
    """A quarter of a MiB of them took more than a second, of whoever sent it."""
    made, lists = whole(DIALECTS[name]), 0
    for method in (item["post"] for item in made["paths"].values()):
        schema = method["requestBody"]["content"]["application/json"]["schema"]
        check = RequestCheck(schema)
        for member, about in schema["properties"].items():
            if "items" not in about:
                continue
            lists += 1
            nested = {inner: [item] * 10_000 for inner in about["items"].get("properties", {})}
            for value in ([item] * 10_000, [nested]):
                assert len(list(check._validator.iter_errors({member: value}))) < 25
    assert lists > 0


def checked(body: dict[str, Any], **properties: Any) -> str:
    """What a request is refused with; empty where it is not."""
    required = [name for name, schema in properties.items() if schema.pop("must", False)]
    try:
        RequestCheck({"type": "object", "properties": properties, "required": required}).check(body)
    except errors.InvalidRequest as error:
        return error.description
    return ""


def test_the_first_fault_in_the_documents_order_is_told() -> None:
    first, second = {"type": "string", "must": True}, {"type": "array", "must": True, "minItems": 1}
    assert checked({}, a=dict(first), b=dict(second)) == "Missing (or invalid type) string parameter a"
    assert checked({}, b=dict(second), a=dict(first)) == "Missing (or invalid type) array parameter b"
    assert checked({"a": "x", "b": []}, a=dict(first), b=dict(second)) == "Invalid parameter b"
    assert checked({"a": "x", "b": [1]}, a=dict(first), b=dict(second)) == ""


def test_texts_belong_to_keywords_and_the_end_of_a_form_is_the_end() -> None:
    form = {"type": "string", "pattern": "^[a-z]+$", "x-error": {"pattern": "Not so"}}
    assert checked({"a": "abc"}, a=dict(form)) == ""
    assert checked({"a": "abc\n"}, a=dict(form)) == "Not so"
    assert checked({"a": 7}, a=dict(form)) == "Missing (or invalid type) string parameter a"
    assert checked({"a": 7}, a={"type": "string", "x-error": {"any": "Whatever"}}) == "Whatever"
    items = {"type": "array", "items": {"type": "string"}, "x-error": {"items": "An item"}, "x-name": "b"}
    assert checked({"a": ["x", 7]}, a=dict(items)) == "An item"
    assert checked({"a": 7}, a=dict(items)) == "Missing (or invalid type) array parameter b"
    assert checked({"a": "true"}, a={"type": "boolean"}) == "Invalid parameter a"
    assert checked({"a": "z"}, a={"type": "string", "enum": ["x"]}) == "Invalid parameter a"
