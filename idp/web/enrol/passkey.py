"""Binding a passkey: the browser makes one, and we keep its public key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from flask import request

from idp.authn.passkey import answer, options, registration
from idp.authn.passkey.challenge import Occasion
from idp.authn.passkey.record import Passkey
from idp.errors import EnrolmentRefused, PasskeyRefused
from idp.storage import authenticators
from idp.storage.accounts import Account
from idp.storage.authenticators import NewAuthenticator
from idp.storage.engine import reading
from idp.storage.enrolments import Enrolment
from idp.web import passkeys as asking
from idp.web.enrol.registry import Enroller, Prepared
from idp.web.language import gettext as _
from idp.web.passkeys import KIND, Asked, explained
from idp.web.services import services


def _prepare(_enrolment_id: str, _account: Account) -> Prepared:
    return Prepared()


def _values(enrolment: Enrolment, account: Account) -> Mapping[str, Any]:
    settings = services().settings.passkeys
    now = services().clock.now()
    with reading(services().engine) as connection:
        owned = authenticators.of_account(connection, services().seals, account.id)
    ticket, challenge = asking.new_challenge(_occasion(enrolment))
    asked = options.creation_options(
        asking.party(),
        challenge=challenge,
        user_handle=asking.user_handle(account.id),
        username=account.username,
        display_name=account.name,
        registered=[Passkey.from_json(item.data).known for item in owned if item.kind == KIND and item.usable(now)],
        user_verification=settings.user_verification,
        resident_key=settings.resident_key,
        attestation=asking.trust().asks,
    )
    return {"passkey": Asked(ticket, json.dumps(asked)), "label": request.form.get("label", "")}


def _confirm(enrolment: Enrolment, account: Account, form: Mapping[str, str]) -> NewAuthenticator:
    try:
        made = _made(enrolment, account, form)
    except PasskeyRefused as error:
        asking.refused(error, txn=enrolment.txn)
        raise EnrolmentRefused(f"the passkey was not accepted: {error.cause}", explained(error)) from error
    return NewAuthenticator(
        enrolment.id,
        account.id,
        KIND,
        label=form.get("label", "").strip() or suggested_name(made.passkey),
        data=made.passkey.to_json(),
        lookup=answer.lookup(made.passkey.credential_id),
        counter=made.counter,
    )


def _made(enrolment: Enrolment, account: Account, form: Mapping[str, str]) -> registration.Made:
    text = asking.answer_in(form)
    _ticket, challenge = asking.challenge_of(form.get("ticket", ""), _occasion(enrolment))
    return registration.verify(
        asking.party(),
        answer.read_registration(text),
        challenge=challenge,
        user_handle=asking.user_handle(account.id),
        require_uv=services().settings.passkeys.user_verification == "required",
        trust=asking.trust(),
        now=services().clock.now(),
    )


def _occasion(enrolment: Enrolment) -> Occasion:
    return Occasion("register", enrolment.session_id, enrolment.id)


def suggested_name(passkey: Passkey) -> str:
    """What a passkey without a name is called: its model where that is known, else where it seems to be."""
    known = asking.trust().describe(passkey.aaguid)
    if known:
        return known
    if passkey.backup_eligible:
        return _("Password manager")
    if "internal" in passkey.transports:
        return _("Built into a device")
    if {"usb", "nfc", "ble", "smart-card"} & set(passkey.transports):
        return _("Security key")
    return ""


ENROLLER: Final = Enroller(KIND, "enrol_passkey.html", _prepare, _values, _confirm)
