"""Whatever is written where and when, the policy in force is one that passed its own cases."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from idp.policy.prepare import prepare
from idp.web.policies import Policies
from tests.fakes.policies import make_site, policy

NAMES: Final = ("one", "two", "three")
CASES: Final = """\
policy-test: 1
cases:
  - name: a password signs in
    action: sign_in
    evidence: [password]
    expect: {{outcome: allow, reasons: [{rule}, "level:low"]}}
"""
JUNK: Final = (b"", b"policy: 1", b"\xff\xfe", b"&a [*a]", b"[" * 5000, b"#" * 300_000)
BOTH: Final = ("policy.yaml", "policy.test.yaml")


class Reload(RuleBasedStateMachine):
    """Two workers, and somebody who edits the files."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.site = make_site(self.directory)
        self.put("one")
        self.workers: list[Policies] = [self.site.worker(), self.site.worker()]

    def put(self, name: str) -> None:
        self.site.write(policy(name))
        self.site.write(CASES.format(rule=name).encode(), name="policy.test.yaml")

    @rule(name=st.sampled_from(NAMES))
    def write_both(self, name: str) -> None:
        self.put(name)

    @rule(name=st.sampled_from(NAMES), age=st.sampled_from([0, 60]))
    def write_the_policy(self, name: str, age: int) -> None:
        self.site.write(policy(name), age=age)

    @rule(name=st.sampled_from(NAMES), age=st.sampled_from([0, 60]))
    def write_the_cases(self, name: str, age: int) -> None:
        self.site.write(CASES.format(rule=name).encode(), name="policy.test.yaml", age=age)

    @rule(name=st.sampled_from(NAMES), end=st.integers(0, 200))
    def write_a_part(self, name: str, end: int) -> None:
        self.site.write(policy(name)[:end])

    @rule(junk=st.sampled_from(JUNK), file=st.sampled_from(BOTH))
    def write_junk(self, junk: bytes, file: str) -> None:
        self.site.write(junk, name=file)

    @rule(file=st.sampled_from(BOTH))
    def remove(self, file: str) -> None:
        (self.directory / file).unlink(missing_ok=True)

    @rule(which=st.integers(0, 1), after=st.sampled_from([0.5, 1, 3, 10, 70]))
    def request(self, which: int, after: float) -> None:
        self.site.look(self.workers[which], after=after)

    @rule()
    def work_beside_the_requests(self) -> None:
        waiting: list[Callable[[], None]] = [*self.site.aside]
        self.site.aside.clear()
        for work in waiting:
            work()

    @rule(name=st.sampled_from(NAMES))
    def what_is_repaired_is_in_force_in_the_end(self, name: str) -> None:
        self.put(name)
        self.work_beside_the_requests()
        self.site.look(*self.workers)
        self.work_beside_the_requests()
        self.site.look(*self.workers)
        assert [worker.current.policy.rules[0].id for worker in self.workers] == [name, name]
        assert [worker.troubles for worker in self.workers] == [(), ()]

    @invariant()
    def what_is_in_force_passed_its_own_cases(self) -> None:
        for worker in getattr(self, "workers", []):
            view = worker.current
            assert view.prepared is not None
            (first,) = view.policy.rules
            sound = prepare(policy(first.id), "p", CASES.format(rule=first.id).encode(), "c")
            assert view.policy.sha256 == sound.policy.sha256
            assert view.prepared.report is None or view.prepared.report.passed

    def teardown(self) -> None:
        if hasattr(self, "site"):
            self.site.engine.dispose()
            shutil.rmtree(self.directory)


TestReload = Reload.TestCase
TestReload.settings = settings(
    max_examples=20, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
