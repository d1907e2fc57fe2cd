"""Whether the process lives, and whether it can serve: for supervisors and load balancers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, jsonify
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response

from foundation import log
from foundation.clock import epoch
from foundation.errors import PrivySealError
from idp.storage import caps, logouts, notices
from idp.storage.engine import check_schema, reading
from idp.storage.outbox import backlog
from idp.web.services import services

blueprint = Blueprint("health", __name__, url_prefix="/health")
_logger = log.get(__name__)


@blueprint.get("/live")
def live() -> Response:
    """The process answers; nothing else is asked of it."""
    return jsonify(status="ok")


@blueprint.get("/ready")
def ready() -> tuple[Response, int]:
    """Database and keys can be used; what is wrong is for the log, not for whoever asks.

    ``degraded``: a policy file was refused, and the one before it is still in force.  ``events``: what the signing side
    has not been told of yet, and for how long the oldest of it has waited.  ``notices``: messages about changed
    factors that no gateway has taken yet.  ``logouts``: ended sessions that relying parties have not been told of yet.
    """
    try:
        check_schema(services().engine)
        services().keys.token_key()
        services().keys.activation_key()
        with reading(services().engine) as connection:
            events = backlog(connection, epoch(services().clock.now()))
            untold = notices.waiting(connection)
            ended = logouts.backlog(connection, epoch(services().clock.now()))
            stopped = caps.stops(connection, services().clock.now())
    except (PrivySealError, SQLAlchemyError) as error:
        _logger.warning("not ready", extra={"fields": {"cause": getattr(error, "code", type(error).__name__)}})
        return jsonify(status="unavailable"), 503
    more: dict[str, Any] = {"events": asdict(events)} if events.waiting else {}
    if ended.waiting:
        more["logouts"] = asdict(ended)
    if untold:
        more["notices"] = untold
    troubles = (*services().policies.troubles, *(f"messages_{name}" for name in sorted(stopped)))
    if troubles:
        # It serves, by the policy in force: this is for whoever has to repair the file, not for a load balancer.
        return jsonify(status="degraded", warnings=list(troubles), **more), 200
    return jsonify(status="ok", **more), 200
