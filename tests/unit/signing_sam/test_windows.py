"""What happens between the steps: a suspension, an expiry, a poisoned row, a head that was set back."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update

from auditlog.sql import read_entries
from foundation.errors import PrivySealError
from signing.link.client import SamClient
from signing.link.errors import LinkRefused
from signing.sam import errors, events
from signing.sam.ledger import Redemption
from signing.sam.ports import DeviceLost
from signing.sam.reconcile import reconcile
from signing.sam_app.parts import Sam
from signing.sam_app.process import SamProcess
from signing.sam_settings import DeviceTable, SamSettings
from signing.storage.store import SqlStore
from signing.storage.tables import audit, outcomes, redemptions
from tests.fakes.sam import World


@pytest.fixture
def world(either_world: World) -> World:
    """On each kind of database."""
    return either_world


def entries(world: World, event: str) -> list[dict[str, Any]]:
    with world.engine.connect() as connection:
        return [json.loads(entry.fields) for entry in read_entries(connection, audit.entries) if entry.event == event]


def states(world: World) -> list[str]:
    with world.engine.connect() as connection:
        return list(connection.execute(select(outcomes.c.state)).scalars())


class Device:
    """The world's device, with something that happens after its calls."""

    def __init__(self, world: World, **after: Callable[[], object]) -> None:
        self._inner, self._after = world.fake, after

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)
        if name not in self._after:
            return call

        def called(*arguments: Any) -> Any:
            result = call(*arguments)
            self._after[name]()
            return result

        return called


# Between the look at the row and the device


def test_SAD_06_no_signature_is_begun_after_a_suspension_was_answered(world: World) -> None:
    credential = world.credential()
    request, before = world.request(world.sad(credential)), world.fake.signatures
    done: list[bool] = []

    def suspend() -> None:
        if not done:
            done.append(True)
            world.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))

    with pytest.raises(errors.CredentialDisabled, match="not active"):
        world.activator(device=Device(world, verify_mac=suspend)).sign(request)
    assert world.fake.signatures == before
    assert entries(world, events.SIGNATURE_INTENT) == []


def test_SAD_12_no_signature_is_begun_after_the_epoch_was_raised(world: World) -> None:
    credential = world.credential()
    request, before = world.request(world.sad(credential)), world.fake.signatures
    done: list[bool] = []

    def restore() -> None:
        if not done:
            done.append(True)
            world.raise_epoch()

    with pytest.raises(errors.SadRefused, match="epoch"):
        world.activator(device=Device(world, verify_mac=restore)).sign(request)
    assert world.fake.signatures == before


def test_a_credential_that_changes_again_and_again_is_refused_and_nothing_spent(world: World) -> None:
    credential = world.credential()
    request, activator = world.request(world.sad(credential)), world.activator()

    class Restless(SqlStore):
        """The epoch is another one whenever a reservation comes."""

        def reserve(self, reservation: Any, *arguments: Any) -> tuple[int, ...]:
            return super().reserve(replace(reservation, epoch=reservation.epoch + 1), *arguments)

    with pytest.raises(errors.ChangedMeanwhile):
        world.activator(store=Restless(world.engine)).sign(request)
    with world.engine.connect() as connection:
        assert connection.execute(select(redemptions)).all() == []
    assert len(activator.sign(request)) == 1


def test_SAD_06_what_is_signed_was_reserved_before_the_suspension(world: World) -> None:
    """Suspending while many sign: in the chain, no intent stands after the suspension."""
    credential = world.credential()
    activator = world.activator()
    requests = [world.request(world.sad(credential)) for _ in range(24)]
    gate = threading.Event()

    def sign(number: int) -> str:
        if number == 12:
            gate.set()
        try:
            return f"{len(activator.sign(requests[number]))} signed"
        except errors.SamError as error:
            return error.code

    def suspend() -> None:
        gate.wait(20)
        world.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))

    with ThreadPoolExecutor(5) as pool:
        suspended = pool.submit(suspend)
        results = set(pool.map(sign, range(24)))
        suspended.result()
    assert results <= {"1 signed", "credential_disabled"}
    with world.engine.connect() as connection:
        names = [entry.event for entry in read_entries(connection, audit.entries)]
    assert events.SIGNATURE_INTENT not in names[names.index(events.CREDENTIAL_SUSPENDED) :]


def test_SAD_06_no_signature_is_begun_at_exp_however_slow_the_row_was(world: World) -> None:
    credential = world.credential()
    request, before = world.request(world.sad(credential)), world.fake.signatures
    with pytest.raises(errors.SadExpired):
        world.activator(device=Device(world, verify_mac=lambda: world.clock.advance(300))).sign(request)
    assert world.fake.signatures == before


class Late(SqlStore):
    """Time passes around the reservation."""

    before = 0.0
    after = 0.0

    def __init__(self, world: World) -> None:
        super().__init__(world.engine)
        self._clock = world.clock

    def reserve(self, reservation: Any, assign: Any, record: Any) -> tuple[int, ...]:
        self._clock.advance(self.before)
        chosen = super().reserve(reservation, assign, record)
        self._clock.advance(self.after)
        return chosen


def test_SAD_06_no_signature_is_begun_at_exp_however_long_the_approval_was_waited_for(world: World) -> None:
    credential, store = world.credential(), Late(world)
    request, before = world.request(world.sad(credential)), world.fake.signatures
    store.before = 300
    with pytest.raises(errors.SadExpired):
        world.activator(store=store).sign(request)
    assert (world.fake.signatures, states(world)) == (before, [])


def test_SAD_06_no_signature_is_begun_at_exp_however_long_the_commit_took(world: World) -> None:
    credential, store = world.credential(), Late(world)
    request, before = world.request(world.sad(credential)), world.fake.signatures
    store.after = 300
    with pytest.raises(errors.SadExpired):
        world.activator(store=store).sign(request)
    assert (world.fake.signatures, states(world)) == (before, ["released"])
    (released,) = entries(world, events.SIGNATURE_RELEASED)
    assert released["reason"] == "expired_sad"


def test_the_reconcilers_deadline_counts_from_the_reservation(world: World) -> None:
    credential = world.credential()

    def signed() -> None:
        world.clock.advance(9)
        assert reconcile(world.store, world.clock, 25) == 0

    device = Device(world, verify_mac=lambda: world.clock.advance(19), sign=signed)
    assert world.activator(device=device).sign(world.request(world.sad(credential)))


# Work for whoever has an old SAD or another's


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"exp": -1, "iat": -200}, errors.SadExpired),
        ({"iat": 6, "exp": 200}, errors.SadRefused),
        ({"aud": "urn:other"}, errors.SadRefused),
        ({"client_id": "other"}, errors.WrongClient),
        ({"credential_id": "other"}, errors.WrongCredential),
    ],
)
def test_SAD_15_a_sad_that_cannot_serve_costs_no_read_and_no_call_of_the_device(
    world: World, change: dict[str, Any], error: type[errors.SamError]
) -> None:
    class Unread(SqlStore):
        """Must not be asked."""

        def for_signature(self, credential_id: str) -> Any:
            raise AssertionError("read")

    credential = world.credential()
    change = {name: world.now + value if name in {"iat", "exp"} else value for name, value in change.items()}
    early = {"evidence": tuple(replace(item, at=world.now - 300) for item in world.sad(credential).evidence)}
    sad = world.sad(credential, **{**early, "auth_time": world.now - 300, **change})
    before = world.fake.calls.copy()
    with pytest.raises(error):
        world.activator(store=Unread(world.engine)).sign(world.request(sad, credential_id=credential.id))
    assert world.fake.calls == before


# Nobody chooses what is recorded


@pytest.mark.parametrize("client_id", ["eyJhbGciOiJ9.x", "eyJhbGciOiJ9." * 60, "x" * 600])
def test_a_refusal_is_recorded_whatever_the_web_tier_says_of_the_client(world: World, client_id: str) -> None:
    credential = world.credential()
    with pytest.raises(errors.WrongClient):
        world.activator().sign(world.request(world.sad(credential), client_id=client_id))
    (refused,) = entries(world, events.SIGNATURE_REFUSED)
    assert refused["client_id"] == events.WITHHELD


def test_a_txn_that_looks_like_a_token_is_withheld_and_the_rest_recorded(world: World) -> None:
    credential = world.credential()
    world.activator().sign(world.request(world.sad(credential, txn="eyJhbGciOiJ9.x")))
    (intent,), (outcome,) = entries(world, events.SIGNATURE_INTENT), entries(world, events.SIGNATURE_CONSUMED)
    assert intent["txn"] == outcome["txn"] == events.WITHHELD
    assert intent["redemption"] == outcome["redemption"]


# The reconciler


def lost(world: World) -> str:
    """A redemption that nobody finished."""
    credential = world.credential()
    world.fake.fail_next("sign", DeviceLost("gone"), after=True)
    with pytest.raises(errors.Indeterminate):
        world.activator().sign(world.request(world.sad(credential)))
    return str(entries(world, events.SIGNATURE_INTENT)[-1]["redemption"])


@pytest.mark.parametrize(
    "poison",
    [{"txn": "eyJhbGciOiJ9.x"}, {"positions": "junk"}, {"positions": "[" * 100_000}, {"positions": '["a"]'}],
    ids=["token-like", "not json", "deep", "no numbers"],
)
def test_one_row_keeps_no_other_redemption_open(world: World, poison: dict[str, Any]) -> None:
    bad = lost(world)
    with world.engine.begin() as connection:
        connection.execute(update(redemptions).values(**poison))
    good = lost(world)
    world.clock.advance(3600)
    assert reconcile(world.store, world.clock, 60) == 2
    assert {entry["redemption"] for entry in entries(world, events.SIGNATURE_INDETERMINATE)} == {bad, good}


def test_a_redemption_that_cannot_be_closed_keeps_no_other_one_open(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Poisoned(SqlStore):
        """One cannot be closed, also on later pages."""

        def conclude(self, redemption_id: str, *arguments: Any) -> Any:
            if redemption_id == bad:
                raise errors.StoreUnavailable("no such redemption")
            return super().conclude(redemption_id, *arguments)

        def overdue(
            self, reserved_before: int, limit: int, after: tuple[int, str] | None = None
        ) -> tuple[Redemption, ...]:
            return super().overdue(reserved_before, limit, after)[:1]

    bad = lost(world)
    world.clock.advance(1)
    lost(world)
    world.clock.advance(3600)
    store = Poisoned(world.engine)
    found = store.overdue(world.now, 100, (0, ""))
    assert [item.id for item in found] == [bad]
    assert reconcile(SqlStore(world.engine), world.clock, 10_000) == 0
    assert reconcile_in_pages_of_one(store, world) == 1
    assert "a redemption could not be closed" in caplog.text
    assert states(world) == ["indeterminate"]


def reconcile_in_pages_of_one(store: SqlStore, world: World) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("signing.sam.reconcile._PAGE", 1)
        return reconcile(store, world.clock, 60)


def test_a_database_that_is_gone_ends_the_round(world: World) -> None:
    class Gone(SqlStore):
        """Found something, and then nothing works."""

        def conclude(self, *_arguments: Any) -> Any:
            raise errors.StoreUnavailable("down")

        def epoch(self) -> Any:
            raise errors.StoreUnavailable("down")

    lost(world)
    world.clock.advance(3600)
    with pytest.raises(errors.StoreUnavailable):
        reconcile(Gone(world.engine), world.clock, 60)


@pytest.fixture
def process(world: World, tmp_path: Path) -> Iterator[SamProcess]:
    """A process that reconciles often."""
    assert isinstance(world.store, SqlStore)
    table = DeviceTable(Path("module"), "label", Path("pin"))
    settings = SamSettings("development", "test", "id", tmp_path / "s", tmp_path / "a", {}, table, {}, ())
    sam = Sam(
        settings=replace(settings, reconcile_every_seconds=0.05),
        store=world.store,
        device=world.device,
        policy=world.policy,
        activator=world.activator(),
        lifecycle=world.lifecycle(),
        revocations=world.revocations(),
        operators=world.operators(),
        rewrapping=world.rewrapping(),
        orphans=world.orphans(),
        anchor=world.anchor,
        checkpoints=world.checkpoints(),
        clock=world.clock,
        device_available=lambda: True,
    )
    process = SamProcess(sam)
    yield process
    process.stop(2)


@pytest.mark.loopback
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_reconciler_that_has_ended_shows(
    world: World, process: SamProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SamClient(tmp_path / "s") as client, SamClient(tmp_path / "a") as admin:
        process.start()
        client.ping()
        assert admin.call("status", {})["reconciler_running"] is True

        def fail(*_arguments: object) -> int:
            raise ZeroDivisionError("a fault of ours")

        monkeypatch.setattr("signing.sam_app.process.reconcile", fail)
        process._reconciler.join(10)
        for link in (client, admin):
            with pytest.raises(LinkRefused, match="cannot be written"):
                link.ping()
        assert admin.call("status", {})["reconciler_running"] is False


# The chain


def test_AUD_04_a_head_that_was_set_back_stops_signing_as_a_chain_that_cannot_be_written(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    credential, before = world.credential(), world.fake.signatures
    first = "(SELECT hash FROM audit_entries WHERE sequence = 1)"
    with world.engine.begin() as connection:
        connection.execute(text(f"UPDATE audit_head SET sequence = 1, hash = {first}"))
    with pytest.raises(errors.StoreUnavailable, match="set back"):
        world.activator().sign(world.request(world.sad(credential)))
    with pytest.raises(errors.StoreUnavailable, match="set back"):
        world.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))
    with pytest.raises(PrivySealError):
        world.lifecycle().create(world.order_token())
    assert world.fake.signatures == before
    assert "the audit chain's head was set back" in caplog.text
