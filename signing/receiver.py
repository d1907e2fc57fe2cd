"""Receives security events over HTTP (RFC 8935, push) and passes them on to the activation module.

Whoever sends one need not say who they are: the event is signed, and the module believes nothing else.  The web tier
neither verifies nor keeps it.  It can withhold one, which is bounded by the life of the SADs that it is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Blueprint, Response, jsonify, request

from contract.event import EVENT_TYPE, MAX_EVENT_OCTETS
from foundation.log import get
from signing.link import codes
from signing.link.client import SamClient
from signing.link.errors import LinkError, LinkRefused

_REFUSALS: Final[Mapping[str, tuple[str, str]]] = {
    codes.INVALID_EVENT: ("invalid_request", codes.DETAILS[codes.INVALID_EVENT]),
    codes.BAD_REQUEST: ("invalid_request", codes.DETAILS[codes.INVALID_EVENT]),
    codes.EVENT_AUDIENCE: ("invalid_audience", codes.DETAILS[codes.EVENT_AUDIENCE]),
    codes.EVENT_ISSUER: ("invalid_issuer", codes.DETAILS[codes.EVENT_ISSUER]),
}
"""Refusals of the module, as errors of RFC 8935 2.4; after any other the sender may try again."""
_RETRY_SECONDS: Final = 5

_log = get(__name__)


def receiver_blueprint(sam: SamClient) -> Blueprint:
    """``POST /events``."""
    blueprint = Blueprint("events", __name__)

    def receive() -> Response:
        if request.mimetype != f"application/{EVENT_TYPE}":
            return _refused("invalid_request", f"The request must be of type application/{EVENT_TYPE}")
        if request.content_length is None or request.content_length > MAX_EVENT_OCTETS:
            return _refused("invalid_request", "The security event is too large, or its length is not stated")
        try:
            sam.revoke(request.get_data(cache=False).decode("ascii"))
        except UnicodeDecodeError:
            return _refused(*_REFUSALS[codes.INVALID_EVENT])
        except LinkRefused as error:
            return _as_refused(error)
        except LinkError as error:
            _log.error("the activation module does not answer", extra={"fields": {"cause": type(error).__name__}})
            return _unavailable()
        # RFC 8935 2.2: the body is empty.
        return Response(status=202)

    blueprint.add_url_rule("/events", "receive", receive, methods=["POST"])
    return blueprint


def _as_refused(error: LinkRefused) -> Response:
    # Anybody can send one: no more than a note.
    _log.info("the activation module refused an event", extra={"fields": {"code": error.refusal}})
    if error.refusal in _REFUSALS:
        return _refused(*_REFUSALS[error.refusal])
    return _unavailable()


def _refused(err: str, description: str) -> Response:
    """RFC 8935 2.3."""
    answer = jsonify({"err": err, "description": description})
    answer.status_code = 400
    answer.headers["Content-Language"] = "en"
    return answer


def _unavailable() -> Response:
    answer = Response(status=503)
    answer.headers["Retry-After"] = str(_RETRY_SECONDS)
    return answer
