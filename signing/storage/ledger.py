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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

from sqlalchemy.exc import DataError, IntegrityError

from auditlog.chain import Entry, Head
from auditlog.errors import AuditError
from auditlog.sql import AuditLog, Written, entries_after
from foundation import log
from foundation.clock import epoch
from foundation.errors import PrivySealError
from signing.sam import events
from signing.sam.errors import CommitUnknown, SadSpent, StoreUnavailable
from signing.sam.ledger import Reservation, State, check_transition
from signing.sam.store import Record
from signing.sam.verify import LEEWAY_SECONDS
from signing.storage.combine import Combiner, Job
from signing.storage.ledger_case import Approval, Assign, Case, Found, Held, Key, MakeRecord
from signing.storage.ledger_sql import EVER, rows_parameter, statements, texts_parameter
from signing.storage.script import Script, script_on
from signing.storage.transactions import Transactions
from signing.storage.wire import Rows, Statement

MOST: Final = 64
"""Requests of a transaction: its locks are held for all of them."""
_ATTEMPTS: Final = 3
T = TypeVar("T")

_log = log.get(__name__)


class Reserve(Job[tuple[int, ...]]):
    """A reservation that is asked for; or, where nothing is redeemed, only that the SAD is the live one from now on."""

    def __init__(self, reservation: Reservation, assign: Assign, record: MakeRecord, *, redeems: bool = True) -> None:
        super().__init__()
        self.redeems = redeems
        self.reservation = reservation
        self.assign = assign
        self.record = record


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

    wanted: Reservation
    redeems: bool
    chosen: tuple[int, ...]
    intent: Record
    written: Written
    """The intent as the chain has it."""


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
                self._write(script_on(connection), jobs, decided)
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

    def _write(self, script: Script, jobs: Sequence[Work], decided: _Decided) -> None:
        reserves = [job for job in jobs if isinstance(job, Reserve)]
        concludes = [job for job in jobs if isinstance(job, Conclude)]
        first, told = self._first(concludes, decided)
        found, head, added = self._look(script, [job.reservation for job in reserves], first)
        outcomes = self._outcomes(script, concludes, first, added, decided)
        case = Case(found, lambda *of: int(script.ask([(self._sql.made_since, of)])[0][0][0]))
        accepted = [item for job in reserves if (item := self._decide(case, job, decided)) is not None]
        records = [told[job.redemption_id] for job in outcomes] + [item.written for item in accepted]
        records += self._notes([job for job in jobs if isinstance(job, Note)], decided)
        if not records:
            raise _NothingToWrite
        used = {(item.wanted.issuer, item.wanted.txn) for item in accepted}
        last = [*self._freed(script, outcomes), *self._kept(found, used), *self._reserved(accepted)]
        last += self._chained(head, records)
        try:
            script.finish(last)
        except IntegrityError as error:
            if _is_of_the_chain(error):
                # The head is locked: a record that is there stands after a head that somebody set back (AUD-04).
                _log.critical("the audit chain's head was set back")
                raise StoreUnavailable("the audit chain's head was set back") from error
            if _is_of_a_swap(error):
                raise StoreUnavailable("an approval's live SAD is not the one that was locked") from error
            raise

    def _look(
        self, script: Script, wanted: Sequence[Reservation], first: Mapping[str, Conclude]
    ) -> tuple[Found, Head, set[str]]:
        """Lock and read.

        :returns: what was found; the chain's head; the redemptions of which an outcome was added.
        """
        sql, questions = self._sql, dict[str, Statement]()
        allowances: dict[Key, str] = {}
        for each in wanted:
            allowances.setdefault((each.issuer, each.txn), each.allowance)
        if wanted:
            rows = rows_parameter({**_approval(key), "allowance": text} for key, text in allowances.items())
            questions["approvals"] = (sql.hold_approvals, rows)
            if sql.add_approvals:
                questions["new approvals"] = (sql.add_approvals, rows)
            ids = texts_parameter(each.credential_id for each in wanted)
            questions["credentials"] = (sql.hold_credentials, ids)
        if first:
            questions["outcomes"] = (sql.add_outcomes, rows_parameter(_outcome(job) for job in first.values()))
        questions["head"] = (sql.lock_head, ())
        if wanted:
            questions["revoked"] = (sql.revoked, rows_parameter(_subjects(wanted)))
        proofs = [each.proof for each in wanted if each.proof is not None]
        if proofs:
            # Of two at the same time the constraint stops one, which then finds the other's here.
            questions["proofs"] = (sql.spent_proofs, texts_parameter(proofs))
        answers = dict(zip(questions, script.ask(tuple(questions.values())), strict=True))
        approvals = {
            (row[0], row[1]): Approval(row[2], bool(row[3]), row[4], row[4]) for row in answers.get("approvals", ())
        }
        self._look_closer(script, approvals)
        return (
            Found(
                approvals,
                {row[2]: Held(row[0], row[1], row[2:]) for row in answers.get("credentials", ())},
                {wanted[row[0]].id for row in answers.get("revoked", ())},
                {row[0] for row in answers.get("proofs", ())},
            ),
            _head(answers["head"]),
            {row[0] for row in answers.get("outcomes", ())},
        )

    def _look_closer(self, script: Script, approvals: Mapping[Key, Approval]) -> None:
        """At what is taken of those that were there."""
        there = [_approval(key) for key, approval in approvals.items() if not approval.added]
        if there:
            for row in script.ask([(self._sql.taken, rows_parameter(there))])[0]:
                approvals[row[0], row[1]].taken.add(row[2])

    def _first(
        self, concludes: Sequence[Conclude], decided: _Decided
    ) -> tuple[dict[str, Conclude], dict[str, Written]]:
        """Of several about one redemption, the first, and its record."""
        first: dict[str, Conclude] = {}
        told: dict[str, Written] = {}
        for job in concludes:
            try:
                written = self._checked(job.record)
            except PrivySealError as refusal:
                decided.refusals[job] = refusal
            else:
                first.setdefault(job.redemption_id, job)
                told.setdefault(job.redemption_id, written)
        return first, told

    def _outcomes(
        self,
        script: Script,
        concludes: Sequence[Conclude],
        first: Mapping[str, Conclude],
        added: Collection[str],
        decided: _Decided,
    ) -> list[Conclude]:
        """Those that were written; whoever was not the first for a redemption is told what there is."""
        written = [job for job in first.values() if job.redemption_id in added]
        decided.answers += [_answer(job, job.state) for job in written]
        late = [job for job in concludes if job not in written and job not in decided.refusals]
        if late:
            (rows,) = script.ask([(self._sql.outcomes, texts_parameter(job.redemption_id for job in late))])
            states = {row[0]: State(row[1]) for row in rows}
            for job in late:
                if job.redemption_id in states:
                    decided.answers.append(_answer(job, states[job.redemption_id]))
                else:
                    decided.refusals[job] = StoreUnavailable("an outcome was refused, and there is none")
        return written

    def _decide(self, case: Case, job: Reserve, decided: _Decided) -> _Accepted | None:
        try:
            if not job.redeems and case.is_live(job.reservation):
                decided.answers.append(_answer(job, ()))
                return None
            chosen, intent = case.decide(job.reservation, job.assign, job.record)
            written = self._checked(intent)
        except PrivySealError as refusal:
            decided.refusals[job] = refusal
            return None
        case.accept(job.reservation, chosen, epoch(intent.at))
        decided.answers.append(_answer(job, chosen))
        return _Accepted(job.reservation, job.redeems, chosen, intent, written)

    def _notes(self, notes: Sequence[Note], decided: _Decided) -> list[Written]:
        records: list[Written] = []
        for job in notes:
            try:
                records.append(self._checked(job.record))
            except PrivySealError as refusal:
                decided.refusals[job] = refusal
            else:
                decided.answers.append(_answer(job, None))
        return records

    # Its last statements

    def _freed(self, script: Script, outcomes: Sequence[Conclude]) -> Iterator[Statement]:
        if outcomes and self._sql.close_redemptions:
            yield self._sql.close_redemptions, texts_parameter(job.redemption_id for job in outcomes)
        released = [job.redemption_id for job in outcomes if job.state is State.RELEASED]
        if released:
            for row in script.ask([(self._sql.approvals_of, texts_parameter(released))])[0]:
                yield self._sql.free_positions, tuple(row)

    def _kept(self, found: Found, used: Collection[Key]) -> Iterator[Statement]:
        """Approvals: those of refused requests go as they came, and the others have their live SAD."""
        unused = [key for key, approval in found.approvals.items() if approval.added and key not in used]
        if unused:
            yield self._sql.remove_approvals, rows_parameter(_approval(key) for key in unused)
        succeeded = [
            {**_approval(key), "before": approval.before, "live": approval.live}
            for key, approval in found.approvals.items()
            if approval.live != approval.before
        ]
        if succeeded:
            yield self._sql.succeed, rows_parameter(succeeded)

    def _reserved(self, accepted: Sequence[_Accepted]) -> Iterator[Statement]:
        redeemed = [item for item in accepted if item.redeems]
        if not redeemed:
            return
        yield self._sql.add_redemptions, rows_parameter(_redemption(item) for item in redeemed)
        if self._sql.open_redemptions:
            yield self._sql.open_redemptions, texts_parameter(item.wanted.id for item in redeemed)
        yield (
            self._sql.add_positions,
            rows_parameter(
                {
                    "issuer": item.wanted.issuer,
                    "txn": item.wanted.txn,
                    "position": position,
                    "redemption_id": item.wanted.id,
                }
                for item in redeemed
                for position in item.chosen
            ),
        )

    def _chained(self, head: Head, records: Sequence[Written]) -> tuple[Statement, Statement]:
        try:
            entries = entries_after(head, records)
        except AuditError as error:
            raise StoreUnavailable("the audit chain cannot be written") from error
        rows = ({name: getattr(entry, name) for name in Entry.__slots__} for entry in entries)
        moved = (head.sequence, entries[-1].sequence, entries[-1].hash)
        return (self._sql.add_entries, rows_parameter(rows)), (self._sql.move_head, moved)

    def _checked(self, record: Record) -> Written:
        """A record as the chain takes it.

        :raises EventRefused: it does not.
        """
        written = Written(record.event, events.recordable(record.fields), record.at)
        self._chain.check(written.event, written.fields)
        return written


def _head(rows: Rows) -> Head:
    if not rows:
        raise StoreUnavailable("the audit chain cannot be written: it has no head")
    return Head(*rows[0])


def _is_of_the_chain(error: IntegrityError) -> bool:
    """Whether it was a constraint of the audit chain's tables: PostgreSQL names the table, SQLite in its text."""
    diagnosis = getattr(error.orig, "diag", None)
    return "audit_" in str(error.orig if diagnosis is None else diagnosis.table_name)


def _is_of_a_swap(error: IntegrityError) -> bool:
    """Whether nothing was found to swap for: a column that is never empty would have been (SQLSTATE 23502)."""
    return getattr(error.orig, "sqlstate", None) == "23502" or str(error.orig).startswith("NOT NULL")


def _subjects(wanted: Sequence[Reservation]) -> Iterator[dict[str, object]]:
    """What can have been revoked under each SAD.

    It is looked for after the audit head was locked, which whoever records a revocation locks as well: so either its
    row is seen, or it is committed, and its event answered, after these reservations are.
    """
    for number, each in enumerate(wanted):
        for scope, subject, earliest in (
            ("transaction", each.txn, EVER),
            ("client", each.client_id, each.sad_since - LEEWAY_SECONDS),
            ("account", each.account, each.sad_since - LEEWAY_SECONDS),
        ):
            yield {"n": number, "issuer": each.issuer, "scope": scope, "subject": subject, "earliest": earliest}


def _outcome(job: Conclude) -> dict[str, object]:
    return {
        "redemption_id": job.redemption_id,
        "state": str(job.state),
        "reason": job.reason,
        "at": epoch(job.record.at),
    }


def _answer(job: Job[T], value: T) -> Callable[[], None]:
    return lambda: job.settle(value)


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def _approval(key: Key) -> dict[str, object]:
    return {"issuer": key[0], "txn": key[1]}


def _redemption(item: _Accepted) -> dict[str, object]:
    wanted = item.wanted
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
