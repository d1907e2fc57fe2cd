"""Setting up a device that approves signatures: its passkey is made where it will approve, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from werkzeug.wrappers import Response

from contract import proof as proofs
from contract import proof_key
from contract.errors import ProofInvalid
from contract.proof import Proof, WebAuthnParts
from contract.proof_key import MAX_CHANGE_SECONDS, Change, DeviceKey
from foundation.clock import epoch
from foundation.jose import decode_base64url, encode_base64url
from idp.authn.passkey import answer, options, registration
from idp.authn.passkey.device_key import ALGORITHMS, device_key
from idp.authn.passkey.options import Known
from idp.errors import InteractionLost
from idp.storage import accounts
from idp.storage.accounts import Account
from idp.storage.device_visits import StoredVisit, Visit
from idp.storage.engine import reading
from idp.web import language, passkeys
from idp.web.approval import display, place
from idp.web.approval.display import Line
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
        # A device that has a key of the credential's is not the one that takes its place.
        registered=[Known(key.credential_id) for key in _former(found) if key.credential_id is not None],
        user_verification="required",
        resident_key="preferred",
        attestation=passkeys.trust().asks,
    )
    kinds = [item for item in made["pubKeyCredParams"] if item["alg"] in ALGORITHMS]
    return json.dumps({**made, "pubKeyCredParams": kinds})


@dataclass(frozen=True, slots=True)
class Agreeing:
    """A change of a credential's devices that one of them is to agree to."""

    change: Change
    former: tuple[DeviceKey, ...]
    blank: Proof
    """The proof without its signature."""
    lines: tuple[Line, ...]


def agreeing(found: StoredVisit) -> Agreeing | None:
    """The change that a visit has come to; None: the new device is not made yet, or takes no other's place."""
    asked = found.visit.asked
    if "made" not in asked or "credential_id" not in asked["wanted"]:
        return None
    wanted = asked["wanted"]
    former = _former(found)
    new = proof_key.from_json(asked["made"]["proof_key"])
    lines = display.of_change(str(wanted["credential_id"]), new.kid, str(wanted["removed"]))
    at = epoch(found.created_at)
    return Agreeing(
        change=Change(services().settings.signing.sam_id, wanted["credential_id"], new, wanted["removed"]),
        former=former,
        blank=Proof("", at, at + MAX_CHANGE_SECONDS, display.digest_of(lines), b""),
        lines=lines,
    )


def options_to_agree(asked: Agreeing) -> str:
    """JSON for ``navigator.credentials.get()``: the challenge stands for the change."""
    known = [Known(key.credential_id) for key in asked.former if key.credential_id is not None]
    challenge = proof_key.change_challenge(asked.change, asked.blank)
    made = options.request_options(place.party(), challenge=challenge, allowed=known, user_verification="required")
    return json.dumps(made)


def agreed(found: StoredVisit, asked: Agreeing, text: str) -> dict[str, Any]:
    """What was made, with the proof of a device that was there before.

    :raises PasskeyRefused: it is no answer.
    :raises ProofInvalid: it is none of the credential's devices', not for this change, or does not verify.
    """
    given = answer.read_assertion(text)
    key = next((key for key in asked.former if key.credential_id == given.credential_id), None)
    if key is None:
        raise ProofInvalid("the passkey is none of the credential's")
    parts = WebAuthnParts(given.client_data, given.authenticator_data)
    proof = replace(asked.blank, kid=key.kid, signature=given.signature, webauthn=parts)
    proof_key.verify_change(proof, asked.change, key.trusted(), services().clock.now())
    return {**found.visit.asked["made"], "proof": proofs.to_claim(proofs.from_claim(proofs.to_claim(proof)))}


def _former(found: StoredVisit) -> tuple[DeviceKey, ...]:
    return tuple(proof_key.from_json(item) for item in found.visit.asked["wanted"].get("former", ()))


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
