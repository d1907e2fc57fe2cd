"""Makes the account pages known to an app."""

from __future__ import annotations

from flask import Flask

# Imported for the views that they add to the blueprint.
from idp.web.account import applications, approvals, credentials, devices, history, language, overview, ways
from idp.web.account.common import SIGN_IN, blueprint, finished_sign_in
from idp.web.interaction import register_finisher

PAGES = (applications, approvals, credentials, devices, history, language, overview, ways)


def setup(app: Flask) -> None:
    """Register the pages and the ends of the interactions that they begin."""
    app.register_blueprint(blueprint)
    register_finisher(app, SIGN_IN, finished_sign_in)
    credentials.setup(app)
    approvals.setup(app)
