"""Recovery codes: each used once, and the person told of it over every other channel."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from flask import Blueprint, request
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from idp.authn import recovery
from idp.errors import OtpRefused, OtpWrong
from idp.notices import notify_change
from idp.storage import recovery as codes
from idp.storage.authenticators import Authenticator
from idp.storage.engine import reading
from idp.web.interaction import Interaction
from idp.web.progress import Assessment
from idp.web.prove import typed
from idp.web.prove.registry import ProofPage
from idp.web.services import services

KIND: Final = "recovery_code"
blueprint = Blueprint("prove_recovery_code", __name__, url_prefix="/interaction/<interaction_id>")


def key() -> bytes:
    """What the codes are hashed with."""
    return services().keys.secret("recovery codes")


@blueprint.post("/recovery-code")
def code(interaction_id: str) -> Response:
    """Somebody typed one of their codes."""
    given = recovery.read(request.form.get("code", "")[:40])
    return typed.answer(interaction_id, KIND, _uses(given), _chance)


def _uses(given: str | None) -> typed.Uses:
    def uses(connection: Connection, item: Authenticator) -> OtpRefused | None:
        wrong = OtpWrong("not a code that has not been used")
        if given is None:
            return wrong
        if not codes.use(connection, item.id, recovery.digest(key(), item.account_id, item.id, given)):
            return wrong
        notify_change(
            connection,
            services().seals,
            account_id=item.account_id,
            factor=KIND,
            change="used",
            now=services().clock.now(),
            random=services().random,
        )
        return None

    return uses


def _chance(_item: Authenticator) -> Fraction:
    """Of 80 random bits nothing is guessed."""
    return Fraction(0)


def _values(_interaction: Interaction, _found: Assessment, owned: tuple[Authenticator, ...]) -> Mapping[str, Any]:
    with reading(services().engine) as connection:
        return {"left": sum(codes.left(connection, item.id) for item in owned)}


PAGE: Final = ProofPage(KIND, "prove_recovery_code.html", _values)
