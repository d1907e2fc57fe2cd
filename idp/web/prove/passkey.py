"""Using a passkey: as a further factor of somebody who is known, and to sign in by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from flask import Blueprint, request
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from idp.authn.methods import evidence_of, flags_of
from idp.authn.passkey import answer, assertion
from idp.authn.passkey.options import Preference
from idp.authn.passkey.record import Passkey
from idp.errors import OtpRefused, PasskeyRefused
from idp.policy.evaluate import evaluate
from idp.storage import authenticators, passkeys
from idp.storage.authenticators import Authenticator
from idp.web import browser, pages, progress, proof
from idp.web import passkeys as asking
from idp.web.interaction import Interaction, load
from idp.web.passkeys import KIND, Reply, explained
from idp.web.progress import Assessment
from idp.web.prove.registry import ProofPage
from idp.web.services import services

blueprint = Blueprint("prove_passkey", __name__, url_prefix="/interaction/<interaction_id>")


@blueprint.post("/passkey")
def used(interaction_id: str) -> Response:
    """A browser answered with a passkey of the person who is signed in."""
    interaction = load(interaction_id)
    try:
        _prove(interaction, pages.assessed(interaction), request.form)
    except PasskeyRefused as error:
        asking.refused(error, txn=interaction.txn)
        return pages.render(interaction, pages.Notice(explained(error)), factor=KIND)
    except OtpRefused as error:
        return pages.render(interaction, pages.notice_of(error), factor=KIND)
    return progress.advance(load(interaction_id))


def _prove(interaction: Interaction, found: Assessment, form: Mapping[str, str]) -> None:
    """Judge an answer; a right one becomes evidence, once.

    1. The policy asks for a passkey now.  2. The answer is by one of this person's.  3. It is to the challenge of this
    session, interaction and content (SES-06), and all else that :mod:`idp.authn.passkey.assertion` checks, with the
    passkey's row locked.  4. The challenge had no other answer, and the counter moves on: of two at once, one does.

    :raises NoSuchFactor: the policy does not ask for it.
    :raises PasskeyRefused: with the cause; it is in the audit chain if the passkey is this person's.
    """
    owned = proof.wanted(found, KIND)
    reply = asking.reply(form, asking.occasion("prove", interaction))
    name = answer.lookup(reply.given.credential_id)
    item = next((own for own in owned if own.lookup == name), None)
    if item is None:
        raise PasskeyRefused("unknown", "the passkey is not this person's")
    with services().engine.begin() as connection:
        refusal = _judged(connection, interaction, found, item, reply)
        if refusal is not None:
            fields = proof.fields(interaction, found, item)
            services().audit.record(connection, "factor.refused", **fields, cause=refusal.cause)
    if refusal is not None:
        raise refusal
    browser.reload()


def _judged(
    connection: Connection,
    interaction: Interaction,
    found: Assessment,
    item: Authenticator,
    reply: Reply,
) -> PasskeyRefused | None:
    """Why the answer is refused; None: it is evidence now."""
    now = services().clock.now()
    required = verification(interaction, found) == "required"
    try:
        locked = proof.fresh(item, authenticators.lock(connection, item.id))
        use = used_well(connection, locked, reply, require_uv=required, require_handle=False)
    except PasskeyRefused as error:
        return error
    authenticators.succeeded(connection, item.id, now)
    evidence = evidence_of(
        item,
        now,
        interaction.txn,
        bound=interaction.binds_evidence,
        flags=use.flags,
        attestation=Passkey.from_json(item.data).attestation,
    )
    proof.accept(connection, interaction, found, evidence)
    services().audit.record(connection, "factor.accepted", **proof.fields(interaction, found, item))
    return None


def used_well(
    connection: Connection,
    owned: Authenticator,
    reply: Reply,
    *,
    require_uv: bool,
    require_handle: bool,
) -> assertion.Use:
    """Verify an answer and use its challenge up.

    :param owned: the passkey, its row locked: its counter must not move meanwhile.
    :raises PasskeyRefused: with the cause.
    """
    now = services().clock.now()
    if not owned.usable(now):
        raise PasskeyRefused("unknown", "the passkey was removed")
    ticket, challenge = asking.challenge_of(reply.ticket, reply.about)
    use = assertion.verify(
        asking.party(),
        reply.given,
        Passkey.from_json(owned.data),
        challenge=challenge,
        counter=owned.counter,
        require_uv=require_uv,
        require_handle=require_handle,
    )
    if not passkeys.use_up(connection, ticket, now):
        raise PasskeyRefused("replayed", "the challenge was answered before")
    if not authenticators.move_counter(connection, owned.id, above=max(0, use.counter - 1), to=use.counter):
        raise PasskeyRefused("counter", "the counter was moved on by another use")
    passkeys.note_backup(connection, services().seals, owned, backed_up=use.backed_up)
    return use


def verification(interaction: Interaction, found: Assessment) -> Preference:
    """Whether the authenticator has to verify its user: where without that the policy would be no further.

    Where it would be, as a single factor, it is preferred: what counts is what the use shows.
    """
    bound = interaction.binds_evidence
    facts = found.facts
    for item in proof.wanted(found, KIND):
        make = Passkey.from_json(item.data).attestation
        plain = flags_of(item.kind, item.data, bound=bound) - {"user_verified"}
        supposed = replace(evidence_of(item, facts.now, interaction.txn, bound=bound), flags=plain, attestation=make)
        decision = evaluate(services().policy, replace(facts, evidence=(*facts.evidence, supposed)))
        if decision.outcome == "allow" or decision.options != found.decision.options:
            return "preferred"
    return "required"


def _values(interaction: Interaction, found: Assessment, owned: tuple[Authenticator, ...]) -> Mapping[str, Any]:
    asked = asking.ask(asking.occasion("prove", interaction), owned, verification(interaction, found))
    return {"passkey": asked}


PAGE: Final = ProofPage(KIND, "prove_passkey.html", _values)
