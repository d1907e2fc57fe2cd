"""What happened in the person's name: sign-ins and proofs, those that failed among them, and what they approved."""

from __future__ import annotations

from werkzeug.wrappers import Response

from idp.storage import clients
from idp.storage import history as stored
from idp.storage.engine import reading
from idp.web import wording
from idp.web.account.common import blueprint, me, page, signed_in
from idp.web.services import services


@blueprint.get("/history")
@signed_in
def history() -> Response:
    """The latest of the last ninety days."""
    with reading(services().engine) as connection:
        found = stored.of_account(connection, me().id, services().clock.now())
        names = {
            client_id: client.name
            for client_id in {item.client_id for item in found}
            for client in [clients.find(connection, client_id)]
            if client is not None
        }
    return page(
        "account_history.html",
        entries=found,
        names=names,
        days=stored.KEPT_DAYS,
        wording=wording,
        consents=stored.CONSENTS,
    )
