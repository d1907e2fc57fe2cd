"""SAD-06 and SAD-11 in the module: what an issuer took back no longer signs, whoever brings or hides it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from auditlog.sql import read_entries
from contract import event as security_events
from contract import sad as sads
from contract.errors import EventInvalid, OrderInvalid, SadInvalid
from contract.event import SCOPES, EventName
from contract.sad import Sad
from foundation.jose import generate_signing_key
from signing.sam import errors, events
from signing.sam.ledger import Reservation
from signing.sam.ports import DeviceUnavailable
from signing.sam.refusals import RefusalBudget
from signing.sam.revocation import RevocationMemory, SealedRevocation, keys_of
from signing.sam.revoke import RELEVANT_SECONDS
from signing.sam.store import Record
from signing.sam.verify import LEEWAY_SECONDS
from signing.storage.store import SqlStore
from signing.storage.tables import audit, positions, revocations
from tests.fakes.sam import CLIENT, ISSUER, World, digest

OTHER = "https://other.example.org"


def subject_of(event: EventName, sad: Sad) -> str:
    return {"transaction": sad.txn, "client": sad.client_id, "account": sad.sub}[SCOPES[event]]


def recorded(world: World) -> list[str]:
    with world.engine.connect() as connection:
        return [entry.event for entry in read_entries(connection, audit.entries)]


def rows(world: World) -> list[Any]:
    with world.engine.connect() as connection:
        return list(connection.execute(select(revocations)))


def forget(world: World) -> None:
    """What a database writer does who wants a revoked SAD to serve."""
    with world.engine.begin() as connection:
        connection.execute(delete(revocations))


def refused(world: World, sad: Sad) -> None:
    with pytest.raises(errors.SadRevoked):
        world.activator().sign(world.request(sad))
    assert recorded(world)[-1] == events.SIGNATURE_REFUSED


# What is refused


@pytest.mark.parametrize("event", SCOPES)
def test_SAD_11_what_its_issuer_took_back_signs_nothing(world: World, event: EventName) -> None:
    sad = world.sad(world.credential())
    before = world.fake.signatures
    world.revocations().record(world.event_token(event, subject_of(event, sad)))
    refused(world, sad)
    assert world.fake.signatures == before
    assert events.REVOCATION_RECORDED in recorded(world)


@pytest.mark.parametrize("event", SCOPES)
def test_SAD_11_what_was_taken_back_of_others_changes_nothing(world: World, event: EventName) -> None:
    sad = world.sad(world.credential())
    world.revocations().record(world.event_token(event, "another"))
    # The same word names something else there: a client that is called as the transaction is.
    for name in ("txn", "client_id", "sub"):
        if getattr(sad, name) != subject_of(event, sad):
            world.revocations().record(world.event_token(event, getattr(sad, name)))
    assert len(world.activator().sign(world.request(sad))) == 1


@pytest.mark.parametrize("event", ["client-disabled", "account-disabled", "authenticator-changed"])
@pytest.mark.parametrize("later", [-1, 0, LEEWAY_SECONDS, LEEWAY_SECONDS + 1])
def test_SAD_06_both_sides_of_the_second_until_which_sads_do_not_serve(
    world: World, event: EventName, later: int
) -> None:
    """A SAD of the very second of the event may have been before it; one more than two clocks may differ was not."""
    credential = world.credential()
    sad = world.sad(credential)
    world.revocations().record(world.event_token(event, subject_of(event, sad)))
    world.clock.advance(later)
    sad = world.sad(credential)
    if later > LEEWAY_SECONDS:
        assert len(world.activator().sign(world.request(sad))) == 1
    else:
        refused(world, sad)


def test_SAD_11_of_a_withdrawn_transaction_no_sad_serves_whenever_it_was_issued(world: World) -> None:
    credential = world.credential()
    sad = world.sad(credential)
    world.revocations().record(world.event_token("transaction-withdrawn", sad.txn))
    world.clock.advance(200)
    refused(world, world.sad(credential, txn=sad.txn))


def test_SAD_11_an_event_of_another_issuer_is_about_that_issuers_sads_only(world: World) -> None:
    other = generate_signing_key()
    world.policy = replace(world.policy, issuers={**world.policy.issuers, OTHER: (other.verification_key(),)})
    sad = world.sad(world.credential())
    event = world.event("authenticator-changed", sad.sub, iss=OTHER)
    world.revocations().record(security_events.encode(event, other))
    assert len(world.activator().sign(world.request(sad))) == 1


# Which events are believed


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"aud": "urn:privyseal:sam:other"}, errors.EventWrongAudience),
        ({"iss": OTHER}, errors.EventIssuerUnknown),
    ],
)
def test_an_event_for_another_module_or_of_an_issuer_that_is_not_pinned_is_refused(
    world: World, change: dict[str, Any], error: type[errors.SamError]
) -> None:
    sad = world.sad(world.credential())
    with pytest.raises(error):
        world.revocations().record(world.event_token("transaction-withdrawn", sad.txn, **change))
    assert len(world.activator().sign(world.request(sad))) == 1


def test_an_event_under_another_key_is_refused_and_leaves_no_trace(world: World) -> None:
    before = recorded(world)
    event = security_events.encode(world.event("client-disabled", CLIENT), generate_signing_key())
    with pytest.raises(EventInvalid):
        world.revocations().record(event)
    assert (rows(world), recorded(world)) == ([], before)


def test_SAD_07_a_sad_and_an_order_are_no_events_and_an_event_is_neither(world: World) -> None:
    credential = world.credential()
    sad = world.sad(credential)
    for token in (
        sads.encode(sad, world.idp_key),
        world.order_token("credential.suspend", credential_id=credential.id),
    ):
        with pytest.raises(EventInvalid):
            world.revocations().record(token)
    event = world.event_token("transaction-withdrawn", sad.txn)
    with pytest.raises(SadInvalid):
        world.activator().sign(replace(world.request(sad), sad=event))
    with pytest.raises(OrderInvalid):
        world.lifecycle().execute(event)


def test_what_is_no_token_at_all_is_refused(world: World) -> None:
    with pytest.raises(EventInvalid):
        world.revocations().record("not a token")


@pytest.mark.parametrize(
    ("issued", "taken"),
    [(LEEWAY_SECONDS, True), (LEEWAY_SECONDS + 1, False), (1 - RELEVANT_SECONDS, True), (-RELEVANT_SECONDS, False)],
)
def test_both_sides_of_the_times_between_which_an_event_is_taken(world: World, issued: int, taken: bool) -> None:
    at = world.now + issued
    token = world.event_token("client-disabled", CLIENT, iat=at, not_before=at)
    if taken:
        world.revocations().record(token)
        assert len(rows(world)) == 1
        return
    with pytest.raises(errors.EventRefused):
        world.revocations().record(token)
    assert (rows(world), recorded(world)[-1]) == ([], events.REVOCATION_REFUSED)


def test_the_same_event_again_is_answered_and_changes_nothing(either_world: World) -> None:
    world = either_world
    event = world.event("client-disabled", CLIENT)
    for _time in range(2):
        # Signed anew, as a sender does who tries again; other octets, the same event.
        world.revocations().record(security_events.encode(event, world.idp_key))
        world.clock.advance(10)
    assert len(rows(world)) == 1
    assert recorded(world).count(events.REVOCATION_RECORDED) == 1


@pytest.mark.parametrize("change", [{"subject": "another"}, {"not_before": 0}, {"event": "session-ended"}])
def test_another_event_under_a_jti_that_was_used_is_refused(world: World, change: dict[str, Any]) -> None:
    event = world.event("transaction-withdrawn", "txn-1")
    world.revocations().record(security_events.encode(event, world.idp_key))
    with pytest.raises(errors.EventRefused):
        world.revocations().record(security_events.encode(replace(event, **change), world.idp_key))
    assert len(rows(world)) == 1


def test_an_older_event_that_comes_later_lowers_nothing(world: World) -> None:
    credential = world.credential()
    older = world.event_token("authenticator-changed", "alice")
    world.clock.advance(60)
    world.revocations().record(world.event_token("authenticator-changed", "alice"))
    world.revocations().record(older)
    refused(world, world.sad(credential))


def test_refused_events_are_recorded_up_to_a_budget_and_a_chain_that_is_down_hides_no_refusal(world: World) -> None:
    class Deaf(SqlStore):
        def note(self, record: Record) -> None:
            raise errors.StoreUnavailable("down")

    with pytest.raises(errors.EventWrongAudience):
        world.revocations(store=Deaf(world.engine)).record(world.event_token("client-disabled", CLIENT, aud="x"))
    spent = world.revocations()
    spent._refusals = RefusalBudget(burst=0)
    with pytest.raises(errors.EventWrongAudience):
        spent.record(world.event_token("client-disabled", CLIENT, aud="x"))
    assert events.REVOCATION_REFUSED not in recorded(world)


# The database and the device


@pytest.mark.parametrize("event", SCOPES)
def test_a_revocation_that_was_deleted_holds_as_long_as_the_process_lives(world: World, event: EventName) -> None:
    sad = world.sad(world.credential())
    world.revocations().record(world.event_token(event, subject_of(event, sad)))
    forget(world)
    refused(world, sad)
    assert events.REVOCATION_SET_BACK in recorded(world)
    # One that came before the row was deleted is not enough: what the process remembers is found missing again.
    refused(world, sad)


def test_a_node_that_only_looked_at_the_row_remembers_it_too(world: World) -> None:
    sad = world.sad(world.credential())
    world.revocations().record(world.event_token("transaction-withdrawn", sad.txn))
    world.memory = RevocationMemory()  # another process
    world.revocations().refresh()
    forget(world)
    refused(world, sad)


def test_an_altered_row_keeps_no_other_one_from_being_remembered(world: World) -> None:
    sad = world.sad(world.credential())
    world.revocations().record(world.event_token("transaction-withdrawn", sad.txn))
    world.revocations().record(world.event_token("client-disabled", "another"))
    with world.engine.begin() as connection:
        connection.execute(update(revocations).where(revocations.c.subject == "another").values(not_before=0))
    world.memory = RevocationMemory()
    world.revocations().refresh()
    assert events.REVOCATION_ALTERED in recorded(world)
    assert len(world.memory) == 1
    forget(world)
    refused(world, sad)


def test_a_row_that_was_looked_at_costs_the_device_nothing_more(world: World) -> None:
    sad = world.sad(world.credential())
    world.revocations().record(world.event_token("transaction-withdrawn", sad.txn))
    before = world.fake.calls["verify_mac"]
    for _round in range(3):
        world.revocations().refresh()
        world.revocations().against(sad)
    assert world.fake.calls["verify_mac"] == before


def test_what_is_not_noticed_a_process_that_never_saw_the_row(world: World) -> None:
    """The window that the threat model states: withholding an event and deleting its row are the same to that node."""
    sad = world.sad(world.credential())
    world.revocations().record(world.event_token("transaction-withdrawn", sad.txn))
    world.memory = RevocationMemory()
    forget(world)
    assert len(world.activator().sign(world.request(sad))) == 1


def test_KEY_03_a_revocation_that_was_altered_stops_what_it_is_about(either_world: World) -> None:
    world = either_world
    sad = world.sad(world.credential())
    world.revocations().record(world.event_token("client-disabled", CLIENT))
    for change in ({"not_before": 0}, {"realm": "other"}, {"event": "x"}, {"jti": "x"}, {"received_at": world.now + 1}):
        with world.engine.begin() as connection:
            before = connection.execute(select(revocations)).one()
            connection.execute(update(revocations).values(**change))
        world.memory = RevocationMemory()
        with pytest.raises(errors.RowAltered):
            world.activator().sign(world.request(sad))
        assert recorded(world)[-2:] == [events.REVOCATION_ALTERED, events.SIGNATURE_REFUSED]
        with world.engine.begin() as connection:
            connection.execute(update(revocations).values(**before._mapping))


def test_KEY_05_a_revocation_of_another_installation_on_the_same_device_is_not_believed(world: World) -> None:
    sad = world.sad(world.credential())
    world.policy = replace(world.policy, realm="other")
    world.revocations().record(world.event_token("client-disabled", CLIENT))
    world.policy = replace(world.policy, realm="test")
    world.memory = RevocationMemory()
    with pytest.raises(errors.RowAltered, match="realm"):
        world.activator().sign(world.request(sad))


def test_a_row_that_has_not_even_the_form_of_one_is_refused(world: World) -> None:
    class Odd(SqlStore):
        def revocations(self, keys: Any, received_after: int) -> tuple[SealedRevocation, ...]:
            raise errors.RowAltered("a revocation's row cannot be read")

    sad = world.sad(world.credential())
    with pytest.raises(errors.RowAltered):
        world.activator(store=Odd(world.engine)).sign(world.request(sad))


@pytest.mark.parametrize("call", ["mac", "verify_mac"])
def test_without_the_device_no_event_is_answered_and_nothing_signs_past_one(world: World, call: str) -> None:
    sad = world.sad(world.credential())
    event = world.event_token("client-disabled", CLIENT)
    if call == "mac":
        world.fake.fail_next("mac", DeviceUnavailable("down"))
        with pytest.raises(errors.ScdevUnavailable):
            world.revocations().record(event)
        assert rows(world) == []
        return
    world.revocations().record(event)
    world.memory = RevocationMemory()
    world.fake.fail_next("verify_mac", DeviceUnavailable("down"))
    with pytest.raises(errors.ScdevUnavailable):
        world.revocations().against(sad)


def test_alarms_have_a_budget_of_their_own(world: World) -> None:
    sad = world.sad(world.credential())
    shared = world.revocations()
    shared._alarms = RefusalBudget(burst=0)
    shared.record(world.event_token("transaction-withdrawn", sad.txn))
    forget(world)
    with pytest.raises(errors.SadRevoked):
        world.activator(revocations=shared).sign(world.request(sad))
    assert events.REVOCATION_SET_BACK not in recorded(world)


# Races


class Slow(SqlStore):
    """Lets something happen between the look at a request and its reservation."""

    meanwhile: Callable[[], None]

    def reserve(
        self,
        reservation: Reservation,
        assign: Callable[[Collection[int]], tuple[int, ...]],
        record: Callable[[tuple[int, ...]], Record],
    ) -> tuple[int, ...]:
        self.meanwhile()
        return super().reserve(reservation, assign, record)


@pytest.mark.parametrize("event", SCOPES)
def test_SAD_11_once_an_event_was_answered_no_signature_is_begun(either_world: World, event: EventName) -> None:
    world = either_world
    sad = world.sad(world.credential())
    before = world.fake.signatures
    store = Slow(world.engine)
    store.meanwhile = lambda: world.revocations().record(world.event_token(event, subject_of(event, sad)))
    with pytest.raises(errors.SadRevoked):
        world.activator(store=store).sign(world.request(sad))
    assert world.fake.signatures == before
    with world.engine.connect() as connection:
        assert connection.execute(select(positions)).all() == []


def test_a_row_that_another_thread_wrote_between_two_looks_is_no_alarm(world: World) -> None:
    class Late(SqlStore):
        looks = 0

        def revocations(self, keys: Any, received_after: int) -> tuple[SealedRevocation, ...]:
            found = super().revocations(keys, received_after)
            self.looks += 1
            if self.looks == 1:
                shared.record(event)
            return found

    sad = world.sad(world.credential())
    event = world.event_token("transaction-withdrawn", sad.txn)
    shared = world.revocations()
    with pytest.raises(errors.SadRevoked):
        world.activator(revocations=world.revocations(store=Late(world.engine))).sign(world.request(sad))
    assert events.REVOCATION_SET_BACK not in recorded(world)


def test_SAD_11_signatures_and_events_at_once_end_in_the_order_in_which_the_chain_has_them(either_world: World) -> None:
    """Of each SAD: signed, then revoked; or revoked, and nothing signed after the event was answered."""
    world = either_world
    credential = world.credential()
    wanted = [world.sad(credential, (digest(number),)) for number in range(12)]
    gate = threading.Barrier(2 * len(wanted))

    def sign(sad: Sad) -> bool:
        request = world.request(sad)
        gate.wait()
        try:
            return bool(world.activator().sign(request))
        except errors.SadRevoked:
            return False

    def revoke(sad: Sad) -> None:
        event = world.event_token("transaction-withdrawn", sad.txn)
        gate.wait()
        world.revocations().record(event)

    with ThreadPoolExecutor(2 * len(wanted)) as pool:
        signed = [pool.submit(sign, sad) for sad in wanted]
        told = [pool.submit(revoke, sad) for sad in wanted]
        outcomes = {sad.txn: future.result() for sad, future in zip(wanted, signed, strict=True)}
        for future in told:
            future.result()
    with world.engine.connect() as connection:
        entries = list(read_entries(connection, audit.entries))
    for sad in wanted:
        about = [entry for entry in entries if sad.txn in entry.fields]
        begun = [entry.sequence for entry in about if entry.event == events.SIGNATURE_INTENT]
        (told_at,) = (entry.sequence for entry in about if entry.event == events.REVOCATION_RECORDED)
        assert len(begun) == outcomes[sad.txn]
        assert all(sequence < told_at for sequence in begun)


def test_two_nodes_that_are_told_of_one_event_at_once_keep_one_row(either_world: World) -> None:
    world = either_world
    event = world.event("client-disabled", CLIENT)
    tokens = [security_events.encode(event, world.idp_key) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda token: world.revocations().record(token), tokens))
    assert len(rows(world)) == 1


# What is remembered


def test_what_matters_no_more_is_neither_read_nor_remembered(either_world: World) -> None:
    world = either_world
    credential = world.credential()
    world.revocations().record(world.event_token("client-disabled", CLIENT))
    world.revocations().record(world.event_token("client-disabled", CLIENT))
    world.clock.advance(RELEVANT_SECONDS)
    sad = world.sad(credential)
    assert world.revocations().against(sad) == frozenset()
    forget(world)
    assert len(world.activator().sign(world.request(sad))) == 1
    world.revocations().record(world.event_token("client-disabled", CLIENT))
    world.clock.advance(1)
    world.revocations().record(world.event_token("client-disabled", CLIENT))
    assert len(world.memory) == 2


def test_the_memory_keeps_what_still_matters_of_a_subject(world: World) -> None:
    world.revocations().record(world.event_token("client-disabled", CLIENT))
    world.clock.advance(RELEVANT_SECONDS - 1)
    world.revocations().record(world.event_token("client-disabled", CLIENT))
    assert len(world.memory) == 2
    world.clock.advance(1)
    world.revocations().record(world.event_token("client-disabled", "another"))
    assert len(world.memory) == 2


def test_an_invented_row_is_not_believed(world: World) -> None:
    """A database writer can refuse service, as everywhere, and is found out."""
    sad = world.sad(world.credential())
    (_issuer, scope, subject) = keys_of(sad)[0]
    with world.engine.begin() as connection:
        connection.execute(
            insert(revocations).values(
                realm="test", issuer=ISSUER, jti="x", event="session-ended", scope=scope, subject=subject,
                not_before=world.now, received_at=world.now, mac=b"x" * 32,
            )
        )  # fmt: skip
    with pytest.raises(errors.RowAltered):
        world.activator().sign(world.request(sad))
