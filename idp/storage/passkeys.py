"""Passkeys' challenges that have been answered.  One that is out has no row; one that was answered well has, until it
would be over anyway, so that the same answer is good once (see :mod:`idp.authn.passkey.challenge`).

Only a right answer of a registered passkey makes a row, so nobody fills the table who could not sign in (DOS-04).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, String, Table, delete, insert
from sqlalchemy.exc import IntegrityError

from foundation.clock import epoch
from idp.authn.passkey.challenge import Ticket
from idp.storage.authenticators import Authenticator
from idp.storage.models import authenticators, metadata
from idp.storage.seal import Sealer, change

passkey_answers: Final = Table(
    "passkey_answers",
    metadata,
    Column("nonce", String(64), primary_key=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)
_A: Final = passkey_answers.c


def use_up(connection: Connection, ticket: Ticket, now: datetime) -> bool:
    """Whether this is the first right answer to a challenge; of two at once, one is.  Forgets those that are over."""
    purge(connection, now)
    row = insert(passkey_answers).values(nonce=ticket.nonce, expires_at=epoch(ticket.expires_at))
    try:
        with connection.begin_nested():
            connection.execute(row)
    except IntegrityError:
        return False
    return True


def note_backup(connection: Connection, seals: Sealer, owned: Authenticator, *, backed_up: bool) -> None:
    """Keep whether a passkey has been copied by now (WebAuthn 7.2, step 26); nothing happens where it is known."""
    if owned.data.get("backed_up") is backed_up:
        return
    enabled = (authenticators.c.id == owned.id) & authenticators.c.disabled_at.is_(None)
    change(connection, seals, authenticators, enabled, lambda row: {"data": {**row.data, "backed_up": backed_up}})


def purge(connection: Connection, now: datetime) -> int:
    """Forget what is over; returns how many."""
    return connection.execute(delete(passkey_answers).where(_A.expires_at <= epoch(now))).rowcount
