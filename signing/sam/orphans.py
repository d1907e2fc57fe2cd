"""Keys on the token that no credential has: left by a process that died between token and database (KEY-10, KEY-11).

A key is there before its row is, and after its row is not; so it counts only when it was without a row at two looks,
with longer between them than any change takes.  And only the module's own rows say whose keys there are: before one is
destroyed, every row's MAC is verified, and that none is missing; else whoever writes the database could have keys
destroyed that nobody can make again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final, Protocol

from auditlog.chain import Fields
from foundation import log
from foundation.clock import Clock, epoch
from signing.sam import events
from signing.sam.credential import Credential
from signing.sam.custody import Custody
from signing.sam.errors import RowAltered
from signing.sam.ports import ON_TOKEN, SignatureDevice, device_errors
from signing.sam.rewrap import Rows
from signing.sam.store import Record

_log: Final = log.get(__name__)


class KeptKeys(Rows, Protocol):
    """The store, with the rows whose keys stay on the token."""

    def kept_keys(self) -> frozenset[bytes]:
        """``blob`` of every row whose key stays on the token."""
        ...


class Orphans:
    """Looks for them, and destroys those that stay without a row.  Thread-safe."""

    def __init__(
        self,
        device: SignatureDevice,
        store: KeptKeys,
        realm: str,
        *,
        custody: Custody,
        clock: Clock,
        grace_seconds: int,
    ) -> None:
        """:param grace_seconds: longer than any change of a credential takes, on any node."""
        self._device = device
        self._store = store
        self._realm = realm
        self._custody = custody
        self._clock = clock
        self._grace = grace_seconds
        self._looking = threading.Lock()
        self._since: dict[bytes, int] = {}

    def sweep(self) -> int:
        """Look once; destroy what had no row a while ago either.

        :returns: how many were destroyed.
        :raises LedgerBehind: rows may be missing: the database is behind the anchor.
        :raises RowAltered: a row is not as it was last written; recorded as an alarm.
        :raises SamError: device or store failed; the next look does what this one did not.
        """
        with self._looking:
            with device_errors():
                there = self._device.kept(self._realm)
            if there:
                # What a database that was set back does not know is not without a credential.
                self._custody.anchor.check()
                self._custody.epoch(self._store.epoch())
            now = epoch(self._clock.now())
            orphans = there - self._store.kept_keys() if there else frozenset[bytes]()
            self._since = {each: self._since.get(each, now) for each in orphans}
            overdue = frozenset(each for each, since in self._since.items() if now - since >= self._grace)
            if overdue:
                had = self._had()
                # None: a credential is being changed, or rows are missing; the next look finds out.
                overdue = frozenset() if had is None else overdue - had
            for each in overdue:
                self._destroy(each)
            return len(overdue)

    def _had(self) -> frozenset[bytes] | None:
        """``blob`` of every row whose key stays on the token: rows that were verified, and not one of them missing."""
        versions: dict[str, int] = {}
        found: set[bytes] = set()
        for credential in self._verified():
            versions[credential.id] = credential.version
            if credential.key is not None and credential.key.mechanism == ON_TOKEN:
                found.add(credential.key.blob)
        return frozenset(found) if self._custody.anchor.has_versions(versions) else None

    def _verified(self) -> Iterator[Credential]:
        after = ""
        while rows := self._store.credential_rows(after):
            for credential_id, row in rows:
                with self._custody.watch(credential_id), device_errors():
                    if row is None:
                        raise RowAltered("the row cannot be read")
                    credential = self._custody.open(row)
                yield credential
            after = rows[-1][0]

    def _destroy(self, blob: bytes) -> None:
        fields: Fields = {"cka_id": blob.hex()}
        with device_errors():
            self._device.destroy_kept(self._realm, blob)
        del self._since[blob]
        _log.warning("a key on the token that no credential has was destroyed", extra={"fields": fields})
        self._store.note(Record(events.KEY_ORPHAN_DESTROYED, fields, self._clock.now()))
