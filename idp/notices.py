"""Telling people that what they sign in with was changed, over every other channel that they have (ENR-03, OTP-08).

:func:`notify_change` writes the notices in the transaction of the change: there is no change without them, and none of
a change that did not happen.  :mod:`idp.notifier` sends them, in the serving process.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import Connection

from idp.authn.methods import MESSAGES
from idp.errors import UnknownAccount
from idp.storage import accounts, authenticators, notices
from idp.storage.notices import Pending
from idp.storage.seal import Sealer

Change = Literal["added", "removed", "replaced", "reset", "used", "device"]
"""``reset``: by the help desk, for somebody who lost it.  ``used``: it is a recovery code, which is for emergencies.
``device``: it will approve signatures, and nobody signs in with it."""

WAITING: Final = "waiting"
"""``change`` of the notice that somebody asks for an approval; its factor says nothing."""
_ID_OCTETS: Final = 16


def notify_change(
    connection: Connection,
    seals: Sealer,
    *,
    account_id: str,
    factor: str,
    change: Change,
    now: datetime,
    random: Callable[[int], bytes],
) -> int:
    """Tell a person over every channel that they have; returns over how many.

    Call it in the transaction of the change and BEFORE the change is made: then the channels are those from before,
    among them the address that is replaced or removed, and not the one that is added.

    :param factor: kind of the authenticator that is about to change, such as ``passkey``.
    :param random: octets from the operating system's generator.
    :raises UnknownAccount: there is no such account.
    """
    account = accounts.find(connection, account_id)
    if account is None:
        raise UnknownAccount("there is no such account")
    channels = {
        (item.kind, item.address)
        for item in authenticators.of_account(connection, seals, account_id)
        if item.kind in MESSAGES and item.address and not item.disabled
    }
    for channel, address in sorted(channels):
        pending = Pending(
            random(_ID_OCTETS).hex(), account_id, change, factor, channel, address, account.locale, now, attempts=0
        )
        notices.put(connection, seals, pending)
    return len(channels)


def notify_waiting(
    connection: Connection, seals: Sealer, *, account_id: str, now: datetime, random: Callable[[int], bytes]
) -> int:
    """Tell a person by e-mail that something waits for their approval; returns over how many addresses.

    Text messages cost money and would be sent at a client's wish: there are none.

    :param account_id: empty where nobody is told: what is asked of the database is the same (OTP-11).
    """
    account = accounts.find(connection, account_id)
    addresses = {
        item.address
        for item in authenticators.of_account(connection, seals, account_id)
        if item.kind == "email_otp" and item.address and not item.disabled
    }
    if account is None:
        return 0
    for address in sorted(addresses):
        pending = Pending(
            random(_ID_OCTETS).hex(), account_id, WAITING, "approval", "email_otp", address, account.locale, now,
            attempts=0,
        )  # fmt: skip
        notices.put(connection, seals, pending)
    return len(addresses)
