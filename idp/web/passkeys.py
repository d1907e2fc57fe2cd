"""What the pages of passkeys share: who we are to authenticators, which makes are believed, and the challenges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from flask import Flask, current_app
from werkzeug.wrappers import Response

from foundation import log
from foundation.json_text import encoder
from idp.authn.passkey import answer, challenge, options
from idp.authn.passkey.answer import Assertion
from idp.authn.passkey.attestation import Trust, parse_trust
from idp.authn.passkey.challenge import Occasion, Purpose, Ticket
from idp.authn.passkey.options import Preference, RelyingParty
from idp.authn.passkey.record import Passkey
from idp.errors import PasskeyRefused, TrustRefused
from idp.policy.model import Decision
from idp.storage.authenticators import Authenticator
from idp.web import faults
from idp.web.interaction import Interaction
from idp.web.language import gettext as _
from idp.web.services import services

KIND: Final = "passkey"
_EXTENSION: Final = "privyseal.passkeys"
_JSON: Final = encoder()
_CHALLENGES: Final = "passkey challenges"
_HANDLES: Final = "passkey user handles"
_logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a page asks a browser for."""

    ticket: str
    options: str
    """JSON for ``navigator.credentials``."""


def install(app: Flask) -> None:
    """Read which makes of authenticators the operator trusts.

    :raises TrustRefused: the file cannot be read, or is not of the form.
    """
    with app.app_context():
        file = services().settings.passkeys.trust_file
    app.register_error_handler(PasskeyRefused, _cannot)
    app.extensions[_EXTENSION] = Trust() if file is None else _read_trust(file)


def _cannot(error: PasskeyRefused) -> Response:
    """A page cannot ask for a passkey: the host is an address."""
    refused(error)
    return faults.page(_("The request cannot be answered"), _("Please go back and start again."), 400)


def _read_trust(file: Path) -> Trust:
    try:
        return parse_trust(file.read_bytes())
    except OSError as error:
        raise TrustRefused(f"{file} cannot be read") from error


def trust() -> Trust:
    """The makes of authenticators that are believed."""
    return cast("Trust", current_app.extensions[_EXTENSION])


def party() -> RelyingParty:
    """Who we are to authenticators.

    :raises PasskeyRefused: ``origin``: the issuer's host is an address, for which there are no passkeys.
    """
    settings = services().settings
    found = options.relying_party(settings.issuer, settings.service_name)
    if found is None:
        raise PasskeyRefused("origin", "there are no passkeys for an address")
    return found


def user_handle(account_id: str) -> bytes:
    """What authenticators know a person by."""
    return challenge.user_handle(services().keys.secret(_HANDLES), account_id)


def occasion(purpose: Purpose, interaction: Interaction) -> Occasion:
    """An answer for an interaction: its session, and what its transaction is about."""
    return Occasion(purpose, interaction.stored.session_id, interaction.id, interaction.binding)


def new_challenge(about: Occasion) -> tuple[str, bytes]:
    """A ticket and its challenge; nothing is stored."""
    ticket = challenge.issue(services().random(challenge.NONCE_OCTETS), services().clock.now())
    return str(ticket), _derive(ticket, about)


def ask(about: Occasion, owned: Iterable[Authenticator], user_verification: Preference) -> Asked:
    """Ask for a passkey to be used.

    :param owned: those that may be; none: any that the person has for us.
    """
    ticket, octets = new_challenge(about)
    allowed = [Passkey.from_json(item.data).known for item in owned]
    found = options.request_options(party(), challenge=octets, allowed=allowed, user_verification=user_verification)
    return Asked(ticket, _JSON(found))


def offered(interaction: Interaction, decision: Decision) -> Asked | None:
    """What the sign-in page asks browsers for; None: a passkey leads nowhere here, or nobody can have one.

    :param decision: of whoever it may be.
    """
    if KIND not in {option.missing[0] for option in decision.options if option.missing}:
        return None
    try:
        return ask(occasion("sign_in", interaction), (), "preferred")
    except PasskeyRefused:
        return None


@dataclass(frozen=True, slots=True)
class Reply:
    """A passkey's answer, with the ticket that came back beside it."""

    given: Assertion
    ticket: str
    about: Occasion


def reply(form: Mapping[str, str], about: Occasion) -> Reply:
    """What a form brought back.

    :raises PasskeyRefused: there is no answer, or none of the form.
    """
    return Reply(answer.read_assertion(answer_in(form)), form.get("ticket", ""), about)


def answer_in(form: Mapping[str, str]) -> str:
    """What the browser made of the options.

    :raises PasskeyRefused: ``no_answer``: it did not ask an authenticator.
    """
    if not form.get("answer"):
        raise PasskeyRefused("no_answer", "the browser did not ask an authenticator")
    return form["answer"]


def challenge_of(ticket: str, about: Occasion) -> tuple[Ticket, bytes]:
    """A ticket that came back, and the challenge that it stands for on this occasion.

    :raises PasskeyRefused: ``malformed`` or ``expired``.
    """
    found = challenge.read(ticket, services().clock.now())
    return found, _derive(found, about)


def explained(error: PasskeyRefused) -> str:
    """What a person is told: what they can do about it, and no more."""
    if error.cause == "no_answer":
        return _("Passkeys need JavaScript. Please allow it for this page, or use another way.")
    if error.cause == "expired":
        return _("That took too long. Please try again.")
    if error.cause == "user_verification":
        return _("Your passkey has to check that it is you: by a PIN, a fingerprint or your face. Please try again.")
    return _("This passkey was not accepted. Please try again, or use another way.")


def refused(error: PasskeyRefused, **fields: Any) -> None:
    """Say in the log why an answer was refused; nothing of it is quoted."""
    _logger.warning("a passkey was refused", extra={"fields": {"cause": error.cause, **fields}})


def _derive(ticket: Ticket, about: Occasion) -> bytes:
    return challenge.derive(services().keys.secret(_CHALLENGES), ticket, about)
