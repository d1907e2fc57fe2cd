"""The policy in force: another one takes its place whole, or not at all."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from idp.policy.errors import PolicyRejected
from idp.storage import policies
from idp.storage.engine import reading
from idp.web.policies import Policies
from tests.fakes.policies import Site, make_site, policy
from tests.fakes.seals import make_sealer

CASES = b"""\
policy-test: 1
cases:
  - name: a password signs in
    action: sign_in
    evidence: [password]
    expect: {outcome: allow, reasons: [RULE, "level:low"]}
"""
BAD = b"policy: 1\nname: broken\nlevels: [\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = make_site(tmp_path)
    made.write(policy("one"))
    yield made
    made.engine.dispose()


def rule(worker: Policies) -> str:
    """What the policy in force is known by."""
    return worker.current.policy.rules[0].id


def troubles(*workers: Policies) -> list[str]:
    """What they report."""
    return [code for worker in workers for code in worker.troubles]


def test_an_edited_file_is_in_force_at_the_next_look_and_is_recorded_once_by_all_workers(site: Site) -> None:
    first, second = site.worker(), site.worker()
    assert (rule(first), rule(second)) == ("one", "one")
    assert site.events() == ["policy.in_force"]
    site.write(policy("two"))
    site.look(first, second)
    assert (rule(first), rule(second)) == ("two", "two")
    (_, changed) = site.records()
    fields = json.loads(changed.fields)
    assert fields["policy_sha256"] == first.current.policy.sha256
    with reading(site.engine) as connection:
        former = policies.by_sha256(connection, fields["former_sha256"])
    assert former is not None
    assert former.content == policy("one")
    assert site.happenings() == ["in_force", "in_force"]


def test_a_request_between_two_looks_costs_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = site.worker()
    site.look(worker)
    monkeypatch.setattr(Path, "stat", lambda *_args, **_named: pytest.fail("a file was looked at"))
    site.look(worker, after=0.9)


def test_a_clock_that_was_set_back_does_not_keep_a_policy_in_force(site: Site) -> None:
    worker = site.worker()
    site.look(worker)
    site.clock.advance(-3600)
    site.write(policy("two"))
    site.look(worker, after=0)
    assert rule(worker) == "two"


def test_a_bad_file_leaves_the_old_policy_in_force_says_so_once_and_is_forgotten_when_repaired(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = site.worker(), site.worker()
    site.write(BAD)
    for _ in range(3):
        site.look(first, second, after=70)
    assert (rule(first), rule(second)) == ("one", "one")
    assert troubles(first, second) == ["policy_faults", "policy_faults"]
    assert site.events() == ["policy.in_force", "policy.refused"]
    with reading(site.engine) as connection:
        entry, _ = policies.history(connection)
        state = policies.state(connection, make_sealer(), "in_force")
        assert policies.by_sha256(connection, entry.sha256) is None, "what was refused is not kept"
    assert (entry.happening, entry.cause, entry.faults[0].line) == ("refused", "faults", 4)
    assert state is not None
    assert state.refused
    (said, _) = [item for item in caplog.records if item.levelno == logging.ERROR]
    assert "policy.yaml:4:1" in said.__dict__["fields"]["faults"][0]
    site.write(policy("one"))
    site.look(first, second)
    assert troubles(first, second) == []
    assert site.events()[2:] == ["policy.restored"]
    assert site.happenings() == ["in_force", "refused", "restored"]


def test_a_bad_file_that_comes_a_second_time_is_recorded_a_second_time(site: Site) -> None:
    worker = site.worker()
    for data in (BAD, policy("one"), BAD, policy("two"), BAD):
        site.write(data)
        site.look(worker)
    assert site.events()[1:] == [
        "policy.refused", "policy.restored", "policy.refused", "policy.in_force", "policy.refused"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        Path.unlink,
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.unlink(), path.symlink_to(path)),
        lambda path: path.with_name("policy.test.yaml").mkdir(),
    ],
    ids=["gone", "a-directory", "a-link-to-itself", "no-file-of-cases"],
)
def test_a_file_that_is_gone_or_is_none_leaves_the_old_policy_in_force(site: Site, make: Callable[[Path], Any]) -> None:
    worker = site.worker()
    make(site.file)
    site.look(worker)
    site.look(worker)
    assert rule(worker) == "one"
    assert worker.troubles == ("policy_unreadable",)


def test_a_pipe_in_a_files_place_keeps_nobody_waiting(site: Site) -> None:
    worker = site.worker()
    site.file.unlink()
    os.mkfifo(site.file)
    site.look(worker)
    site.look(worker)
    assert worker.troubles == ("policy_unreadable",)


def test_a_file_larger_than_any_policy_is_not_read_whole(site: Site) -> None:
    worker = site.worker()
    site.write(b"#" * 10_000_000)
    site.look(worker)
    assert worker.troubles == ("policy_faults",)
    with reading(site.engine) as connection:
        assert "larger than" in policies.history(connection)[0].faults[0].message


def test_a_server_does_not_start_with_a_bad_file_and_the_refusal_is_recorded(site: Site) -> None:
    site.write(BAD)
    with pytest.raises(PolicyRejected) as refused:
        site.worker()
    assert refused.value.cause == "faults"
    assert site.events() == ["policy.refused"]


def test_a_server_without_a_file_does_not_start(site: Site) -> None:
    site.file.unlink()
    with pytest.raises(PolicyRejected, match="no such file"):
        site.worker()


def test_an_edited_policy_that_fails_its_own_cases_is_refused_and_the_old_one_stays(site: Site) -> None:
    site.write(CASES.replace(b"RULE", b"one"), name="policy.test.yaml")
    worker = site.worker()
    site.write(policy("two"))
    site.look(worker)
    assert (rule(worker), worker.troubles) == ("one", ("policy_cases_failed",))
    (refused,) = site.records("policy.refused")
    assert json.loads(refused.fields)["cause"] == "cases_failed"
    site.write(CASES.replace(b"RULE", b"two"), name="policy.test.yaml")
    site.look(worker)
    assert (rule(worker), worker.troubles) == ("two", ())


def test_production_takes_no_policy_without_cases_unless_told_so(tmp_path: Path) -> None:
    site = make_site(tmp_path, mode="production")
    site.write(policy())
    with pytest.raises(PolicyRejected) as refused:
        site.worker()
    assert refused.value.cause == "cases_missing"
    site.engine.dispose()
    other = tmp_path / "other"
    other.mkdir()
    lenient = make_site(other, mode="production", policy={"cases_required": False})
    lenient.write(policy())
    assert rule(lenient.worker()) == "sign-in"
    lenient.engine.dispose()


# An editor at work


def test_a_file_that_is_being_written_is_taken_only_when_it_stands_still(site: Site) -> None:
    worker = site.worker()
    site.write(policy("two")[:40], age=0)
    site.look(worker, after=1)
    site.write(policy("two"), age=0)
    site.look(worker, after=1)
    assert (rule(worker), worker.troubles) == ("one", ())
    site.look(worker, after=1)
    for work in site.aside:
        work()
    assert (rule(worker), worker.troubles) == ("two", ())
    assert site.events() == ["policy.in_force", "policy.in_force"]


def test_a_file_from_the_future_is_taken_when_it_stands_still(site: Site) -> None:
    worker = site.worker()
    site.write(policy("two"), age=-3600)
    site.look(worker)
    assert rule(worker) == "one"
    site.look(worker)
    assert rule(worker) == "two"


def test_a_rename_between_the_policy_and_its_cases_is_noticed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both files of one version, or none: the cases of the one must not judge the other."""
    worker = site.worker()
    site.write(policy("two"))
    read = policies_read(monkeypatch)

    def replaced(path: Path) -> None:
        if path.name == "policy.test.yaml":
            site.write(policy("three"), name="new.yaml")
            (site.directory / "new.yaml").rename(site.file)

    read.append(replaced)
    site.look(worker)
    assert rule(worker) == "one", "what was read is of two times"
    read.clear()
    site.look(worker)
    assert rule(worker) == "three"


def test_a_directory_that_is_exchanged_by_a_link_is_noticed(site: Site) -> None:
    """As a container platform mounts its configuration: the files are links into a directory that is one itself."""
    for number, word in ((1, "two"), (2, "three")):
        version = site.directory / f"version-{number}"
        version.mkdir()
        site.write(policy(word), name=f"{version.name}/policy.yaml")
    (site.directory / "current").symlink_to("version-1")
    site.file.unlink()
    site.file.symlink_to("current/policy.yaml")
    worker = site.worker()
    assert rule(worker) == "two"
    (site.directory / "next").symlink_to("version-2")
    (site.directory / "next").rename(site.directory / "current")
    site.look(worker)
    assert rule(worker) == "three"


def test_what_was_written_while_it_was_read_is_not_taken(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = site.worker()
    site.write(policy("two"))
    status = os.fstat

    def written(descriptor: int) -> os.stat_result:
        before = status(descriptor)
        site.write(policy("six"))
        return before

    monkeypatch.setattr("idp.storage.policy_files.os.fstat", written)
    site.look(worker)
    assert (rule(worker), worker.troubles) == ("one", ())
    with pytest.raises(PolicyRejected, match="changes while it is read"):
        site.worker()


def policies_read(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[Path], None]]:
    """What is to happen right after a file was opened."""
    happens: list[Callable[[Path], None]] = []
    opened = os.open

    def open_(path: Any, flags: int, *args: Any, **named: Any) -> int:
        try:
            return opened(path, flags, *args, **named)
        finally:
            for call in happens:
                call(Path(path))

    monkeypatch.setattr("idp.storage.policy_files.os.open", open_)
    return happens


def test_an_edit_that_the_files_times_do_not_show_is_found_a_minute_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems keep seconds, or forget to tell."""
    worker = site.worker()
    site.look(worker)
    status = site.file.stat()
    monkeypatch.setattr("idp.storage.policy_files._identity", lambda _status: (1, 1, 1, 1, 1))
    site.look(worker)
    site.file.write_bytes(policy("two"))
    os.utime(site.file, ns=(status.st_atime_ns, status.st_mtime_ns))
    site.look(worker, after=59)
    assert rule(worker) == "one"
    site.look(worker, after=5)
    assert rule(worker) == "two"


# Beside the requests


def test_while_requests_keep_coming_none_of_them_prepares_a_policy(site: Site) -> None:
    worker = site.worker()
    site.look(worker)
    site.write(policy("two"))
    site.look(worker, after=1)
    assert rule(worker) == "one"
    site.look(worker, after=1)
    assert len(site.aside) == 1, "one is at it"
    site.aside.pop()()
    assert rule(worker) == "two"
    site.write(policy("three"))
    site.look(worker, after=1)
    site.aside.pop()()
    assert rule(worker) == "three"


def test_after_a_pause_the_first_request_is_decided_by_what_was_edited_meanwhile(site: Site) -> None:
    worker = site.worker()
    site.look(worker)
    site.write(policy("two"))
    site.look(worker, after=5)
    assert (rule(worker), site.aside) == ("two", [])


def test_a_request_does_not_wait_for_another_one_that_looks(site: Site) -> None:
    worker = site.worker()
    site.write(policy("two"))
    inside, go_on = threading.Event(), threading.Event()

    def slow(work: Callable[[], None]) -> None:
        inside.set()
        go_on.wait(10)
        work()

    busy = site.worker(aside=slow)
    site.look(busy, after=0)
    site.write(policy("three"))
    thread = threading.Thread(target=site.look, args=(busy,), kwargs={"after": 1})
    thread.start()
    assert inside.wait(10)
    site.look(busy, after=1)
    assert rule(busy) == "two"
    go_on.set()
    thread.join(10)
    assert rule(busy) == "three"
    del worker


def test_threads_that_look_and_read_at_one_time_never_see_half_of_a_policy(site: Site) -> None:
    worker = site.worker(tighten=lambda settings, found: replace(settings, service_name=found.rules[0].id))
    over, wrong, seen = threading.Event(), [], set()

    def ask() -> None:
        while not over.wait(0.0005):
            worker.refresh()
            view = worker.current
            seen.add(view.settings.service_name)
            if view.prepared is None or view.prepared.policy is not view.policy:
                wrong.append("prepared")
            if view.settings.service_name != view.policy.rules[0].id:
                wrong.append("settings")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(8):
        site.write(policy(f"r{number}"))
        for _ in range(3000):
            site.clock.advance(10)
            if worker.current.policy.rules[0].id == f"r{number}":
                break
            time.sleep(0.01)
    over.set()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert f"r{number}" in seen
    assert len(seen) >= 5


def test_where_no_thread_can_be_started_the_request_prepares_the_policy(site: Site) -> None:
    def none(_work: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    worker = site.worker(aside=none)
    site.look(worker)
    site.write(policy("two"))
    site.look(worker, after=1)
    assert rule(worker) == "two"


# When other things fail


def test_a_policy_that_cannot_be_recorded_is_not_in_force_and_is_tried_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = site.worker()
    site.write(policy("two"))

    def down(*_args: Any) -> None:
        raise OperationalError("statement", {}, Exception("down"))

    with monkeypatch.context() as patched:
        patched.setattr(policies, "accept", down)
        site.look(worker)
    assert (rule(worker), worker.troubles) == ("one", ("policy_internal",))
    site.look(worker)
    assert (rule(worker), worker.troubles) == ("two", ())


def test_a_file_that_goes_back_to_what_is_in_force_while_the_database_is_away_leaves_no_warning(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = site.worker()
    site.write(policy("two"))
    with monkeypatch.context() as patched:
        patched.setattr(policies, "accept", lambda *_args: 1 / 0)
        site.look(worker)
    site.write(policy("one"))
    site.look(worker)
    assert (rule(worker), worker.troubles) == ("one", ())


def test_a_refusal_that_cannot_be_recorded_is_said_and_recorded_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = site.worker()
    site.write(BAD)

    def down(*_args: Any) -> None:
        raise OperationalError("statement", {}, Exception("down"))

    with monkeypatch.context() as patched:
        patched.setattr(policies, "refuse", down)
        site.look(worker)
    assert (worker.troubles, site.events("policy.refused")) == (("policy_faults",), [])
    site.look(worker)
    assert site.events("policy.refused") == ["policy.refused"]


def test_a_fault_of_the_program_leaves_the_old_policy_in_force(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = site.worker()
    site.write(policy("two"))
    with monkeypatch.context() as patched:
        patched.setattr("idp.web.policies.prepare", lambda *_args, **_named: 1 / 0)
        site.look(worker)
        assert (rule(worker), worker.troubles) == ("one", ("policy_internal",))
        patched.setattr("idp.storage.policy_files._signature", lambda _files: 1 / 0)
        site.look(worker)
    site.look(worker)
    assert rule(worker) == "two"


def test_the_state_of_the_policies_is_sealed(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.worker()
    with site.engine.begin() as connection:
        connection.execute(policies.policy_states.update().values(approved_iat=5))
    with reading(site.engine) as connection:
        assert policies.state(connection, make_sealer(), "in_force") is None
    assert "altered" in caplog.text
    worker = site.worker()
    assert rule(worker) == "one"


def test_content_that_is_not_what_its_hash_says_is_nobodys(site: Site) -> None:
    digest = site.worker().current.policy.sha256
    with site.engine.begin() as connection:
        connection.execute(policies.policy_versions.update().values(content=b"something weaker"))
    with reading(site.engine) as connection:
        assert policies.by_sha256(connection, digest) is None
        assert policies.by_sha256(connection, "0" * 64) is None
