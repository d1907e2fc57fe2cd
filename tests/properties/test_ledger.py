"""Whatever is asked in whatever order, over whichever node, with whatever failing: no allowance is exceeded."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule

from auditlog.chain import verify
from auditlog.sql import read_entries
from contract.sad import Sad
from signing.sam import errors
from signing.sam.ledger import assign
from signing.sam.ports import DeviceLost, DeviceUnavailable
from signing.sam.reconcile import reconcile
from signing.storage.tables import audit
from tests.fakes.sam import digest, make_world
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


class Nodes(RuleBasedStateMachine):
    """Two nodes on one ledger, with a device that fails in every way that the port knows."""

    approvals = Bundle("approvals")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.world = make_world(f"sqlite:///{Path(self.directory.name) / 'sam.sqlite'}")
        self.nodes = [self.world.activator() for _ in range(2)]
        self.released: dict[str, Counter[bytes]] = {}
        self.lost: dict[str, int] = {}

    @initialize()
    def create(self) -> None:
        """One credential."""
        self.credential = self.world.credential()
        self.made_before = self.world.fake.signatures

    @rule(target=approvals, digests=DIGESTS)
    def approve(self, digests: tuple[bytes, ...]) -> Sad:
        """A person approves."""
        sad = self.world.sad(self.credential, digests)
        self.released[sad.txn], self.lost[sad.txn] = Counter(), 0
        return sad

    @rule(
        sad=approvals,
        wanted=DIGESTS,
        node=st.integers(0, 1),
        fate=st.sampled_from(["", "", "away", "lost before", "lost after", "wrong"]),
    )
    def redeem(self, sad: Sad, wanted: tuple[bytes, ...], node: int, fate: str) -> None:
        """Somebody redeems."""
        device, made = self.world.fake, self.world.fake.signatures
        if fate == "wrong":
            device.corrupt_next()
        elif fate:
            failure = DeviceUnavailable("x") if fate == "away" else DeviceLost("x")
            device.fail_next("sign", failure, after=fate == "lost after")
        try:
            values = self.nodes[node].sign(self.world.request(sad, digests=wanted))
        except errors.SamError:
            self.lost[sad.txn] += device.signatures - made
        else:
            assert len(values) == len(wanted)
            self.released[sad.txn] += Counter(wanted)
        device._script.clear()
        device._corrupt = 0
        assert not self.released[sad.txn] - Counter(sad.dtbsr)
        assert self.released[sad.txn].total() + self.lost[sad.txn] <= sad.sign_count

    @rule()
    def reconcile(self) -> None:
        """The reconciler comes by; nothing it closes comes back."""
        self.world.clock.advance(61)
        reconcile(self.world.store, self.world.clock, 60)

    def teardown(self) -> None:
        """The chain holds; nothing is open that the reconciler could not close."""
        self.reconcile()
        assert self.world.store.overdue(self.world.now, 1) == ()
        with self.world.engine.connect() as connection:
            verify(read_entries(connection, audit.entries))
        self.world.engine.dispose()
        self.directory.cleanup()


TestNodes = Nodes.TestCase
TestNodes.settings = settings(
    max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestNodes = pytest.mark.timeout(180)(TestNodes)
