"""Asynchronous operations: who has a job, what the database shows, what is done again and what is not."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text, update

from foundation.clock import FixedClock
from foundation.errors import SecretFileError, SettingsError
from foundation.files import write_secret
from signing.jobs.database import make_tables, open_database
from signing.jobs.errors import BoxBroken, JobsUnavailable, NotYet, TooManyJobs, UnknownJob
from signing.jobs.model import Claimed, Outcome, Phase, Wanted, milliseconds
from signing.jobs.runner import FIRST_PAUSE, LEASE, Background, Runner
from signing.jobs.sealing import JobSeals, read_key
from signing.jobs.store import JobStore
from signing.jobs.tables import jobs, state

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
T0 = milliseconds(NOW)
KEY = b"k" * 32
SECRET_WORDS = (
    b"eyJhbGciOi-the-SAD",
    b"value-of-a-signature",
    b"https://app.example.org/ready",
    b"example-client",
    b"alice",
)
WANTED = Wanted(
    "example-client", "alice", SECRET_WORDS[0], T0 + 300_000, 60_000, True, SECRET_WORDS[2].decode()
)
GOOD = Outcome(SECRET_WORDS[1], good=True)


@dataclass
class Played:
    """Work as the test has it."""

    outcome: Callable[[Claimed], Outcome] = lambda claimed: GOOD
    done: list[Claimed] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    takes: list[bool] = field(default_factory=list)

    def carry_out(self, claimed: Claimed) -> Outcome:
        self.done.append(claimed)
        return self.outcome(claimed)

    def given_up(self, claimed: Claimed, *, maybe_done: bool) -> Outcome:
        return Outcome(b"lost" if maybe_done else b"late", good=False)

    def tell(self, uri: str, job: str) -> bool:
        self.told.append((uri, job))
        return self.takes.pop(0) if self.takes else True


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    make_tables(engine)
    yield engine
    engine.dispose()


def store_on(engine: Engine, key: bytes = KEY, most: int = 100, most_of_a_client: int = 50) -> JobStore:
    seals = JobSeals(key, os.urandom)
    return JobStore(engine, seals, os.urandom, most=most, most_of_a_client=most_of_a_client)


@pytest.fixture
def store(engine: Engine) -> JobStore:
    return store_on(engine)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


def fetch(store: JobStore, job: str, now: int = T0) -> Outcome | None:
    return store.fetch(job, "example-client", "alice", now)


def carry_out(store: JobStore, played: Played, clock: FixedClock) -> Runner:
    return Runner(store, played, played.tell, clock, notice_attempts=3)


def test_taken_in_carried_out_told_and_fetched_once(store: JobStore, clock: FixedClock) -> None:
    played = Played()
    runner = carry_out(store, played, clock)
    job = store.add(WANTED, T0)
    assert fetch(store, job) is None
    assert runner.step()
    assert [claimed.request for claimed in played.done] == [WANTED.request]
    assert runner.step()
    assert played.told == [(WANTED.response_uri, job)]
    assert not runner.step()
    assert fetch(store, job) == GOOD
    with pytest.raises(UnknownJob):
        fetch(store, job)


@pytest.mark.parametrize("who", [("example-client", "bob"), ("other", "alice"), ("alice", "example-client")])
def test_OAU_17_nobody_elses_job_is_fetched(store: JobStore, clock: FixedClock, who: tuple[str, str]) -> None:
    job = store.add(WANTED, T0)
    for _time in range(2):
        with pytest.raises(UnknownJob):
            store.fetch(job, *who, T0)
        carry_out(store, Played(), clock).step()
    assert fetch(store, job) == GOOD


def test_the_database_alone_tells_nothing(engine: Engine, store: JobStore, clock: FixedClock, tmp_path: Path) -> None:
    runner = carry_out(store, Played(takes=[False]), clock)
    for _number in range(2):
        store.add(WANTED, T0)
    runner.step()
    with engine.connect() as connection:
        rows = connection.execute(select(jobs)).all()
        shown = b"".join(
            value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row
        )
    shown += b"".join(path.read_bytes() for path in tmp_path.glob("database.sqlite*"))
    assert len(rows) == 2
    assert not [word for word in SECRET_WORDS if word in shown]
    # And of two like ones it is not seen that they are alike.
    assert rows[0].outcome != rows[1].outcome
    with pytest.raises(UnknownJob):
        store_on(engine, b"x" * 32).fetch(rows[0].id, "example-client", "alice", T0)


def test_once_it_was_carried_out_the_request_is_gone_and_once_fetched_all_of_it(
    engine: Engine, store: JobStore, clock: FixedClock
) -> None:
    job = store.add(WANTED, T0)
    carry_out(store, Played(), clock).step()
    with engine.connect() as connection:
        assert connection.execute(select(jobs.c.request)).scalar_one() is None
    fetch(store, job)
    with engine.connect() as connection:
        assert connection.execute(select(jobs)).all() == []


def test_DOS_04_what_is_not_fetched_is_forgotten(store: JobStore, clock: FixedClock) -> None:
    finished = store.add(replace(WANTED, response_uri=None), T0)
    carry_out(store, Played(), clock).step()
    assert fetch(store, finished, T0 + 59_999) == GOOD
    again = store.add(replace(WANTED, response_uri=None), T0)
    carry_out(store, Played(), clock).step()
    with pytest.raises(UnknownJob):
        fetch(store, again, T0 + 60_000)
    assert store.forget(T0 + 59_999) == 0
    assert store.forget(T0 + 60_000) == 1


def test_DOS_04_a_client_and_all_of_them_have_so_many_jobs(engine: Engine) -> None:
    store = store_on(engine, most=5, most_of_a_client=3)
    for _number in range(3):
        store.add(WANTED, T0)
    with pytest.raises(TooManyJobs):
        store.add(WANTED, T0)
    for number in range(2):
        store.add(replace(WANTED, client_id=f"other-{number}"), T0)
    with pytest.raises(TooManyJobs):
        store.add(replace(WANTED, client_id="another"), T0)


def test_of_many_workers_over_one_database_each_job_has_one(database_url: str, engine: Engine) -> None:
    engines = [engine, open_database(database_url)]
    stores = [store_on(each) for each in engines]
    wanted = {stores[number % 2].add(WANTED, T0) for number in range(24)}

    def work(number: int) -> list[str]:
        found = []
        while claimed := stores[number % 2].claim(T0, LEASE):
            found.append(claimed.id)
        return found

    with ThreadPoolExecutor(8) as pool:
        found = [job for jobs_of_one in pool.map(work, range(8)) for job in jobs_of_one]
    engines[1].dispose()
    assert Counter(found) == Counter(wanted)


def test_of_many_that_fetch_one_has_it(engine: Engine, store: JobStore, clock: FixedClock) -> None:
    job = store.add(WANTED, T0)
    carry_out(store, Played(), clock).step()

    def one(_number: int) -> int:
        try:
            return int(fetch(store, job) == GOOD)
        except UnknownJob:
            return 0

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(8))) == 1


@pytest.mark.parametrize(("once", "sent"), [(True, 2), (False, 1)])
def test_SAD_03_after_a_worker_died_only_what_the_module_does_once_is_sent_again(
    store: JobStore, clock: FixedClock, once: bool, sent: int
) -> None:
    job, played = store.add(replace(WANTED, once=once), T0), Played()

    def dies(_claimed: Claimed) -> Outcome:
        raise SystemExit

    played.outcome = dies
    with pytest.raises(SystemExit):
        carry_out(store, played, clock).step()
    assert not carry_out(store, played, clock).step()
    clock.advance(LEASE / 1000)
    played.outcome = lambda claimed: GOOD
    assert carry_out(store, played, clock).step()
    assert len(played.done) == sent
    assert [claimed.maybe_done for claimed in played.done] == [False, True][:sent]
    expected = GOOD if once else Outcome(b"lost", good=False)
    assert fetch(store, job, milliseconds(clock.now())) == expected
    if not once:
        # Why there is none can be asked for again.
        assert fetch(store, job, milliseconds(clock.now())) == expected


def test_a_worker_whose_job_was_taken_over_writes_nothing(store: JobStore) -> None:
    job = store.add(WANTED, T0)
    first = store.claim(T0, LEASE)
    second = store.claim(T0 + LEASE, LEASE)
    assert first is not None
    assert second is not None
    assert (first.id, second.id, second.attempt) == (job, job, 2)
    assert not store.finish(first, Outcome(b"of the first", good=True), T0 + LEASE)
    store.postpone(first, T0, maybe_done=False)
    assert store.claim(T0 + LEASE, LEASE) is None
    assert store.finish(second, GOOD, T0 + LEASE)
    assert not store.finish(second, GOOD, T0 + LEASE)
    assert fetch(store, job, T0 + LEASE) == GOOD


@pytest.mark.parametrize("undone", [True, False])
def test_what_cannot_be_done_now_is_tried_again_until_its_sad_has_expired(
    store: JobStore, clock: FixedClock, undone: bool
) -> None:
    job, played = store.add(replace(WANTED, response_uri=None), T0), Played()

    def not_yet(_claimed: Claimed) -> Outcome:
        raise NotYet(certainly_undone=undone)

    played.outcome = not_yet
    runner = carry_out(store, played, clock)
    assert runner.step()
    clock.advance((FIRST_PAUSE - 1) / 1000)
    assert not runner.step()
    clock.advance(0.001)
    assert runner.step()
    assert [claimed.maybe_done for claimed in played.done] == [False, not undone]
    clock.advance(300)
    assert runner.step()
    assert len(played.done) == 2
    assert fetch(store, job, milliseconds(clock.now())) == Outcome(b"late" if undone else b"lost", good=False)


def test_PKI_01_a_client_is_told_so_often_and_no_oftener(store: JobStore, clock: FixedClock) -> None:
    job, played = store.add(replace(WANTED, keep_for=10**9), T0), Played(takes=[False] * 10)
    runner = carry_out(store, played, clock)
    for _number in range(10):
        while runner.step():
            pass
        clock.advance(600)
    assert played.told == [(WANTED.response_uri, job)] * 3
    assert fetch(store, job, milliseconds(clock.now())) == GOOD


def test_a_job_that_was_altered_is_removed_and_the_others_go_on(engine: Engine, store: JobStore) -> None:
    altered, good = store.add(WANTED, T0), store.add(WANTED, T0 + 1)
    with engine.begin() as connection:
        moved = connection.execute(select(jobs.c.request).where(jobs.c.id == good)).scalar_one()
        connection.execute(update(jobs).where(jobs.c.id == altered).values(request=moved))
    claimed = store.claim(T0 + 1, LEASE)
    assert claimed is not None
    assert claimed.id == good
    with pytest.raises(UnknownJob):
        fetch(store, altered)


def test_an_outcome_that_was_altered_is_not_given(engine: Engine, store: JobStore, clock: FixedClock) -> None:
    job = store.add(WANTED, T0)
    carry_out(store, Played(), clock).step()
    with engine.begin() as connection:
        connection.execute(update(jobs).values(outcome=b"x" * 64))
    with pytest.raises(UnknownJob):
        fetch(store, job)


@pytest.mark.parametrize("carried_out", [False, True])
def test_KEY_03_whoever_writes_in_the_database_gives_no_job_to_somebody_else(
    engine: Engine, store: JobStore, clock: FixedClock, carried_out: bool
) -> None:
    """A6 with an account of their own: the stand-in of their own job, written onto another's."""
    job, played = store.add(WANTED, T0), Played()
    mine = store.add(replace(WANTED, account="mallory"), T0 + 1)
    if carried_out:
        carry_out(store, played, clock).step()
    with engine.begin() as connection:
        owner = connection.execute(select(jobs.c.owner).where(jobs.c.id == mine)).scalar_one()
        connection.execute(update(jobs).where(jobs.c.id == job).values(owner=owner))
    if not carried_out:
        carry_out(store, played, clock).step()
        assert played.done == []
    with pytest.raises(UnknownJob):
        store.fetch(job, "example-client", "mallory", T0)


def test_DOS_02_a_client_that_is_told_slowly_keeps_nobodys_signature_waiting(
    store: JobStore, clock: FixedClock
) -> None:
    played, telling, released, seen = Played(), threading.Event(), threading.Event(), threading.Semaphore(0)

    def tell(_uri: str, _job: str) -> bool:
        telling.set()
        return released.wait(20)

    def outcome(_claimed: Claimed) -> Outcome:
        seen.release()
        return GOOD

    played.outcome = outcome
    background = Background(Runner(store, played, tell, clock, notice_attempts=3), 1, poll_seconds=0.02)
    background.start()
    for _number in range(4):
        store.add(WANTED, T0)
        background.wake()
        assert seen.acquire(timeout=10)
        assert telling.wait(10)
    released.set()
    background.stop()


def test_OPS_02_jobs_survive_a_restart(database_url: str, engine: Engine, clock: FixedClock) -> None:
    waiting = store_on(engine).add(WANTED, T0)
    finished = store_on(engine).add(WANTED, T0 - 1)
    carry_out(store_on(engine), Played(), clock).step()
    engine.dispose()
    later = open_database(database_url)
    make_tables(later)
    store = store_on(later)
    assert fetch(store, finished) == GOOD
    assert fetch(store, waiting) is None
    carry_out(store, Played(), clock).step()
    assert fetch(store, waiting) == GOOD
    later.dispose()


def test_two_nodes_that_start_at_once_make_the_tables_once(database_url: str) -> None:
    engines = [open_database(database_url) for _number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make_tables, engines))
    with engines[0].connect() as connection:
        assert len(connection.execute(select(state)).all()) == 1
    for engine in engines:
        engine.dispose()


def test_tables_of_another_version_are_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(state).values(schema_version=99))
    with pytest.raises(JobsUnavailable):
        make_tables(engine)


def test_a_database_that_does_not_answer_is_told_as_that(engine: Engine, store: JobStore) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE jobs"))
    for call in (
        lambda: store.add(WANTED, T0),
        lambda: store.claim(T0, LEASE),
        lambda: fetch(store, "x"),
        lambda: store.forget(T0),
    ):
        with pytest.raises(JobsUnavailable):
            call()


def test_threads_carry_out_what_was_taken_in_and_outlive_a_fault(store: JobStore, clock: FixedClock) -> None:
    played, seen = Played(), threading.Semaphore(0)

    def outcome(claimed: Claimed) -> Outcome:
        seen.release()
        if len(played.done) == 1:
            raise RuntimeError("a fault")
        return GOOD

    played.outcome = outcome
    background = Background(carry_out(store, played, clock), 1, poll_seconds=60)
    background.start()
    for _number in range(2):
        store.add(replace(WANTED, response_uri=None), T0)
        background.wake()
        assert seen.acquire(timeout=10)
    background.stop()
    assert len(played.done) == 2


@pytest.mark.parametrize(
    "url", ["mysql://x/y", "postgresql://x/y", "not a url"]
)
def test_another_database_is_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        open_database(url)


def test_a_key_file_is_the_owners_alone_and_long_enough(tmp_path: Path) -> None:
    write_secret(tmp_path / "short", b"x" * 31)
    with pytest.raises(SettingsError):
        read_key(tmp_path / "short")
    write_secret(tmp_path / "key", b"x" * 32)
    assert read_key(tmp_path / "key") == b"x" * 32
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(SecretFileError):
        read_key(tmp_path / "key")


def test_a_box_opens_for_its_own_job_and_purpose_only() -> None:
    seals = JobSeals(KEY, os.urandom)
    box = seals.close("a", "alice", "request", b"x")
    assert seals.open("a", "alice", "request", box) == b"x"
    wrong = (
        ("b", "alice", "request", box),
        ("a", "mallory", "request", box),
        ("a", "alice", "outcome", box),
        ("a", "alice", "request", box[:-1]),
        ("a", "alice", "request", b""),
    )
    for job, owner, purpose, octets in wrong:
        with pytest.raises(BoxBroken):
            seals.open(job, owner, purpose, octets)
    assert seals.name("ab", "c") != seals.name("a", "bc")


def test_a_phase_that_a_worker_has_left_is_not_its_own_any_more(store: JobStore) -> None:
    store.add(WANTED, T0)
    working = store.claim(T0, LEASE)
    assert working is not None
    store.finish(working, GOOD, T0)
    telling = store.claim(T0, LEASE)
    assert telling is not None
    assert (telling.phase, telling.attempt, telling.request) == (Phase.NOTICE, 1, b"")
    store.postpone(working, T0 + 1, maybe_done=True)
    assert store.claim(T0 + 1, LEASE) is None
