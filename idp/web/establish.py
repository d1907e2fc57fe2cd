"""Signing somebody in with the first thing that they prove, whatever it is."""

from __future__ import annotations

from sqlalchemy import Connection

from idp.errors import LoginRefused
from idp.policy.evidence import Evidence
from idp.storage import authenticators, interactions
from idp.storage.accounts import Account
from idp.storage.authenticators import Authenticator
from idp.web import browser
from idp.web.interaction import Interaction, claimed
from idp.web.services import services


def establish(
    connection: Connection, interaction: Interaction, account: Account, owned: Authenticator, evidence: Evidence
) -> None:
    """Begin the person's session, and make the interaction theirs.

    Call :func:`idp.web.browser.reload` once it is committed.

    :raises LoginRefused: the interaction is another person's (SES-07).
    """
    # Before the browser gets a session: another request may have made the interaction somebody else's.
    session_id = browser.id_once_signed_in(account.id)
    stored = interactions.claim(connection, services().seals, interaction.id, session_id, account.id)
    if stored is None:
        raise LoginRefused("the interaction is another person's")
    authenticators.succeeded(connection, owned.id, evidence.at)
    session = browser.sign_in(connection, account, evidence, session_id)
    services().audit.record(
        connection,
        "login.succeeded",
        account_id=account.id,
        session_id=session.id,
        factor=owned.kind,
        authenticator_id=owned.id,
        txn=interaction.txn,
        client_id=interaction.request.client_id,
        action=interaction.request.action,
    )
    claimed(stored)
