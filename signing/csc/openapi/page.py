"""Serves a dialect's document, as it is and as a page for people; both are made once, at start-up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flask import Blueprint, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

DOCUMENT_PATH: Final = "/openapi.json"
PAGE_PATH: Final = "/docs"
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_CODE: Final = re.compile(r"`([^`]+)`")
_EMPHASIS: Final = re.compile(r"\*([^*]+)\*")
_BOUNDS: Final = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "default": "default {}",
    "const": "always {}",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A member as the page shows it."""

    name: str
    """With those of what it is in: ``cert.certificates``."""
    kind: str
    required: bool
    text: str
    bounds: tuple[str, ...]
    form: str | None
    """Regular expression."""


def add(blueprint: Blueprint, document: Mapping[str, Any]) -> None:
    """Add the routes; nothing here needs a token, since nothing here is anybody's."""
    octets = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    page = render(document)

    def whole() -> Response:
        return Response(octets, mimetype="application/json")

    def readable() -> Response:
        return Response(page, mimetype="text/html", headers={"Content-Security-Policy": _POLICY})

    blueprint.add_url_rule(DOCUMENT_PATH, "openapi", whole)
    blueprint.add_url_rule(PAGE_PATH, "docs", readable)


def render(document: Mapping[str, Any]) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"prose": prose, "pretty": _pretty}
    methods = [_method(document, path, item["post"]) for path, item in document["paths"].items()]
    groups = [(tag, [each for each in methods if each["tag"] == tag["name"]]) for tag in document["tags"]]
    return environment.get_template("page.html").render(
        info=document["info"], base=document["servers"][0]["url"], groups=groups
    )


def prose(text: str) -> Markup:
    """Paragraphs of a document's text, with its code and emphasis; all else is escaped."""
    found = (str(escape(" ".join(part.split()))) for part in text.strip().split("\n\n"))
    marked = (_EMPHASIS.sub(r"<em>\1</em>", _CODE.sub(r"<code>\1</code>", part)) for part in found)
    return Markup("".join(f"<p>{part}</p>" for part in marked))  # noqa: S704 - every part was escaped


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _method(document: Mapping[str, Any], path: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    content = operation["requestBody"]["content"]["application/json"]
    return {
        "id": operation["operationId"],
        "name": path.removeprefix("/"),
        "tag": operation["tags"][0],
        "summary": operation["summary"],
        "text": operation["description"],
        "source": operation["externalDocs"]["description"],
        "tokens": _tokens(document, operation["security"]),
        "rows": list(_rows(document, content["schema"], "")),
        "examples": content.get("examples", {}),
        "answers": [_answer(document, status, item) for status, item in sorted(operation["responses"].items())],
    }


def _tokens(document: Mapping[str, Any], security: Sequence[Mapping[str, Sequence[str]]]) -> list[str]:
    names = {"serviceToken": "a service token", "sad": "a SAD", "basic": "a user name and a password (Basic)"}
    found = []
    for wanted in security:
        for name, scopes in wanted.items():
            scope = f" (scope {' '.join(scopes)})" if scopes else ""
            found.append(f"{names.get(name, name)}{scope}")
    return found


def _answer(document: Mapping[str, Any], status: str, response: Mapping[str, Any]) -> dict[str, Any]:
    shared = "$ref" in response
    if shared:
        response = _resolved(document, response)
    content = response.get("content", {}).get("application/json", {})
    # What all refusals have is told once, at the top.
    rows = [] if shared else list(_rows(document, content.get("schema", {}), ""))
    return {
        "status": status,
        "text": response["description"],
        "rows": rows,
        "examples": {} if shared else content.get("examples", {}),
    }


def _rows(document: Mapping[str, Any], schema: Mapping[str, Any], prefix: str) -> Iterator[Row]:
    """The members of an object, and of what is in them."""
    schema = _resolved(document, schema)
    required = schema.get("required", ())
    for name, given in schema.get("properties", {}).items():
        member = _resolved(document, given)
        full = f"{prefix}{name}"
        yield Row(
            name=full,
            kind=_kind(document, member),
            required=name in required,
            text=member.get("description", ""),
            bounds=tuple(_bounds(member)),
            form=member.get("pattern"),
        )
        inside = _resolved(document, member.get("items", {})) if "items" in member else member
        yield from _rows(document, inside, f"{full}.")


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with what it refers to; members of both are put together."""
    if "$ref" not in schema:
        return schema
    found: Any = document
    for step in schema["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    base, own = _resolved(document, found), {name: value for name, value in schema.items() if name != "$ref"}
    properties = {**own.get("properties", {}), **base.get("properties", {})}
    merged = {**base, **own}
    if properties:
        merged |= {"properties": properties, "required": [*own.get("required", ()), *base.get("required", ())]}
    return merged


def _kind(document: Mapping[str, Any], member: Mapping[str, Any]) -> str:
    kind = member.get("type", "")
    names = [name for name in (kind if isinstance(kind, list) else [kind]) if name != "null"]
    text = " or ".join(names) or "any"
    if "items" in member:
        text = f"array of {_kind(document, _resolved(document, member['items']))}"
    return text


def _bounds(member: Mapping[str, Any]) -> Iterator[str]:
    if "enum" in member:
        yield "one of " + ", ".join(str(value) for value in member["enum"] if value is not None)
    for keyword, text in _BOUNDS.items():
        if keyword in member:
            value = member[keyword]
            yield text.format(json.dumps(value) if isinstance(value, bool) else value)
    if "items" in member:
        yield from (f"each {text}" for text in _bounds(member["items"]))
