"""Reservations, outcomes and notes: one transaction for all that wait at the same time.

What happens in it, in the order in which locks are taken (each statement takes its own in the order of keys, so that
no two nodes wait for each other):

=============== ====================================================================================================
approvals       added, or locked: requests of one approval, on whatever node, go on one after another
credentials     held, with the ledger's epoch, as they are until the commit
outcomes        added, each where there is none: the compare-and-swap between a request and the reconciler
audit head      locked, last: what follows waits for nobody
look            revocations, and what credentials have signed in a day
decide          request by request; a refusal is that request's alone, and leaves nothing of it
write           the live SADs of approvals, redemptions and positions, then the records of all of them, and the head
=============== ====================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Row
from sqlalchemy.exc import DataError, IntegrityError

from auditlog.chain import Head
from auditlog.errors import AuditError
from auditlog.sql import AuditLog, Written
from foundation import log
from foundation.clock import epoch
from foundation.errors import PrivySealError
from signing.sam import events
from signing.sam.credential import SealedCredential
from signing.sam.errors import (
    BindingRefused,
    ChangedMeanwhile,
    CommitUnknown,
    DayExhausted,
    RowAltered,
    SadRefused,
    SadSpent,
    SadSuperseded,
    StoreUnavailable,
)
from signing.sam.ledger import Reservation, State, check_transition
from signing.sam.store import Record
from signing.sam.verify import LEEWAY_SECONDS
from signing.storage.combine import Combiner, Job
from signing.storage.ledger_sql import EVER, rows_parameter, statements, texts_parameter
from signing.storage.rows import from_columns
from signing.storage.statements import made_since
from signing.storage.tables import positions
from signing.storage.transactions import Transactions

MOST: Final = 64
"""Requests of a transaction: its locks are held for all of them."""
_ATTEMPTS: Final = 3
_DAY_SECONDS: Final = 24 * 60 * 60

Assign = Callable[[Collection[int]], tuple[int, ...]]
MakeRecord = Callable[[tuple[int, ...]], Record]
_Key = tuple[str, str]
"""Issuer and ``txn`` of an approval."""
T = TypeVar("T")

_log = log.get(__name__)


class Reserve(Job[tuple[int, ...]]):
    """A reservation that is asked for; or, where nothing is redeemed, only that the SAD is the live one from now on."""

    def __init__(
        self, reservation: Reservation, assign: Assign, record: MakeRecord, *, redeems: bool = True
    ) -> None:
        super().__init__()
        self.redeems = redeems
        self.reservation = reservation
        self.assign = assign
        self.record = record

    @property
    def key(self) -> _Key:
        """The approval."""
        return self.reservation.issuer, self.reservation.txn


class Conclude(Job[State]):
    """An outcome that is to be written."""

    def __init__(self, redemption_id: str, state: State, reason: str, record: Record) -> None:
        super().__init__()
        self.redemption_id = redemption_id
        self.state = state
        self.reason = reason
        self.record = record


class Note(Job[None]):
    """A record on its own."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.record = record


Work = Reserve | Conclude | Note


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A reservation that is written."""

    job: Reserve
    chosen: tuple[int, ...]
    intent: Record


class _NothingToWrite(Exception):
    """Every request of the transaction was refused: it is rolled back, which costs no look at the disk."""


@dataclass(slots=True)
class _Decided:
    """What comes of a transaction once it is committed."""

    answers: list[Callable[[], None]] = field(default_factory=list)
    refusals: dict[Work, PrivySealError] = field(default_factory=dict)
    """These stand whatever becomes of the commit: nothing of them is in it."""


class Ledger:
    """The ledger's writing side.  Thread-safe; any number of processes may share one PostgreSQL database."""

    def __init__(self, transactions: Transactions, chain: AuditLog) -> None:
        self._transactions = transactions
        self._chain = chain
        self._sql = statements(postgresql=transactions.postgresql)
        self._made_since = made_since()
        self._combiner: Combiner[Work] = Combiner(self._work, MOST)

    def reserve(self, reservation: Reservation, assign: Assign, record: MakeRecord) -> tuple[int, ...]:
        """See :meth:`signing.sam.store.Store.reserve`."""
        job = Reserve(reservation, assign, record)
        self._combiner.run(job)
        return job.result()

    def succeed(self, reservation: Reservation, assign: Assign, record: MakeRecord) -> None:
        """See :meth:`signing.sam.store.Store.succeed`."""
        job = Reserve(reservation, assign, record, redeems=False)
        self._combiner.run(job)
        job.result()

    def conclude(self, redemption_id: str, state: State, reason: str, record: Record) -> State:
        """See :meth:`signing.sam.store.Store.conclude`."""
        check_transition(State.RESERVED, state)
        job = Conclude(redemption_id, state, reason, record)
        self._combiner.run(job)
        return job.result()

    def note(self, record: Record) -> None:
        """See :meth:`signing.sam.store.Store.note`."""
        job = Note(record)
        self._combiner.run(job)
        job.result()

    # A group

    def _work(self, jobs: Sequence[Work]) -> None:
        if len(jobs) == 1:
            self._alone(jobs[0])
            return
        try:
            self._attempt(jobs)
        except (IntegrityError, DataError):
            # One of them met a constraint, or holds what no column takes: each on its own finds out which.
            for job in jobs:
                self._alone(job)

    def _alone(self, job: Work) -> None:
        for _attempt in range(_ATTEMPTS):
            try:
                self._attempt([job])
            except IntegrityError:
                # The constraint, not the lock, stopped it: somebody else's positions are there now, or will be.
                continue
            except DataError as error:
                job.fail(_caused(StoreUnavailable("the database does not take what was to be written"), error))
            return
        if isinstance(job, Reserve):
            job.fail(SadSpent("other requests of the same approval were faster"))
        else:
            job.fail(StoreUnavailable("an outcome was refused, and there is none"))

    def _attempt(self, jobs: Sequence[Work]) -> None:
        """One transaction.

        :raises IntegrityError: a constraint stopped it; nothing is settled.
        :raises DataError: a column does not take a value; nothing is settled.
        """
        decided = _Decided()
        try:
            with suppress(_NothingToWrite), self._transactions.writing() as connection:
                self._write(connection, jobs, decided)
        except (StoreUnavailable, CommitUnknown) as error:
            if isinstance(error.__cause__, DataError):
                raise error.__cause__ from None
            for job in jobs:
                job.fail(decided.refusals.get(job) or _caused(type(error)(str(error)), error))
            return
        for job, refusal in decided.refusals.items():
            job.fail(refusal)
        for answer in decided.answers:
            answer()

    # A transaction

    def _write(self, connection: Connection, jobs: Sequence[Work], decided: _Decided) -> None:
        reserves = [job for job in jobs if isinstance(job, Reserve)]
        concludes = [job for job in jobs if isinstance(job, Conclude)]
        found = self._approvals(connection, reserves) if reserves else _Approvals({}, {}, frozenset(), {}, {})
        seen = self._credentials(connection, reserves) if reserves else {}
        records = self._outcomes(connection, concludes, decided) if concludes else []
        head = self._locked_head(connection)
        revoked = self._revoked(connection, reserves) if reserves else frozenset()
        case = _Case(self._made_by(connection), found, seen, revoked, self._spent_proofs(connection, reserves))
        accepted = [item for job in reserves if (item := self._decide(case, job, decided)) is not None]
        records += [item.intent for item in accepted]
        records += self._notes([job for job in jobs if isinstance(job, Note)], decided)
        if not records:
            raise _NothingToWrite
        self._insert(connection, accepted, found)
        self._append(connection, head, records)

    def _decide(self, case: _Case, job: Reserve, decided: _Decided) -> _Accepted | None:
        try:
            if case.is_done(job):
                decided.answers.append(_answer(job, ()))
                return None
            chosen, intent = case.decide(job)
            self._check(intent)
        except PrivySealError as refusal:
            decided.refusals[job] = refusal
            return None
        case.accept(job, chosen, epoch(intent.at))
        decided.answers.append(_answer(job, chosen))
        return _Accepted(job, chosen, intent)

    def _notes(self, notes: Sequence[Note], decided: _Decided) -> list[Record]:
        for job in notes:
            try:
                self._check(job.record)
            except PrivySealError as refusal:
                decided.refusals[job] = refusal
            else:
                decided.answers.append(_answer(job, None))
        return [job.record for job in notes if job not in decided.refusals]

    def _approvals(self, connection: Connection, reserves: Sequence[Reserve]) -> _Approvals:
        """The approvals of all requests, each locked, with the positions that are taken."""
        wanted: dict[_Key, str] = {}
        for job in reserves:
            wanted.setdefault(job.key, job.reservation.allowance)
        rows = [{**_approval(key), "allowance": allowance} for key, allowance in wanted.items()]
        added = self._keys(self._rows(connection, self._sql.add_approvals, rows))
        allowances = {key: wanted[key] for key in added}
        taken: dict[_Key, set[int]] = {key: set() for key in wanted}
        live: dict[_Key, str | None] = dict.fromkeys(wanted)
        there = [_approval(key) for key in wanted if key not in added]
        if there:
            for row in self._rows(connection, self._sql.lock_approvals, there):
                allowances[row[0], row[1]] = row[2]
                live[row[0], row[1]] = row[3]
            for row in self._rows(connection, self._sql.taken, there):
                taken[row[0], row[1]].add(row[2])
        return _Approvals(allowances, taken, added, live, dict(live))

    def _credentials(self, connection: Connection, reserves: Sequence[Reserve]) -> Mapping[str, _Held]:
        ids = texts_parameter(job.reservation.credential_id for job in reserves)
        rows = connection.exec_driver_sql(self._sql.hold_credentials, ids).all()
        return {row.id: _Held(row[0], row[1], row[2:]) for row in rows}

    def _outcomes(self, connection: Connection, concludes: Sequence[Conclude], decided: _Decided) -> list[Record]:
        """Add outcomes; whoever was not the first for a redemption is told what there is."""
        first: dict[str, Conclude] = {}
        for job in concludes:
            try:
                self._check(job.record)
            except PrivySealError as refusal:
                decided.refusals[job] = refusal
            else:
                first.setdefault(job.redemption_id, job)
        rows = [
            {
                "redemption_id": job.redemption_id,
                "state": str(job.state),
                "reason": job.reason,
                "at": epoch(job.record.at),
            }
            for job in first.values()
        ]
        added = {row[0] for row in self._rows(connection, self._sql.add_outcomes, rows)}
        written = [job for job in first.values() if job.redemption_id in added]
        released = [job.redemption_id for job in written if job.state is State.RELEASED]
        if released:
            self._release(connection, released)
        late = [job for job in concludes if job not in written and job not in decided.refusals]
        states: dict[str, str] = {}
        if late:
            ids = texts_parameter(job.redemption_id for job in late)
            states = {row[0]: row[1] for row in connection.exec_driver_sql(self._sql.outcomes, ids)}
        for job in late:
            if job.redemption_id in states:
                decided.answers.append(_answer(job, State(states[job.redemption_id])))
            else:
                decided.refusals[job] = StoreUnavailable("an outcome was refused, and there is none")
        decided.answers += [_answer(job, job.state) for job in written]
        return [job.record for job in written]

    def _release(self, connection: Connection, ids: Sequence[str]) -> None:
        for row in connection.exec_driver_sql(self._sql.approvals_of, texts_parameter(ids)).all():
            same = (positions.c.issuer == row.issuer, positions.c.txn == row.txn, positions.c.redemption_id == row.id)
            connection.execute(positions.delete().where(*same))

    def _locked_head(self, connection: Connection) -> Head:
        try:
            return self._chain.lock(connection)
        except AuditError as error:
            raise StoreUnavailable("the audit chain cannot be written") from error

    def _revoked(self, connection: Connection, reserves: Sequence[Reserve]) -> frozenset[Reserve]:
        """After the audit head was locked, which whoever records a revocation locks as well: so either its row is
        seen here, or it is committed, and its event answered, after these reservations are.
        """
        subjects = [
            {"n": number, "issuer": wanted.issuer, "scope": scope, "subject": subject, "earliest": earliest}
            for number, wanted in enumerate(job.reservation for job in reserves)
            for scope, subject, earliest in (
                ("transaction", wanted.txn, EVER),
                ("client", wanted.client_id, wanted.sad_since - LEEWAY_SECONDS),
                ("account", wanted.account, wanted.sad_since - LEEWAY_SECONDS),
            )
        ]
        return frozenset(reserves[row[0]] for row in self._rows(connection, self._sql.revoked, subjects))

    def _spent_proofs(self, connection: Connection, reserves: Sequence[Reserve]) -> set[str]:
        """Of two at the same time the constraint stops one, which then finds the other's here."""
        wanted = [job.reservation.proof for job in reserves if job.reservation.proof is not None]
        if not wanted:
            return set()
        return {row[0] for row in connection.exec_driver_sql(self._sql.spent_proofs, texts_parameter(wanted))}

    def _made_by(self, connection: Connection) -> Callable[[str, int], int]:
        """How many positions of a credential were taken after a second; after the audit head was locked, as above."""

        def made(credential_id: str, since: int) -> int:
            parameters = {"credential_id": credential_id, "since": since}
            return connection.execute(self._made_since, parameters).scalar_one()

        return made

    def _insert(self, connection: Connection, accepted: Sequence[_Accepted], found: _Approvals) -> None:
        unused = found.added - {item.job.key for item in accepted}
        if unused:
            self._rows(connection, self._sql.remove_approvals, [_approval(key) for key in unused], returning=False)
        if not accepted:
            return
        self._succeed(connection, found)
        redeemed = [_redemption(item) for item in accepted if item.job.redeems]
        if not redeemed:
            return
        self._rows(connection, self._sql.add_redemptions, redeemed, returning=False)
        taken = [
            {**_approval(item.job.key), "position": position, "redemption_id": item.job.reservation.id}
            for item in accepted
            for position in item.chosen
        ]
        self._rows(connection, self._sql.add_positions, taken, returning=False)

    def _succeed(self, connection: Connection, found: _Approvals) -> None:
        swapped = {key: live for key, live in found.live.items() if live != found.before[key]}
        if not swapped:
            return
        rows = [{**_approval(key), "before": found.before[key], "live": live} for key, live in swapped.items()]
        if self._keys(self._rows(connection, self._sql.succeed, rows)) != swapped.keys():
            raise StoreUnavailable("an approval's live SAD is not the one that was locked")

    def _append(self, connection: Connection, head: Head, records: Sequence[Record]) -> None:
        written = [Written(record.event, events.recordable(record.fields), record.at) for record in records]
        try:
            self._chain.extend(connection, head, written)
        except AuditError as error:
            raise StoreUnavailable("the audit chain cannot be written") from error
        except IntegrityError as error:
            # The head is locked: a record that is there already stands after a head that somebody set back (AUD-04).
            _log.critical("the audit chain's head was set back")
            raise StoreUnavailable("the audit chain's head was set back") from error

    def _check(self, record: Record) -> None:
        self._chain.check(record.event, events.recordable(record.fields))

    @staticmethod
    def _rows(
        connection: Connection, statement: str, rows: Iterable[Mapping[str, object]], *, returning: bool = True
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        done = connection.exec_driver_sql(statement, rows_parameter(rows))
        return done.all() if returning else ()

    @staticmethod
    def _keys(rows: Iterable[Row[*tuple[Any, ...]]]) -> frozenset[_Key]:
        return frozenset((row[0], row[1]) for row in rows)


@dataclass(frozen=True, slots=True)
class _Approvals:
    """Approvals that are locked."""

    allowances: Mapping[_Key, str]
    taken: Mapping[_Key, set[int]]
    added: frozenset[_Key]
    """Those that were not there before."""
    live: dict[_Key, str | None]
    """``jti`` of the SAD that took the place of those before it: as it will be."""
    before: Mapping[_Key, str | None]
    """The same as it was found."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A credential's row and the ledger's epoch, neither of which changes before the commit."""

    epoch: int
    version: int
    columns: Sequence[Any]

    def is_as_verified(self, wanted: Reservation) -> bool:
        """Whether both are what the SAD was verified against."""
        if (self.version, self.epoch) != (wanted.credential_version, wanted.epoch):
            return False
        return wanted.row is None or self._sealed() == wanted.row

    def _sealed(self) -> SealedCredential | None:
        try:
            return from_columns(self.columns)
        except RowAltered:
            return None


class _Case:
    """Decides about a transaction's reservations, one after another."""

    def __init__(
        self,
        made: Callable[[str, int], int],
        found: _Approvals,
        held: Mapping[str, _Held],
        revoked: Collection[Reserve],
        spent_proofs: set[str],
    ) -> None:
        self._made = made
        self._found = found
        self._held = held
        self._revoked = revoked
        self._spent_proofs = spent_proofs
        self._made_here: list[tuple[str, int, int]] = []

    def decide(self, job: Reserve) -> tuple[tuple[int, ...], Record]:
        """Positions and intent; raises the refusal."""
        wanted = job.reservation
        # 1. What was verified still holds.
        held = self._held.get(wanted.credential_id)
        if held is None or not held.is_as_verified(wanted):
            raise ChangedMeanwhile("the credential or the ledger's epoch was changed meanwhile")
        if job in self._revoked:
            raise ChangedMeanwhile("the SAD was revoked meanwhile")
        # 2. What is used once, and the approval's other requests; those before in this transaction included.
        if wanted.proof in self._spent_proofs:
            raise BindingRefused("the proof of possession was used before")
        if self._found.allowances.get(job.key) != wanted.allowance:
            raise SadRefused("another SAD of the same transaction had another allowance")
        if not wanted.may_follow(self._found.live[job.key]):
            raise SadSuperseded("another SAD of the same transaction took this one's place")
        chosen = job.assign(frozenset(self._found.taken[job.key]))
        # 3. Its time, which is now that nobody is waited for any more; then its day.
        intent = job.record(chosen)
        self._check_day(wanted, len(chosen), epoch(intent.at))
        return chosen, intent

    def is_done(self, job: Reserve) -> bool:
        """Whether the SAD is the live one already, where nothing else is asked for."""
        return not job.redeems and self._found.live.get(job.key) == job.reservation.sad_jti

    def accept(self, job: Reserve, chosen: tuple[int, ...], at: int) -> None:
        """Those that follow see it."""
        self._found.taken[job.key].update(chosen)
        if job.reservation.predecessors:
            self._found.live[job.key] = job.reservation.sad_jti
        if job.reservation.proof is not None:
            self._spent_proofs.add(job.reservation.proof)
        self._made_here.append((job.reservation.credential_id, len(chosen), at))

    def _check_day(self, wanted: Reservation, count: int, now: int) -> None:
        """Positions that were released are not counted; those that nobody knows of are."""
        if not wanted.max_signatures_per_day:
            return
        since = now - _DAY_SECONDS
        here = sum(number for each, number, at in self._made_here if each == wanted.credential_id and at > since)
        if self._made(wanted.credential_id, since) + here + count > wanted.max_signatures_per_day:
            raise DayExhausted("the credential has made as many signatures today as it may")


def _answer(job: Job[T], value: T) -> Callable[[], None]:
    return lambda: job.settle(value)


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def _approval(key: _Key) -> dict[str, object]:
    return {"issuer": key[0], "txn": key[1]}


def _redemption(item: _Accepted) -> dict[str, object]:
    wanted = item.job.reservation
    return {
        "id": wanted.id,
        "issuer": wanted.issuer,
        "txn": wanted.txn,
        "sad_jti": wanted.sad_jti,
        "credential_id": wanted.credential_id,
        "client_id": wanted.client_id,
        "positions": json.dumps(item.chosen),
        "reserved_at": epoch(item.intent.at),
        "proof": wanted.proof,
    }
