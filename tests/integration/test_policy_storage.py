"""What the database keeps of policies, on SQLite and on PostgreSQL: each thing once, however many processes see it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from idp.policy.evaluate import evaluate
from idp.policy.evidence import Evidence
from idp.policy.load import parse_policy
from idp.policy.model import Facts
from idp.policy.records import verdict_of
from idp.policy.replay import change
from idp.storage import policies, shadow
from idp.storage.engine import reading
from idp.web.policies import Policies
from tests.fakes.policies import NOW, Site, make_site, policy
from tests.fakes.seals import make_sealer

WORKERS = 5
BAD = b"policy: 1\n"


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = make_site(tmp_path, database_url)
    made.write(policy("one"))
    yield made
    made.engine.dispose()


def together(*calls: Callable[[], object]) -> None:
    """All at once."""
    barrier = threading.Barrier(len(calls))
    failed: list[Exception] = []

    def run(call: Callable[[], object]) -> None:
        barrier.wait(30)
        try:
            call()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []


def test_processes_that_start_at_one_time_put_one_policy_in_force_once(site: Site) -> None:
    made: list[Policies] = []
    together(*[lambda: made.append(site.worker())] * WORKERS)
    assert {worker.current.policy.rules[0].id for worker in made} == {"one"}
    assert site.events() == ["policy.in_force"]
    assert site.happenings() == ["in_force"]


@pytest.mark.parametrize(
    ("data", "events"), [(policy("two"), ["policy.in_force"]), (BAD, ["policy.refused"])], ids=["good", "bad"]
)
def test_what_all_processes_find_at_one_time_is_recorded_once(site: Site, data: bytes, events: list[str]) -> None:
    workers = [site.worker() for _ in range(WORKERS)]
    site.write(data)
    site.clock.advance(10)
    together(*[worker.refresh for worker in workers])
    assert site.events()[1:] == events
    assert len(site.happenings()) == 2
    site.write(policy("one"))
    site.clock.advance(10)
    together(*[worker.refresh for worker in workers])
    assert len(site.happenings()) == 3
    assert {worker.current.policy.rules[0].id for worker in workers} == {"one"}
    assert [worker.troubles for worker in workers] == [()] * WORKERS


def test_what_was_ever_in_force_is_found_by_its_hash(site: Site) -> None:
    worker = site.worker()
    digests = [worker.current.policy.sha256]
    for rule in ("two", "three", "one"):
        site.write(policy(rule))
        site.write(b"", name="policy.approval.json")
        site.look(worker)
        digests.append(worker.current.policy.sha256)
    assert digests[0] == digests[-1]
    with reading(site.engine) as connection:
        found = [policies.by_sha256(connection, digest) for digest in digests]
        history = policies.history(connection, 2)
    assert [version.content for version in found if version] == [
        policy("one"), policy("two"), policy("three"), policy("one")
    ]  # fmt: skip
    assert [version.name for version in found if version] == ["tests"] * 4
    assert [entry.sha256 for entry in history] == [digests[3], digests[2]], "the latest first, and no more than asked"


def test_differences_are_counted_and_given_back(site: Site) -> None:
    old, new = parse_policy(policy("one"), "old.yaml"), parse_policy(policy("one", factor="totp"), "new.yaml")
    facts = Facts("sign_in", (Evidence("password", "p", "knowledge", NOW),), NOW, client_id="c")
    found = change(new, "decision-1", facts, verdict_of(evaluate(old, facts)))
    assert found is not None
    with site.engine.begin() as connection:
        for _ in range(3):
            shadow.record(connection, "txn", old.sha256, new.sha256, found)
    with reading(site.engine) as connection:
        assert shadow.count(connection, new.sha256) == 3
        assert shadow.count(connection, old.sha256) == 0
        given = shadow.differences(connection, new.sha256, 2)
        assert shadow.summary(connection, new.sha256, NOW) == shadow.Summary(0, (("sign_in", "deny", 3),))
    assert len(given) == 2
    assert (given[0].decision_id, given[0].at, given[0].causes) == ("decision-1", NOW, found.causes)


def test_a_role_that_never_had_a_file_has_no_state(site: Site) -> None:
    with reading(site.engine) as connection:
        assert policies.state(connection, make_sealer(), "shadow") is None
        assert policies.history(connection) == ()
    with site.engine.begin() as connection:
        assert policies.empty(connection, make_sealer(), "shadow") == ""
