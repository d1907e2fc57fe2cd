"""Keys on the token that no credential has: none stays, and none is destroyed that somebody may still need."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import delete as delete_rows
from sqlalchemy import update

from auditlog.sql import read_entries
from contract.order import CreateParameters
from signing.sam import errors, events
from signing.sam.algorithms import KEY_PROFILES
from signing.sam.credential import Credential, SealedCredential
from signing.sam.ports import DeviceUnavailable
from signing.sam.store import Record
from signing.storage.store import SqlStore
from signing.storage.tables import audit, credentials
from tests.fakes.copies import copy_tables, put_back
from tests.fakes.sam import ALICE, REALM, World


@pytest.fixture
def kept(world: World) -> Credential:
    """A credential whose key stays on the token."""
    return world.credential(profile="kept")


def destroyed(world: World) -> list[str]:
    with world.engine.connect() as connection:
        found = [each for each in read_entries(connection, audit.entries) if each.event == events.KEY_ORPHAN_DESTROYED]
    return [json.loads(each.fields)["cka_id"] for each in found]


def alarms(world: World) -> list[str]:
    with world.engine.connect() as connection:
        found = read_entries(connection, audit.entries)
        return [each.event for each in found if each.event == events.CREDENTIAL_ALTERED]


def delete(world: World, credential: Credential, *, by_operators: bool = False) -> None:
    if by_operators:
        world.operators().execute(world.operation("credential.delete", credential_id=credential.id))
    else:
        world.lifecycle().execute(world.order_token("credential.delete", credential_id=credential.id))


@pytest.mark.parametrize("by_operators", [False, True])
def test_KEY_11_with_a_credential_its_key_on_the_token_goes(
    world: World, kept: Credential, by_operators: bool
) -> None:
    other = world.credential(profile="kept")
    delete(world, kept, by_operators=by_operators)
    assert world.fake.kept(REALM) == {other.wrapped_key().blob}
    with pytest.raises(errors.CredentialDisabled):
        world.activator().sign(world.request(world.sad(kept)))
    assert world.activator().sign(world.request(world.sad(other)))


def test_KEY_11_a_suspended_credential_keeps_its_key(world: World, kept: Credential) -> None:
    world.lifecycle().execute(world.order_token("credential.suspend", credential_id=kept.id))
    assert world.fake.kept(REALM) == {kept.wrapped_key().blob}


def test_KEY_11_where_the_device_is_away_the_credential_is_deleted_and_its_key_later(
    world: World, kept: Credential
) -> None:
    world.fake.fail_next("destroy_kept", DeviceUnavailable("away"))
    delete(world, kept)
    assert world.lifecycle().credential(kept.id).status == "deleted"
    assert world.fake.kept(REALM) == {kept.wrapped_key().blob}
    orphans = world.orphans()
    assert orphans.sweep() == 0
    world.clock.advance(59)
    assert orphans.sweep() == 0
    world.clock.advance(1)
    assert orphans.sweep() == 1
    assert world.fake.kept(REALM) == frozenset()
    assert destroyed(world) == [kept.wrapped_key().blob.hex()]
    assert orphans.sweep() == 0


def test_KEY_10_a_key_that_is_not_in_a_row_yet_is_left_and_one_that_never_comes_into_one_is_not(world: World) -> None:
    orphans, others = world.orphans(), world.fake.generate(KEY_PROFILES["ec-p256"], "another realm").wrapped.blob

    class Slow(SqlStore):
        """While the row is still to be written, others look."""

        def add_credential(self, row: SealedCredential, record: Record, *more: Any, **named: Any) -> bool:
            assert orphans.sweep() == 0
            world.clock.advance(30)
            assert orphans.sweep() == 0
            return super().add_credential(row, record, *more, **named)

    order = world.order_token(parameters=CreateParameters("kept", ALICE))
    made = world.lifecycle(store=Slow(world.engine)).create(order)
    lost = world.fake.generate(KEY_PROFILES["ec-p256"], REALM).wrapped.blob
    for _ in range(3):
        orphans.sweep()
        world.clock.advance(61)
    assert world.fake.kept(REALM) == {made.wrapped_key().blob}
    assert world.fake.kept("another realm") == {others}
    assert destroyed(world) == [lost.hex()]


def test_KEY_04_over_a_database_that_was_set_back_nothing_is_destroyed(world: World, kept: Credential) -> None:
    copy = copy_tables(world.engine)
    later = world.credential(profile="kept")
    put_back(world.engine, copy)
    orphans = world.orphans()
    for _ in range(3):
        with pytest.raises(errors.LedgerBehind):
            orphans.sweep()
        world.clock.advance(61)
    assert world.fake.kept(REALM) == {kept.wrapped_key().blob, later.wrapped_key().blob}


def test_AUD_09_a_clock_that_was_set_forward_makes_no_orphan_of_a_key_whose_row_is_still_to_come(world: World) -> None:
    lost, seconds = world.fake.generate(KEY_PROFILES["ec-p256"], REALM).wrapped.blob, [0.0]
    orphans = world.orphans(elapsed=lambda: seconds[0])
    assert orphans.sweep() == 0
    world.clock.advance(3600)
    seconds[0] = 59.0
    assert orphans.sweep() == 0
    assert world.fake.kept(REALM) == {lost}
    seconds[0] = 60.0
    assert orphans.sweep() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"key_mechanism": "aes-kwp"},
        {"wrapped_key": b"another"},
        {"wrapped_key": None},
        {"status": "deleted", "wrapped_key": None},
        {"certificates": "none"},
    ],
)
def test_KEY_03_a_row_that_was_altered_does_not_make_an_orphan_of_its_key(
    world: World, kept: Credential, change: dict[str, Any]
) -> None:
    lost, orphans = world.fake.generate(KEY_PROFILES["ec-p256"], REALM).wrapped.blob, world.orphans()
    copy = copy_tables(world.engine)
    with world.engine.begin() as connection:
        connection.execute(update(credentials).where(credentials.c.id == kept.id).values(**change))
    orphans.sweep()
    world.clock.advance(61)
    with pytest.raises(errors.RowAltered):
        orphans.sweep()
    assert world.fake.kept(REALM) == {kept.wrapped_key().blob, lost}
    assert alarms(world)
    put_back(world.engine, copy, {"credentials"})
    assert orphans.sweep() == 1
    assert world.fake.kept(REALM) == {kept.wrapped_key().blob}
    assert world.activator().sign(world.request(world.sad(kept)))


def test_KEY_03_a_row_that_is_hidden_between_the_looks_of_a_sweep_does_not_make_an_orphan_of_its_key(
    world: World, kept: Credential
) -> None:
    class Hiding(SqlStore):
        """Somebody takes the row away once the versions were compared, and puts it back."""

        def kept_keys(self) -> frozenset[bytes]:
            with world.engine.begin() as connection:
                connection.execute(delete_rows(credentials))
            return super().kept_keys()

    world.store = Hiding(world.engine)
    orphans = world.orphans()
    copy = copy_tables(world.engine)
    for _ in range(3):
        assert orphans.sweep() == 0
        put_back(world.engine, copy, {"credentials"})
        world.clock.advance(61)
    assert world.fake.kept(REALM) == {kept.wrapped_key().blob}


@pytest.mark.parametrize("failing", ["kept", "destroy_kept"])
def test_a_device_that_is_away_costs_a_round(world: World, failing: Any) -> None:
    lost, orphans = world.fake.generate(KEY_PROFILES["ec-p256"], REALM).wrapped.blob, world.orphans()
    orphans.sweep()
    world.clock.advance(61)
    world.fake.fail_next(failing, DeviceUnavailable("away"))
    with suppress(errors.ScdevUnavailable):
        orphans.sweep()
        raise AssertionError("it did not fail")
    assert world.fake.kept(REALM) == {lost}
    assert orphans.sweep() == 1
