"""Rows that somebody else could have written: sealed with a key that never leaves the device, opened only if whole.

For a signature, and for whoever is only shown a credential, a row that is the same in every column, its tag included,
as one that the device has verified needs no second call: the last rows that were opened are remembered
(:class:`Verified`), and what is used is what was verified.

A MAC shows that a row was written by the module, not that it is the last one that it wrote.  So each process also
remembers the highest version that it has seen of each credential, and the latest epoch of the ledger: a database that
falls behind either was set back.  What no process remembers, because all were restarted, the anchor on the token does
(:mod:`signing.sam.rollback`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from auditlog.chain import Fields
from foundation import log
from foundation.clock import Clock
from signing.sam import events
from signing.sam.credential import Credential, SealedCredential, mac_octets
from signing.sam.errors import (
    ChangedMeanwhile,
    CommitUnknown,
    EpochSetBack,
    RowAltered,
    StoreUnavailable,
    UnknownCredential,
)
from signing.sam.ports import MacInvalid, SignatureDevice
from signing.sam.refusals import RefusalBudget
from signing.sam.rollback import RollbackAnchor
from signing.sam.store import Epoch, Record, Store

_ALARM_BURST: Final = 50
_ALARMS_PER_SECOND: Final = 0.5

MOST_VERIFIED: Final = 1024
"""Rows that a process remembers; one takes some 8 KB with its certificates."""

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


@dataclass(frozen=True, slots=True)
class Opened:
    """A credential as it was read: its row verified, and the ledger's epoch of that moment."""

    row: SealedCredential
    epoch: Epoch

    @property
    def credential(self) -> Credential:
        """What it says."""
        return self.row.credential


class Verified:
    """Rows that the device has verified, the last ones used.  Thread-safe."""

    def __init__(self, most: int = MOST_VERIFIED) -> None:
        self._rows: OrderedDict[str, SealedCredential] = OrderedDict()
        self._most = most
        self._lock = threading.Lock()

    def remember(self, row: SealedCredential) -> None:
        """A row whose MAC and realm were verified."""
        with self._lock:
            self._rows[row.credential.id] = row
            self._rows.move_to_end(row.credential.id)
            if len(self._rows) > self._most:
                self._rows.popitem(last=False)

    def last(self, credential_id: str) -> SealedCredential | None:
        """The row of a credential that was verified last; not necessarily the one that the database has now."""
        with self._lock:
            row = self._rows.get(credential_id)
            if row is not None:
                self._rows.move_to_end(credential_id)
            return row


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

    def is_later_than(self, found: Epoch) -> bool:
        """Whether an epoch that was read has been followed by another."""
        with self._lock:
            return found.not_before < self._epoch.not_before

    def epoch(self, found: Epoch) -> None:
        """Remember an epoch that is the anchor's: whoever writes the database could make up any."""
        with self._lock:
            if found.not_before >= self._epoch.not_before:
                self._epoch = found

    def latest_epoch(self) -> Epoch:
        """The last one that was the anchor's."""
        with self._lock:
            return self._epoch


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
        self._verified = Verified()
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

    def shown(self, credential_id: str) -> Credential:
        """As :meth:`credential`, without a call of the device where it has verified this very row before.

        The row is read each time: what was changed, or altered, since is met.

        :raises UnknownCredential, RowAltered, DeviceError: as there.
        """
        with self.watch(credential_id):
            row = self._store.credential(credential_id)
            if row is None:
                raise UnknownCredential("there is no such credential")
            return self.open_for_signature(row).credential

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

    def everybody(self) -> Iterator[Credential]:
        """All credentials, deleted ones too, each row verified: a look at all of them, with a call of the device each.

        Only who takes them to the end knows that none is missing: before that, whoever writes the database may have
        hidden any.

        :raises RowAltered: one is not as it was last written; recorded as an alarm.
        :raises ChangedMeanwhile: at the end: one was changed meanwhile, or is missing.
        :raises DeviceError: a MAC could not be looked at.
        """
        versions: dict[str, int] = {}
        after = ""
        while rows := self._store.credential_rows(after):
            for credential_id, row in rows:
                with self.watch(credential_id):
                    if row is None:
                        raise RowAltered("the row cannot be read")
                    credential = self.open(row)
                versions[credential.id] = credential.version
                yield credential
            after = rows[-1][0]
        if not self.anchor.has_versions(versions):
            raise ChangedMeanwhile("a credential was changed meanwhile, or is missing")

    def open(self, row: SealedCredential) -> Credential:
        """The credential of a row; for use within :meth:`watch`.

        :raises RowAltered: it is not as it was last written.
        :raises DeviceError: the MAC could not be looked at.
        """
        return self._current(row, self._asked).credential

    def open_for_signature(self, row: SealedCredential) -> SealedCredential:
        """As :meth:`open`, without a call of the device where it has verified this very row before.

        :returns: the row that counts, which is a later one where another thread changed it meanwhile.
        :raises RowAltered: it is not as it was last written.
        :raises DeviceError: the MAC could not be looked at.
        """
        return self._current(row, self._asked_once)

    def _current(
        self, row: SealedCredential, verified: Callable[[SealedCredential], SealedCredential]
    ) -> SealedCredential:
        found = verified(row)
        credential = found.credential
        if self._seen.version(credential.id, credential.version):
            return found
        # Read before another thread changed it?  Then the later version is there when it is read again.
        again = self._store.credential(credential.id)
        if again is None:
            raise RowAltered("the row is gone, and an older version of it was there")
        found = verified(again)
        if not self._seen.version(credential.id, found.credential.version):
            raise RowAltered("an older version of the row was put back")
        return found

    def remembered(self, credential_id: str) -> Opened | None:
        """A credential as this process saw it last, without a look at the database: for whoever makes sure, before
        anything comes of it, that the database still has exactly this row, and this epoch.

        :raises SamError: nobody may rely on the database now (:meth:`epoch`).
        """
        row = self._verified.last(credential_id)
        if row is None or not self._seen.version(credential_id, row.credential.version):
            return None
        return Opened(row, self.epoch(self._seen.latest_epoch()))

    def _asked_once(self, row: SealedCredential) -> SealedCredential:
        known = self._verified.last(row.credential.id)
        return known if known is not None and known == row else self._asked(row)

    def _asked(self, row: SealedCredential) -> SealedCredential:
        opened(row, self._realm, self._device)
        self._verified.remember(row)
        return row

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
        known = self._again() if self._seen.is_later_than(found) else found
        self.anchor.require(known)
        if self.anchor.has_epoch(known):
            self._seen.epoch(known)
        return known

    def _again(self) -> Epoch:
        # Read before another thread saw it raised?  Then it is there when it is read again.
        again = self._store.epoch()
        if self._seen.is_later_than(again):
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
