"""Relying parties that hold something of the person's: what was granted, since when, and how to take it back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask import redirect, url_for
from werkzeug.wrappers import Response

from foundation.clock import from_epoch
from idp.storage import clients, grants
from idp.storage.engine import reading
from idp.web import revocation
from idp.web.account.common import blueprint, me, page, refused, signed_in
from idp.web.services import services


@dataclass(frozen=True, slots=True)
class Connected:
    """A relying party, and what it holds."""

    client_id: str
    name: str
    scopes: tuple[str, ...]
    since: datetime
    last_used: datetime | None
    until: datetime


@blueprint.get("/applications")
@signed_in
def applications() -> Response:
    """The relying parties that hold a grant of the person's."""
    with reading(services().engine) as connection:
        held = grants.of_subject(connection, services().seals, me().id, services().clock.now())
        names = {
            client_id: client.name if client is not None else client_id
            for client_id in {item.client_id for item in held}
            for client in [clients.find(connection, client_id)]
        }
    shown = [
        _connected(name, [item for item in held if item.client_id == client_id]) for client_id, name in names.items()
    ]
    return page("account_applications.html", applications=sorted(shown, key=lambda item: item.name.casefold()))


@blueprint.post("/applications/<client_id>/revoke")
@signed_in
def disconnect(client_id: str) -> Response:
    """Take back all that a relying party holds of the person's; of another's, or nobody's, there is nothing."""
    with services().engine.begin() as connection:
        held = grants.of_subject(connection, services().seals, me().id, services().clock.now())
        own = [item for item in held if item.client_id == client_id]
        revocation.end_grants(connection, [item.id for item in own], client_id)
    return redirect(url_for("account.applications"), 303) if own else refused()


def _connected(name: str, held: list[grants.Held]) -> Connected:
    used = [item.issued_at for item in held if item.issued_at is not None]
    return Connected(
        held[0].client_id,
        name,
        tuple(dict.fromkeys(scope for item in held for scope in item.scopes)),
        from_epoch(min(item.created_at for item in held)),
        from_epoch(max(used)) if used else None,
        from_epoch(max(item.expires_at for item in held)),
    )
