"""Signing in with a passkey: the browser offers those that it has for us, and the answer says whose it is."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, request
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from idp.authn.methods import evidence_of
from idp.authn.passkey import answer
from idp.authn.passkey.record import Passkey
from idp.errors import PasskeyRefused
from idp.storage import accounts, authenticators, interactions
from idp.storage.accounts import Account
from idp.storage.authenticators import Authenticator
from idp.storage.engine import reading
from idp.web import browser, pages, progress, proof
from idp.web import passkeys as asking
from idp.web.establish import establish
from idp.web.interaction import Interaction, load
from idp.web.language import gettext as _
from idp.web.passkeys import KIND, Reply, explained
from idp.web.prove.passkey import used_well
from idp.web.services import services

blueprint = Blueprint("passkey_login", __name__, url_prefix="/interaction/<interaction_id>")


@blueprint.post("/passkey/sign-in")
def sign_in(interaction_id: str) -> Response:
    """Somebody signs in with a passkey.  Whatever is wrong, the answer is the same (OTP-11)."""
    interaction = load(interaction_id)
    try:
        _with_passkey(interaction, request.form)
    except PasskeyRefused as error:
        asking.refused(error, txn=interaction.txn)
        known = error.cause in {"no_answer", "expired"}
        text = explained(error) if known else _("This passkey was not accepted here. Please sign in another way.")
        return pages.render(interaction, pages.Notice(text))
    return progress.advance(load(interaction_id))


def _with_passkey(interaction: Interaction, form: Mapping[str, str]) -> None:
    """Judge an answer, and sign its owner in.

    The database is asked as often whether the passkey is known or not, and one statement writes either way (OTP-11).

    :raises PasskeyRefused: something is wrong.
    """
    reply = asking.reply(form, asking.occasion("sign_in", interaction))
    with reading(services().engine) as connection:
        found = authenticators.find_by_lookup(connection, services().seals, answer.lookup(reply.given.credential_id))
    with services().engine.begin() as connection:
        locked = authenticators.find_locked(connection, "" if found is None else found.id)
        account = accounts.find(connection, "" if locked is None else locked.account_id)
        # What was sealed is believed; the counts are those under the lock.
        owned = None if found is None or locked is None else proof.fresh(found, locked)
        refusal = _settle(connection, interaction, account, owned, reply)
    if refusal is not None:
        raise refusal
    browser.reload()


def _settle(
    connection: Connection,
    interaction: Interaction,
    account: Account | None,
    owned: Authenticator | None,
    reply: Reply,
) -> PasskeyRefused | None:
    if account is None or owned is None or owned.kind != KIND:
        services().audit.touch(connection)
        interactions.touch(connection, interaction.id)
        interactions.touch(connection, interaction.id)
        return PasskeyRefused("unknown", "nobody has this passkey")
    try:
        _establish(connection, interaction, account, owned, reply)
    except PasskeyRefused as error:
        services().audit.record(
            connection,
            "login.refused",
            account_id=account.id,
            factor=owned.kind,
            authenticator_id=owned.id,
            failures=owned.failures,
            cause=error.cause,
            txn=interaction.txn,
            client_id=interaction.request.client_id,
            action=interaction.request.action,
        )
        return error
    return None


def _establish(
    connection: Connection,
    interaction: Interaction,
    account: Account,
    owned: Authenticator,
    reply: Reply,
) -> None:
    if not account.active or interaction.stored.account_id not in {None, account.id}:
        raise PasskeyRefused("account", "the account may not sign in here")
    use = used_well(connection, owned, reply, require_uv=False, require_handle=True)
    evidence = evidence_of(
        owned,
        services().clock.now(),
        interaction.txn,
        # The challenge covers what the transaction is about, here as in a step-up.
        bound=interaction.binds_evidence,
        flags=use.flags,
        attestation=Passkey.from_json(owned.data).attestation,
    )
    establish(connection, interaction, account, owned, evidence)
