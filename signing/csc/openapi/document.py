"""Builds a dialect's OpenAPI 3.1 document for a deployment: its methods, its addresses, and nothing that it has not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from signing.csc.dialect import Dialect, to_own_names
from signing.csc.openapi import source
from signing.settings import WebSettings

_JSON: Final = "application/json"
_REF: Final = "#/components/schemas/"
_ALWAYS: Final = ("lang", "clientData")
"""Members of every request."""
_REFUSALS: Final = ("400", "413", "429", "500", "503")
_REFUSALS_WITH_TOKEN: Final = ("400", "401", "403", "413", "429", "500", "503")
_BEARERS: Final[Mapping[str, list[dict[str, list[str]]]]] = {
    "none": [{}],
    "service": [{"serviceToken": ["service"]}],
    "service or sad": [{"serviceToken": ["service"]}, {"sad": ["credential"]}],
    "creation": [{"order": ["credential-creation"]}],
    "deletion": [{"order": ["credential-deletion"]}],
    "basic": [{"basic": []}],
}


def build(dialect: Dialect, settings: WebSettings, methods: Sequence[str]) -> dict[str, Any]:
    """The whole document.

    :param methods: names of what the deployment offers in the dialect; what has no file is left out.
    """
    common = source.of_dialect(source.common(), dialect.name)
    found = {name: source.of_method(name) for name in methods}
    components: dict[str, Any] = common["components"]
    components["securitySchemes"] = _security_schemes(common, settings)
    paths = {}
    for name, described in found.items():
        if described is not None:
            ours = source.of_dialect(described, dialect.name)
            components["schemas"] |= ours.pop("schemas", {})
            paths[f"/{name}"] = {"post": _operation(dialect, name, ours)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{settings.service.name}: CSC API {dialect.specs}",
            "version": dialect.specs,
            "summary": common["summary"],
            "description": common["description"],
        },
        "servers": [{"url": f"{settings.public_url}{dialect.path}"}],
        "tags": [tag for tag in common["tags"] if any(path.startswith(f"/{tag['name']}") for path in paths)],
        "paths": paths,
        "components": components,
    }


def request_schema(document: Mapping[str, Any], method: str) -> Mapping[str, Any] | None:
    """The schema of a method's request; None where the document does not have the method."""
    operation = document["paths"].get(f"/{method}")
    if operation is None:
        return None
    schema: Mapping[str, Any] = operation["post"]["requestBody"]["content"][_JSON]["schema"]
    return schema


def own_names(dialect: Dialect, method: str) -> dict[str, str]:
    """Own name to v2 name, for those members of a method's request that have several."""
    members = (source.of_method(method) or {}).get("request", {}).get("properties", {})
    return {own: name for name, own in dialect.own_names.items() if name in members}


def _security_schemes(common: Mapping[str, Any], settings: WebSettings) -> dict[str, Any]:
    schemes: dict[str, Any] = common["components"]["securitySchemes"]
    issuer = settings.issuer.url
    for scheme in schemes.values():
        for flow in scheme.get("flows", {}).values():
            flow["tokenUrl"] = f"{issuer}/oauth2/token"
            if "authorizationUrl" in flow:
                flow["authorizationUrl"] = f"{issuer}/oauth2/authorize"
    return schemes


def _operation(dialect: Dialect, name: str, ours: Mapping[str, Any]) -> dict[str, Any]:
    bearer = ours.get("bearer", "service")
    refusals = _REFUSALS if bearer == "none" else _REFUSALS_WITH_TOKEN
    responses = {status: _response(dialect, response) for status, response in ours["responses"].items()}
    responses |= {status: {"$ref": f"#/components/responses/{status}"} for status in refusals}
    content: dict[str, Any] = {"schema": _request(dialect, ours.get("request", {}))}
    if "examples" in ours:
        content["examples"] = {
            key: {**item, "value": _renamed(dialect, item["value"])} for key, item in ours["examples"].items()
        }
    return {
        "operationId": name.replace("/", "_"),
        "tags": [name.partition("/")[0]],
        "summary": ours["summary"],
        "description": to_own_names(dialect, ours["description"]),
        "externalDocs": {
            "url": "https://cloudsignatureconsortium.org/resources/download-api-specifications/",
            "description": f"CSC API, {ours['clause']}",
        },
        "security": _BEARERS[bearer],
        "requestBody": {"required": True, "content": {_JSON: content}},
        "responses": responses,
    }


def _response(dialect: Dialect, ours: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": ours["description"]}
    if "schema" in ours:
        content: dict[str, Any] = {"schema": ours["schema"]}
        if "examples" in ours:
            content["examples"] = ours["examples"]
        answer["content"] = {_JSON: content}
    return answer


def _request(dialect: Dialect, ours: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a request: with its members spelt out, and null where a member may be absent."""
    given: Mapping[str, Any] = ours.get("properties", {})
    required = ours.get("required", [])
    wanted = {**given, **{name: name for name in _ALWAYS}}
    properties = {name: _member(dialect, member) for name, member in wanted.items()}
    properties = {name: schema if name in required else _or_null(schema) for name, schema in properties.items()}
    rest = {name: value for name, value in ours.items() if name not in {"properties", "required"}}
    schema: dict[str, Any] = {"type": "object", **rest, "properties": properties}
    if required:
        schema["required"] = required
    return _renamed_schema(dialect, schema)


def _member(dialect: Dialect, member: Any) -> dict[str, Any]:
    own: dict[str, Any] = {"use": member} if isinstance(member, str) else dict(member)
    used = own.pop("use", None)
    base = {} if used is None else source.of_dialect(source.members()[used], dialect.name)
    return {**base, **own}


def _or_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same, or null: an absent member and null mean the same (CSC API 2.0.0.2 7.1)."""
    changed = dict(schema)
    if isinstance(schema.get("type"), str):
        changed["type"] = [schema["type"], "null"]
    if "enum" in schema:
        changed["enum"] = [*schema["enum"], None]
    return changed


def _renamed_schema(dialect: Dialect, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of a whole request with the dialect's names, in its conditions too."""
    changed = dict(schema)
    if "properties" in changed:
        changed["properties"] = _renamed(dialect, changed["properties"])
    if "required" in changed:
        changed["required"] = [dialect.own_names.get(name, name) for name in changed["required"]]
    for keyword in ("if", "then", "else", "not"):
        if keyword in changed:
            changed[keyword] = _renamed_schema(dialect, changed[keyword])
    for keyword in ("allOf", "anyOf", "oneOf"):
        if keyword in changed:
            changed[keyword] = [_renamed_schema(dialect, item) for item in changed[keyword]]
    return changed


def _renamed(dialect: Dialect, members: Mapping[str, Any]) -> dict[str, Any]:
    return {dialect.own_names.get(name, name): value for name, value in members.items()}
