"""What an issuer took back: SADs of one transaction, client or account that no longer serve, as a row under its MAC.

Rows are added and never changed or removed, so what was refused stays refused, in whatever order events come: of
several about one subject, the latest ``not_before`` counts.  A MAC shows that the module wrote a row, not that it wrote
no other; so each process also remembers the rows that it has seen, and finds that one is gone.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from contract.event import EventName, Scope, SecurityEvent
from contract.sad import Sad

DOMAIN: Final = b"privyseal-revocation-1\n"
"""Keeps the row's MAC apart from a credential's, which is made with the same key."""

Key = tuple[str, Scope, str]
"""Issuer, scope, subject."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """One event, as the module keeps it.  Times are NumericDates."""

    realm: str
    issuer: str
    jti: str
    event: EventName
    scope: Scope
    subject: str
    not_before: int
    received_at: int
    """By our clock."""

    @property
    def key(self) -> Key:
        """What it is about."""
        return self.issuer, self.scope, self.subject

    def refuses(self, sad: Sad, leeway_seconds: int) -> bool:
        """Whether the SAD no longer serves.

        Of a transaction none does, whenever it was issued: another approval has another ``txn``.  Of a client or an
        account those that were issued until ``not_before``, or take the place of such.  That very second is refused
        too, since what was issued in it may have been before; and ``leeway_seconds`` more, because two nodes of an
        issuer go by two clocks.
        """
        if self.key not in keys_of(sad):
            return False
        return self.scope == "transaction" or sad.since <= self.not_before + leeway_seconds


@dataclass(frozen=True, slots=True)
class SealedRevocation:
    """A row as it stands in the database: believed only once its MAC was verified."""

    revocation: Revocation
    tag: bytes


def revocation_of(event: SecurityEvent, realm: str, received_at: int) -> Revocation:
    """The row of an event."""
    return Revocation(
        realm=realm,
        issuer=event.iss,
        jti=event.jti,
        event=event.event,
        scope=event.scope,
        subject=event.subject,
        not_before=event.not_before,
        received_at=received_at,
    )


def keys_of(sad: Sad) -> tuple[Key, Key, Key]:
    """What can have been revoked under a SAD."""
    return (sad.iss, "transaction", sad.txn), (sad.iss, "client", sad.client_id), (sad.iss, "account", sad.sub)


def mac_octets(revocation: Revocation) -> bytes:
    """What the row MAC covers: every field, in a form in which no two different rows are the same."""
    fields = [getattr(revocation, name) for name in Revocation.__slots__]
    return DOMAIN + json.dumps(fields, separators=(",", ":")).encode()


class RevocationMemory:
    """The revocations that this process has seen, as long as they matter.  Thread-safe.

    Grows by one for each event of a pinned issuer, and drops those that no SAD can meet any more when one is added.
    """

    def __init__(self) -> None:
        self._known: dict[Key, dict[str, Revocation]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Revocations remembered."""
        with self._lock:
            return sum(len(rows) for rows in self._known.values())

    def remember(self, found: Iterable[Revocation], received_after: int) -> None:
        """Remember rows that were written, or opened.

        :param received_after: those that came then or before matter no more.
        """
        with self._lock:
            fresh = [row for row in found if row.jti not in self._known.get(row.key, {})]
            if fresh:
                self._drop(received_after)
            for row in fresh:
                self._known.setdefault(row.key, {})[row.jti] = row

    def knows(self, row: Revocation) -> bool:
        """Whether this very row was remembered: then its MAC was verified, or made, here."""
        with self._lock:
            return self._known.get(row.key, {}).get(row.jti) == row

    def against(self, keys: Collection[Key], received_after: int) -> frozenset[Revocation]:
        """Those about one of the subjects that came after a second."""
        with self._lock:
            rows = [row for key in keys for row in self._known.get(key, {}).values()]
        return frozenset(row for row in rows if row.received_at > received_after)

    def _drop(self, received_after: int) -> None:
        for key, rows in list(self._known.items()):
            kept = {jti: row for jti, row in rows.items() if row.received_at > received_after}
            if kept:
                self._known[key] = kept
            else:
                del self._known[key]
