"""Holds answers of the API against its OpenAPI documents: a status or a member that is not described is a fault."""

from __future__ import annotations

from typing import Any

from flask import Flask
from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse


class Described:
    """The documents that an application serves."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._documents: dict[str, Any] = {}

    def check(self, base: str, method: str, response: TestResponse) -> None:
        """An answer is one of those that the method's document has; a method that is not offered has none."""
        document = self._document(base)
        item = document.get("paths", {}).get(f"/{method}")
        if item is None:
            assert response.status_code in {404, 405, 501}, f"{method} is served at {base} and not described"
            return
        described = item["post"]["responses"].get(str(response.status_code))
        assert described is not None, f"{method} answers {response.status_code} and its document does not say so"
        if "$ref" in described:
            described = document["components"]["responses"][described["$ref"].rpartition("/")[2]]
        for name, header in described.get("headers", {}).items():
            assert not header.get("required") or response.headers.get(name), f"{response.status_code} without {name}"
        content = described.get("content")
        if content is None:
            assert response.data == b"", f"{method} answers more than its document says"
            return
        schema = {**content["application/json"]["schema"], "components": document["components"]}
        faults = [fault.message for fault in Draft202012Validator(schema).iter_errors(response.get_json())]
        assert faults == [], f"{method} at {base}: {faults}"

    def _document(self, base: str) -> Any:
        if base not in self._documents:
            answer = self._app.test_client().get(f"{base}/openapi.json")
            self._documents[base] = answer.get_json() if answer.status_code == 200 else {}
        return self._documents[base]
