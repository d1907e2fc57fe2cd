"""SAD-02 and SAD-10 over two processes of the module, on one PostgreSQL and one token (SoftHSM2)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from signing.link import codes
from signing.link.client import SamClient
from signing.link.errors import LinkRefused
from signing.link.messages import ExtendRequest, SignRequest
from signing.storage.engine import open_engine
from tests.fakes.sam import digest
from tests.fakes.softhsm import SOFTHSM2_MODULE
from tests.integration.oracle import Oracle
from tests.integration.sam_site import Site, make_site
from tests.integration.test_sam_kills import leave, signs, until
from tests.shim import Shim

pytestmark = [pytest.mark.hsm, pytest.mark.postgres]
NODES = ("a", "b")


RACERS = 20


@dataclass
class Pair:
    """Two nodes over one ledger."""

    site: Site
    clients: list[SamClient]
    shim: Shim
    url: str

    def made(self) -> int:
        """What the token was asked to sign by both, counted on its side."""
        return len(self.shim.sent())

    def at_once(self, requests: list[SignRequest], oracle: Oracle | None = None) -> Counter[str]:
        """Send all at the same moment, alternating between the nodes; the oracle hears what was released."""
        gate = threading.Barrier(len(requests))

        def send(number: int) -> str:
            gate.wait()
            try:
                values = self.clients[number % 2].sign(requests[number])
            except LinkRefused as refusal:
                return refusal.refusal
            if oracle is not None:
                oracle.release(requests[number].digests, values)
            return f"{len(values)} signed"

        with ThreadPoolExecutor(len(requests)) as pool:
            return Counter(pool.map(send, range(len(requests))))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, postgres_server: object, shim_library: Path) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        url = stack.enter_context(postgres_server.fresh_database())  # type: ignore[attr-defined] # tests.postgres.PostgresServer
        site, shim = make_site(directory, url), Shim(shim_library, directory / "shim", SOFTHSM2_MODULE)
        site.module, site.environment = shim.library, {**site.environment, **shim.environment}
        for node in NODES:
            site.write_config(node)
        site.init()
        clients = []
        for node in NODES:
            stack.enter_context(site.serving(node=node))
            clients.append(stack.enter_context(SamClient(site.socket(node), pool_size=32)))
        for client in clients:
            until(partial(signs, client))
        yield Pair(site, clients, shim, url)


def test_SAD_02_32_redemptions_of_one_sad_over_two_processes_give_one_signature(pair: Pair) -> None:
    view = pair.site.credential(pair.clients[0])
    request = pair.site.request(pair.site.sad(view))
    before = pair.made()
    assert pair.at_once([request] * 32) == {"1 signed": 1, codes.SAD_USED: 31}
    assert pair.made() == before + 1


def races(pair: Pair, rounds: int) -> None:
    """Of one, two or three digests, each is wanted by many at once, under two SADs of the approval, on both nodes."""
    view, engine = pair.site.credential(pair.clients[0]), open_engine(pair.url)
    oracle, seen = Oracle(pair.shim, engine), Counter[str]()
    oracle.begin()
    for number in range(rounds):
        allowed = 1 + number % 3
        digests = tuple(digest(1_000_000 + 3 * number + each) for each in range(allowed))
        sad = pair.site.sad(view, digests)
        both = [pair.site.request(replace(sad, jti=f"{sad.jti}-{each}")) for each in range(2)]
        # Four neighbours in turn want the same: each SAD, on each node.
        wanted = [replace(both[each // 2 % 2], digests=(digests[each // 4 % allowed],)) for each in range(RACERS)]
        outcome = pair.at_once(wanted, oracle)
        assert outcome == {"1 signed": allowed, codes.SAD_USED: RACERS - allowed}, f"round {number}: {outcome}"
        seen += outcome
    oracle.verify()
    assert len(oracle.released) == oracle.signed().total() == seen["1 signed"]
    assert seen.total() == RACERS * rounds
    engine.dispose()


@pytest.mark.timeout(300)
def test_SAD_02_SAD_10_five_hundred_redemptions_never_give_one_too_many(pair: Pair) -> None:
    races(pair, 500 // RACERS)


def test_SAD_02_of_those_that_race_half_do_not_wait_and_one_of_the_others_has_the_values(pair: Pair) -> None:
    view, engine = pair.site.credential(pair.clients[0]), open_engine(pair.url)
    oracle, rounds = Oracle(pair.shim, engine), 10
    oracle.begin()
    for number in range(rounds):
        request = pair.site.request(pair.site.sad(view, (digest(2_000_000 + number),)))
        gate = threading.Barrier(RACERS)

        def race(racer: int, request: SignRequest = request, gate: threading.Barrier = gate) -> str:
            gate.wait()
            # Neighbours in turn are at one node and the other; of each node's, every second one leaves.
            if racer // 2 % 2:
                leave(pair.site.socket(NODES[racer % 2]), request)
                return "left"
            try:
                oracle.release(request.digests, pair.clients[racer % 2].sign(request))
            except LinkRefused as refusal:
                return refusal.refusal
            return "signed"

        with ThreadPoolExecutor(RACERS) as pool:
            outcome = Counter(pool.map(race, range(RACERS)))
        assert outcome == {"left": RACERS // 2, "signed": 1, codes.SAD_USED: RACERS // 2 - 1}
    oracle.verify()
    assert len(oracle.released) == oracle.sent().total() == rounds
    engine.dispose()


def test_SAD_02_two_sads_of_one_approval_race_like_one(pair: Pair) -> None:
    view = pair.site.credential(pair.clients[0])
    sad = pair.site.sad(view)
    requests = [pair.site.request(replace(sad, jti=str(number))) for number in range(32)]
    before = pair.made()
    assert pair.at_once(requests) == {"1 signed": 1, codes.SAD_USED: 31}
    assert pair.made() == before + 1


def test_SAD_10_parallel_slices_of_three_over_two_processes_give_three_in_total(pair: Pair) -> None:
    view = pair.site.credential(pair.clients[0])
    whole = pair.site.request(pair.site.sad(view, (digest(1),) * 3))
    before = pair.made()
    outcome = pair.at_once([replace(whole, digests=(digest(1),) * (1 + number % 2)) for number in range(16)])
    signed = outcome["1 signed"] + 2 * outcome["2 signed"]
    assert signed <= 3
    assert pair.made() == before + signed
    assert sum(outcome.values()) == outcome["1 signed"] + outcome["2 signed"] + outcome[codes.SAD_USED] == 16


def test_SAD_11_an_event_told_to_one_process_is_obeyed_by_both_once_it_was_answered(pair: Pair) -> None:
    view = pair.site.credential(pair.clients[0])
    sads = [pair.site.sad(view) for _ in range(8)]
    requests = [pair.site.request(sad) for sad in sads]
    world, before = pair.site.now_world(), pair.made()
    answered: dict[int, bool] = {}

    def told(number: int) -> None:
        pair.clients[number % 2].revoke(world.event_token("transaction-withdrawn", sads[number].txn))
        answered[number] = True

    def tried(number: int) -> str:
        late = answered.get(number, False)
        try:
            pair.clients[(number + 1) % 2].sign(requests[number])
        except LinkRefused as refusal:
            return refusal.refusal
        assert not late, "signed after the event was answered"
        return "signed"

    with ThreadPoolExecutor(16) as pool:
        first = [pool.submit(tried, number) for number in range(8)]
        list(pool.map(told, range(8)))
        outcomes = Counter(future.result() for future in first)
    assert set(outcomes) <= {"signed", codes.SAD_REVOKED}
    assert pair.made() == before + outcomes["signed"]
    assert {tried(number) for number in range(8)} <= {codes.SAD_REVOKED}
    # Signed or not, nothing of theirs is signed again; the other process looked for itself.
    fresh = pair.site.sad(view)
    pair.clients[0].revoke(world.event_token("session-ended", fresh.txn))
    with pytest.raises(LinkRefused) as refused:
        pair.clients[1].sign(pair.site.request(fresh))
    assert refused.value.refusal == codes.SAD_REVOKED


def test_KEY_10_one_order_at_two_processes_makes_one_credential(pair: Pair) -> None:
    token = pair.site.now_world().order_token(sub="carol")
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda number: pair.clients[number % 2].create_credential(token), range(8)))
    assert len({item.pkcs10 for item in created}) == 1
    assert len(pair.clients[0].list_credentials("carol")) == 1


def test_AUD_06_every_value_of_the_device_has_one_intent_and_one_outcome(pair: Pair) -> None:
    view = pair.site.credential(pair.clients[0])
    with ThreadPoolExecutor(8) as pool:
        requests = [pair.site.request(pair.site.sad(view, (digest(1), digest(2)))) for _ in range(20)]
        list(pool.map(lambda number: pair.clients[number % 2].sign(requests[number]), range(20)))
    engine = open_engine(pair.url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT event, count(*) FROM audit_entries GROUP BY event")).all()
        counts: dict[str, int] = {row[0]: row[1] for row in rows}
        positions = connection.execute(text("SELECT count(*) FROM positions")).scalar_one()
        requests_signed = counts["credential.created"]
    engine.dispose()
    assert counts["signature.intent"] == counts["signature.consumed"]
    # Each redemption's positions, and each key's own certification request (intent and outcome of the creation).
    lost_races = pair.made() - positions - requests_signed
    assert 0 <= lost_races <= 7, "keys of a lost race over one order signed their request and were dropped"
    assert pair.site.run("audit", "verify", "--database-url-file", str(pair.site.directory / "url")).returncode == 0


def test_SAD_02_SAD_10_a_sad_and_its_successor_race_for_no_more_than_was_approved(pair: Pair) -> None:
    """Whatever comes first on whichever node: each digest once, and after the successor the predecessor nothing."""
    view = pair.site.credential(pair.clients[0])
    for _ in range(5):
        wanted = tuple(digest(number) for number in range(1, 9))
        first = pair.site.sad(view, wanted)
        second = pair.site.now_world().successor(first)
        both = [pair.site.request(sad) for sad in (first, second, first, second)]
        raced = wanted[:-1]
        requests = [replace(request, digests=(each,)) for each in raced for request in both]
        before = pair.made()
        outcome = pair.at_once(requests)
        # The successor was presented for every one of them, so all are signed.
        assert outcome["1 signed"] == len(raced)
        assert pair.made() == before + outcome["1 signed"]
        assert sum(outcome.values()) == outcome["1 signed"] + outcome[codes.SAD_USED] + outcome[codes.INVALID_SAD]
        last = [replace(pair.site.request(sad), digests=wanted[-1:]) for sad in (second, first)]
        assert pair.at_once(last[:1] * 2) == {"1 signed": 1, codes.SAD_USED: 1}
        assert pair.at_once(last[1:] * 2) == {codes.INVALID_SAD: 2}


def test_SAD_02_of_two_successors_over_two_processes_one_ever_serves(pair: Pair) -> None:
    view = pair.site.credential(pair.clients[0])
    for _ in range(5):
        wanted = (digest(1), digest(2))
        first = pair.site.sad(view, wanted)
        rivals = [pair.site.now_world().successor(first) for _ in range(8)]
        requests = [replace(pair.site.request(sad), digests=wanted[:1]) for sad in rivals]
        before = pair.made()
        assert pair.at_once(requests) == {"1 signed": 1, codes.INVALID_SAD: 7}
        assert pair.made() == before + 1
        again = [replace(request, digests=wanted[1:]) for request in requests]
        assert pair.at_once(again) == {"1 signed": 1, codes.INVALID_SAD: 7}


def test_SAD_02_told_to_one_process_a_successor_holds_on_both_once_it_was_answered(pair: Pair) -> None:
    view, world = pair.site.credential(pair.clients[0]), pair.site.now_world()
    firsts = [pair.site.sad(view) for _ in range(8)]
    requests = [pair.site.request(sad) for sad in firsts]
    answered: dict[int, bool] = {}

    def told(number: int) -> None:
        token = pair.site.request(world.successor(firsts[number])).sad
        with suppress(LinkRefused):  # where the signature was faster, nothing is left
            pair.clients[number % 2].extend(ExtendRequest(token, None))
        answered[number] = True

    def tried(number: int) -> str:
        late = answered.get(number, False)
        try:
            pair.clients[(number + 1) % 2].sign(requests[number])
        except LinkRefused as refusal:
            return refusal.refusal
        assert not late, "signed after the successor was answered"
        return "signed"

    before = pair.made()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(told, range(0, 8, 2)))
        racing = [pool.submit(told, number) for number in range(1, 8, 2)]
        outcome = Counter(pool.map(tried, range(8)))
        for each in racing:
            each.result()
    assert pair.made() == before + outcome["signed"]
    assert outcome["signed"] + outcome[codes.INVALID_SAD] == 8
    assert outcome[codes.INVALID_SAD] >= 4
