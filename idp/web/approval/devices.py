"""Setting up a device that approves signatures: its passkey is made where it will approve, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from werkzeug.wrappers import Response

from contract import proof_key
from foundation.jose import decode_base64url, encode_base64url
from idp.authn.passkey import answer, options, registration
from idp.authn.passkey.device_key import ALGORITHMS, device_key
from idp.errors import InteractionLost
from idp.storage import accounts
from idp.storage.accounts import Account
from idp.storage.device_visits import StoredVisit, Visit
from idp.storage.engine import reading
from idp.web import language, passkeys
from idp.web.approval import place
from idp.web.services import services

_CHALLENGE_OCTETS: Final = 32


def send(session_id: str, account_id: str, wanted: Mapping[str, Any]) -> Response:
    """Send the browser to where devices approve, to make a passkey there.

    :param wanted: what the device is for; comes back with its key.
    """
    asked = {
        "wanted": dict(wanted),
        "challenge": encode_base64url(services().random(_CHALLENGE_OCTETS)),
        "language": language.select(),
    }
    return place.send(Visit(session_id, account_id, "device", account_id, asked))


def owner(found: StoredVisit) -> Account:
    """Whose device is set up; pages are in the language in which that began.

    :raises InteractionLost: the account is not there, or disabled by now.
    """
    language.prefer((found.visit.asked["language"],))
    with reading(services().engine) as connection:
        account = accounts.find(connection, found.visit.account_id)
    if account is None or not account.active:
        raise InteractionLost("the account is not there any more")
    return account


def options_for(found: StoredVisit, account: Account) -> str:
    """JSON for ``navigator.credentials.create()``."""
    made = options.creation_options(
        place.party(),
        challenge=_challenge(found),
        user_handle=passkeys.user_handle(account.id),
        username=account.username,
        display_name=account.name,
        registered=(),
        user_verification="required",
        resident_key="preferred",
        attestation=passkeys.trust().asks,
    )
    kinds = [item for item in made["pubKeyCredParams"] if item["alg"] in ALGORITHMS]
    return json.dumps({**made, "pubKeyCredParams": kinds})


def made(found: StoredVisit, account: Account, text: str) -> dict[str, Any]:
    """The key of the passkey that was made, as JSON, with what it is for.

    :param text: JSON, as ``PublicKeyCredential.toJSON()`` writes it.
    :raises PasskeyRefused: it is none, or none that could approve here.
    """
    fresh = registration.verify(
        place.party(),
        answer.read_registration(text),
        challenge=_challenge(found),
        user_handle=passkeys.user_handle(account.id),
        require_uv=True,
        trust=passkeys.trust(),
        now=services().clock.now(),
    )
    key = device_key(fresh.passkey, place.origin())
    return {"wanted": found.visit.asked["wanted"], "proof_key": proof_key.to_json(key), "device": key.kid}


def _challenge(found: StoredVisit) -> bytes:
    return decode_base64url(str(found.visit.asked["challenge"]).encode())
