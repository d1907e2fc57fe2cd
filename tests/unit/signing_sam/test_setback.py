"""A6: whoever writes the database puts back what was; what each process remembers does not let it serve."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from auditlog.sql import read_entries
from contract import order as orders
from contract import sad as sads
from foundation.errors import PrivySealError
from foundation.jose import SigningKey, generate_signing_key
from signing.sam import errors, events
from signing.sam.credential import Credential, SealedCredential
from signing.sam.custody import Seen
from signing.sam.ports import DeviceUnavailable
from signing.sam.refusals import RefusalBudget
from signing.sam.store import Epoch, Record
from signing.sam.verify import first_second_after
from signing.sam_app.parts import sads_not_before
from signing.storage.store import SqlStore
from signing.storage.tables import approvals, audit, credentials, outcomes, positions, redemptions, state
from signing.storage.tables import orders as order_table
from tests.fakes.sam import ISSUER, World

OTHER = "https://other.example.org"


@pytest.fixture
def world(either_world: World) -> World:
    """On each kind of database."""
    return either_world


def row_of(world: World, credential_id: str) -> dict[str, Any]:
    with world.engine.connect() as connection:
        return dict(connection.execute(select(credentials).where(credentials.c.id == credential_id)).one()._mapping)


def put_back(world: World, row: dict[str, Any]) -> None:
    with world.engine.begin() as connection:
        connection.execute(update(credentials).where(credentials.c.id == row["id"]).values(**row))


def clear_ledger(world: World) -> None:
    with world.engine.begin() as connection:
        for table in (outcomes, positions, redemptions, approvals):
            connection.execute(delete(table))


def recorded(world: World) -> list[str]:
    with world.engine.connect() as connection:
        return [entry.event for entry in read_entries(connection, audit.entries)]


def raise_epoch(world: World) -> Epoch:
    return world.raise_epoch()


def pinned_too(world: World) -> SigningKey:
    """Another issuer, of whom the operator also pinned a key."""
    other = generate_signing_key()
    world.policy = replace(world.policy, issuers={**world.policy.issuers, OTHER: (other.verification_key(),)})
    return other


# Rows of credentials


def test_KEY_04_a_suspended_credential_is_not_woken_by_its_old_row(world: World) -> None:
    credential = world.credential()
    request, old = world.request(world.sad(credential)), row_of(world, credential.id)
    world.clock.advance(1)
    world.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))
    put_back(world, old)
    with pytest.raises(errors.RowAltered, match="older version"):
        world.activator().sign(request)
    assert recorded(world)[-2:] == [events.CREDENTIAL_ALTERED, events.SIGNATURE_REFUSED]


def test_KEY_11_a_deleted_credential_is_not_brought_back_by_its_old_row(world: World) -> None:
    credential = world.credential()
    old = row_of(world, credential.id)
    world.clock.advance(1)
    world.lifecycle().execute(world.order_token("credential.delete", credential_id=credential.id))
    put_back(world, old)
    with pytest.raises(errors.RowAltered):
        world.activator().sign(world.request(world.sad(credential)))


def test_KEY_14_a_certificate_is_not_relinked_after_the_pending_row_is_put_back(world: World) -> None:
    pending = world.lifecycle().create(world.order_token())
    old = row_of(world, pending.id)
    world.lifecycle().link(pending.id, [world.authority.issue(pending.request)])
    put_back(world, old)
    with pytest.raises(errors.RowAltered):
        world.lifecycle().link(pending.id, [world.authority.issue(pending.request)])


def test_KEY_04_a_node_that_has_only_looked_at_the_later_row_remembers_it_too(world: World) -> None:
    credential = world.credential()
    old = row_of(world, credential.id)
    world.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))
    world.seen = Seen()  # another process
    assert world.lifecycle().credential(credential.id).status == "suspended"
    put_back(world, old)
    with pytest.raises(errors.RowAltered):
        world.lifecycle().credential(credential.id)


def test_KEY_04_what_is_not_noticed_a_process_that_never_saw_the_later_row(world: World) -> None:
    """The window that the threat model states: it closes only with an anchor outside the database."""
    credential = world.credential()
    old = row_of(world, credential.id)
    world.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))
    put_back(world, old)
    world.seen = Seen()
    assert world.lifecycle().credential(credential.id).status == "active"


def test_a_row_that_was_read_just_before_it_changed_is_no_alarm(world: World) -> None:
    credential = world.credential()

    class Slow(SqlStore):
        """Another thread suspends between the read and the look at it."""

        done = False

        def for_signature(self, credential_id: str) -> tuple[SealedCredential | None, Epoch]:
            found = super().for_signature(credential_id)
            if not self.done:
                self.done = True
                world.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))
            return found

    with pytest.raises(errors.CredentialDisabled, match="not active"):
        world.activator(store=Slow(world.engine)).sign(world.request(world.sad(credential)))
    assert events.CREDENTIAL_ALTERED not in recorded(world)


def test_KEY_04_an_old_row_whose_later_one_is_gone_is_refused(world: World) -> None:
    credential = world.credential()

    class Vanishing(SqlStore):
        """The row read is an old one, and then there is none."""

        done = False

        def for_signature(self, credential_id: str) -> tuple[SealedCredential | None, Epoch]:
            found = super().for_signature(credential_id)
            if not self.done:
                self.done = True
                world.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))
                with world.engine.begin() as connection:
                    connection.execute(delete(credentials))
            return found

    with pytest.raises(errors.RowAltered, match="gone"):
        world.activator(store=Vanishing(world.engine)).sign(world.request(world.sad(credential)))


def test_KEY_03_an_altered_row_raises_the_alarm_wherever_it_is_met(world: World) -> None:
    credential = world.credential()
    with world.engine.begin() as connection:
        connection.execute(update(credentials).values(owner="mallory"))
    lifecycle = world.lifecycle()
    calls: list[Callable[[], object]] = [
        lambda: lifecycle.credential(credential.id),
        lambda: lifecycle.credentials("mallory"),
        lambda: lifecycle.link(credential.id, []),
        lambda: lifecycle.execute(world.order_token("credential.suspend", credential_id=credential.id)),
        lambda: world.activator().sign(world.request(world.sad(credential))),
    ]
    for number, call in enumerate(calls, 1):
        with pytest.raises(errors.RowAltered):
            call()
        assert recorded(world).count(events.CREDENTIAL_ALTERED) == number


def test_KEY_03_so_does_one_that_cannot_be_read(world: World) -> None:
    credential = world.credential()
    with world.engine.begin() as connection:
        connection.execute(update(credentials).values(certificates="junk"))
    for call in (world.lifecycle().credential, lambda _id: world.lifecycle().credentials("alice")):
        with pytest.raises(errors.RowAltered):
            call(credential.id)
    assert recorded(world).count(events.CREDENTIAL_ALTERED) == 2


def test_KEY_03_refusals_do_not_use_up_what_alarms_are_recorded_with(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    credential = world.credential()
    activator = world.activator(refusals=RefusalBudget(burst=1, per_second=0.001))
    spent = world.request(world.sad(credential))
    activator.sign(spent)
    with pytest.raises(errors.SadSpent):
        activator.sign(spent)
    with world.engine.begin() as connection:
        connection.execute(update(credentials).values(owner="mallory"))
    with pytest.raises(errors.RowAltered):
        activator.sign(world.request(world.sad(credential)))
    assert recorded(world)[-1] == events.CREDENTIAL_ALTERED
    assert "CRITICAL" in {record.levelname for record in caplog.records}


def test_alarms_beyond_their_budget_are_in_the_log_only(world: World, caplog: pytest.LogCaptureFixture) -> None:
    credential = world.credential()
    with world.engine.begin() as connection:
        connection.execute(update(credentials).values(owner="mallory"))
    lifecycle = world.lifecycle()
    for _ in range(60):
        with pytest.raises(errors.RowAltered):
            lifecycle.credential(credential.id)
    assert recorded(world).count(events.CREDENTIAL_ALTERED) == 50
    assert [record.levelname for record in caplog.records].count("CRITICAL") == 60


def test_an_alarm_that_cannot_be_recorded_refuses_all_the_same(world: World, caplog: pytest.LogCaptureFixture) -> None:
    class Mute(SqlStore):
        """Writes no record of its own."""

        def note(self, record: Record) -> None:
            raise errors.StoreUnavailable("down")

    credential = world.credential()
    with world.engine.begin() as connection:
        connection.execute(update(credentials).values(owner="mallory"))
    with pytest.raises(errors.RowAltered):
        world.lifecycle(store=Mute(world.engine)).credential(credential.id)
    assert "an alarm could not be recorded" in caplog.text


# Ledger and epoch


def test_SAD_12_a_cleared_ledger_does_not_let_a_restarted_process_sign_again(world: World) -> None:
    credential = world.credential()
    request = world.request(world.sad(credential, iat=world.now + 5, exp=world.now + 300))
    world.activator().sign(request)
    before = world.fake.signatures
    clear_ledger(world)
    restarted = replace(world.policy, sads_not_before=first_second_after(world.clock.now()))
    with pytest.raises(errors.SadRefused, match="before this process started"):
        world.activator(policy=restarted).sign(request)
    assert world.fake.signatures == before


def test_SAD_12_a_start_refuses_what_an_issuer_may_have_issued_before_it(world: World) -> None:
    start = world.clock.now()
    assert sads_not_before("production", start) == world.now + 6
    assert sads_not_before("development", start) == world.now + 1


def test_SAD_12_an_epoch_that_was_set_back_stops_signing_until_a_restore(world: World) -> None:
    credential, activator = world.credential(), world.activator()
    raise_epoch(world)
    world.clock.advance(6)
    activator.sign(world.request(world.sad(credential)))
    with world.engine.begin() as connection:
        connection.execute(update(state).values(epoch=1, epoch_not_before=0))
    with pytest.raises(errors.EpochSetBack):
        activator.sign(world.request(world.sad(credential)))
    with pytest.raises(errors.EpochSetBack):
        world.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))
    assert recorded(world).count(events.EPOCH_SET_BACK) == 2
    raise_epoch(world)
    world.clock.advance(6)
    activator.sign(world.request(world.sad(credential)))


def test_an_epoch_that_was_read_just_before_it_was_raised_is_no_alarm(world: World) -> None:
    credential = world.credential()

    class Slow(SqlStore):
        """The operator raises the epoch between the read and the look at it, and another thread sees that first."""

        done = False

        def for_signature(self, credential_id: str) -> tuple[SealedCredential | None, Epoch]:
            found = super().for_signature(credential_id)
            if not self.done:
                self.done = True
                world.custody().epoch(raise_epoch(world))
            return found

    with pytest.raises(errors.SadRefused, match="epoch"):
        world.activator(store=Slow(world.engine)).sign(world.request(world.sad(credential)))
    assert events.EPOCH_SET_BACK not in recorded(world)


def test_SAD_12_after_a_restore_a_sad_used_before_it_is_refused_even_if_the_issuers_clock_is_ahead(
    world: World,
) -> None:
    credential = world.credential()
    request = world.request(world.sad(credential, iat=world.now + 5, exp=world.now + 300))
    world.activator().sign(request)
    before = world.fake.signatures
    clear_ledger(world)
    raise_epoch(world)
    with pytest.raises(errors.SadRefused, match="epoch"):
        world.activator().sign(request)
    assert world.fake.signatures == before


def test_AUD_09_an_epoch_is_never_lowered_by_a_clock_that_was_set_back(world: World) -> None:
    first = raise_epoch(world)
    world.clock.advance(-3600)
    second = raise_epoch(world)
    assert (second.number, second.not_before) == (first.number + 1, first.not_before)


def test_SAD_12_an_epoch_that_somebody_wrote_outlives_no_restore(world: World) -> None:
    """Else one statement would stop signing for good: what is anchored is never lowered."""
    credential, activator = world.credential(), world.activator()
    activator.sign(world.request(world.sad(credential)))
    with world.engine.begin() as connection:
        connection.execute(update(state).values(epoch=2**31 - 1, epoch_not_before=2**40))
    with pytest.raises(errors.LedgerBehind):
        activator.sign(world.request(world.sad(credential)))
    assert world.operators().execute(world.operation("ledger.restore")).epoch == 2
    world.clock.advance(6)
    assert activator.sign(world.request(world.sad(credential)))
    with world.engine.connect() as connection:
        assert connection.execute(select(state.c.epoch_not_before)).scalar_one() == world.now


def test_SAD_06_a_sad_of_an_issuers_fast_clock_does_not_survive_suspend_and_resume(world: World) -> None:
    credential = world.credential()
    request = world.request(world.sad(credential, iat=world.now + 5, exp=world.now + 300))
    for operation in ("credential.suspend", "credential.resume"):
        world.lifecycle().execute(world.order_token(operation, credential_id=credential.id))
    with pytest.raises(errors.SadRefused, match="last change"):
        world.activator().sign(request)


def test_AUD_09_a_credentials_not_before_is_never_lowered_by_a_clock_that_was_set_back(world: World) -> None:
    credential = world.credential()
    world.clock.advance(60)
    suspended = world.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))
    world.clock.advance(-55)
    with pytest.raises(errors.OrderRefused, match="last change of status"):
        world.lifecycle().execute(world.order_token("credential.resume", credential_id=credential.id))
    world.operators().execute(world.operation("credential.resume", credential_id=credential.id))
    assert world.lifecycle().credential(credential.id).not_before == suspended.not_before


def test_a_sad_of_an_issuer_whose_clock_is_behind_serves_right_after_linking(world: World) -> None:
    credential = world.credential()
    world.activator().sign(
        world.request(
            world.sad(
                credential,
                iat=world.now - 5,
                exp=world.now + 200,
                evidence=(*(replace(item, at=world.now - 60) for item in world.sad(credential).evidence),),
            )
        )
    )


# Issuers


def test_SAD_05_another_pinned_issuer_cannot_sign_with_a_key_of_the_first_ones_person(world: World) -> None:
    credential, other = world.credential(), pinned_too(world)
    sad = world.sad(credential, iss=OTHER)
    with pytest.raises(errors.WrongOwner):
        world.activator().sign(replace(world.request(sad), sad=sads.encode(sad, other)))


@pytest.mark.parametrize("operation", ["credential.suspend", "credential.delete"])
def test_SAD_05_another_pinned_issuer_changes_no_credential_of_the_first_ones_person(
    world: World, operation: Any
) -> None:
    credential, other = world.credential(), pinned_too(world)
    order = world.order(operation, credential_id=credential.id, iss=OTHER)
    with pytest.raises(errors.WrongOwner):
        world.lifecycle().execute(orders.encode(order, other))


def test_credentials_are_listed_by_issuer_where_that_is_known(world: World) -> None:
    mine, other = world.credential(), pinned_too(world)
    theirs = world.lifecycle().create(orders.encode(world.order(iss=OTHER), other))
    assert set(world.lifecycle().credentials("alice")) == {mine, theirs}
    assert world.lifecycle().credentials("alice", ISSUER) == (mine,)
    assert world.lifecycle().credentials("alice", OTHER) == (theirs,)


# Orders


def plant(world: World, token: str, jti: str, credential_id: str) -> None:
    """A row in the table of used orders that the module did not write."""
    row = {
        "issuer": ISSUER,
        "jti": jti,
        "token_sha256": hashlib.sha256(token.encode()).hexdigest(),
        "operation": "credential.create",
        "credential_id": credential_id,
        "used_at": 0,
    }
    with world.engine.begin() as connection:
        connection.execute(insert(order_table), row)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"aud": "urn:privyseal:sam:elsewhere"}, errors.OrderRefused),
        ({"iat": -10_000, "exp": -9_400}, errors.OrderExpired),
        ({"iat": 0, "exp": 901}, errors.OrderRefused),
        ({"iat": 6, "exp": 100}, errors.OrderRefused),
    ],
)
def test_an_order_that_is_refused_makes_nothing_whatever_is_in_the_table_of_used_orders(
    world: World, change: dict[str, Any], error: type[errors.SamError]
) -> None:
    change = {name: world.now + value if name in {"iat", "exp"} else value for name, value in change.items()}
    token = world.order_token(jti="planted", **change)
    plant(world, token, "planted", "chosen-by-somebody")
    with pytest.raises(error):
        world.lifecycle().create(token)
    assert world.fake.calls["generate"] == 0


def test_SAD_12_an_order_from_before_a_restore_makes_no_key_after_it(world: World) -> None:
    token = world.order_token()
    world.fake.fail_next("generate", DeviceUnavailable("down"))
    with pytest.raises(errors.ScdevUnavailable):
        world.lifecycle().create(token)
    raise_epoch(world)
    with pytest.raises(errors.OrderRefused, match="epoch"):
        world.lifecycle().create(token)


def test_KEY_04_an_order_to_resume_is_not_used_again_after_its_row_was_removed(world: World) -> None:
    credential, lifecycle = world.credential(), world.lifecycle()
    resume = world.order_token("credential.resume", credential_id=credential.id)
    lifecycle.execute(world.order_token("credential.suspend", credential_id=credential.id))
    lifecycle.execute(resume)
    lifecycle.execute(world.order_token("credential.suspend", credential_id=credential.id))
    with world.engine.begin() as connection:
        connection.execute(delete(order_table))
    with pytest.raises(errors.OrderUsed):
        lifecycle.execute(resume)
    # Another process, which knows only what the database says.
    restarted = replace(world.policy, sads_not_before=first_second_after(world.clock.now()))
    with pytest.raises(errors.OrderRefused, match="before this process started"):
        world.lifecycle(policy=restarted).execute(resume)
    world.lifecycle(policy=restarted).execute(world.order_token("credential.delete", credential_id=credential.id))


def test_an_order_that_expired_before_its_key_was_made_makes_none(world: World) -> None:
    token = world.order_token()
    world.fake.fail_next("generate", DeviceUnavailable("down"))
    with pytest.raises(errors.ScdevUnavailable):
        world.lifecycle().create(token)
    world.clock.advance(600)
    with pytest.raises(errors.OrderExpired):
        world.lifecycle().create(token)


def test_SAD_05_a_planted_order_does_not_hand_out_another_persons_pending_credential(world: World) -> None:
    theirs = world.lifecycle().create(world.order_token(sub="bob"))
    token = world.order_token(jti="planted")
    plant(world, token, "planted", theirs.id)
    with pytest.raises(errors.WrongOwner):
        world.lifecycle().create(token)


def test_SAD_05_nor_where_it_turns_up_while_the_key_is_made(world: World) -> None:
    theirs: list[Credential] = []
    token = world.order_token(jti="planted")

    class Racing(SqlStore):
        """The id is taken by somebody else's credential just before this one is stored."""

        def add_credential(self, row: SealedCredential, record: Record, *more: Any, **named: Any) -> bool:
            theirs.append(world.lifecycle().create(world.order_token(sub="bob")))
            with world.engine.begin() as connection:
                connection.execute(update(credentials).values(id=row.credential.id))
            return super().add_credential(row, record, *more, **named)

    with pytest.raises(PrivySealError):
        world.lifecycle(store=Racing(world.engine)).create(token)
    assert len(theirs) == 1
