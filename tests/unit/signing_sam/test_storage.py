"""What the database decides, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, LargeBinary, String, delete, event, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry

from signing.sam import errors, events
from signing.sam.anchor import label_of, sealed, sum_of, versions_key
from signing.sam.ledger import Redemption, Reservation, State, allowance_of, assign
from signing.sam.reconcile import reconcile
from signing.sam.records import outcome_record
from signing.sam.store import Record
from signing.storage.backup import backup_side
from signing.storage.engine import open_engine
from signing.storage.store import SqlStore
from signing.storage.tables import audit, credentials, outcomes, positions, redemptions, state
from tests.fakes.sam import NOW, REALM, World, digest

D1, D2 = digest(1), digest(2)


def sql(world: World) -> SqlStore:
    assert isinstance(world.store, SqlStore)
    return world.store


def reservation(number: int = 1, **changes: object) -> Reservation:
    values = Reservation(
        id=f"redemption-{number}",
        issuer="issuer",
        txn="txn",
        allowance="allowance",
        sad_jti="jti",
        credential_id="credential",
        credential_version=1,
        epoch=1,
        client_id="client",
        account="account",
        sad_since=0,
    )
    return replace(values, **changes)  # type: ignore[arg-type] # a test's shorthand


@contextmanager
def disposing(url: str) -> Iterator[Engine]:
    """An engine of a test's own."""
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def terminate(engine: Engine, which: str) -> None:
    """End server processes of this database."""
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                f" WHERE datname = current_database() AND {which}"
            )
        )


@pytest.fixture(autouse=True)
def credential_row(request: pytest.FixtureRequest) -> None:
    """The row that reservations of this file are for; nothing here looks into it."""
    if "either_world" in request.fixturenames:
        world = request.getfixturevalue("either_world")
        add_credential_row(world.engine)
        anchor = world.anchor.latest()
        (written,) = world.fake.read_data(label_of(REALM))
        world.fake.remove_data(label_of(REALM), written)
        versions = sum_of(versions_key(world.device, REALM), [("credential", 1)])
        world.fake.add_data(label_of(REALM), sealed(replace(anchor, versions=versions), world.device))


def add_credential_row(engine: Engine) -> None:
    """A row that no MAC would verify."""
    row = {column.name: b"" if isinstance(column.type, LargeBinary) else 1 for column in credentials.c}
    texts = {column.name: "x" for column in credentials.c if isinstance(column.type, String)}
    with engine.begin() as connection:
        connection.execute(insert(credentials), {**row, **texts, "id": "credential", "status": "deleted"})


def nothing(reserved: Reservation, *, state: State = State.CONSUMED) -> Record:
    return outcome_record(reserved, count=1, state=state, reason="test", at=NOW)


def intent(_chosen: tuple[int, ...]) -> Record:
    return Record(events.SAM_STARTED, {"sam_id": "x", "realm": "x", "epoch": 1, "mode": "x"}, NOW)


def take(*wanted: int) -> object:
    def choose(taken: Collection[int]) -> tuple[int, ...]:
        if set(wanted) & set(taken):
            raise errors.SadSpent("taken")
        return wanted

    return choose


def test_the_constraint_alone_stops_a_position_from_being_taken_twice(either_world: World) -> None:
    store = sql(either_world)
    store.reserve(reservation(1), lambda _taken: (0,), intent)
    with pytest.raises(errors.SadSpent):
        store.reserve(reservation(2), lambda _taken: (0,), intent)
    again = {"issuer": "issuer", "txn": "txn", "position": 0, "redemption_id": "redemption-1"}
    with either_world.engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(insert(positions), again)


def test_what_assign_refuses_leaves_nothing(either_world: World) -> None:
    store = sql(either_world)

    def refuse(_taken: Collection[int]) -> tuple[int, ...]:
        raise errors.SadSpent("no")

    with pytest.raises(errors.SadSpent):
        store.reserve(reservation(), refuse, intent)
    with either_world.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(redemptions)).scalar_one() == 0
        assert connection.execute(select(func.count()).select_from(audit.entries)).scalar_one() == 0


def test_a_released_position_is_free_and_its_history_stays(either_world: World) -> None:
    store = sql(either_world)
    store.reserve(reservation(1), take(0, 1), intent)  # type: ignore[arg-type] # a test's shorthand
    record = nothing(reservation(1), state=State.RELEASED)
    assert store.conclude("redemption-1", State.RELEASED, "test", record) is State.RELEASED
    assert store.reserve(reservation(2), take(0, 1), intent) == (0, 1)  # type: ignore[arg-type] # a test's shorthand
    assert store.counts() == {"reserved": 1, "consumed": 0, "released": 1, "indeterminate": 0}


def test_an_outcome_is_written_once_whoever_comes_first(either_world: World) -> None:
    store = sql(either_world)
    store.reserve(reservation(), take(0), intent)  # type: ignore[arg-type] # a test's shorthand
    lost = nothing(reservation(), state=State.INDETERMINATE)
    assert store.conclude("redemption-1", State.INDETERMINATE, "overdue", lost) is State.INDETERMINATE
    assert store.conclude("redemption-1", State.CONSUMED, "late", nothing(reservation())) is State.INDETERMINATE
    freed = nothing(reservation(), state=State.RELEASED)
    assert store.conclude("redemption-1", State.RELEASED, "late", freed) is State.INDETERMINATE
    with pytest.raises(errors.SadSpent):
        store.reserve(reservation(2), take(0), intent)  # type: ignore[arg-type] # a test's shorthand


def test_an_outcome_of_nothing_is_refused(either_world: World) -> None:
    with pytest.raises(errors.StoreUnavailable):
        sql(either_world).conclude("unknown", State.CONSUMED, "test", nothing(reservation()))
    with pytest.raises(errors.TransitionRefused):
        sql(either_world).conclude("unknown", State.RESERVED, "test", nothing(reservation()))


def test_SAD_02_32_threads_one_sad_one_signature(either_world: World) -> None:
    credential = either_world.credential()
    request, before = either_world.request(either_world.sad(credential)), either_world.fake.signatures
    nodes = [either_world.activator() for _ in range(4)]
    gate = threading.Barrier(32)

    def redeem(number: int) -> str:
        gate.wait()
        try:
            return str(len(nodes[number % 4].sign(request)))
        except errors.SamError as error:
            return error.code

    with ThreadPoolExecutor(32) as pool:
        results = sorted(pool.map(redeem, range(32)))
    assert results == ["1"] + ["sad_used"] * 31
    assert either_world.fake.signatures == before + 1


def test_SAD_10_parallel_slices_of_three_give_three_in_total(either_world: World) -> None:
    credential = either_world.credential()
    sad = either_world.sad(credential, (D1,) * 3)
    before = either_world.fake.signatures
    nodes = [either_world.activator() for _ in range(2)]

    def redeem(number: int) -> int:
        try:
            return len(nodes[number % 2].sign(either_world.request(replace(sad, jti=str(number)), digests=(D1,))))
        except errors.SadSpent:
            return 0

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(redeem, range(12))) == 3
    assert either_world.fake.signatures == before + 3


def test_two_allowances_at_once_one_wins(either_world: World) -> None:
    credential = either_world.credential()
    one = either_world.sad(credential, (D1, D2))
    two = replace(one, jti="two", dtbsr=(D2, D1))
    gate = threading.Barrier(2)

    def redeem(sad_digests: object) -> str:
        sad = one if sad_digests == 0 else two
        gate.wait()
        try:
            return str(len(either_world.activator().sign(either_world.request(sad, digests=(D1,)))))
        except errors.SamError as error:
            return error.code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(redeem, range(2))) == ["1", "invalid_sad"]
    assert allowance_of(one) != allowance_of(two)
    assert assign(one, (D1,), ()) != assign(two, (D1,), ())


def test_overdue_redemptions_are_closed_in_pages(either_world: World) -> None:
    store = sql(either_world)
    for number in range(103):
        store.reserve(reservation(number, txn=str(number)), take(0), intent)  # type: ignore[arg-type] # a test's shorthand
    assert reconcile(store, either_world.clock, 60) == 0
    either_world.clock.advance(61)
    assert reconcile(store, either_world.clock, 60) == 103
    with either_world.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(outcomes)).scalar_one() == 103


def test_of_two_reconcilers_one_closes(either_world: World) -> None:
    store = sql(either_world)
    store.reserve(reservation(), take(0), intent)  # type: ignore[arg-type] # a test's shorthand
    either_world.clock.advance(61)
    found = store.overdue(either_world.now, 10)

    class Late(SqlStore):
        """Read the list before somebody else closed what is on it."""

        def overdue(
            self, reserved_before: int, limit: int, after: tuple[int, str] | None = None
        ) -> tuple[Redemption, ...]:
            return found

    assert reconcile(store, either_world.clock, 60) == 1
    consumed = Late(either_world.engine)
    assert reconcile(consumed, either_world.clock, 60) == 1  # the state is what was wanted; nothing is written twice
    store.reserve(reservation(2, txn="other"), take(0), intent)  # type: ignore[arg-type] # a test's shorthand
    either_world.clock.advance(61)
    found = store.overdue(either_world.now, 10)
    store.conclude("redemption-2", State.CONSUMED, "test", nothing(reservation(2)))
    assert reconcile(consumed, either_world.clock, 60) == 0
    with either_world.engine.connect() as connection:
        wanted = audit.entries.c.event == events.SIGNATURE_INDETERMINATE
        assert len(connection.execute(select(audit.entries).where(wanted)).all()) == 1


# Start


def test_initialise_does_nothing_twice(either_world: World) -> None:
    sql(either_world).initialise(REALM, NOW)
    assert sql(either_world).epoch().number == 1
    assert sql(either_world).head().sequence == 0


def test_another_realms_or_versions_database_is_refused(either_world: World) -> None:
    with pytest.raises(errors.StateRefused, match="realm"):
        sql(either_world).check("other")
    with either_world.engine.begin() as connection:
        connection.execute(update(state).values(schema_version=99))
    with pytest.raises(errors.StateRefused, match="schema"):
        sql(either_world).check(REALM)
    with either_world.engine.begin() as connection:
        connection.execute(delete(state))
    with pytest.raises(errors.StateRefused, match="init"):
        sql(either_world).check(REALM)


def test_an_empty_database_is_refused(database_url: str) -> None:
    with disposing(database_url) as engine, pytest.raises(errors.StateRefused):
        SqlStore(engine).check(REALM)


@pytest.mark.parametrize("url", ["mysql://localhost/x", "postgresql://localhost/x", "not a url", ""])
def test_another_kind_of_database_is_refused(url: str) -> None:
    with pytest.raises(errors.StateRefused):
        open_engine(url)


def test_AUD_07_without_the_chains_head_nothing_is_reserved(either_world: World) -> None:
    with either_world.engine.begin() as connection:
        connection.execute(delete(audit.head))
    with pytest.raises(errors.StoreUnavailable):
        sql(either_world).reserve(reservation(), take(0), intent)  # type: ignore[arg-type] # a test's shorthand
    with either_world.engine.connect() as connection:
        assert connection.execute(select(positions)).all() == []


def test_a_database_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    with disposing(f"sqlite:///{tmp_path / 'missing' / 'x.sqlite'}") as engine:
        store = SqlStore(engine)
        with pytest.raises(errors.StoreUnavailable):
            store.epoch()
        with pytest.raises(errors.StoreUnavailable):
            store.note(intent(()))


def test_sqlite_commits_are_durable(tmp_path: Path) -> None:
    with disposing(f"sqlite:///{tmp_path / 'durable.sqlite'}") as engine:
        event.listen(engine, "connect", as_the_product_connects)
        check_durable(engine)


def as_the_product_connects(_connection: object, entry: ConnectionPoolEntry) -> None:
    """Without what the tests do to connections for the sake of time (tests/conftest.py)."""
    entry.info["forgets"] = True


def check_durable(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2
        assert connection.execute(text("PRAGMA foreign_keys")).scalar_one() == 1


@pytest.mark.postgres
def test_postgresql_commits_are_durable_whatever_the_servers_default(postgres_url: str) -> None:
    with disposing(postgres_url) as engine, engine.connect() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
        assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"


@pytest.mark.postgres
def test_production_refuses_a_postgresql_whose_commits_do_not_last(postgres_url: str) -> None:
    # The server of the tests runs without fsync: exactly what must not be.
    with disposing(postgres_url) as engine, pytest.raises(errors.StateRefused, match="fsync"):
        SqlStore(engine).check_durability()


def test_sqlite_is_durable_by_its_engine(world: World) -> None:
    sql(world).check_durability()
    assert sql(world).epoch().number == 1


@pytest.mark.postgres
def test_a_pool_whose_connections_died_is_used_again(postgres_url: str) -> None:
    with disposing(postgres_url) as engine, disposing(postgres_url) as other:
        store = SqlStore(engine)
        store.initialise(REALM, NOW)
        assert store.epoch().number == 1
        terminate(other, "pid <> pg_backend_pid()")
        assert store.epoch().number == 1
        store.note(intent(()))


@pytest.mark.postgres
def test_a_commit_without_an_answer_is_unknown(postgres_url: str) -> None:
    with disposing(postgres_url) as engine, disposing(postgres_url) as other:
        SqlStore(engine).initialise(REALM, NOW)
        add_credential_row(engine)

        def dying(chosen: tuple[int, ...]) -> Record:
            """The server process goes away before what is written reaches it, with the commit."""
            terminate(other, "pid <> pg_backend_pid() AND state = 'idle in transaction'")
            return intent(chosen)

        with pytest.raises(errors.CommitUnknown):
            SqlStore(engine).reserve(reservation(), lambda _taken: (0,), dying)
        assert SqlStore(engine).overdue(2**40, 10) == ()


def test_KEY_03_the_operators_pages_have_every_row_also_one_that_cannot_be_read(either_world: World) -> None:
    good, bad = (either_world.credential(owner).id for owner in ("alice", "bob"))
    with either_world.engine.begin() as connection:
        wanted = update(credentials).where(credentials.c.id == bad)
        connection.execute(wanted.values(certificates="[" * 100_000))
    store = sql(either_world)
    first = store.credential_rows(limit=2)
    rest = store.credential_rows(after=first[-1][0], limit=2)
    # "credential" is a deleted one, whose columns nobody can read either.
    expected = sorted([(good, True), (bad, False), ("credential", False)])
    assert [(item, row is not None) for item, row in (*first, *rest)] == expected


def test_all_that_a_backup_reads_is_of_one_moment(world: World) -> None:
    counted = select(func.count()).select_from(credentials)
    with backup_side(world.engine, REALM, world.clock).reading.connect() as reader:
        before = reader.execute(counted).scalar_one()
        world.credential("bob")
        assert reader.execute(counted).scalar_one() == before
    with world.engine.connect() as connection:
        assert connection.execute(counted).scalar_one() == before + 1
