"""Takes security events in, and tells what they refuse.

======= ==============================================================================================================
decode  signature and form of the SET, with the pinned keys of the issuer that it names
verify  :func:`verify_event`
record  the row under its MAC and the audit record, one committed transaction; only then it is answered
======= ==============================================================================================================

Whoever brings an event is believed in nothing: the web tier can withhold one, which is bounded by the SADs' lives, and
bring it twice or late, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from auditlog.chain import Fields
from contract.event import SecurityEvent
from contract.sad import Sad
from foundation import log
from foundation.clock import Clock, epoch
from signing.sam import events
from signing.sam.credential import LONGEST_SAD_SECONDS
from signing.sam.errors import (
    CommitUnknown,
    EventRefused,
    EventWrongAudience,
    RowAltered,
    SamError,
    ScdevUnavailable,
    StoreUnavailable,
)
from signing.sam.ports import DeviceError, MacInvalid, SignatureDevice
from signing.sam.refusals import RefusalBudget
from signing.sam.revocation import (
    Revocation,
    RevocationMemory,
    SealedRevocation,
    keys_of,
    mac_octets,
    revocation_of,
)
from signing.sam.store import Record, Store
from signing.sam.tokens import decode_event
from signing.sam.verify import LEEWAY_SECONDS, SamPolicy

RELEVANT_SECONDS: Final = LONGEST_SAD_SECONDS + 2 * LEEWAY_SECONDS
"""How long after it came a revocation can matter: by then every SAD that it refuses has expired.

The event was issued at most the leeway after we received it, and such a SAD at most the leeway after that."""
_ALARM_BURST: Final = 50
_ALARMS_PER_SECOND: Final = 0.5

_log = log.get(__name__)


def verify_event(event: SecurityEvent, policy: SamPolicy, now: datetime) -> None:
    """Verify that an event is one for this module, now; that its ``jti`` is new is the store's constraint.

    :raises EventWrongAudience: it is for another module.
    :raises EventRefused: issued in the future, or so long ago that it can refuse nothing any more.
    """
    # 1. For whom; the issuer is the one whose pinned key verified it.
    if event.aud != policy.sam_id:
        raise EventWrongAudience("the event is for another module")
    # 2. Time.
    if event.iat > epoch(now) + LEEWAY_SECONDS:
        raise EventRefused("the event was issued in the future")
    if event.iat <= epoch(now) - RELEVANT_SECONDS:
        raise EventRefused("the event is so old that all SADs that it is about have expired")


class Revocations:
    """Records events, and looks at SADs in their light.  Thread-safe; any number of processes may share a database."""

    def __init__(
        self,
        device: SignatureDevice,
        store: Store,
        policy: SamPolicy,
        *,
        clock: Clock,
        memory: RevocationMemory | None = None,
    ) -> None:
        """:param memory: shared by everything in the process that reads or writes the same database."""
        self._device = device
        self._store = store
        self._policy = policy
        self._clock = clock
        self._memory = RevocationMemory() if memory is None else memory
        self._refusals = RefusalBudget()
        self._alarms = RefusalBudget(_ALARM_BURST, _ALARMS_PER_SECOND)

    def record(self, token: str) -> None:
        """Take in an event.  Once this returns, no signature that it refuses is begun on any node.

        The same event again changes nothing, and is answered as the first one was.

        :raises EventInvalid: not an event under a pinned key; leaves no trace in the audit chain.
        :raises EventIssuerUnknown: nobody's whose keys are pinned.
        :raises EventRefused: not one for this module now, or another one under a ``jti`` that was used.
        :raises SamError: it could not be recorded.
        """
        event, now = decode_event(token, self._policy), self._clock.now()
        try:
            verify_event(event, self._policy, now)
            self._add(revocation_of(event, self._policy.realm, epoch(now)), now)
        except SamError as refusal:
            self._note_refusal(event, refusal, now)
            raise

    def against(self, sad: Sad) -> frozenset[Revocation]:
        """The revocations about the SAD's transaction, client and account that can still matter; it may be fresher.

        :raises RowAltered: a row is not as the module wrote it; recorded as an alarm.
        :raises ScdevUnavailable: a MAC could not be looked at.
        """
        keys, received_after = keys_of(sad), self._received_after()
        found = self._opened(self._store.revocations(keys, received_after))
        missing = self._memory.against(keys, received_after) - found
        if missing:
            # Written by another thread between the two looks?  Then they are there when it is read again.
            found |= self._opened(self._store.revocations(keys, received_after))
            self._alarm_missing(missing - found)
        return found | missing

    def remembers_any(self, sad: Sad) -> bool:
        """Whether this process has seen a revocation that may be about the SAD; the database is not asked."""
        return bool(self._memory.against(keys_of(sad), self._received_after()))

    def refresh(self) -> None:
        """Remember what other nodes recorded: should it vanish, this process knows better as well.

        One that is not as the module wrote it is an alarm, and keeps no other one from being remembered.

        :raises SamError: the database, or a MAC, could not be looked at.
        """
        for row in self._store.revocations(None, self._received_after()):
            with suppress(RowAltered):
                self._opened((row,))

    def _add(self, revocation: Revocation, now: datetime) -> None:
        try:
            row = SealedRevocation(revocation, self._device.mac(mac_octets(revocation)))
        except DeviceError as error:
            raise ScdevUnavailable("the device gives no MAC for the row") from error
        fields: Fields = {
            "issuer": revocation.issuer,
            "jti": revocation.jti,
            "event": revocation.event,
            "scope": revocation.scope,
            "subject": revocation.subject,
            "not_before": revocation.not_before,
        }
        there = self._store.add_revocation(row, Record(events.REVOCATION_RECORDED, fields, now))
        if there is not None:
            (revocation,) = self._opened((there,))
            if (revocation.event, revocation.subject, revocation.not_before) != (
                row.revocation.event,
                row.revocation.subject,
                row.revocation.not_before,
            ):
                raise EventRefused("another event with the same jti was recorded")
        self._memory.remember((revocation,), self._received_after())

    def _opened(self, rows: Sequence[SealedRevocation]) -> frozenset[Revocation]:
        found = frozenset(self._open(row) for row in rows)
        self._memory.remember(found, self._received_after())
        return found

    def _open(self, row: SealedRevocation) -> Revocation:
        revocation = row.revocation
        if self._memory.knows(revocation):
            return revocation
        try:
            self._device.verify_mac(mac_octets(revocation), row.tag)
        except MacInvalid as error:
            self._alarm_altered(revocation, "the row's MAC does not verify")
            raise RowAltered("a revocation's MAC does not verify") from error
        except DeviceError as error:
            raise ScdevUnavailable("the device cannot verify a revocation's MAC") from error
        if revocation.realm != self._policy.realm:
            self._alarm_altered(revocation, "the row belongs to another realm")
            raise RowAltered("a revocation belongs to another realm")
        return revocation

    def _received_after(self) -> int:
        return epoch(self._clock.now()) - RELEVANT_SECONDS

    def _alarm_altered(self, revocation: Revocation, reason: str) -> None:
        fields: Fields = {"issuer": revocation.issuer, "jti": revocation.jti, "reason": reason}
        self._alarm(events.REVOCATION_ALTERED, fields, "a revocation's row was altered")

    def _alarm_missing(self, missing: Collection[Revocation]) -> None:
        for row in sorted(missing, key=lambda row: row.jti):
            fields: Fields = {"issuer": row.issuer, "jti": row.jti, "scope": row.scope, "subject": row.subject}
            self._alarm(events.REVOCATION_SET_BACK, fields, "the database does not know of a revocation any more")

    def _alarm(self, event: str, fields: Fields, text: str) -> None:
        now = self._clock.now()
        _log.critical(text, extra={"fields": fields})
        if self._alarms.take(now):
            self._note(Record(event, fields, now))

    def _note_refusal(self, event: SecurityEvent, refusal: SamError, now: datetime) -> None:
        fields: Fields = {"issuer": event.iss, "jti": event.jti, "code": refusal.code, "reason": str(refusal)}
        _log.warning("an event was refused", extra={"fields": fields})
        unavailable = isinstance(refusal, (StoreUnavailable, CommitUnknown))
        if not unavailable and self._refusals.take(now):
            self._note(Record(events.REVOCATION_REFUSED, fields, now))

    def _note(self, record: Record) -> None:
        try:
            self._store.note(record)
        except (StoreUnavailable, CommitUnknown):
            # What was refused stays refused; the log has it.
            _log.error("a record could not be written", extra={"fields": {"event": record.event}})
