"""A signature's approval by the person's own device: what is asked of it, and whether it agreed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Response

from contract import proof as proofs
from contract import proof_key
from contract.errors import ProofInvalid
from contract.proof import MAX_LIFE_SECONDS, Proof, Statement, WebAuthnParts
from contract.proof_key import DeviceKey
from foundation.clock import epoch
from idp.activation.intent import SignatureIntent
from idp.authn.passkey import answer, options
from idp.authn.passkey.options import Known
from idp.errors import CredentialUnusable, InteractionLost
from idp.storage import interactions, sessions
from idp.storage.device_visits import StoredVisit, Visit
from idp.storage.engine import reading
from idp.web import language
from idp.web.approval import display, place
from idp.web.approval.display import Line
from idp.web.headers import allow_form_target
from idp.web.interaction import BeginInteraction, Interaction
from idp.web.services import CredentialView, services
from idp.web.shown import words


@dataclass(frozen=True, slots=True)
class Approving:
    """An interaction whose signature a device is to approve."""

    interaction: Interaction
    intent: SignatureIntent
    keys: tuple[DeviceKey, ...]
    lines: tuple[Line, ...]
    statement: Statement


def usable_keys(credential: CredentialView) -> tuple[DeviceKey, ...]:
    """The passkeys of a credential's that can approve on our pages."""
    if services().settings.approval is None:
        return ()
    found = tuple(proof_key.from_json(item) for item in credential.proof_keys)
    return tuple(key for key in found if key.origin == place.origin())


def check_can_prove(credential: CredentialView) -> None:
    """Nobody is led through an approval which nothing can come of.

    :raises CredentialUnusable: the credential demands a proof, and no device that it knows approves here.
    """
    if credential.proof_required and not usable_keys(credential):
        raise CredentialUnusable("the credential demands a proof, and no device that it knows approves here")


def wanted(credential: CredentialView | None) -> bool:
    """Whether a signature with the credential takes a device's approval."""
    return credential is not None and credential.proof_required


def allow_form(credential: CredentialView | None) -> None:
    """The consent page's form may end where devices approve."""
    if wanted(credential):
        allow_form_target(place.settings().origin)


def send(interaction: Interaction, account_id: str) -> Response:
    """Send the browser to where devices approve; the person has said yes to what is asked."""
    asked = {"binding": interaction.binding, "language": language.select()}
    return place.send(Visit(interaction.stored.session_id, account_id, "signature", interaction.id, asked))


def approving(found: StoredVisit) -> Approving:
    """What a visit is about, in the language in which it began.

    :raises InteractionLost: the interaction or its session has ended, or it is about something else by now.
    """
    with_services, asking = services(), found.visit.session_id
    now, limits = with_services.clock.now(), with_services.settings.session
    with reading(with_services.engine) as connection:
        # No cookie comes here that would say so: after a sign-out the handle opens nothing more (SES-03).
        session = sessions.find_by_id(connection, with_services.seals, asking, now, limits)
        stored = interactions.find(connection, with_services.seals, found.visit.target, asking, now)
    if session is None or session.account_id != found.visit.account_id:
        raise InteractionLost("the session has ended")
    if stored is None or stored.credential is None or stored.account_id != found.visit.account_id:
        raise InteractionLost("the interaction is over")
    interaction = Interaction(stored, BeginInteraction.from_json(stored.request))
    intent, credential = interaction.request.intent, CredentialView(**stored.credential)
    if intent is None or not intent.digests or interaction.binding != found.visit.asked["binding"]:
        raise InteractionLost("the interaction is about something else")
    language.prefer((found.visit.asked["language"],))
    asked = interaction.request
    message, told = asked.detail.get("binding_message", ""), words.told(interaction, asked.display_name)
    lines = display.of_signature(asked.display_name, intent, credential, message, told)
    at = epoch(found.created_at)
    statement = Statement(
        service=with_services.settings.signing.sam_id,
        txn=interaction.txn,
        client_id=interaction.request.client_id,
        credential_id=intent.credential_id,
        hash_alg=intent.hash_alg,
        hash_type=intent.hash_type,
        digests=tuple(item.digest for item in intent.digests),
        display=display.digest_of(lines),
        iat=at,
        exp=at + MAX_LIFE_SECONDS,
        decision="approve",
    )
    return Approving(interaction, intent, usable_keys(credential), lines, statement)


def options_for(asked: Approving) -> str:
    """JSON for ``navigator.credentials.get()``: the challenge stands for everything that is approved."""
    known = [Known(key.credential_id) for key in asked.keys if key.credential_id is not None]
    challenge = proofs.challenge_of(asked.statement)
    made = options.request_options(place.party(), challenge=challenge, allowed=known, user_verification="required")
    return json.dumps(made)


def proved(asked: Approving, text: str) -> Proof:
    """The proof in a browser's answer, verified as the module will verify it.

    :param text: JSON, as ``PublicKeyCredential.toJSON()`` writes it.
    :raises PasskeyRefused: it is no answer.
    :raises ProofInvalid: it is not this credential's device's, not for this, or does not verify.
    """
    given = answer.read_assertion(text)
    key = next((key for key in asked.keys if key.credential_id == given.credential_id), None)
    if key is None:
        raise ProofInvalid("the passkey is none of the credential's")
    statement = asked.statement
    proof = Proof(
        kid=key.kid,
        iat=statement.iat,
        exp=statement.exp,
        display=statement.display,
        signature=given.signature,
        webauthn=WebAuthnParts(given.client_data, given.authenticator_data),
    )
    proofs.check_statement(statement)
    proofs.verify_octets(proof, proofs.statement_octets(statement), key.trusted())
    # Read once more as it will be: with the bounds of what a SAD carries.
    return proofs.from_claim(proofs.to_claim(proof))


def record_given(connection: Any, asked: Approving, found: StoredVisit, proof: Proof) -> None:
    """Who approved what, with which device."""
    services().audit.record(
        connection,
        "proof.given",
        **_fields(asked, found),
        proof_key=proof.kid,
        display_sha256=proof.display.hex(),
        language=found.visit.asked["language"],
    )


def record_refused(connection: Any, asked: Approving, found: StoredVisit, cause: str) -> None:
    """A device's answer was not one."""
    services().audit.record(connection, "proof.refused", **_fields(asked, found), cause=cause)


def _fields(asked: Approving, found: StoredVisit) -> dict[str, Any]:
    return {
        "account_id": found.visit.account_id,
        "session_id": found.visit.session_id,
        "txn": asked.interaction.txn,
        "client_id": asked.interaction.request.client_id,
        "credential_id": asked.intent.credential_id,
    }

