"""Signing in with a password, at the edge: limits on concurrent work, the database, the new session."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final, cast

from flask import Flask, current_app

from idp.authn.password import Passwords
from idp.errors import LoginBusy, LoginRefused
from idp.policy.evidence import Evidence
from idp.storage import accounts, authenticators, interactions
from idp.storage.accounts import Account
from idp.storage.authenticators import MAX_PASSWORD_FAILURES, Authenticator
from idp.storage.engine import reading
from idp.web import browser
from idp.web.interaction import Interaction
from idp.web.services import services

_EXTENSION: Final = "privyseal.passwords"
_WAIT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Verifier:
    passwords: Passwords
    slots: threading.BoundedSemaphore
    """Each verification takes megabytes: a flood of logins may wait, and may not take all memory (DOS-03)."""


def install(app: Flask) -> None:
    """Prepare password verification for an app."""
    with app.app_context():
        settings = services().settings.password
    app.extensions[_EXTENSION] = _Verifier(Passwords(settings), threading.BoundedSemaphore(settings.concurrent))


def with_password(interaction: Interaction, username: str, password: str) -> None:
    """Sign somebody in by user name and password, in an interaction.

    Whatever is wrong, the answer is the same and one password is verified (OTP-11).

    1. The account, if there is one and the interaction is nobody else's (SES-07).  2. Its password, if it may be tried.
    3. The verification, always.  4. A new session; the interaction becomes this person's.

    :raises LoginRefused: something is wrong; what is never told.
    :raises LoginBusy: too many verifications are going on.
    """
    with reading(services().engine) as connection:
        account = accounts.find_by_username(connection, username[:256])
        # Looked for even where there is no account: the database is asked as often (OTP-11).
        owned = authenticators.of_kind(connection, "" if account is None else account.id, "password")
    usable = _usable(interaction, account, owned)
    matched, renewed = _verify(usable.secret_hash if usable else None, password)
    if account is None or owned is None or usable is None or not matched:
        if usable is None:
            _count_nothing(interaction)
        else:
            _count_failure(interaction, usable)
        raise LoginRefused("user name or password is not right")
    _establish(interaction, account, owned, renewed)


def _usable(interaction: Interaction, account: Account | None, owned: Authenticator | None) -> Authenticator | None:
    now = services().clock.now()
    if account is None or owned is None or not account.active or owned.blocked_until > now:
        return None
    if interaction.stored.account_id not in {None, account.id}:
        return None
    return owned


def _verify(encoded: str | None, password: str) -> tuple[bool, str | None]:
    verifier = cast("_Verifier", current_app.extensions[_EXTENSION])
    if not verifier.slots.acquire(timeout=_WAIT_SECONDS):
        raise LoginBusy("too many password verifications at one time")
    try:
        matched = verifier.passwords.verify(encoded, password)
        renewed = verifier.passwords.renewed(encoded, password) if matched and encoded is not None else None
        return matched, renewed
    finally:
        verifier.slots.release()


def _count_failure(interaction: Interaction, owned: Authenticator) -> None:
    with services().engine.begin() as connection:
        failures = authenticators.failed(
            connection, owned.id, services().clock.now(), most=MAX_PASSWORD_FAILURES, back_off=True
        )
        services().audit.record(
            connection,
            "login.refused",
            account_id=owned.account_id,
            factor="password",
            authenticator_id=owned.id,
            failures=failures,
            txn=interaction.txn,
            client_id=interaction.request.client_id,
            action=interaction.request.action,
        )


def _count_nothing(interaction: Interaction) -> None:
    """What :func:`_count_failure` asks of the database, statement for statement, without an effect.

    One statement writes, so that the commit has to wait for the disk as that one's does.
    """
    with services().engine.begin() as connection:
        authenticators.count_nothing(connection)
        services().audit.touch(connection)
        interactions.touch(connection, interaction.id)
        interactions.touch(connection, interaction.id)


def _establish(interaction: Interaction, account: Account, owned: Authenticator, renewed: str | None) -> None:
    now = services().clock.now()
    item = Evidence("password", owned.id, "knowledge", now, transaction=interaction.txn)
    with services().engine.begin() as connection:
        # Before the browser gets a session: another request may have made the interaction somebody else's.
        if not interactions.claim(connection, services().seals, interaction.id, interaction.stored.session_id, account.id):
            raise LoginRefused("the interaction is another person's")
        authenticators.succeeded(connection, owned.id, now)
        if renewed is not None:
            authenticators.change_secret(connection, owned.id, renewed)
        session = browser.sign_in(connection, account.id, item)
        interactions.claim(connection, services().seals, interaction.id, session.id, account.id)
        services().audit.record(
            connection,
            "login.succeeded",
            account_id=account.id,
            session_id=session.id,
            factor="password",
            authenticator_id=owned.id,
            txn=interaction.txn,
            client_id=interaction.request.client_id,
            action=interaction.request.action,
        )
    browser.reload()
