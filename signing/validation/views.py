"""``POST /validate`` over HTTP.  Anybody may ask; all of them together have so much in a time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import yaml
from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from foundation.log import get
from signing.csc.limits import STRANGERS, buckets_of
from signing.settings import ValidationSettings
from signing.validation.errors import TooComplex, ValidatorUnavailable
from signing.validation.validator import Validator

FIELD: Final = "document"
"""Of a form."""
_FORM_OCTETS: Final = 16 * 1024
"""What a form has besides the document."""
_RETRY_SECONDS: Final = 5
_PDF: Final = "application/pdf"
_FORM: Final = "multipart/form-data"

_log = get(__name__)


def validation_blueprint(settings: ValidationSettings, validator: Validator, public_url: str) -> Blueprint:
    """``POST /validate``, and its description."""
    blueprint = Blueprint("validation", __name__)
    buckets = buckets_of(settings.rate, time.monotonic, most=1)

    def post() -> Response:
        # 1. Before anything is read: who comes too often.
        if wait := buckets.take(STRANGERS):
            return _refused(429, "temporarily_unavailable", "Too many requests", wait)
        # 2. A document of a size that is looked at.
        request.max_content_length = settings.max_octets + _FORM_OCTETS
        request.max_form_memory_size = settings.max_octets + _FORM_OCTETS
        try:
            document = _document()
        except RequestEntityTooLarge:
            return _refused(413, "invalid_request", f"The document is larger than {settings.max_octets} octets")
        if document is None:
            return _refused(415, "invalid_request", f"Send a PDF as {_PDF}, or in the field {FIELD} of {_FORM}")
        if len(document) > settings.max_octets:
            return _refused(413, "invalid_request", f"The document is larger than {settings.max_octets} octets")
        # 3. Validated where it can do no harm.
        return _validated(validator, document)

    def description() -> Response:
        return jsonify(openapi(public_url))

    blueprint.add_url_rule("/validate", "validate", post, methods=["POST"])
    blueprint.add_url_rule("/validate/openapi.json", "openapi", description, methods=["GET"])
    return blueprint


def openapi(public_url: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    path = Path(__file__).parent / "data" / "openapi.yaml"
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document | {"servers": [{"url": public_url}]}


def _document() -> bytes | None:
    """The octets; None where there are none."""
    if request.mimetype == _PDF:
        return request.get_data(cache=False)
    if request.mimetype == _FORM:
        uploaded = request.files.getlist(FIELD)
        return uploaded[0].read() if len(uploaded) == 1 else None
    return None


def _validated(validator: Validator, document: bytes) -> Response:
    try:
        found = validator.validate(document)
    except TooComplex as error:
        _log.warning("a document was not validated", extra={"fields": {"cause": type(error.__cause__).__name__}})
        return _refused(422, error.code, "The document takes more time or memory than one may")
    except ValidatorUnavailable as error:
        _log.error("no document can be validated", extra={"fields": {"cause": type(error).__name__}})
        return _refused(503, error.code, "No document can be validated now", _RETRY_SECONDS)
    best = request.accept_mimetypes.best_match(["application/json", "text/plain"], "application/json")
    if best == "text/plain":
        return Response(found.text + "\n", mimetype="text/plain")
    return jsonify(found.report)


def _refused(status: int, code: str, description: str, retry_after: int | None = None) -> Response:
    answer = jsonify({"error": code, "error_description": description})
    answer.status_code = status
    if retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
    return answer
