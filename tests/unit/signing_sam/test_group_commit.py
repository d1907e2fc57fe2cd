"""Requests that wait at the same time share a transaction, and nothing else: each has its own answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, update
from sqlalchemy.exc import OperationalError

from auditlog.chain import verify
from auditlog.errors import EventRefused
from auditlog.sql import AuditLog, read_entries
from signing.sam import errors, events
from signing.sam.ledger import Reservation, State
from signing.sam.records import outcome_record
from signing.sam.store import Record
from signing.storage.combine import Combiner, Job
from signing.storage.ledger import Conclude, Ledger, Note, Reserve, Work
from signing.storage.tables import approvals, audit, credentials, outcomes, positions, redemptions
from signing.storage.transactions import Transactions
from tests.fakes.sam import ISSUER, NOW, World, digest, make_world
from tests.unit.signing_sam.test_storage import add_credential_row, reservation


def ledger_on(engine: Engine) -> Ledger:
    return Ledger(Transactions(engine), AuditLog(audit, events.CATALOGUE))


def ledger(world: World) -> Ledger:
    return ledger_on(world.engine)


def intent(wanted: Reservation) -> Record:
    fields = {"redemption": wanted.id, "issuer": "x", "txn": "x", "positions": ["0"]}
    return Record(events.LEDGER_SET_BACK, fields, NOW)


def reserve(name: str, *wanted: int, **changes: Any) -> Reserve:
    """A reservation of an approval of its own, until changed."""
    made = replace(reservation(), id=name, **{"txn": name, **changes})

    def assign(taken: Collection[int]) -> tuple[int, ...]:
        if set(taken) & set(wanted or (0,)):
            raise errors.SadSpent("taken")
        return wanted or (0,)

    return Reserve(made, assign, lambda _chosen: intent(made))


def conclude(redemption: str, state: State = State.CONSUMED) -> Conclude:
    record = outcome_record(reservation(id=redemption), count=1, state=state, reason="test", at=NOW)
    return Conclude(redemption, state, "test", record)


def results(jobs: Sequence[Job[Any]]) -> list[Any]:
    """Answers, and classes of errors."""
    found: list[Any] = []
    for job in jobs:
        try:
            found.append(job.result())
        except Exception as error:
            found.append(type(error))
    return found


def ids(world: World) -> set[str]:
    """Redemptions in the ledger; each has what belongs to it, and nothing is there that belongs to none."""
    with world.engine.connect() as connection:
        found = set(connection.execute(select(redemptions.c.id)).scalars())
        assert set(connection.execute(select(positions.c.redemption_id)).scalars()) <= found
        of_them = {tuple(row) for row in connection.execute(select(redemptions.c.issuer, redemptions.c.txn))}
        assert {tuple(row) for row in connection.execute(select(approvals.c.issuer, approvals.c.txn))} == of_them
        entries = list(read_entries(connection, audit.entries))
    verify(entries)
    begun = [entry.fields for entry in entries if entry.event == events.LEDGER_SET_BACK]
    assert len(begun) == len(found)
    assert all(any(f'"{each}"' in fields for fields in begun) for each in found)
    return found


@pytest.fixture
def grouped(either_world: World) -> World:
    """With the row that the reservations are for."""
    add_credential_row(either_world.engine)
    return either_world


# Refusals


def test_each_request_of_a_group_has_its_own_answer(grouped: World) -> None:
    world = grouped
    txn = "withdrawn"
    world.revocations().record(world.event_token("transaction-withdrawn", txn))
    expired = reserve("expired")

    def too_late(_chosen: tuple[int, ...]) -> Record:
        raise errors.SadExpired("late")

    expired.record = too_late
    unknown_event = reserve("unknown event")
    unknown_event.record = lambda _chosen: Record("no.such", {}, NOW)
    jobs = [
        reserve("good"),
        reserve("spent", txn="good"),
        reserve("other position", 1, txn="good"),
        reserve("other allowance", 2, txn="good", allowance="another"),
        reserve("other version", credential_version=2),
        reserve("other epoch", epoch=2),
        reserve("no credential", credential_id="none"),
        reserve("revoked", issuer=ISSUER, txn=txn),
        reserve("another issuer's", txn=txn),
        expired,
        unknown_event,
        reserve("day", max_signatures_per_day=1),
        reserve("last"),
    ]
    ledger(world)._work(jobs)
    assert results(jobs) == [
        (0,),
        errors.SadSpent,
        (1,),
        errors.SadRefused,
        errors.ChangedMeanwhile,
        errors.ChangedMeanwhile,
        errors.ChangedMeanwhile,
        errors.ChangedMeanwhile,
        (0,),
        errors.SadExpired,
        EventRefused,
        errors.DayExhausted,
        (0,),
    ]
    assert ids(world) == {"good", "other position", "another issuer's", "last"}


def test_a_proof_of_possession_is_spent_once_also_within_a_group(grouped: World) -> None:
    store = ledger(grouped)
    jobs = [reserve("one", proof="p"), reserve("two", proof="p"), reserve("three", proof="q"), reserve("four")]
    store._work(jobs)
    assert results(jobs) == [(0,), errors.BindingRefused, (0,), (0,)]
    again = [reserve("five", proof="q"), reserve("six")]
    store._work(again)
    assert results(again) == [errors.BindingRefused, (0,)]
    assert ids(grouped) == {"one", "three", "four", "six"}


def test_a_successor_retires_its_predecessor_in_its_own_transaction(grouped: World) -> None:
    store = ledger(grouped)
    store._work([reserve("one", 0, txn="t", sad_jti="first")])
    jobs = [
        reserve("refused", 0, txn="t", sad_jti="second", predecessors=frozenset({"other"})),
        reserve("two", 1, txn="t", sad_jti="second", predecessors=frozenset({"first"})),
        reserve("three", 2, txn="t", sad_jti="first"),
    ]
    store._work(jobs)
    assert results(jobs) == [errors.SadSpent, (1,), errors.SadSuperseded]
    later = [
        reserve("four", 2, txn="t", sad_jti="first"),
        reserve("five", 3, txn="t", sad_jti="third", predecessors=frozenset({"first", "second"})),
        reserve("six", 4, txn="t", sad_jti="second", predecessors=frozenset({"first"})),
        reserve("seven", sad_jti="first"),
    ]
    store._work(later)
    assert results(later) == [errors.SadSuperseded, (3,), errors.SadSuperseded, (0,)]


def test_a_refusal_comes_before_what_would_follow_from_it(grouped: World) -> None:
    """An approval of which the first SAD is refused is fixed by the first that is not."""
    jobs = [reserve("refused", epoch=2, allowance="another"), reserve("good", txn="refused")]
    ledger(grouped)._work(jobs)
    assert results(jobs) == [errors.ChangedMeanwhile, errors.SadRefused]
    assert ids(grouped) == set()
    again = reserve("good", txn="refused")
    ledger(grouped)._work([again])
    assert results([again]) == [(0,)]


def test_the_days_signatures_count_those_of_the_same_group(grouped: World) -> None:
    jobs = [reserve(f"day {number}", 0, 1, max_signatures_per_day=5) for number in range(4)]
    ledger(grouped)._work(jobs)
    assert results(jobs) == [(0, 1), (0, 1), errors.DayExhausted, errors.DayExhausted]
    one = reserve("the fifth", max_signatures_per_day=5)
    ledger(grouped)._work([one])
    assert results([one]) == [(0,)]


def test_where_all_are_refused_nothing_is_committed(grouped: World) -> None:
    commits = counted(grouped, "commit")
    jobs = [reserve(f"refused {number}", epoch=2) for number in range(3)]
    ledger(grouped)._work(jobs)
    assert results(jobs) == [errors.ChangedMeanwhile] * 3
    assert ids(grouped) == set()
    assert commits == []


def test_outcomes_intents_and_notes_share_a_transaction(grouped: World) -> None:
    store = ledger(grouped)
    store._work([reserve(f"old {number}") for number in range(4)])
    store._work([conclude("old 3", State.INDETERMINATE)])
    commits = counted(grouped, "commit")
    jobs: list[Work] = [
        conclude("old 0"),
        reserve("new"),
        conclude("old 1", State.RELEASED),
        conclude("old 0", State.INDETERMINATE),
        conclude("nobody's"),
        conclude("old 3"),
        Note(intent(reservation(id="note"))),
        Note(Record("no.such", {}, NOW)),
    ]
    store._work(jobs)
    consumed, lost = State.CONSUMED, State.INDETERMINATE
    refused = errors.StoreUnavailable
    assert results(jobs) == [consumed, (0,), State.RELEASED, consumed, refused, lost, None, EventRefused]
    # The one of nobody met a constraint, so each was tried on its own.
    assert len(commits) > 1
    with grouped.engine.connect() as connection:
        states = {row[0]: row[1] for row in connection.execute(select(outcomes.c.redemption_id, outcomes.c.state))}
        freed = connection.execute(select(positions).where(positions.c.redemption_id == "old 1")).all()
        verify(read_entries(connection, audit.entries))
    assert states == {"old 0": "consumed", "old 1": "released", "old 3": "indeterminate"}
    assert freed == []


def test_one_commit_serves_all_that_are_good(grouped: World) -> None:
    store = ledger(grouped)
    store._work([reserve("old")])
    commits = counted(grouped, "commit")
    jobs: list[Work] = [conclude("old"), *(reserve(f"new {number}") for number in range(9))]
    store._work(jobs)
    assert results(jobs) == [State.CONSUMED, *[(0,)] * 9]
    assert commits == ["commit"]


def test_a_request_that_meets_the_constraint_takes_no_other_with_it(grouped: World) -> None:
    store = ledger(grouped)
    store._work([reserve("there")])
    careless = reserve("careless", txn="there")
    careless.assign = lambda _taken: (0,)
    jobs: list[Work] = [reserve("before"), careless, reserve("after"), conclude("there")]
    store._work(jobs)
    assert results(jobs) == [(0,), errors.SadSpent, (0,), State.CONSUMED]
    assert ids(grouped) == {"there", "before", "after"}


@pytest.mark.postgres
def test_what_no_column_takes_stops_one_request_only(postgres_url: str) -> None:
    world = make_world(postgres_url)
    add_credential_row(world.engine)
    jobs = [reserve("before"), reserve("long", client_id="x" * 300), reserve("after")]
    ledger(world)._work(jobs)
    assert results(jobs) == [(0,), errors.StoreUnavailable, (0,)]
    assert ids(world) == {"before", "after"}
    world.engine.dispose()


def test_a_row_that_was_verified_and_is_another_one_now_is_not_reserved_for(either_world: World) -> None:
    """Not only its version: any column."""
    world = either_world
    credential = world.credential()
    (row, known) = world.store.for_signature(credential.id)
    assert row is not None
    wanted = reservation(
        credential_id=credential.id, credential_version=credential.version, epoch=known.number, row=row, id="one"
    )
    store = ledger(world)
    assert store.reserve(wanted, lambda _taken: (0,), lambda _chosen: intent(wanted)) == (0,)
    for column, value in (("owner", "mallory"), ("certificates", "junk"), ("mac", b"x" * 32)):
        with world.engine.begin() as connection:
            connection.execute(update(credentials).values({column: value}))
        with pytest.raises(errors.ChangedMeanwhile):
            store.reserve(replace(wanted, id=column, txn=column), lambda _taken: (0,), lambda _chosen: intent(wanted))


# How many commits


def counted(world: World, *names: str) -> list[str]:
    """What the engine does from now on."""
    seen: list[str] = []
    for name in names:
        event.listen(world.engine, name, lambda *_arguments, name=name: seen.append(name))
    return seen


def test_many_at_once_need_far_fewer_than_two_commits_each(either_world: World) -> None:
    world, number = either_world, 24
    credential = world.credential()
    commits = counted(world, "commit")
    # A disk takes its time: meanwhile others come.
    event.listen(world.engine, "commit", lambda _connection: time.sleep(0.02))
    requests = [world.request(world.sad(credential, (digest(each),))) for each in range(number)]
    activator, gate = world.activator(), threading.Barrier(number)

    def sign(each: int) -> int:
        gate.wait()
        return len(activator.sign(requests[each]))

    with ThreadPoolExecutor(number) as pool:
        assert sum(pool.map(sign, range(number))) == number
    assert len(commits) <= number
    with world.engine.connect() as connection:
        entries = list(read_entries(connection, audit.entries))
    verify(entries)
    assert len([entry for entry in entries if entry.event == events.SIGNATURE_CONSUMED]) == number


# When the database fails


def test_a_commit_that_is_not_answered_is_unknown_to_all_but_those_that_were_refused(grouped: World) -> None:
    def lost(*_arguments: Any) -> None:
        raise OperationalError("COMMIT", None, Exception("gone"))

    event.listen(grouped.engine, "commit", lost)
    jobs: list[Work] = [reserve("good"), reserve("refused", epoch=2), Note(intent(reservation()))]
    ledger(grouped)._work(jobs)
    assert results(jobs) == [errors.CommitUnknown, errors.ChangedMeanwhile, errors.CommitUnknown]
    event.remove(grouped.engine, "commit", lost)


def test_AUD_07_a_chain_that_cannot_be_written_stops_all_of_a_group(grouped: World) -> None:
    with grouped.engine.begin() as connection:
        connection.execute(audit.head.delete())
    jobs = [reserve("one"), reserve("two")]
    ledger(grouped)._work(jobs)
    assert results(jobs) == [errors.StoreUnavailable] * 2
    (one, two) = (job._error for job in jobs)
    assert one is not two


# The combiner


class Number(Job[int]):
    """A job that says when it was done."""


def test_who_finds_nobody_at_work_begins_at_once_and_others_gather_meanwhile() -> None:
    groups: list[int] = []
    busy, go = threading.Event(), threading.Event()

    def work(jobs: Sequence[Number]) -> None:
        groups.append(len(jobs))
        if len(groups) == 1:
            busy.set()
            assert go.wait(10)
        for job in jobs:
            job.settle(len(groups))

    combiner = Combiner(work, 4)

    def run(_number: int) -> int:
        job = Number()
        combiner.run(job)
        return job.result()

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(run, 0)
        assert busy.wait(10)
        others = [pool.submit(run, number) for number in range(1, 8)]
        while len(combiner._waiting) < 7:
            time.sleep(0.001)
        go.set()
        assert first.result() == 1
        assert sorted(other.result() for other in others) == [2, 2, 2, 2, 3, 3, 3]
    assert groups == [1, 4, 3]
    assert run(0) == 4


def test_a_fault_in_the_work_is_the_leaders_and_leaves_nobody_waiting() -> None:
    busy, go = threading.Event(), threading.Event()

    def work(jobs: Sequence[Number]) -> None:
        if not busy.is_set():
            busy.set()
            assert go.wait(10)
            for job in jobs:
                job.settle(0)
            return
        raise ZeroDivisionError

    combiner = Combiner(work, 8)

    def run(_number: int) -> str:
        job = Number()
        try:
            combiner.run(job)
            return str(job.result())
        except (ZeroDivisionError, errors.StoreUnavailable) as error:
            return type(error).__name__

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(run, 0)
        assert busy.wait(10)
        others = [pool.submit(run, number) for number in range(1, 4)]
        while len(combiner._waiting) < 3:
            time.sleep(0.001)
        go.set()
        assert first.result() == "0"
        failed = sorted(other.result() for other in others)
    assert failed == ["StoreUnavailable", "StoreUnavailable", "ZeroDivisionError"]
    assert run(0) == "ZeroDivisionError"
