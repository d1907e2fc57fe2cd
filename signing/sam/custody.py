"""Rows that somebody else could have written: sealed with a key that never leaves the device, opened only if whole.

A MAC shows that a row was written by the module, not that it is the last one that it wrote.  So each process also
remembers the highest version that it has seen of each credential, and the latest epoch of the ledger: a database that
falls behind either was set back.  What no process remembers, because all were restarted, the anchor on the token does
(:mod:`signing.sam.rollback`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from auditlog.chain import Fields
from foundation import log
from foundation.clock import Clock
from signing.sam import events
from signing.sam.credential import Credential, SealedCredential, mac_octets
from signing.sam.errors import CommitUnknown, EpochSetBack, RowAltered, StoreUnavailable, UnknownCredential
from signing.sam.ports import MacInvalid, SignatureDevice
from signing.sam.refusals import RefusalBudget
from signing.sam.rollback import RollbackAnchor
from signing.sam.store import Epoch, Record, Store

_ALARM_BURST: Final = 50
_ALARMS_PER_SECOND: Final = 0.5

_log = log.get(__name__)


def sealed(credential: Credential, device: SignatureDevice) -> SealedCredential:
    """The row with its MAC, as it goes into the database."""
    return SealedCredential(credential, device.mac(mac_octets(credential)))


def opened(row: SealedCredential, realm: str, device: SignatureDevice) -> Credential:
    """The credential of a row that is as it was written, here.

    :raises RowAltered: it was changed, put together from others (KEY-01 to 03), or belongs to another realm (KEY-05).
    """
    # 1. The MAC: nothing in the row is looked at before.
    try:
        device.verify_mac(mac_octets(row.credential), row.tag)
    except MacInvalid as error:
        raise RowAltered("the row's MAC does not verify") from error
    # 2. The realm: two installations may share a device, and with it the MAC key.
    if row.credential.realm != realm:
        raise RowAltered("the row belongs to another realm")
    return row.credential


class Seen:
    """What this process has seen and the database must not fall behind of.  Thread-safe.

    Grows by one number for each credential, which nobody but the module can make more of: its MAC verified, or the
    anchor knows it.
    """

    def __init__(self) -> None:
        self._versions: dict[str, int] = {}
        self._epoch = Epoch(0, 0)
        self._lock = threading.Lock()

    def versions(self, found: Mapping[str, int]) -> None:
        """Remember versions that were found to be the anchor's: nobody but the module can make that sum."""
        with self._lock:
            for credential_id, version in found.items():
                self._versions[credential_id] = max(version, self._versions.get(credential_id, 0))

    def version(self, credential_id: str, version: int) -> bool:
        """Remember a version that was written or opened; False where a higher one is known."""
        with self._lock:
            known = self._versions.get(credential_id, 0)
            self._versions[credential_id] = max(known, version)
            return version >= known

    def forget_versions(self) -> None:
        """Operators have restored the database: what is there now is what counts."""
        with self._lock:
            self._versions.clear()

    def epoch(self, found: Epoch) -> bool:
        """Remember an epoch that was read; False where a later one is known."""
        with self._lock:
            if found.not_before < self._epoch.not_before:
                return False
            self._epoch = found
            return True


class Custody:
    """Opens rows for all of a process, and raises the alarm over those that are not as they should be.  Thread-safe."""

    def __init__(
        self,
        device: SignatureDevice,
        store: Store,
        realm: str,
        *,
        clock: Clock,
        anchor: RollbackAnchor,
        seen: Seen | None = None,
    ) -> None:
        """:param seen: shared by everything in the process that reads or writes the same database."""
        self.anchor = anchor
        self._device = device
        self._store = store
        self._realm = realm
        self._clock = clock
        self._seen = Seen() if seen is None else seen
        # Its own budget: whoever can have SADs refused must not be able to use up what alarms are recorded with.
        self._alarms = RefusalBudget(_ALARM_BURST, _ALARMS_PER_SECOND)

    def credential(self, credential_id: str) -> Credential:
        """One credential, its row verified.

        :raises UnknownCredential: there is none.
        :raises RowAltered: it is not as it was last written; recorded as an alarm.
        :raises DeviceError: the MAC could not be looked at.
        """
        with self.watch(credential_id):
            row = self._store.credential(credential_id)
            if row is None:
                raise UnknownCredential("there is no such credential")
            return self.open(row)

    def credentials(self, owner: str, issuer: str | None = None) -> tuple[Credential, ...]:
        """A person's credentials, oldest first, without deleted ones.

        :raises RowAltered: one is not as it was last written; recorded as an alarm.
        :raises DeviceError: a MAC could not be looked at.
        """
        with self.watch(f"of {owner}"):
            rows = self._store.credentials(owner, issuer)
        found: list[Credential] = []
        for row in rows:
            with self.watch(row.credential.id):
                found.append(self.open(row))
        return tuple(found)

    def open(self, row: SealedCredential) -> Credential:
        """The credential of a row; for use within :meth:`watch`.

        :raises RowAltered: it is not as it was last written.
        :raises DeviceError: the MAC could not be looked at.
        """
        credential = opened(row, self._realm, self._device)
        if self._seen.version(credential.id, credential.version):
            return credential
        # Read before another thread changed it?  Then the later version is there when it is read again.
        again = self._store.credential(credential.id)
        if again is None:
            raise RowAltered("the row is gone, and an older version of it was there")
        credential = opened(again, self._realm, self._device)
        if not self._seen.version(credential.id, credential.version):
            raise RowAltered("an older version of the row was put back")
        return credential

    def seal(self, credential: Credential) -> SealedCredential:
        """The row to write.

        :raises DeviceError: there is no MAC to be had.
        """
        return sealed(credential, self._device)

    def written(self, credential: Credential) -> None:
        """Remember a version whose commit was answered."""
        self._seen.version(credential.id, credential.version)

    def epoch(self, found: Epoch) -> Epoch:
        """The ledger's epoch, never an earlier one than this process has seen (SAD-12).

        :raises EpochSetBack: it was set back; recorded as an alarm.
        :raises LedgerBehind: the database is behind the anchor on the token.
        :raises ScdevUnavailable: nobody has compared them yet, and the token cannot be read.
        """
        known = found if self._seen.epoch(found) else self._again()
        self.anchor.require(known)
        return known

    def _again(self) -> Epoch:
        # Read before another thread saw it raised?  Then it is there when it is read again.
        again = self._store.epoch()
        if not self._seen.epoch(again):
            self._alarm(events.EPOCH_SET_BACK, {"epoch": again.number}, "the ledger's epoch was set back")
            raise EpochSetBack("the ledger's epoch was set back: the database needs `privyseal sam restore`")
        return again

    @contextmanager
    def watch(self, credential_id: str) -> Iterator[None]:
        """Raise the alarm over an altered row, wherever it is met."""
        try:
            yield
        except RowAltered as error:
            fields: Fields = {"credential_id": credential_id, "reason": str(error)}
            self._alarm(events.CREDENTIAL_ALTERED, fields, "a credential's record was altered")
            raise

    def _alarm(self, event: str, fields: Fields, text: str) -> None:
        now = self._clock.now()
        _log.critical(text, extra={"fields": fields})
        if not self._alarms.take(now):
            return
        try:
            self._store.note(Record(event, fields, now))
        except (StoreUnavailable, CommitUnknown):
            # What was refused stays refused; the log has it.
            _log.error("an alarm could not be recorded", extra={"fields": fields})
