"""Keeps the anchor on the token in step with the database, and signing stopped where the database is behind it.

A change that is anchored goes like this, with the audit head locked from the first to the last step:

====================== =========================================================================================
write                  the change and its audit record, not yet committed
find                   the anchor that the database fits: of those on the token, the one whose record the chain has
add                    the next anchor, beside it
commit
remove                 what was there before; not locked any more, and by value, so it removes nothing of others
====================== =========================================================================================

Whoever dies before the commit leaves an anchor that no database fits, and whose record will never be; whoever dies
after it leaves two, of which the database fits the later one.  The next change or check removes the other.  Signatures
write to the token never: a checkpoint, every so often, brings the anchor up to where the chain has gone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from auditlog.chain import Fields
from foundation import log
from foundation.clock import Clock
from foundation.clock import epoch as numeric_date
from foundation.jose import VerificationKey
from signing.sam import events
from signing.sam.anchor import Anchor, Held, label_of, moved, opened, sealed, sum_of, versions_key
from signing.sam.errors import CommitUnknown, LedgerBehind, ScdevUnavailable, StateRefused, StoreUnavailable
from signing.sam.ports import DeviceError, SignatureDevice, device_errors
from signing.sam.store import Anchoring, Epoch, Record, Standing, Store

Effect = Callable[[Anchor], Anchor]

OK: Final = "ok"
NO_ANCHOR: Final = "the token has no anchor of this realm"
UNSETTLED: Final = "a change is under way, or was"
OTHER_EPOCH: Final = "another epoch than the anchor's"
TOKEN_BEHIND: Final = "the token's anchor is from before the database's last change"
SHORTER_CHAIN: Final = "the audit chain lacks the anchor's record"
OTHER_VERSIONS: Final = "the credentials' versions are not the anchor's"

_ATTEMPTS: Final = 10
_PAUSE_SECONDS: Final = 0.05
"""Half a second in all: what the lock on the audit head can wait."""
LONGEST_SECONDS: Final = 180
"""How old the last look that found all in order may be, unless settings say otherwise."""

_log = log.get(__name__)


class RollbackAnchor:
    """The anchor of one realm.  Thread-safe; any number of processes may share token and database."""

    def __init__(
        self,
        device: SignatureDevice,
        store: Store,
        realm: str,
        *,
        clock: Clock,
        restored: Callable[[], None] = lambda: None,
        seen: Callable[[Mapping[str, int]], None] = lambda _versions: None,
        longest_seconds: float = LONGEST_SECONDS,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """What it keeps in step.

        :param restored: called once operators have restored the database: what was remembered of it may go.
        :param seen: given the credentials' versions whenever they were found to be the anchor's: from then on the
            process knows all of them, those that it has not opened yet too.
        :param longest_seconds: with a last look that is older nobody relies on the database: whoever can make looks
            fail must not thereby keep signing going (SAD-12).
        :param pause: waits so many seconds.
        """
        self._pause = pause
        self._seen = seen
        self._longest = longest_seconds
        self._looked_at = 0
        self._accepting = threading.Lock()
        self._device = device
        self._store = store
        self._realm = realm
        self._label = label_of(realm)
        self._clock = clock
        self._restored = restored
        self._checking = threading.Lock()
        self._found: Anchor | None = None
        self._behind: str | None = None
        self._stopped_epoch = 0
        self._key: bytes | None = None

    # What others ask

    def require(self, epoch: Epoch | None = None) -> None:
        """Whether the database may be relied on, by the last look at it; no call of the device on the hot path.

        :param epoch: the database's, where it was read: another one than at the last look is reason for a new look.
        :raises LedgerBehind: it is behind the anchor.
        :raises StoreUnavailable: a look is needed, and the database cannot be read.
        :raises ScdevUnavailable: a look is needed, and the token cannot be read.
        """
        found = self._found
        if self._behind is not None:
            look = epoch is not None and epoch.number > self._stopped_epoch
        else:
            look = found is None or (epoch is not None and epoch != found.epoch)
        if look:
            self.check()
        elif self._behind is None and self._stale():
            with self._checking:
                if self._stale():  # not meanwhile by another thread
                    self._look()
        if self._behind is not None:
            raise LedgerBehind(self._behind)

    def has_epoch(self, epoch: Epoch) -> bool:
        """Whether it is the anchor's, by the last look."""
        return self._found is not None and self._found.epoch == epoch

    def has_versions(self, versions: Mapping[str, int]) -> bool:
        """Whether these are all credentials that there are, by the token alone; not so while one is being changed.

        :raises LedgerBehind: there is no anchor.
        :raises ScdevUnavailable: the token cannot be read.
        """
        with device_errors():
            return self.latest().versions == sum_of(self._versions_key(), versions.items())

    def latest(self) -> Anchor:
        """The latest anchor on the token, whatever the database says.

        :raises LedgerBehind: there is none.
        :raises ScdevUnavailable: the token cannot be read.
        """
        with device_errors():
            held = self._held()
        if not held:
            raise LedgerBehind(NO_ANCHOR)
        return max(held, key=_order).anchor

    def report(self) -> dict[str, object]:
        """For operators: what the last look found."""
        found = self._found
        return {
            "anchor": self._behind or ("not looked at yet" if found is None else OK),
            "anchored_records": None if found is None else found.head.sequence,
            "operators": None if found is None else [key.kid for key in found.operators],
        }

    # At the beginning

    def establish(self, operators: Sequence[VerificationKey]) -> bool:
        """Write the first anchor of a new database; False where there is one, and the database fits it.

        :raises StateRefused: the token's anchor is of another database, or the database is not new.
        :raises DeviceError: the token cannot be used.
        """
        with self._store.standing(locked=True) as standing:
            if self._held():
                if (fault := self._fault(standing)) is not None:
                    raise StateRefused(f"the token has an anchor of this realm for another database: {fault}")
                return False
            if standing.head.sequence > 0 or any(True for _each in standing.versions()):
                raise StateRefused("the database has been used, and the token has no anchor of this realm")
            versions = self._sum(standing)
            first = Anchor(self._realm, 1, standing.epoch, standing.head, versions, tuple(operators))
            self._device.add_data(self._label, sealed(first, self._device))
        return True

    # Every so often

    def check(self) -> None:
        """Compare database and anchor; where it is behind, raise the alarm and stop what relies on it.

        :raises StoreUnavailable: the database cannot be read.
        :raises ScdevUnavailable: the token cannot be read.
        """
        with self._checking:
            self._look()

    def _look(self) -> None:
        # Somebody may have changed both between the look at the one and at the other, or be at it, or have died over
        # it: then look again, locked.
        fault: str | None = None
        for locked in (False, True):
            with self._store.standing(locked=locked) as standing, device_errors():
                fault = self._fault(standing, settle=locked)
            if fault is None:
                return
        self._stop(fault or NO_ANCHOR)

    def checkpoint(self) -> None:
        """Bring the anchor up to where the audit chain has gone.

        :raises LedgerBehind: the database is behind the anchor.
        :raises StoreUnavailable: the database cannot be read.
        :raises CommitUnknown: the anchor is there, and the one before it stays until the next look.
        :raises ScdevUnavailable: the token cannot be written.
        """
        self.require()
        following: Anchor | None = None
        with self._store.standing(locked=True) as standing, device_errors():
            held, current = self._current(standing)
            if current is not None and current.anchor.head != standing.head:
                following = replace(current.anchor, number=_following(held), head=standing.head)
                self._device.add_data(self._label, sealed(following, self._device))
                # So that no change takes an anchor for the last one which is from before this one.
                standing.keep(following.number)
        if current is None:
            self._stop(SHORTER_CHAIN)
            raise LedgerBehind(SHORTER_CHAIN)
        if following is not None:
            self._tidy(held)
            self._accept(following)

    # With a change

    def moves(self, credential_id: str, version: int) -> Effect:
        """The effect of a credential's next version.

        :raises DeviceError: the token cannot be used.
        """
        key = self._versions_key()
        return lambda anchor: moved(anchor, key, credential_id, version)

    @contextmanager
    def changing(self, effect: Effect, *, restoring: bool = False) -> Iterator[Anchoring]:
        """Anchor a change: what is given back goes to the store with it.

        :param effect: makes the next anchor from the current one; what it raises ends the change.
        :param restoring: the database need not fit; afterwards it does.
        :raises LedgerBehind: the database is behind the anchor.
        """
        if not restoring:
            self.require()
        held: list[Held] = []
        added: list[Held] = []

        def anchoring(standing: Standing) -> int:
            found, current = self._current(standing)
            held.extend(found)
            if restoring:
                current = max(held, key=_order, default=None)
            if current is None:
                raise LedgerBehind(_why(held, standing))
            if current.anchor.epoch != standing.epoch and not restoring:
                raise LedgerBehind(OTHER_EPOCH)
            versions = self._sum(standing) if restoring else current.anchor.versions
            following = effect(replace(current.anchor, versions=versions))
            following = replace(following, number=_following(held), epoch=standing.epoch, head=standing.head)
            added.append(Held(sealed(following, self._device), following))
            self._device.add_data(self._label, added[0].value)
            return following.number

        try:
            yield anchoring
        except CommitUnknown:
            raise  # both stay: the next look finds out which one the database fits
        except BaseException as error:
            self._tidy(added)
            if isinstance(error, LedgerBehind):
                self._stop(str(error))
            raise
        if added:
            self._tidy(held)
            self._accept(added[0].anchor)

    # Inside

    def _fault(self, standing: Standing, *, settle: bool = False) -> str | None:
        """What keeps the database from fitting any anchor; None where it fits one.

        :param settle: nobody else is at work: remove the others.
        """
        held, current = self._current(standing, attempts=_ATTEMPTS if settle else 1)
        if current is None:
            return _why(held, standing)
        if current.anchor.epoch != standing.epoch:
            return OTHER_EPOCH
        versions: dict[str, int] = {}
        # Summed as they come: the database ends a transaction in which nobody asks for anything for long.
        if current.anchor.versions != sum_of(self._versions_key(), _noted(standing.versions(), versions)):
            return OTHER_VERSIONS
        if settle:
            self._remove([each for each in held if each is not current])
        elif len(held) > 1:
            return UNSETTLED
        self._accept(current.anchor, versions)
        return None

    def _accept(self, anchor: Anchor, versions: Mapping[str, int] | None = None) -> None:
        """The database fits; a stop ends only with a later epoch, which takes a restore.

        :param versions: of all credentials, where this was a look.
        """
        with self._accepting:
            before = self._found
            if versions is not None:
                self._looked_at = numeric_date(self._clock.now())
            if before is not None and anchor.number < before.number:
                return  # another thread has seen a later one
            self._found = anchor
            if self._behind is not None and anchor.epoch.number > self._stopped_epoch:
                self._behind = None
            if before is not None and anchor.epoch.number > before.epoch.number:
                self._restored()
            if versions is not None:
                self._seen(versions)

    def _stale(self) -> bool:
        """Whether the last look is too long ago, or was at a time that is still to come."""
        return not 0 <= numeric_date(self._clock.now()) - self._looked_at <= self._longest

    def _stop(self, fault: str) -> None:
        known = self._behind is not None
        self._behind = fault
        if self._found is not None:
            self._stopped_epoch = max(self._stopped_epoch, self._found.epoch.number)
        with suppress(LedgerBehind, ScdevUnavailable):
            self._stopped_epoch = self.latest().epoch.number
        if known:
            return
        fields: Fields = {"reason": fault}
        _log.critical("the database is behind the token's anchor; nothing is signed", extra={"fields": fields})
        try:
            self._store.note(Record(events.LEDGER_BEHIND, fields, self._clock.now()))
        except (StoreUnavailable, CommitUnknown):
            _log.error("an alarm could not be recorded", extra={"fields": fields})

    def _current(self, standing: Standing, *, attempts: int = _ATTEMPTS) -> tuple[list[Held], Held | None]:
        """The anchors on the token, and the one that counts.

        Tokens have been seen to show one process late what another has added.  The database knows the number of the
        last anchor: where the token shows none that is so late, it is looked at again.
        """
        held: list[Held] = []
        for attempt in range(attempts):
            if attempt:
                self._pause(_PAUSE_SECONDS)
            held = self._held()
            current = _fitting(held, standing)
            if current is not None:
                return held, current
        return held, None

    def _held(self) -> list[Held]:
        """The anchors on the token that are ours."""
        found: list[Held] = []
        for value in self._device.read_data(self._label):
            anchor = opened(value, self._realm, self._device)
            if anchor is None:
                _log.critical("a data object of the anchor's label is not the module's")
            else:
                found.append(Held(value, anchor))
        return found

    def _tidy(self, held: Sequence[Held]) -> None:
        """As :meth:`_remove`; what stays does no harm, and the next change or check removes it."""
        try:
            self._remove(held)
        except DeviceError as error:
            _log.error("an anchor could not be removed", extra={"fields": {"error": error.code}})

    def _remove(self, held: Sequence[Held]) -> None:
        for each in held:
            self._device.remove_data(self._label, each.value)

    def _sum(self, standing: Standing) -> int:
        return sum_of(self._versions_key(), standing.versions())

    def _versions_key(self) -> bytes:
        if self._key is None:
            self._key = versions_key(self._device, self._realm)
        return self._key


def _noted(versions: Iterable[tuple[str, int]], into: dict[str, int]) -> Iterator[tuple[str, int]]:
    for credential_id, version in versions:
        into[credential_id] = version
        yield credential_id, version


def _number(held: Held) -> int:
    return held.anchor.number


def _following(held: Sequence[Held]) -> int:
    return max(_number(each) for each in held) + 1


def _order(held: Held) -> tuple[int, int]:
    """One that was added and whose number was not committed may have the number of the next."""
    return held.anchor.number, held.anchor.head.sequence


def _in_chain(held: Sequence[Held], standing: Standing) -> Held | None:
    """The latest whose record the chain has: a record is there if, and only if, its transaction was committed."""
    fitting = [each for each in held if standing.hash_at(each.anchor.head.sequence) == each.anchor.head.hash]
    return max(fitting, key=_order, default=None)


def _fitting(held: Sequence[Held], standing: Standing) -> Held | None:
    latest = _in_chain(held, standing)
    return latest if latest is not None and latest.anchor.number >= standing.anchored else None


def _why(held: Sequence[Held], standing: Standing) -> str:
    """Why there is no anchor that fits."""
    if not held:
        return NO_ANCHOR
    return SHORTER_CHAIN if _in_chain(held, standing) is None else TOKEN_BEHIND
