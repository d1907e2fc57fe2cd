"""Codes from an authenticator app (RFC 6238)."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from flask import Blueprint, request
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from idp.authn import totp
from idp.errors import OtpBehind, OtpRefused, OtpUsed, OtpWrong
from idp.storage import authenticators, boxes
from idp.storage.authenticators import Authenticator
from idp.web.prove import typed
from idp.web.prove.registry import ProofPage
from idp.web.services import services

KIND: Final = "totp"
blueprint = Blueprint("prove_totp", __name__, url_prefix="/interaction/<interaction_id>")


def seed_of(item: Authenticator) -> bytes:
    """The seed that is shared with the app or device.

    :raises BoxBroken: somebody altered it.
    """
    return boxes.unlock(services().keys.secret, (item.id, item.account_id, item.kind), item.secret_box)


@blueprint.post("/totp")
def code(interaction_id: str) -> Response:
    """Somebody typed what their app shows."""
    given = request.form.get("code", "")[:16]
    return typed.answer(interaction_id, KIND, uses_of(given), chance)


def uses_of(given: str) -> typed.Uses:
    """How a code is judged against one app."""

    def uses(connection: Connection, item: Authenticator) -> OtpRefused | None:
        judged = totp.judge(seed_of(item), given, services().clock.now(), item.counter, _timing(item))
        if judged.step is not None:
            moved = authenticators.move_counter(connection, item.id, above=judged.step - 1, to=judged.step)
            return None if moved else OtpUsed("the code was used a moment ago")
        if judged.used:
            return OtpUsed("the code was used before")
        return OtpBehind(judged.behind_seconds) if judged.behind_seconds else OtpWrong("not a code of this app")

    return uses


def _timing(item: Authenticator) -> totp.Timing:
    return totp.timing(item.data, services().settings.codes)


def chance(item: Authenticator) -> Fraction:
    """That one guess is right."""
    return totp.chance(_timing(item))


PAGE: Final = ProofPage(KIND, "prove_totp.html")
