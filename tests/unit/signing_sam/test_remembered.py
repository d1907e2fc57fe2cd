"""What a process remembers of a credential spares reads and calls of the device, and decides nothing by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from auditlog.sql import read_entries
from signing.sam import errors, events
from signing.sam.activate import Activator
from signing.sam.credential import Credential
from signing.sam.custody import Seen, Verified
from signing.sam.revocation import RevocationMemory
from signing.storage.store import SqlStore
from signing.storage.tables import audit, credentials
from tests.fakes.sam import CLIENT, World, digest


@pytest.fixture
def world(either_world: World) -> World:
    """On each kind of database."""
    return either_world


class Counting(SqlStore):
    """Counts reads of a row."""

    reads = 0

    def for_signature(self, credential_id: str) -> Any:
        self.reads += 1
        return super().for_signature(credential_id)


def warm(world: World, **changes: Any) -> tuple[Activator, Credential]:
    """A node that has signed with a credential."""
    credential, activator = world.credential(), world.activator(**changes)
    activator.sign(world.request(world.sad(credential)))
    return activator, credential


def elsewhere(world: World) -> World:
    """Another process over the same database and token."""
    other = replace(world, seen=Seen(), memory=RevocationMemory())
    other.anchor = world.anchor
    return other


def alarms(world: World) -> int:
    with world.engine.connect() as connection:
        return [entry.event for entry in read_entries(connection, audit.entries)].count(events.CREDENTIAL_ALTERED)


def test_a_second_signature_reads_nothing_and_has_no_mac_verified(world: World) -> None:
    store = Counting(world.engine)
    activator, credential = warm(world, store=store)
    calls = world.fake.calls.copy()
    for number in range(3):
        assert activator.sign(world.request(world.sad(credential, (digest(number),))))
    made = world.fake.calls - calls
    assert (store.reads, made["verify_mac"], made["mac"], made["sign"]) == (1, 0, 0, 3)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("owner", "mallory"),
        ("certificates", "junk"),
        ("floor_loa", "low"),
        ("multisign", 1000),
        ("policy", "another"),
        ("wrapped_key", b"x"),
        ("mac", b"x" * 32),
    ],
)
def test_KEY_03_an_altered_row_is_met_whatever_is_remembered(world: World, column: str, value: object) -> None:
    activator, credential = warm(world)
    before = world.fake.signatures
    with world.engine.begin() as connection:
        connection.execute(update(credentials).values({column: value}))
    with pytest.raises(errors.RowAltered):
        activator.sign(world.request(world.sad(credential)))
    assert (world.fake.signatures, alarms(world)) == (before, 1)


def test_a_row_that_is_gone_is_met(world: World) -> None:
    activator, credential = warm(world)
    with world.engine.begin() as connection:
        connection.execute(credentials.delete())
    with pytest.raises(errors.UnknownCredential):
        activator.sign(world.request(world.sad(credential)))


def test_SAD_06_a_suspension_on_another_node_is_obeyed_and_so_is_the_resumption(world: World) -> None:
    activator, credential = warm(world)
    other, spent = elsewhere(world), world.request(world.sad(credential))
    activator.sign(spent)
    other.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))
    for request in (world.request(world.sad(credential)), spent):
        with pytest.raises(errors.CredentialDisabled):
            activator.sign(request)
    other.lifecycle().execute(world.order_token("credential.resume", credential_id=credential.id))
    world.clock.advance(10)
    # What is remembered now is the suspended row, by which this would be refused.
    assert activator.sign(world.request(world.sad(credential)))


@pytest.mark.parametrize("event", ["transaction-withdrawn", "client-disabled", "account-disabled"])
def test_SAD_11_an_event_that_another_node_was_told_is_obeyed(world: World, event: Any) -> None:
    activator, credential = warm(world)
    sad = world.sad(credential)
    subject = {"transaction-withdrawn": sad.txn, "client-disabled": CLIENT}.get(event, sad.sub)
    elsewhere(world).revocations().record(world.event_token(event, subject))
    with pytest.raises(errors.SadRevoked):
        activator.sign(world.request(sad))


def test_SAD_12_an_epoch_that_another_node_raised_is_met(world: World) -> None:
    activator, credential = warm(world)
    sad = world.sad(credential)
    world.raise_epoch()
    with pytest.raises(errors.SadRefused, match="epoch"):
        activator.sign(world.request(sad))


def test_the_operators_look_asks_the_device_each_time(world: World) -> None:
    _activator, credential = warm(world)
    custody = world.custody()
    before = world.fake.calls["verify_mac"]
    for _ in range(2):
        custody.credential(credential.id)
    assert world.fake.calls["verify_mac"] == before + 2


def test_whoever_is_shown_a_credential_has_its_row_read_each_time_and_verified_once(world: World) -> None:
    credential, store = world.credential(), Counting(world.engine)
    custody = world.custody(store=store)
    calls = world.fake.calls.copy()
    for _ in range(3):
        assert custody.shown(credential.id) == credential
    made = world.fake.calls - calls
    assert (store.reads, made["verify_mac"], made["mac"]) == (3, 1, 0)


@pytest.mark.parametrize(
    ("column", "value"),
    [("owner", "mallory"), ("status", "suspended"), ("certificates", "[]"), ("version", 7), ("mac", b"x" * 32)],
)
def test_KEY_03_a_row_that_was_altered_after_it_was_shown_is_met_and_alarms(
    world: World, column: str, value: object
) -> None:
    credential = world.credential()
    custody = world.custody()
    custody.shown(credential.id)
    with world.engine.begin() as connection:
        connection.execute(update(credentials).where(credentials.c.id == credential.id).values({column: value}))
    for number in range(2):
        with pytest.raises(errors.RowAltered):
            custody.shown(credential.id)
        assert alarms(world) == number + 1


def test_what_another_node_did_to_a_credential_is_shown_at_once(world: World) -> None:
    credential = world.credential()
    custody = world.custody()
    custody.shown(credential.id)
    other = elsewhere(world)
    other.lifecycle().execute(other.order_token("credential.suspend", credential_id=credential.id))
    assert custody.shown(credential.id).status == "suspended"


def test_KEY_03_an_older_row_that_was_put_back_is_not_shown(world: World) -> None:
    credential = world.credential()
    custody = world.custody()
    with world.engine.connect() as connection:
        before = dict(connection.execute(select(credentials).where(credentials.c.id == credential.id)).one()._mapping)
    custody.shown(credential.id)
    world.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))
    assert custody.shown(credential.id).status == "suspended"
    with world.engine.begin() as connection:
        connection.execute(update(credentials).where(credentials.c.id == credential.id).values(before))
    with pytest.raises(errors.RowAltered, match="older"):
        custody.shown(credential.id)


def test_rows_beyond_the_number_are_forgotten_the_longest_unused_first(world: World) -> None:
    memory = Verified(most=2)
    rows = [world.store.credential(world.credential().id) for _ in range(3)]
    first, second, third = (row for row in rows if row is not None)
    memory.remember(first)
    memory.remember(second)
    assert memory.last(first.credential.id) is first
    memory.remember(third)
    assert memory.last(second.credential.id) is None
    assert memory.last(first.credential.id) is first


def test_what_the_device_could_not_verify_is_not_remembered(world: World) -> None:
    credential, activator = world.credential(), world.activator()
    with world.engine.begin() as connection:
        before = connection.execute(select(credentials.c.owner)).scalar_one()
        connection.execute(update(credentials).values(owner="mallory"))
    for _ in range(2):
        with pytest.raises(errors.RowAltered):
            activator.sign(world.request(world.sad(credential)))
    with world.engine.begin() as connection:
        connection.execute(update(credentials).values(owner=before))
    assert activator.sign(world.request(world.sad(credential)))
