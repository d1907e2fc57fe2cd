"""Whatever is asked in whatever order, over whichever node, with whatever failing: no allowance is exceeded."""

from __future__ import annotations

import json
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from sqlalchemy import Engine

from auditlog.chain import verify
from auditlog.sql import read_entries
from contract import sad as sads
from contract.order import Operation
from contract.sad import Sad
from signing.sam import errors, events
from signing.sam.activate import Activator
from signing.sam.algorithms import SignatureAlgorithm
from signing.sam.custody import Custody, Seen
from signing.sam.ledger import Reservation, State, assign
from signing.sam.ports import DeviceLost, DeviceUnavailable, WrappedKey
from signing.sam.reconcile import reconcile
from signing.sam.revocation import RevocationMemory
from signing.sam.rollback import RollbackAnchor
from signing.sam.store import Record
from signing.sam.verify import LEEWAY_SECONDS
from signing.sam_app.parts import sads_not_before
from signing.storage.store import SqlStore
from signing.storage.tables import audit
from tests.fakes.copies import Copy, copy_tables, put_back
from tests.fakes.device import FakeDevice
from tests.fakes.sam import CLIENT, REALM, World, digest, make_world
from tests.vectors.sad import make

DIGESTS = st.lists(st.integers(1, 4).map(digest), min_size=1, max_size=8).map(tuple)


def sad_over(digests: tuple[bytes, ...]) -> Sad:
    return replace(make.SAD, dtbsr=digests, sign_count=len(digests))


@given(DIGESTS, st.lists(DIGESTS, max_size=8))
def test_positions_are_of_the_digest_wanted_free_and_different(
    authorised: tuple[bytes, ...], requests: list[tuple[bytes, ...]]
) -> None:
    sad, taken, signed = sad_over(authorised), set[int](), Counter[bytes]()
    for wanted in requests:
        try:
            positions = assign(sad, wanted, taken)
        except (errors.SadSpent, errors.DigestNotAuthorized):
            # Refused only where it would exceed what was authorised.
            assert signed + Counter(wanted) - Counter(authorised)
            continue
        assert [authorised[position] for position in positions] == list(wanted)
        assert len(set(positions)) == len(positions)
        assert not taken & set(positions)
        taken |= set(positions)
        signed += Counter(wanted)
        assert not signed - Counter(authorised)


@given(st.integers(1, 20), st.lists(st.integers(1, 8), max_size=10))
def test_without_digests_no_more_than_the_count(sign_count: int, requests: list[int]) -> None:
    sad, taken = replace(make.SAD, dtbsr=(), sign_count=sign_count), set[int]()
    for count in requests:
        try:
            taken |= set(assign(sad, [digest(9)] * count, taken))
        except errors.SadSpent:
            assert len(taken) + count > sign_count
    assert taken <= set(range(sign_count))


DAY = 24 * 60 * 60
LIMIT = 10
"""Of one of the credentials: signatures in a day."""
INTENT = events.SIGNATURE_INTENT
OUTCOMES = {events.SIGNATURE_CONSUMED, events.SIGNATURE_RELEASED, events.SIGNATURE_INDETERMINATE}
POINTS = ("before intent", "after intent", "after signing", "before outcome", "after outcome")


class Died(BaseException):
    """A process is no more: nothing catches it, and nothing of what it remembered is left."""


class CountingDevice(FakeDevice):
    """The oracle: what was signed, each value for an intent that was committed before and serves once."""

    def __init__(self) -> None:
        super().__init__()
        self.engine: Engine | None = None
        """Of the module's database, once the machine runs."""
        self.made: Counter[bytes] = Counter()
        self._used: set[str] = set()
        self._guard = threading.Lock()

    def sign(self, key: WrappedKey, algorithm: SignatureAlgorithm, digests: Sequence[bytes]) -> tuple[bytes, ...]:
        """Only with an intent of its own."""
        if self.engine is not None:
            with self._guard:
                self._take_intent([each.hex() for each in digests])
        return super().sign(key, algorithm, digests)

    def _take_intent(self, digests: list[str]) -> None:
        assert self.engine is not None
        with self.engine.connect() as connection:
            entries = read_entries(connection, audit.entries)
            found = [json.loads(entry.fields) for entry in entries if entry.event == INTENT]
        waiting = [each["redemption"] for each in found if each["digests"] == digests]
        free = [each for each in waiting if each not in self._used]
        assert free, "asked to sign without a committed intent of its own"
        self._used.add(free[-1])

    def _value(
        self, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, algorithm: SignatureAlgorithm, digest: bytes
    ) -> bytes:
        value = super()._value(key, algorithm, digest)
        with self._guard:
            self.made[digest] += 1
        return value


class DyingStore(SqlStore):
    """The store of a process that dies where it is told."""

    point = ""

    def reserve(
        self,
        reservation: Reservation,
        assign: Callable[[Collection[int]], tuple[int, ...]],
        record: Callable[[tuple[int, ...]], Record],
    ) -> tuple[int, ...]:
        """Around the intent's commit."""

        def last(chosen: tuple[int, ...]) -> Record:
            self.die_at("before intent")
            return record(chosen)

        chosen = super().reserve(reservation, assign, last)
        self.die_at("after intent")
        return chosen

    def conclude(self, redemption_id: str, state: State, reason: str, record: Record) -> State:
        """Around the outcome's."""
        self.die_at("before outcome")
        concluded = super().conclude(redemption_id, state, reason, record)
        self.die_at("after outcome")
        return concluded

    def die_at(self, point: str) -> None:
        """If that is where."""
        if self.point == point:
            raise Died


class DyingDevice:
    """The device of a process that dies once it has answered."""

    def __init__(self, inner: CountingDevice, store: DyingStore) -> None:
        self._inner, self._store = inner, store

    def sign(self, key: WrappedKey, algorithm: SignatureAlgorithm, digests: Sequence[bytes]) -> tuple[bytes, ...]:
        """And die."""
        values = self._inner.sign(key, algorithm, digests)
        self._store.die_at("after signing")
        return values

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


@dataclass
class Node:
    """A process, with what it remembers."""

    activator: Activator
    store: DyingStore
    anchor: RollbackAnchor


@dataclass(frozen=True)
class Minted:
    """A SAD, and the epoch of the ledger in which its approval was given."""

    sad: Sad
    epoch: int


def started(world: World) -> Node:
    """A process that starts now, and remembers nothing of before."""
    seen, store = Seen(), DyingStore(world.engine)
    anchor = RollbackAnchor(
        world.device,
        store,
        REALM,
        clock=world.clock,
        restored=seen.forget_versions,
        seen=seen.versions,
        pause=lambda _seconds: None,
    )
    custody = Custody(world.device, store, REALM, clock=world.clock, anchor=anchor, seen=seen)
    policy = replace(world.policy, sads_not_before=sads_not_before("development", world.clock.now()))
    alone = replace_memory(world)
    device = DyingDevice(counting(world), store)
    revocations = alone.revocations(store=store)
    return Node(
        world.activator(device=device, store=store, policy=policy, custody=custody, revocations=revocations),
        store,
        anchor,
    )


def replace_memory(world: World) -> World:
    """The same world, of whose revocations nobody remembers any."""
    alone = replace(world)
    alone.memory = RevocationMemory()
    return alone


def counting(world: World) -> CountingDevice:
    """Its device."""
    assert isinstance(world.device, CountingDevice)
    return world.device


class Nodes(RuleBasedStateMachine):
    """Two nodes on one ledger.  Signatures made ≤ digests approved, one intent each, whatever happens when:

    SADs are minted, also several for an approval, and in another one's place; redeemed, whole and in parts, one after
    the other and at once; they expire, are withdrawn; credentials are suspended and resumed, and one of them may sign
    so much in a day; the device fails in every way that the port knows; processes die and start with no memory; the
    database is put back, with operators who restore it and without.
    """

    minted: Bundle[Minted] = Bundle("minted")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        url = f"sqlite:///{Path(self.directory.name) / 'sam.sqlite'}"
        self.world = make_world(url, device=CountingDevice())
        self.device = counting(self.world)
        self.approved: Counter[bytes] = Counter()
        self.released: Counter[bytes] = Counter()
        self.approvals = 0
        self.lately: deque[Minted] = deque(maxlen=4)
        self.epoch = 1
        self.suspended = False
        self.withdrawn: set[str] = set()
        self.signed_at: list[int] = []
        self.copy: Copy | None = None
        self.pool = ThreadPoolExecutor(4)

    @initialize()
    def create(self) -> None:
        """Two credentials, two nodes."""
        free, limited = self.world.credential(), self.world.credential()
        floor = self.world.operation("credential.set_floor", 1, credential_id=limited.id, max_signatures_per_day=LIMIT)
        self.world.operators().execute(floor)
        self.credentials = [free, self.world.lifecycle().credential(limited.id)]
        self.world.clock.advance(2)
        self.nodes = [started(self.world) for _ in range(2)]
        self.world.clock.advance(2)
        self.device.made.clear()
        self.device.engine = self.world.engine

    # SADs come

    @rule(target=minted, numbers=st.lists(st.integers(1, 4), min_size=1, max_size=8), which=st.integers(0, 1))
    def approve(self, numbers: list[int], which: int) -> Minted:
        """A person approves: digests that no other approval is over."""
        self.approvals += 1
        digests = tuple(digest(1000 * self.approvals + number) for number in numbers)
        self.approved.update(digests)
        self.lately.append(Minted(self.world.sad(self.credentials[which], digests), self.epoch))
        return self.lately[-1]

    @rule(target=minted, before=minted)
    def mint_again(self, before: Minted) -> Minted:
        """Another SAD of the same approval; none of one that was withdrawn, or that is from before a restore."""
        if before.sad.txn in self.withdrawn or before.epoch != self.epoch or before.sad.supersedes is not None:
            return multiple()  # type: ignore[return-value] # Hypothesis's word for none
        now = self.world.now
        return Minted(replace(before.sad, jti=f"{before.sad.jti}-{now}", iat=now, exp=now + 300), self.epoch)

    @rule(target=minted, before=minted, told=st.booleans(), node=st.integers(0, 1))
    def extend(self, before: Minted, told: bool, node: int) -> Minted:
        """A SAD in its place, of which the module hears at once, or with the next request."""
        successor = self.world.successor(before.sad)
        if told:
            try:
                self.nodes[node].activator.extend(sads.encode(successor, self.world.idp_key), CLIENT)
            except errors.SamError:
                pass
            else:
                assert before.sad.txn not in self.withdrawn
                self._refused(before)
        return Minted(successor, before.epoch)

    def _refused(self, one: Minted) -> None:
        for node in self.nodes:
            try:
                node.activator.sign(self.world.request(one.sad, digests=one.sad.dtbsr[:1]))
            except errors.SamError:
                continue
            raise AssertionError("signed with a SAD whose place another one took")

    # SADs are redeemed

    @rule(
        one=minted,
        start=st.integers(0, 7),
        count=st.integers(1, 8),
        node=st.integers(0, 1),
        fate=st.sampled_from(["", "", "away", "lost before", "lost after", "wrong", *POINTS]),
    )
    def redeem(self, one: Minted, start: int, count: int, node: int, fate: str) -> None:
        """Somebody redeems some of it."""
        wanted = one.sad.dtbsr[start % len(one.sad.dtbsr) :][:count]
        self.nodes[node].store.point = fate
        if fate == "wrong":
            self.device.corrupt_next()
        elif fate in {"away", "lost before", "lost after"}:
            failure = DeviceUnavailable("x") if fate == "away" else DeviceLost("x")
            self.device.fail_next("sign", failure, after=fate == "lost after")
        try:
            self._ask(one, wanted, node)
        except Died:
            self.nodes[node] = started(self.world)
        else:
            self.nodes[node].store.point = ""
        self.device._script.clear()
        self.device._corrupt = 0

    @rule(some=st.lists(minted, min_size=2, max_size=4), again=st.booleans())
    def redeem_at_once(self, some: list[Minted], again: bool) -> None:
        """Several at the same time, over both nodes, which group what comes together."""
        asked = [(one, number % 2) for number, one in enumerate(some * (1 + again))]
        for each in [self.pool.submit(self._ask, one, one.sad.dtbsr, node) for one, node in asked]:
            each.result()

    def _ask(self, one: Minted, wanted: tuple[bytes, ...], node: int) -> None:
        try:
            values = self.nodes[node].activator.sign(self.world.request(one.sad, digests=wanted))
        except errors.SamError:
            return
        assert len(values) == len(wanted)
        assert one.sad.txn not in self.withdrawn, "signed after it was withdrawn"
        assert one.epoch == self.epoch, "signed with a SAD from before a restore"
        assert one.sad.exp > self.world.now
        limited = one.sad.credential_id == self.credentials[1].id
        assert not (limited and self.suspended), "signed while suspended"
        self.released.update(wanted)
        if limited:
            self.signed_at += [self.world.now] * len(wanted)

    # What comes between

    @rule(seconds=st.sampled_from([1, 30, 301, DAY + 1]))
    def wait(self, seconds: int) -> None:
        """Time passes; SADs expire, days begin."""
        self.world.clock.advance(seconds)

    @rule()
    def reconcile(self) -> None:
        """The reconciler comes by; nothing it closes comes back."""
        self.world.clock.advance(61)
        reconcile(self.world.store, self.world.clock, 60)

    @rule()
    def suspend_or_resume(self) -> None:
        """The second credential."""
        operation: Operation = "credential.resume" if self.suspended else "credential.suspend"
        order = self.world.order_token(operation, credential_id=self.credentials[1].id)
        try:
            self.world.lifecycle().execute(order)
        except errors.SamError:
            return
        self.suspended = not self.suspended

    @rule(one=minted)
    def withdraw(self, one: Minted) -> None:
        """The issuer takes an approval back."""
        try:
            self.world.revocations().record(self.world.event_token("transaction-withdrawn", one.sad.txn))
        except errors.SamError:
            return
        self.withdrawn.add(one.sad.txn)

    @rule(node=st.integers(0, 1))
    def look(self, node: int) -> None:
        """What a process does every minute: compare the database with the token's anchor, and bring that up to it."""
        try:
            self.nodes[node].anchor.check()
            self.nodes[node].anchor.checkpoint()
        except errors.SamError:
            pass

    @rule(node=st.integers(0, 1))
    def restart(self, node: int) -> None:
        """A process ends, and another one takes its place."""
        self.nodes[node] = started(self.world)

    @rule()
    def back_up(self) -> None:
        """Somebody keeps a copy of the database."""
        self.copy = copy_tables(self.world.engine)

    @rule(one=minted, now=st.booleans())
    def restore(self, one: Minted, now: bool) -> None:
        """It is put back, and two operators say that it is right: what was approved before is refused for good."""
        self._put_back(one, now)
        self.world.clock.advance(LEEWAY_SECONDS + 1)  # an operation is from after the epoch
        self.world.operators().execute(self.world.operation("ledger.restore"))
        self.epoch += 1
        self._know_again()
        self._replay()

    @rule(one=minted, now=st.booleans())
    def set_back(self, one: Minted, now: bool) -> None:
        """It is put back, and everything started again, on nobody's word."""
        self._put_back(one, now)
        self.nodes = [started(self.world) for _ in range(2)]
        self.world.clock.advance(1)
        # As before a restore, as far as issuers go: nothing from before the start serves.
        self.epoch += 1
        self._know_again()
        self._replay()

    def _replay(self) -> None:
        """Whoever was waiting for this tries what it forgot."""
        for one in self.lately:
            for node in range(2):
                self._ask(one, one.sad.dtbsr, node)

    def _put_back(self, one: Minted, now: bool) -> None:
        """To some time ago, or to where it was before one more redemption."""
        if now or self.copy is None:
            self.copy = copy_tables(self.world.engine)
            self._ask(one, one.sad.dtbsr, 0)
            self.lately.append(one)
        put_back(self.world.engine, self.copy)
        self.signed_at.clear()

    def _know_again(self) -> None:
        """What the put-back database says of the credential."""
        row = self.world.store.credential(self.credentials[1].id)
        assert row is not None
        self.suspended = row.credential.status == "suspended"

    # What holds

    @invariant()
    def no_more_than_was_approved(self) -> None:
        """Counted on the device's side."""
        assert not self.device.made - self.approved
        assert not self.released - self.device.made

    @invariant()
    def no_more_in_a_day(self) -> None:
        """Of the second credential."""
        last = self.world.now - DAY
        assert len([at for at in self.signed_at if at > last]) <= LIMIT

    def teardown(self) -> None:
        """The chain holds; each intent has one outcome; nothing is open that the reconciler could not close."""
        self.pool.shutdown()
        self.reconcile()
        assert self.world.store.overdue(self.world.now, 1) == ()
        with self.world.engine.connect() as connection:
            entries = list(read_entries(connection, audit.entries))
        verify(entries)
        begun = Counter(json.loads(entry.fields)["redemption"] for entry in entries if entry.event == INTENT)
        ended = Counter(json.loads(entry.fields)["redemption"] for entry in entries if entry.event in OUTCOMES)
        assert begun == ended
        assert set(begun.values()) <= {1}
        self.world.engine.dispose()
        self.directory.cleanup()


TestNodes = Nodes.TestCase
TestNodes.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestNodes = pytest.mark.timeout(300)(TestNodes)
