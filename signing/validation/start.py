"""Makes ``POST /validate`` of the settings."""

from __future__ import annotations

from typing import Final

from flask import Flask

from connectors.ports.status import StatusSource
from connectors.registry import load as load_connector
from foundation.certificates.reading import read_anchors
from foundation.clock import Clock
from signing.ades.validate.policy import ValidationPolicy, der_of
from signing.settings import ValidationSettings, WebSettings
from signing.validation.validator import Trusted, Validator
from signing.validation.views import validation_blueprint

VALIDATOR: Final = "privyseal-validator"
"""Among an app's extensions."""


def install(app: Flask, settings: WebSettings, table: ValidationSettings, clock: Clock) -> None:
    """Add the address to an app; processes are started when they are first needed.

    :raises foundation.errors.SettingsError: a trust anchor cannot be read.
    :raises connectors.errors.ConnectorError: who is asked about certificates cannot be used.
    """
    anchors = read_anchors(table.trust_anchors, "validation.trust_anchors")
    stamping = read_anchors(table.timestamp_anchors, "validation.timestamp_anchors")
    policy = ValidationPolicy(der_of(anchors), der_of(stamping), table.revocation)
    validator = Validator(table, Trusted((*anchors, *stamping), policy), clock, _source(settings, table))
    app.register_blueprint(validation_blueprint(table, validator, settings.public_url))
    app.extensions[VALIDATOR] = validator


def _source(settings: WebSettings, table: ValidationSettings) -> StatusSource | None:
    if not table.fetch or settings.status is None:
        return None
    status = settings.status
    source: StatusSource = load_connector(
        "status", status.connector, status.settings, production=settings.mode == "production"
    )
    return source
