"""What happened with an account's sign-ins, for its person to read: ninety days of it, and no longer.

The audit chain is the record; this is a copy of what concerns one person, small and quick to read.  Nothing is decided
by it.  Of the network a part is kept that tells a person their own from a stranger's, and nobody where they live.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, Column, Connection, ForeignKey, Index, Integer, String, Table, delete, insert, select

from foundation.clock import epoch, from_epoch
from idp.storage.models import metadata
from idp.storage.statements import Statement

KEPT_DAYS: Final = 90
SHOWN: Final = 200
"""The latest of an account that a page shows."""
_NETWORK_BITS: Final = (24, 48)
"""Of an IPv4 and an IPv6 address."""

Outcome = Literal["signed_in", "refused", "proved", "approved"]
"""A sign-in; a password or factor that was not accepted; a further factor that was; what the person consented to."""

CONSENTS: Final = {
    "signature": "signature.activate",
    "order": "credential.create",
    "suspend": "credential.suspend",
    "resume": "credential.resume",
    "revoke": "credential.revoke",
    "delete": "credential.delete",
    "enrol": "account.enrol_factor",
    "remove": "account.reset_factor",
    "clients": "admin.clients.change",
    "reset": "admin.accounts.reset.confirm",
    "roles": "admin.roles.confirm",
}
"""What an entry about a consent has in the place of a factor, with an action of its sort."""
_SORTS: Final = {action: sort for sort, action in CONSENTS.items()} | {"signature.activate_in_band": "signature"}
_SORTS_OF: Final = {"admin.accounts.reset.": "reset", "admin.roles.": "roles"}
_READING: Final = "admin.roles.view"

account_history: Final = Table(
    "account_history",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("account_id", String(64), ForeignKey("accounts.id"), nullable=False),
    Column("at", BigInteger, nullable=False, index=True),
    Column("outcome", String(16), nullable=False),
    Column("factor", String(16), nullable=False),
    Column("client_id", String(255), nullable=False),
    Column("session_id", String(64)),
    Column("device", String(255), nullable=False),
    Column("network", String(64), nullable=False),
    Index("ix_account_history_reading", "account_id", "at"),
)
_H: Final = account_history.c
# Made once: putting a statement together takes longer than the database's answer.
_ADD: Final = Statement(insert(account_history))
_COLUMNS: Final = ("account_id", "at", "outcome", "factor", "client_id", "session_id", "device", "network")
_ADD_NOTHING: Final = Statement(
    insert(account_history).from_select(_COLUMNS, select(*(_H[name] for name in _COLUMNS)).where(_H.id < 0))
)


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened."""

    at: datetime
    outcome: Outcome
    factor: str
    client_id: str
    session_id: str | None
    device: str
    """What the browser calls itself."""
    network: str
    """As :func:`coarse` gives it."""


def consent_to(action: str) -> str | None:
    """What an entry says of a consent to an action; None: pages were opened, and nothing was asked."""
    found = _SORTS.get(action)
    if found is not None or action == _READING:
        return found
    return next((sort for prefix, sort in _SORTS_OF.items() if action.startswith(prefix)), None)


@lru_cache(maxsize=1024)
def coarse(address: str | None) -> str:
    """The network of an address, such as ``192.0.2.0/24`` or ``2001:db8::/48``; empty where it is not known."""
    if address is None:
        return ""
    found = ip_address(address)
    bits = _NETWORK_BITS[1] if isinstance(found, IPv6Address) else _NETWORK_BITS[0]
    return str(ip_network((found, bits), strict=False))


def add(connection: Connection, account_id: str, entry: Entry) -> None:
    """Keep an entry."""
    values = {
        "account_id": account_id,
        "at": epoch(entry.at),
        "outcome": entry.outcome,
        "factor": entry.factor,
        "client_id": entry.client_id,
        "session_id": entry.session_id,
        "device": entry.device[:255],
        "network": entry.network,
    }
    _ADD.put_off(connection, values)


def add_nothing(connection: Connection) -> None:
    """The statement of :func:`add`, for an account that does not exist."""
    _ADD_NOTHING.put_off(connection)


def of_account(connection: Connection, account_id: str, now: datetime) -> tuple[Entry, ...]:
    """The latest :data:`SHOWN` entries of the days that are kept, the latest first."""
    query = (
        select(account_history)
        .where(_H.account_id == account_id, _H.at >= _oldest(now))
        .order_by(_H.at.desc(), _H.id.desc())
        .limit(SHOWN)
    )
    return tuple(_entry(row) for row in connection.execute(query))


def networks(connection: Connection, account_id: str, session_ids: Sequence[str]) -> dict[str, str]:
    """Where sessions of the account were last used to prove something, by their ids."""
    query = (
        select(_H.session_id, _H.network)
        .where(_H.account_id == account_id, _H.session_id.in_(session_ids))
        .order_by(_H.at, _H.id)
    )
    return {row.session_id: row.network for row in connection.execute(query) if row.network}


def purge(connection: Connection, now: datetime) -> int:
    """Forget what is older than the days that are kept, whosever it is; returns how many."""
    return connection.execute(delete(account_history).where(_H.at < _oldest(now))).rowcount


def _oldest(now: datetime) -> int:
    return epoch(now - timedelta(days=KEPT_DAYS))


def _entry(row: Any) -> Entry:
    return Entry(
        from_epoch(row.at), row.outcome, row.factor, row.client_id, row.session_id, row.device, row.network
    )
