"""Makes the proofs of every kind known to an app."""

from __future__ import annotations

from flask import Flask, request
from werkzeug.wrappers import Response

from idp.errors import CredentialUnavailable, CredentialUnusable
from idp.web import pages, passkey_login, passkeys
from idp.web.prove import certificate, hotp, passkey, recovery_code, totp
from idp.web.prove.registry import register


def setup(app: Flask) -> None:
    """Register the pages and their forms."""
    for module in (certificate, passkey, totp, hotp, recovery_code):
        app.register_blueprint(module.blueprint)
        register(app, module.PAGE)
    for error in (CredentialUnavailable, CredentialUnusable):
        app.register_error_handler(error, _without_credential)
    passkeys.install(app)
    app.register_blueprint(passkey_login.blueprint)


def _without_credential(error: CredentialUnavailable | CredentialUnusable) -> Response:
    """What could not be read in the middle of a proof: the interaction's page says so."""
    if "interaction_id" not in (request.view_args or {}):
        raise error
    return pages.without_credential(error)
