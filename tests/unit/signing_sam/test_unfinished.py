"""A process that dies between two steps of a creation or a deletion: what is finished, what is swept, what is shown."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from contract.order import CreateParameters
from signing.sam import errors
from signing.sam.reconcile import unfinished_report
from signing.storage.store import SqlStore
from tests.fakes.sam import ALICE, REALM, World
from tests.unit.signing_sam.anchors import restarted


class Killed(BaseException):
    """Nothing of the process runs any more."""


def die(*_arguments: Any, **_names: Any) -> NoReturn:
    raise Killed


def report(world: World) -> dict[str, int | None]:
    assert isinstance(world.store, SqlStore)
    return unfinished_report(world.store.unfinished(), world.clock.now())


NOTHING = {
    "without_key": 0,
    "without_key_oldest_seconds": None,
    "without_certificate": 0,
    "without_certificate_oldest_seconds": None,
}


@pytest.mark.parametrize("by_operators", [False, True])
def test_KEY_11_killed_between_tombstone_and_destruction_the_next_process_destroys_the_key(
    world: World, monkeypatch: pytest.MonkeyPatch, by_operators: bool
) -> None:
    kept, other = world.credential(profile="kept"), world.credential(profile="kept")
    operation = world.operation("credential.delete", credential_id=kept.id)
    order = world.order_token("credential.delete", credential_id=kept.id)
    with monkeypatch.context() as patched:
        patched.setattr(world.fake, "destroy_kept", die)
        with pytest.raises(Killed):
            world.operators().execute(operation) if by_operators else world.lifecycle().execute(order)
    assert kept.wrapped_key().blob in world.fake.kept(REALM)
    node = restarted(world)
    assert node.lifecycle().credential(kept.id).key is None
    with pytest.raises(errors.CredentialDisabled):
        node.activator().sign(node.request(node.sad(kept)))
    orphans = node.orphans()
    assert orphans.sweep() == 0
    node.clock.advance(60)
    assert orphans.sweep() == 1
    assert node.fake.kept(REALM) == {other.wrapped_key().blob}


def test_KEY_10_killed_between_key_and_row_the_key_is_swept_and_the_order_still_makes_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = world.order_token(parameters=CreateParameters("kept", ALICE))
    with monkeypatch.context() as patched:
        patched.setattr(SqlStore, "add_credential", die)
        with pytest.raises(Killed):
            world.lifecycle().create(token)
    (lost,) = world.fake.kept(REALM)
    node = restarted(world)
    orphans = node.orphans()
    orphans.sweep()
    node.clock.advance(60)
    assert report(node) == {**NOTHING, "without_key": 1, "without_key_oldest_seconds": 60}
    assert orphans.sweep() == 1
    made = node.lifecycle().create(token)
    assert node.fake.kept(REALM) == {made.wrapped_key().blob} != {lost}
    assert report(node) == {**NOTHING, "without_certificate": 1, "without_certificate_oldest_seconds": 0}


def test_credentials_without_a_certificate_are_shown_with_the_age_of_the_oldest(either_world: World) -> None:
    world = either_world
    assert report(world) == NOTHING
    first = world.lifecycle().create(world.order_token())
    world.clock.advance(40)
    second = world.lifecycle().create(world.order_token())
    world.clock.advance(2)
    assert report(world) == {**NOTHING, "without_certificate": 2, "without_certificate_oldest_seconds": 42}
    world.lifecycle().link(first.id, [world.authority.issue(first.request)])
    assert report(world) == {**NOTHING, "without_certificate": 1, "without_certificate_oldest_seconds": 2}
    world.lifecycle().execute(world.order_token("credential.delete", credential_id=second.id))
    assert report(world) == NOTHING
