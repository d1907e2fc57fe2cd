"""Serves a dialect's document, as it is and as a page for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, Response

DOCUMENT_PATH: Final = "/openapi.json"


def add(blueprint: Blueprint, document: Mapping[str, Any]) -> None:
    """Add the routes; nothing here needs a token, since nothing here is anybody's."""
    octets = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()

    def whole() -> Response:
        return Response(octets, mimetype="application/json")

    blueprint.add_url_rule(DOCUMENT_PATH, "openapi", whole)
