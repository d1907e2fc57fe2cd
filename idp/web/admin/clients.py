"""Relying parties: what they may do, and stopping one at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import abort, redirect, request, url_for
from werkzeug.wrappers import Response

from foundation.clock import epoch
from idp.authn.approval import Approval
from idp.oidc.client import Client
from idp.storage import clients as stored
from idp.storage import grants, logouts
from idp.storage.engine import reading
from idp.web import faults
from idp.web.admin.guard import ask, blueprint, page
from idp.web.language import gettext as _
from idp.web.services import services


@blueprint.get("/clients")
def clients() -> Response:
    """All of them, by id."""
    with reading(services().engine) as connection:
        found = stored.everyone(connection)
    return page("admin_clients.html", clients=found)


@blueprint.get("/clients/<client_id>")
def client(client_id: str) -> Response:
    """One of them."""
    found = _client(client_id)
    with reading(services().engine) as connection:
        told = logouts.standings(connection, epoch(services().clock.now()), client_id)
    return page("admin_client.html", parent="admin.clients", client=found, told=next(iter(told), None))


def _client(client_id: str) -> Client:
    with reading(services().engine) as connection:
        found = stored.find(connection, client_id)
    if found is None:
        abort(404)
    return found


@blueprint.post("/clients/<client_id>/change")
def change_client(client_id: str) -> Response:
    """Begin to stop a relying party, or to readmit it."""
    found = _client(client_id)
    change = "disabled" if found.active else "enabled"
    if request.form.get("change") != change:
        return faults.page(_("Nothing was done"), _("That is so already."), 409)
    return ask("admin.clients.change", {"client_id": client_id, "name": found.registration.name, "change": change})


def changed(approval: Approval, detail: Mapping[str, Any]) -> Response:
    """Do it; what was given out before does not come back to life when the relying party does."""
    client_id, active = detail["client_id"], detail["change"] == "enabled"
    with services().engine.begin() as connection:
        if not stored.set_active(connection, client_id, active=active):
            abort(404)
        if not active:
            services().outbox.client_disabled(connection, client_id)
        revoked = 0 if active else grants.revoke_client(connection, client_id, services().clock.now())
        services().audit.record(
            connection,
            "client.changed",
            client_id=client_id,
            change=detail["change"],
            grants_revoked=revoked,
            by=approval.account_id,
            decision_id=approval.decision_id,
        )
    return redirect(url_for("admin.client", client_id=client_id), 303)
