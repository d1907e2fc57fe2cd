"""Makes the proofs of every kind known to an app."""

from __future__ import annotations

from flask import Flask

from idp.web import passkey_login, passkeys
from idp.web.prove import certificate, hotp, passkey, recovery_code, totp
from idp.web.prove.registry import register


def setup(app: Flask) -> None:
    """Register the pages and their forms."""
    for module in (certificate, passkey, totp, hotp, recovery_code):
        app.register_blueprint(module.blueprint)
        register(app, module.PAGE)
    passkeys.install(app)
    app.register_blueprint(passkey_login.blueprint)
