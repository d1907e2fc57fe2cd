"""What needs an administrator's attention, and the way to everything else."""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Response

from idp.storage import clients, resets, roles, shadow, trail
from idp.storage.engine import reading
from idp.web.admin.guard import blueprint, me, page
from idp.web.admin.policy import in_force
from idp.web.services import services


@blueprint.get("/")
def overview() -> Response:
    """The first page; each part for those who may see the page that it leads to."""
    values: dict[str, Any] = {"policy": services().policy, "troubles": services().policies.troubles}
    if me().may("admin.policy.view"):
        found = in_force()
        values |= {"found": found, "candidate": services().view.candidate}
        values["grave"] = [item for item in found.findings if item.severity == "error"]
    with reading(services().engine) as connection:
        if me().may("admin.roles.view"):
            values["proposals"] = roles.waiting(connection, services().seals, services().clock.now())
        if me().may("admin.accounts.view"):
            values["resets"] = resets.waiting(connection, services().seals, services().clock.now())
        if me().may("admin.clients.view"):
            values["clients"] = clients.everyone(connection)
        if me().may("admin.audit.view"):
            values["altered"] = trail.page(connection, event="record.altered", limit=5)
        candidate = services().view.candidate
        if candidate is not None and "found" in values:
            values["differing"] = shadow.count(connection, candidate.policy.sha256)
    return page("admin_overview.html", **values)
