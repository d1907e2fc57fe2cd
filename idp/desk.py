"""What administrators do to a person's factors, on the command line and, two of them, in the administration's pages.

Each is for the caller's transaction: the change, the notices to the person, what the signing side has to be told of,
and the records of it are there together or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Connection

from foundation.clock import epoch
from idp.authn.activation import Code, Purpose, new_code
from idp.notices import Change, notify_change
from idp.storage import accounts, activations, authenticators, grants, sessions
from idp.storage.activations import Activation, NewActivation
from idp.storage.authenticators import Authenticator, NewAuthenticator
from idp.storage.outbox import Outbox
from idp.storage.seal import Sealer

_ID_OCTETS = 16


class Audit(Protocol):
    """Where it is recorded."""

    def record(self, connection: Connection, event: str, **fields: Any) -> None:
        """Append an entry in the caller's transaction."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """What it takes, and when it is."""

    seals: Sealer
    audit: Audit
    outbox: Outbox
    secret: Callable[[str], bytes]
    """Derives 32 octets for a purpose, as :meth:`idp.storage.keys.KeyStore.secret` does."""
    random: Callable[[int], bytes]
    now: datetime


@dataclass(frozen=True, slots=True)
class Issued:
    """A new activation, and the one moment in which its code is known."""

    activation: Activation
    code: Code


def end_all_sessions(connection: Connection, outbox: Outbox, account_id: str, now: datetime) -> int:
    """End all sessions of an account, with everything that was granted in them; returns how many there were.

    Relying parties that were given an ID token in one are told; of signatures under way it is the caller who tells.
    """
    ended = outbox.all_sessions_ended(connection, account_id)
    # Those and no others: what has begun since is not locked in the one order.
    done = sessions.revoke_several(connection, ended, now)
    grants.revoke_sessions(connection, ended, now)
    return done


def disable_factors(
    connection: Connection,
    desk: Desk,
    account_id: str,
    factors: Sequence[Authenticator],
    *,
    by: str,
    change: Change = "reset",
    **fields: Any,
) -> int:
    """Disable authenticators for good and end the person's sessions; returns how many there were.

    :param by: the account that confirmed it, or :data:`idp.storage.roles.COMMAND_LINE`.
    :param fields: more for the audit records.
    """
    accounts.lock(connection, account_id)
    for item in factors:
        # Before anything is disabled: the channels that go are told too (ENR-03).
        notify_change(
            connection,
            desk.seals,
            account_id=account_id,
            factor=item.kind,
            change=change,
            now=desk.now,
            random=desk.random,
        )
    # In the order in which whoever types codes has their rows locked: each would otherwise wait for the other.
    in_order = sorted(factors, key=lambda item: item.id)
    done = [item for item in in_order if authenticators.remove(connection, item.id, desk.now)]
    ended = end_all_sessions(connection, desk.outbox, account_id, desk.now)
    desk.outbox.authenticator_changed(connection, account_id)
    for item in done:
        desk.audit.record(
            connection,
            "authenticator.reset",
            account_id=account_id,
            factor=item.kind,
            authenticator_id=item.id,
            by=by,
            sessions_ended=ended,
            **fields,
        )
    return ended


def replace_factor(connection: Connection, desk: Desk, new: NewAuthenticator) -> tuple[int, int]:
    """Bind an authenticator in place of the person's others of its kind, and end the person's sessions.

    :returns: how many sessions there were, and over how many channels the person is told.
    :raises InputRefused: the address is of no form that messages may be sent to.
    :raises UnknownAccount: there is no such account.
    """
    accounts.lock(connection, new.account_id)
    told = notify_change(
        connection,
        desk.seals,
        account_id=new.account_id,
        factor=new.kind,
        change="replaced",
        now=desk.now,
        random=desk.random,
    )
    authenticators.replace(
        connection,
        desk.seals,
        authenticator_id=new.id,
        account_id=new.account_id,
        kind=new.kind,
        now=desk.now,
        address=new.address,
        secret_hash=new.secret_hash,
        not_before=new.not_before,
    )
    ended = end_all_sessions(connection, desk.outbox, new.account_id, desk.now)
    desk.outbox.authenticator_changed(connection, new.account_id)
    desk.audit.record(
        connection,
        "authenticator.replaced",
        account_id=new.account_id,
        factor=new.kind,
        authenticator_id=new.id,
        not_before=epoch(new.not_before or desk.now),
        sessions_ended=ended,
    )
    return ended, told


def issue_code(
    connection: Connection,
    desk: Desk,
    account_id: str,
    *,
    purpose: Purpose,
    by: str,
    life: timedelta,
    **fields: Any,
) -> Issued:
    """Make an activation code; the one before it no longer counts.

    :raises AlreadyExists: somebody else makes one for the account at the same moment.
    """
    code = new_code(desk.random)
    new = NewActivation(desk.random(_ID_OCTETS).hex(), account_id, purpose, by, life)
    made = activations.issue(connection, desk.seals, desk.secret, new, code=code, now=desk.now)
    desk.audit.record(
        connection,
        "activation.issued",
        account_id=account_id,
        activation_id=made.id,
        purpose=purpose,
        by=by,
        expires_at=epoch(made.expires_at),
        **fields,
    )
    return Issued(made, code)
