"""Signing in with a password, at the edge: limits on concurrent work, the database, the new session."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

from flask import Flask, current_app
from sqlalchemy import Connection

from idp.authn.device import BrowserStanding, is_known, may_try
from idp.authn.methods import evidence_of
from idp.authn.password import KEY, Passwords, length_met
from idp.authn.rate import Queue, Shares, site_of
from idp.errors import LoginBusy, LoginCrowded, LoginRefused
from idp.policy.evidence import Evidence
from idp.policy.limits import failure_limit
from idp.storage import accounts, authenticators, devices, interactions
from idp.storage.accounts import Account
from idp.storage.authenticators import MAX_PASSWORD_FAILURES, Authenticator
from idp.storage.engine import reading, writing
from idp.web import browser, device
from idp.web.address import client_address
from idp.web.establish import establish
from idp.web.interaction import Interaction
from idp.web.services import services

_EXTENSION: Final = "privyseal.passwords"
_WAIT_SECONDS: Final = 5.0
_MAX_USERNAME: Final = 256


@dataclass(frozen=True, slots=True)
class _Verifier:
    passwords: Passwords
    slots: Queue
    """Each verification takes megabytes: a flood of logins may wait, and may not take all memory (DOS-03)."""
    room: threading.BoundedSemaphore
    """Whoever waits takes a thread: a flood may not take all of them either."""
    shares: Shares
    """One address may take half of the room, so that a flood from there leaves places to everybody else."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """Who a login is about, as the database has it at one moment."""

    account: Account | None
    owned: Authenticator | None
    known: BrowserStanding | None


def install(app: Flask, passwords: Passwords | None = None) -> None:
    """Prepare password verification for an app; without ``passwords``, with argon2id as the settings say."""
    with app.app_context():
        settings, key = services().settings.password, services().keys.secret(KEY)
        with reading(services().engine) as connection:
            stored = authenticators.hashes_of_all_costs(connection)
    app.extensions[_EXTENSION] = _Verifier(
        passwords or Passwords(settings, stored, key),
        Queue(settings.concurrent),
        threading.BoundedSemaphore(settings.concurrent + settings.waiting),
        Shares(max(1, (settings.concurrent + settings.waiting) // 2)),
    )


@dataclass(frozen=True, slots=True)
class Occasion:
    """For what a password is typed."""

    txn: str
    client_id: str
    action: str
    account_id: str | None
    """Whose it has to be; None: it says whose it is."""
    succeed: Callable[[Connection, Account, Authenticator, Evidence], None]
    """What follows from a right one, in its transaction; it raises LoginRefused if nothing may."""
    touch: Callable[[Connection], None]
    """What that asks of the database, without an effect (OTP-11)."""


def with_password(interaction: Interaction, username: str, password: str) -> None:
    """Sign somebody in by user name and password, in an interaction.

    :raises LoginRefused: something is wrong; what is never told.
    :raises LoginBusy: too many verifications are going on, in all or, as LoginCrowded, for one address.
    """
    occasion = Occasion(
        interaction.txn,
        interaction.request.client_id,
        interaction.request.action,
        interaction.stored.account_id,
        partial(_signed_in, interaction),
        partial(_touch, interaction),
    )
    device.remember(prove(occasion, username, password).id)
    browser.reload()


def prove(occasion: Occasion, username: str, password: str) -> Authenticator:
    """Verify a user name and a password; returns the password's authenticator.

    Whatever is wrong, the answer is the same and one password is verified (OTP-11).

    1. A place among those who verify; what was read before it would be old.  2. The account, if there is one and the
    occasion is nobody else's (SES-07).  3. Its password, if it may be tried from this browser.  4. The verification,
    always.  5. With the password's row locked, all of it once more: others may have failed, an administrator may have
    changed something (OTP-02).  6. What follows from it.

    :raises LoginRefused: something is wrong; what is never told.
    :raises LoginBusy: too many verifications are going on, in all or, as LoginCrowded, for one address.
    """
    verifier = _verifier()
    with _place(verifier):
        found = _look_up(username)
        tried = _usable(occasion, found)
        encoded = found.owned.secret_hash if found.owned is not None and tried else None
        matched = verifier.passwords.verify(encoded, password)
    # Of a right one only: nobody else learns of any length, nor from the time that it takes to look.
    met = length_met(password) if matched else None
    with writing(services().engine) as connection:
        owned = _settle(connection, occasion, found, tried=tried, met=met)
    if owned is None:
        raise LoginRefused("user name or password is not right")
    _renew(verifier, owned, password)
    return owned


def may_be_tried(owned: Authenticator | None) -> bool:
    """Whether a person's password is tried at all when it comes from no browser that is known."""
    if owned is None or owned.disabled:
        return False
    return may_try(owned.failures, owned.blocked_until, None, services().clock.now())


def _signed_in(
    interaction: Interaction, connection: Connection, account: Account, owned: Authenticator, evidence: Evidence
) -> None:
    establish(connection, interaction, account, owned, evidence)


def _touch(interaction: Interaction, connection: Connection) -> None:
    # As the record of a failure: its entry, and what moves the chain's head, go with the commit (OTP-11).
    interactions.touch(connection, interaction.id)
    interactions.touch(connection, interaction.id)


def hash_new(password: str, about: Iterable[str], present: str | None) -> str | None:
    """The hash of a new password, in one of the places for such work; None: it is the one that the person has.

    :param about: names of the service and of the person.
    :param present: the hash of the one that the person has.
    :raises PasswordRefused: it is not accepted.
    :raises LoginBusy: too many verifications are going on, in all or, as LoginCrowded, for one address.
    """
    verifier = _verifier()
    with _place(verifier):
        encoded = verifier.passwords.hash(password, about=about, limits=services().settings.password)
        same = present is not None and verifier.passwords.verify(present, password)
    return None if same else encoded


def _verifier() -> _Verifier:
    return cast("_Verifier", current_app.extensions[_EXTENSION])


@contextmanager
def _place(verifier: _Verifier) -> Iterator[None]:
    with verifier.shares.place(site_of(client_address())) as free:
        if not free:
            raise LoginCrowded("too many people wait for a password verification at one address")
        with _room(verifier):
            yield


@contextmanager
def _room(verifier: _Verifier) -> Iterator[None]:
    if not verifier.room.acquire(blocking=False):
        raise LoginBusy("too many people wait for a password verification")
    try:
        if not verifier.slots.acquire(timeout=_WAIT_SECONDS):
            raise LoginBusy("too many password verifications at one time")
        try:
            yield
        finally:
            verifier.slots.release()
    finally:
        verifier.room.release()


def _look_up(username: str) -> _Standing:
    # PostgreSQL takes no NUL in a text; nobody's name has one.
    name = accounts.normalise_username("" if "\0" in username else username[:_MAX_USERNAME])
    # One way there and back, with the same questions whether there is such an account or not (OTP-11).
    with reading(services().engine) as connection:
        looked_for = accounts.by_username_later(connection, name)
        passwords = authenticators.of_username_later(connection, services().seals, name, "password")
        standing = devices.standing_later(connection, device.named())
        account = looked_for()
        owned = passwords("" if account is None else account.id)
        known = standing(device.known("" if owned is None else owned.id))
    return _Standing(account, owned, known)


def _look_again(connection: Connection, found: _Standing) -> _Standing:
    """The same, for whoever holds the lock; what is asked of the database does not depend on what there is.

    One way there and back; what comes after the lock is read when the lock is there, as if each came by itself.
    """
    locked = authenticators.locked_later(connection, "" if found.owned is None else found.owned.id)
    looked_for = accounts.later(connection, "" if found.account is None else found.account.id)
    known = devices.standing(connection, None if found.known is None else found.known.device_id)
    owned, account = locked(), looked_for()
    unchanged = owned is not None and found.owned is not None and owned.secret_hash == found.owned.secret_hash
    return _Standing(account, owned if unchanged else None, known)


def _usable(occasion: Occasion, found: _Standing) -> bool:
    account, owned = found.account, found.owned
    if account is None or owned is None or not account.active or owned.disabled:
        return False
    if occasion.account_id not in {None, account.id}:
        return False
    return may_try(owned.failures, owned.blocked_until, found.known, services().clock.now())


def _settle(
    connection: Connection, occasion: Occasion, found: _Standing, *, tried: bool, met: int | None
) -> Authenticator | None:
    """What becomes of a password that was verified; None: it was not right.

    :param met: what is known of its length; None: it did not match.
    """
    now = _look_again(connection, found)
    if now.account is None or now.owned is None or not tried or not _usable(occasion, now):
        _count_nothing(connection, occasion)
        return None
    if met is None:
        _count_failure(connection, occasion, now.owned, now.known)
        return None
    item = evidence_of(now.owned, services().clock.now(), occasion.txn, bound=False, min_length=met)
    occasion.succeed(connection, now.account, now.owned, item)
    return now.owned


def _count_failure(
    connection: Connection, occasion: Occasion, owned: Authenticator, known: BrowserStanding | None
) -> None:
    now = services().clock.now()
    own = known is not None and is_known(known)
    most = failure_limit(MAX_PASSWORD_FAILURES, services().policy, "password")
    failures = authenticators.failed(connection, owned.id, now, most=most, back_off=not own)
    if known is not None and own:
        devices.failed(connection, known, owned.id, now)
    services().audit.record(
        connection,
        "login.refused",
        account_id=owned.account_id,
        factor="password",
        authenticator_id=owned.id,
        failures=failures,
        txn=occasion.txn,
        client_id=occasion.client_id,
        action=occasion.action,
    )


def _count_nothing(connection: Connection, occasion: Occasion) -> None:
    """What :func:`_count_failure` asks of the database, statement for statement, without an effect.

    One statement writes, so that the commit has to wait for the disk as that one's does.
    """
    authenticators.count_nothing(connection)
    services().audit.touch(connection)
    occasion.touch(connection)


def _renew(verifier: _Verifier, owned: Authenticator, password: str) -> None:
    """Hash the password with today's costs, where it was hashed with others: only once nobody can learn from the time.

    Where no place is free now, the next login does it.
    """
    if owned.secret_hash is None or not verifier.slots.acquire():
        return
    try:
        renewed = verifier.passwords.renewed(owned.secret_hash, password)
    finally:
        verifier.slots.release()
    if renewed is not None:
        with services().engine.begin() as connection:
            authenticators.change_secret(connection, services().seals, owned.id, renewed)
