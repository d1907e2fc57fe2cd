"""Makes ``POST /validate`` of the settings."""

from __future__ import annotations

from typing import Final

from flask import Flask

from connectors.ports.status import StatusSource
from connectors.registry import load as load_connector
from foundation.certificates.reading import read_anchors
from foundation.clock import Clock
from foundation.sandbox_pool import Pool
from signing.settings import ValidationSettings, WebSettings
from signing.validation.validator import WORKER, Validator, limits_for, trusted
from signing.validation.views import validation_blueprint

PROCESSES: Final = "privyseal-validation-processes"
"""Among an app's extensions."""


def install(app: Flask, settings: WebSettings, table: ValidationSettings, clock: Clock) -> None:
    """Add the address to an app; processes are started when they are first needed.

    :raises foundation.errors.SettingsError: a trust anchor cannot be read.
    :raises connectors.errors.ConnectorError: who is asked about certificates cannot be used.
    """
    anchors = read_anchors(table.trust_anchors, "validation.trust_anchors")
    stamping = read_anchors(table.timestamp_anchors, "validation.timestamp_anchors")
    # One document each: what took over a process would judge the next one.
    pool = Pool(WORKER, limits_for(table.max_octets, table.seconds), workers=table.workers, files=1)
    validator = Validator(pool.run, trusted(anchors, stamping, table.revocation), clock, _source(settings, table))
    app.register_blueprint(validation_blueprint(table, validator, settings.public_url))
    app.extensions[PROCESSES] = pool


def _source(settings: WebSettings, table: ValidationSettings) -> StatusSource | None:
    if not table.fetch or settings.status is None:
        return None
    status = settings.status
    source: StatusSource = load_connector(
        "status", status.connector, status.settings, production=settings.mode == "production"
    )
    return source
