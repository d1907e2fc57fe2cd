"""Keys on the token that no credential has: left by a process that died between token and database (KEY-10, KEY-11).

A key is there before its row is, and after its row is not; so it counts only when it was without a row at two looks,
with longer between them than any change takes.  And only the module's own rows say whose keys there are: before one is
destroyed, every row's MAC is verified, and that none is missing; else whoever writes the database could have keys
destroyed that nobody can make again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from auditlog.chain import Fields
from foundation import log
from foundation.clock import Clock
from signing.sam import events
from signing.sam.custody import Custody
from signing.sam.errors import ChangedMeanwhile
from signing.sam.ports import ON_TOKEN, SignatureDevice, device_errors
from signing.sam.store import Record, Store

_log: Final = log.get(__name__)


class KeptKeys(Store, Protocol):
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
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """Seen nothing yet.

        :param grace_seconds: longer than any change of a credential takes, on any node.
        :param elapsed: seconds since whenever, which no set clock makes more of (AUD-09).
        """
        self._device = device
        self._store = store
        self._realm = realm
        self._custody = custody
        self._clock = clock
        self._grace = grace_seconds
        self._looking = threading.Lock()
        self._elapsed = elapsed
        self._since: dict[bytes, float] = {}

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
            now = self._elapsed()
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
        found: set[bytes] = set()
        try:
            with device_errors():
                for credential in self._custody.everybody():
                    if credential.key is not None and credential.key.mechanism == ON_TOKEN:
                        found.add(credential.key.blob)
        except ChangedMeanwhile:
            return None
        return frozenset(found)

    def _destroy(self, blob: bytes) -> None:
        fields: Fields = {"cka_id": blob.hex()}
        with device_errors():
            self._device.destroy_kept(self._realm, blob)
        del self._since[blob]
        _log.warning("a key on the token that no credential has was destroyed", extra={"fields": fields})
        self._store.note(Record(events.KEY_ORPHAN_DESTROYED, fields, self._clock.now()))
