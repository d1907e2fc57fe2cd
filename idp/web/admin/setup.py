"""Puts the administration's pages into an app."""

from __future__ import annotations

from flask import Flask

from idp.errors import UnknownProposal, UnknownReset
from idp.web.admin import accounts, audit, changes, clients, explore, guard, overview, policy, resets, roles, trial
from idp.web.interaction import register_finisher

PAGES = (overview, policy, explore, trial, clients, audit, roles, accounts, resets)
"""Importing them adds their views to the blueprint."""


def setup(app: Flask) -> None:
    """Register the pages, and the ends of the interactions that they begin."""
    app.register_blueprint(guard.blueprint)
    # The end of a change is reached from an interaction's page, which is not of the blueprint.
    app.register_error_handler(UnknownProposal, roles.gone)
    app.register_error_handler(UnknownReset, resets.gone)
    register_finisher(app, guard.VISIT, guard.visited)
    register_finisher(app, guard.CHANGE, changes.changed)
