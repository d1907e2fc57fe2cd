"""The token that holds the anchor: away, late, set back itself, or written by somebody else (KEY-04)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from auditlog.chain import EMPTY
from foundation.jose import VerificationKey
from signing.sam import errors, events
from signing.sam.anchor import Anchor, opened, sealed
from signing.sam.credential import Credential
from signing.sam.ports import DeviceUnavailable
from signing.sam.rollback import NO_ANCHOR, TOKEN_BEHIND
from signing.storage.engine import open_engine
from signing.storage.store import SqlStore
from tests.fakes.device import FakeDevice
from tests.fakes.sam import REALM, World
from tests.unit.signing_sam.anchors import LABEL, recorded, restarted, stopped, suspend


def test_a_token_without_its_anchor_stops_signing_and_nobody_can_restore(world: World) -> None:
    credential = world.credential()
    for value in world.fake.read_data(LABEL):
        world.fake.remove_data(LABEL, value)
    node = restarted(world)
    assert stopped(node, credential) == NO_ANCHOR
    with pytest.raises(errors.LedgerBehind):
        node.operators().execute(node.operation("ledger.restore"))
    with pytest.raises(errors.StateRefused, match="used"):
        node.anchor.establish(())
    with (
        pytest.raises(errors.LedgerBehind, match="has no anchor"),
        world.anchor.changing(lambda anchor: anchor) as anchoring,
        world.store.standing(locked=True) as standing,
    ):
        anchoring(standing)


def test_an_anchor_that_the_module_did_not_write_counts_for_nothing(world: World) -> None:
    credential = world.credential()
    (value,) = world.fake.read_data(LABEL)
    other, number = FakeDevice(), world.anchor.latest().number
    for planted in (
        b"x",
        value[:-1] + bytes([value[-1] ^ 1]),
        sealed(world.anchor.latest(), other),
        sealed(replace(world.anchor.latest(), realm="other", number=99), world.fake),
        b"[]" + world.fake.mac(b"privyseal-anchor-1\n[]"),
        b"{" + world.fake.mac(b"privyseal-anchor-1\n{"),
    ):
        world.fake.add_data(LABEL, planted)
    node = restarted(world)
    node.anchor.check()
    assert node.anchor.report()["anchor"] == "ok"
    assert node.anchor.latest().number == number
    assert node.activator().sign(node.request(node.sad(credential)))


def test_what_the_anchor_says_comes_back_as_it_was_written(world: World) -> None:
    world.credential()
    anchor: Anchor = replace(world.anchor.latest(), used=(("ab" * 32, 5),))
    found = opened(sealed(anchor, world.fake), REALM, world.fake)
    assert found is not None

    def plain(each: Anchor) -> tuple[Any, ...]:
        keys: tuple[VerificationKey, ...] = each.operators
        return (replace(each, operators=()), [key.kid for key in keys])

    assert plain(found) == plain(anchor)


def test_a_token_that_is_away_at_the_start_is_looked_at_when_it_is_back(world: World) -> None:
    credential = world.credential()
    node = restarted(world)
    assert node.anchor.report()["anchor"] == "not looked at yet"
    node.fake.fail_next("read_data", DeviceUnavailable("away"))
    with pytest.raises(errors.ScdevUnavailable):
        node.activator().sign(node.request(node.sad(credential)))
    assert node.activator().sign(node.request(node.sad(credential)))


def test_the_first_anchor_is_written_once_and_for_one_database(world: World, tmp_path: Path) -> None:
    assert not world.anchor.establish(())
    assert len(world.anchor.latest().operators) == 2
    fresh = SqlStore(open_engine(f"sqlite:///{tmp_path / 'fresh.sqlite'}"))
    fresh.initialise(REALM, world.clock.now())
    with pytest.raises(errors.StateRefused, match="another database"):
        replace(world, store=fresh).anchor.establish(())


def test_KEY_04_a_token_that_lost_its_anchor_gets_none_for_a_database_whose_chain_was_emptied(world: World) -> None:
    world.credential()
    (anchor,) = world.fake.read_data(LABEL)
    world.fake.remove_data(LABEL, anchor)
    with world.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_entries"))
        connection.execute(text("UPDATE audit_head SET sequence = 0, hash = :hash"), {"hash": EMPTY.hash})
    with pytest.raises(errors.StateRefused, match="has been used"):
        world.anchor.establish(())
    assert not world.fake.read_data(LABEL)


class LateToken(FakeDevice):
    """Shows what was there before, for as many reads as said."""

    late = 0
    before: tuple[bytes, ...] = ()

    def read_data(self, label: str) -> tuple[bytes, ...]:
        if self.late:
            self.late -= 1
            return self.before
        return super().read_data(label)


def test_KEY_04_a_change_is_not_lost_to_a_checkpoint_of_the_same_number_that_it_did_not_see(
    world: World, credential: Credential
) -> None:
    other = world.credential("bob")
    token, node = world.fake, restarted(world)
    token.__class__ = LateToken
    assert isinstance(token, LateToken)
    node.anchor.check()
    world.activator().sign(world.request(world.sad(credential)))
    token.before = token.read_data(LABEL)
    world.anchor.checkpoint()
    (checkpoint,) = token.read_data(LABEL)
    token.late = 1
    suspend(node, credential)
    token.before, token.late = (checkpoint,), 1
    world.lifecycle().execute(world.order_token("credential.suspend", credential_id=other.id, sub="bob"))
    restarted(world).anchor.check()
    world.anchor.check()
    assert world.anchor.report()["anchor"] == "ok"
    assert events.LEDGER_BEHIND not in recorded(world)


def test_a_change_that_the_token_shows_late_is_waited_for_and_not_lost(world: World, credential: Credential) -> None:
    token = world.fake
    token.__class__ = LateToken
    assert isinstance(token, LateToken)
    for name in ("credential.suspend", "credential.resume"):
        token.before = token.read_data(LABEL)
        token.fail_next("remove_data", DeviceUnavailable("away"))  # so that what it shows late still fits the chain
        world.lifecycle().execute(world.order_token(name, credential_id=credential.id))
        token.late = 3
        other = restarted(world).credential("bob")
        assert other.status == "active"
        token.late = 3
        restarted(world).anchor.check()
        world.anchor.check()
    assert world.anchor.report()["anchor"] == "ok"
    assert events.LEDGER_BEHIND not in recorded(world)


def test_KEY_04_an_anchor_put_back_from_before_the_last_change_stops_signing(
    world: World, credential: Credential
) -> None:
    (old,) = world.fake.read_data(LABEL)
    suspend(world, credential)
    (new,) = world.fake.read_data(LABEL)
    world.fake.remove_data(LABEL, new)
    world.fake.add_data(LABEL, old)
    assert stopped(restarted(world), credential) == TOKEN_BEHIND
    with pytest.raises(errors.LedgerBehind):
        world.anchor.checkpoint()
