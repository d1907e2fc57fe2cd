"""Keys wrapped anew: all of them, once, on an operator's word, whatever happens in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from auditlog.sql import read_entries
from contract.errors import OperationExpired, OperationInvalid
from foundation.jose import generate_signing_key
from signing.sam import errors, events, rewrap
from signing.sam.credential import Credential, SealedCredential
from signing.sam.ports import DeviceLost, DeviceUnavailable, OperationNotPermitted, WrappedKeyRefused
from signing.sam.rewrap import Step
from signing.sam.store import Anchoring, Record, SpentOrder
from signing.storage.store import SqlStore
from signing.storage.tables import audit, credentials
from tests.fakes.copies import copy_tables, put_back
from tests.fakes.sam import World, digest


def recorded(world: World, event: str) -> list[dict[str, Any]]:
    with world.engine.connect() as connection:
        found = [entry for entry in read_entries(connection, audit.entries) if entry.event == event]
    return [json.loads(entry.fields) for entry in found]


def several(world: World, number: int = 5) -> list[Credential]:
    return [world.credential() for _ in range(number)]


def steps(world: World, bundle: str, **changes: Any) -> Iterator[Step]:
    after: str | None = ""
    while after is not None:
        step = world.rewrapping(**changes).step(bundle, after)
        yield step
        after = step.next


def operation(world: World, **changes: Any) -> str:
    return world.operation("kek.rewrap", 1, **{"kek_id": world.fake.kek_id, **changes})


def keks(world: World) -> list[str]:
    """Of each credential, its row verified."""
    found = (world.lifecycle().credential(each).key for each, _ in world.store.credential_rows())
    return [key.kek_id for key in found if key is not None]


def signs(world: World, credential: Credential) -> None:
    current = world.lifecycle().credential(credential.id)
    assert len(world.activator().sign(world.request(world.sad(current)))) == 1


def test_every_key_is_wrapped_by_the_new_kek_and_signs(world: World) -> None:
    before = several(world)
    old, new = world.fake.kek_id, world.fake.new_kek()
    bundle = operation(world)
    assert list(steps(world, bundle)) == [Step(5, 5, (), None)]
    assert keks(world) == [new] * 5
    for credential in before:
        signs(world, credential)
        after = world.lifecycle().credential(credential.id)
        assert after.wrapped_key().blob != credential.wrapped_key().blob
        # Nothing else is another than before, and SADs from before serve.
        same = replace(after, key=credential.key, policy=credential.policy, version=credential.version)
        assert same == credential
    fields = recorded(world, events.CREDENTIAL_REWRAPPED)
    assert {each["credential_id"] for each in fields} == {each.id for each in before}
    assert {(each["kek_before"], each["kek"], each["mechanism"]) for each in fields} == {(old, new, "aes-kwp")}
    assert {each["decision"] for each in fields} == {world.operator_keys[0].kid}
    world.anchor.check()
    assert world.anchor.report()["anchor"] == "ok"


def test_it_comes_in_steps_and_nothing_is_done_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrap, "_CHANGES", 2)
    several(world)
    world.fake.new_kek()
    bundle = operation(world)
    assert [(step.looked_at, step.rewrapped) for step in steps(world, bundle)] == [(2, 2), (2, 2), (1, 1)]
    assert [(step.looked_at, step.rewrapped) for step in steps(world, bundle)] == [(5, 0)]
    assert world.fake.calls["rewrap"] == 5


def test_a_page_that_is_full_is_not_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrap, "_ROWS", 2)
    several(world, 4)
    world.fake.new_kek()
    assert [(step.looked_at, step.rewrapped) for step in steps(world, operation(world))] == [(2, 2), (2, 2), (0, 0)]


def test_what_is_deleted_or_stays_on_the_token_is_passed_over_and_what_is_suspended_is_not(world: World) -> None:
    gone, kept, asleep = world.credential(), world.credential(profile="kept"), world.credential()
    world.operators().execute(world.operation("credential.delete", credential_id=gone.id))
    world.operators().execute(world.operation("credential.suspend", 1, credential_id=asleep.id))
    new = world.fake.new_kek()
    (step,) = steps(world, operation(world))
    assert (step.looked_at, step.rewrapped, step.failed) == (3, 1, ())
    assert world.lifecycle().credential(asleep.id).wrapped_key().kek_id == new
    assert world.lifecycle().credential(asleep.id).status == "suspended"
    signs(world, kept)


# On whose word


def test_ADM_01_it_takes_an_operator(world: World, credential: Credential) -> None:
    world.fake.new_kek()
    stranger = world.operation("kek.rewrap", 1, keys=[generate_signing_key()], kek_id=world.fake.kek_id)
    with pytest.raises(OperationInvalid):
        world.rewrapping().step(stranger)
    with pytest.raises(OperationInvalid):
        world.rewrapping().step("nothing of the kind")
    assert keks(world) == [credential.wrapped_key().kek_id]
    assert [each["code"] for each in recorded(world, events.OPERATION_REFUSED)] == ["invalid_operation"] * 2


def test_ADM_02_another_operation_another_kek_or_another_time_is_refused(world: World, credential: Credential) -> None:
    old, _new = world.fake.kek_id, world.fake.new_kek()
    rewrapping = world.rewrapping()
    for wrong in (
        operation(world, kek_id=old),
        operation(world, kek_id="00" * 16),
        operation(world, aud="urn:another"),
        operation(world, more="members"),
        operation(world, kek_id=7),
        world.operation("credential.suspend", 1, credential_id=credential.id),
        world.operation("kek.other", 1, kek_id=world.fake.kek_id),
        world.operation("kek.rewrap", 1),
    ):
        with pytest.raises(errors.OperationRefused):
            rewrapping.step(wrong)
    stale = operation(world)
    world.clock.advance(3600)
    with pytest.raises(OperationExpired):
        rewrapping.step(stale)
    assert keks(world) == [old]


def test_an_operation_does_not_bring_back_a_kek_that_another_one_has_replaced(world: World) -> None:
    several(world, 2)
    world.fake.new_kek()
    bundle = operation(world)
    list(steps(world, bundle))
    latest = world.fake.new_kek()
    list(steps(world, operation(world)))
    with pytest.raises(errors.OperationRefused):
        world.rewrapping().step(bundle)
    assert keks(world) == [latest] * 2


def test_it_is_carried_out_in_steps_only(world: World) -> None:
    with pytest.raises(errors.OperationRefused):
        world.operators().execute(operation(world))


# What goes wrong


@pytest.mark.parametrize("error", [DeviceUnavailable("away"), DeviceLost("gone")])
def test_a_device_that_is_away_breaks_a_step_off_and_the_next_goes_on(world: World, error: Any) -> None:
    before = several(world)
    new = world.fake.new_kek()
    bundle = operation(world)
    real, calls = world.fake.rewrap, iter(range(100))
    failing = {"rewrap": lambda key: real(key) if next(calls) != 2 else _raise(error)}
    vars(world.fake).update(failing)
    with pytest.raises(errors.ScdevUnavailable):
        world.rewrapping().step(bundle)
    assert keks(world).count(new) == 2
    assert sum(step.rewrapped for step in steps(world, bundle)) == 3
    for credential in before:
        signs(world, credential)


def _raise(error: Exception) -> Any:
    raise error


def test_KEY_06_a_key_that_does_not_unwrap_is_named_and_the_others_are_wrapped(world: World) -> None:
    several(world, 3)
    new = world.fake.new_kek()
    world.fake.fail_next("rewrap", WrappedKeyRefused("altered"))
    (step,) = steps(world, operation(world))
    ((named, code),) = step.failed
    assert code == "wrapped_key_refused"
    assert step.rewrapped == 2
    assert world.lifecycle().credential(named).wrapped_key().kek_id != new


def test_where_no_key_can_be_wrapped_anew_it_stops_and_says_why(world: World) -> None:
    several(world, 3)
    world.fake.new_kek()
    world.fake.fail_next("rewrap", OperationNotPermitted("the KEK's template"))
    step = world.rewrapping().step(operation(world))
    assert (step.looked_at, step.rewrapped, step.stopped) == (1, 0, "the KEK's template")


def test_KEY_03_a_row_that_was_altered_is_named_raises_the_alarm_and_is_left_as_it_is(world: World) -> None:
    first, *_ = several(world, 3)
    world.fake.new_kek()
    with world.engine.begin() as connection:
        connection.execute(update(credentials).where(credentials.c.id == first.id).values(owner="mallory"))
    (step,) = steps(world, operation(world))
    assert step.failed == ((first.id, "row_integrity"),)
    assert step.rewrapped == 2
    assert [each["credential_id"] for each in recorded(world, events.CREDENTIAL_ALTERED)] == [first.id]


def test_a_database_that_was_set_back_is_not_written_to(world: World, credential: Credential) -> None:
    copy = copy_tables(world.engine)
    world.operators().execute(world.operation("credential.suspend", 1, credential_id=credential.id))
    world.fake.new_kek()
    put_back(world.engine, copy)
    with suppress(errors.LedgerBehind):
        world.anchor.check()
    with pytest.raises(errors.LedgerBehind):
        world.rewrapping().step(operation(world))
    assert recorded(world, events.CREDENTIAL_REWRAPPED) == []


class Racing(SqlStore):
    """Another request changes the credential just before it is written, as often as is said."""

    times = 1
    world: World

    def replace_credential(
        self, row: SealedCredential, record: Record, order: SpentOrder | None = None, anchoring: Anchoring | None = None
    ) -> bool:
        if self.times:
            self.times -= 1
            change = self.world.operation(
                "credential.set_floor", credential_id=row.credential.id, max_signatures_per_day=10 + self.times
            )
            self.world.operators().execute(change)
        return super().replace_credential(row, record, order, anchoring)


@pytest.mark.parametrize(("times", "rewrapped"), [(1, 1), (2, 1), (3, 0)])
def test_a_change_that_comes_in_between_is_kept(
    world: World, credential: Credential, times: int, rewrapped: int
) -> None:
    new = world.fake.new_kek()
    store = Racing(world.engine)
    store.times, store.world = times, world
    step = world.rewrapping(store=store).step(operation(world))
    assert step.rewrapped == rewrapped
    assert step.failed == (() if rewrapped else ((credential.id, errors.CredentialDisabled.code),))
    after = world.lifecycle().credential(credential.id)
    assert after.floor.max_signatures_per_day == 10
    assert (after.wrapped_key().kek_id == new) == bool(rewrapped)
    signs(world, credential)


def test_a_request_that_has_begun_is_finished_with_the_key_that_it_had(world: World, credential: Credential) -> None:
    world.fake.new_kek()
    bundle = operation(world)

    class Between(SqlStore):
        """Between the look at the row and the reservation, its key is wrapped anew."""

        done = False

        def reserve(self, *arguments: Any, **named: Any) -> tuple[int, ...]:
            if not self.done:
                self.done = True
                list(steps(world, bundle))
            return super().reserve(*arguments, **named)

    request = world.request(world.sad(credential, (digest(1), digest(2))))
    assert len(world.activator(store=Between(world.engine)).sign(request)) == 2
    assert world.fake.signatures == 3  # the request for a certificate, too


def test_the_store_counts_rows_by_kek_and_mechanism(world: World) -> None:
    assert isinstance(world.store, SqlStore)
    old = world.fake.kek_id
    several(world, 2)
    gone = world.credential()
    world.operators().execute(world.operation("credential.delete", credential_id=gone.id))
    new = world.fake.new_kek()
    world.credential()
    world.credential(profile="kept")
    assert world.store.wrapped() == {(old, "aes-kwp"): 2, (new, "aes-kwp"): 1, ("", "token"): 1}
