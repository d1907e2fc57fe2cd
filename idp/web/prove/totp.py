"""Codes from an authenticator app (RFC 6238)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, request
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from idp.authn.totp import matching_step
from idp.errors import OtpRefused
from idp.storage import authenticators, boxes
from idp.storage.authenticators import Authenticator
from idp.web import pages, progress
from idp.web.interaction import Interaction, load
from idp.web.progress import Assessment
from idp.web.prove import typed
from idp.web.prove.registry import ProofPage
from idp.web.services import services

KIND: Final = "totp"
blueprint = Blueprint("prove_totp", __name__, url_prefix="/interaction/<interaction_id>")


def seed_of(item: Authenticator) -> bytes:
    """The seed that is shared with the app.

    :raises BoxBroken: somebody altered it.
    """
    return boxes.unlock(services().keys.secret, (item.id, item.account_id, item.kind), item.secret_box)


@blueprint.post("/totp")
def code(interaction_id: str) -> Response:
    """Somebody typed what their app shows."""
    interaction = load(interaction_id)
    given = request.form.get("code", "")[:16]
    try:
        typed.verify(interaction, pages.assessed(interaction), KIND, _uses(given))
    except OtpRefused as error:
        return pages.render(interaction, pages.notice_of(error), factor=KIND)
    return progress.advance(load(interaction_id))


def _uses(given: str) -> typed.Uses:
    def uses(connection: Connection, item: Authenticator) -> bool:
        step = matching_step(seed_of(item), given, services().clock.now(), item.counter)
        return step is not None and authenticators.move_counter(connection, item.id, above=step - 1, to=step)

    return uses


def _values(_interaction: Interaction, _found: Assessment, owned: tuple[Authenticator, ...]) -> Mapping[str, Any]:
    return {"labels": [item.label for item in owned if item.label]}


PAGE: Final = ProofPage(KIND, "prove_totp.html", _values)
