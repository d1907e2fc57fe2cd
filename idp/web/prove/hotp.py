"""Codes from a device that counts (RFC 4226): one code, or two in a row where it has run ahead."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from flask import Blueprint, request
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from idp.authn import hotp
from idp.errors import OtpRefused, OtpUsed, OtpWrong
from idp.storage import authenticators
from idp.storage.authenticators import Authenticator
from idp.web.prove import typed
from idp.web.prove.registry import ProofPage
from idp.web.prove.totp import seed_of
from idp.web.services import services

KIND: Final = "hotp"
blueprint = Blueprint("prove_hotp", __name__, url_prefix="/interaction/<interaction_id>")


@blueprint.post("/hotp")
def code(interaction_id: str) -> Response:
    """Somebody typed what their device shows, or two codes that it showed one after the other."""
    given, second = (request.form.get(name, "")[:24] for name in ("code", "second"))
    return typed.answer(interaction_id, KIND, uses_of(given, second), chance)


def digits_of(item: Authenticator) -> int:
    """How long the device's codes are."""
    return int(item.data["digits"])


def uses_of(given: str, second: str = "") -> typed.Uses:
    """How a code, or two in a row, is judged against one device."""

    def uses(connection: Connection, item: Authenticator) -> OtpRefused | None:
        limits, seed, digits = services().settings.codes, seed_of(item), digits_of(item)
        if second.strip():
            then = hotp.resynchronise(seed, digits, (given, second), item.counter, limits.hotp_resync_window)
        else:
            then = hotp.next_counter(seed, digits, given, item.counter, limits.hotp_window)
        if then is None:
            return OtpWrong("not a code of this device")
        # Only from where it was read: whoever was faster, on whatever node, has moved it past this code.
        moved = authenticators.move_counter(connection, item.id, above=item.counter, to=then)
        return None if moved else OtpUsed("the code was used a moment ago")

    return uses


def chance(item: Authenticator) -> Fraction:
    """That one guess is right."""
    return hotp.chance(digits_of(item), services().settings.codes.hotp_window)


PAGE: Final = ProofPage(KIND, "prove_hotp.html")
