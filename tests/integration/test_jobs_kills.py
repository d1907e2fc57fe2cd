"""SAD-03: workers of asynchronous operations are killed; the HSM's side keeps count of what was signed."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from foundation.clock import SystemClock
from foundation.files import write_secret
from signing.csc.jobs import serves_once
from signing.csc.work import SigningWork
from signing.jobs.model import Wanted, milliseconds
from signing.jobs.runner import LEASE, Runner
from signing.link.client import SamClient
from signing.storage.engine import open_engine
from tests.fakes.sam import digest
from tests.integration.jobs_node import POINTS, rssp_in
from tests.integration.oracle import Oracle
from tests.integration.sam_site import ROOT
from tests.integration.test_sam_kills import shimmed_site, signs, until
from tests.shim import Shim, of_digest

pytestmark = pytest.mark.hsm

LOST = "The outcome is not known; the authorization is spent"
EXPECTED = {
    "before_it_is_sent": True,
    "while_it_is_signed": True,
    "after_the_answer": False,
    "after_the_outcome": True,
}
"""Whether there are values in the end."""


class Later:
    """A clock of another node, when the lease of what died is over."""

    def now(self) -> datetime:
        return SystemClock().now() + timedelta(milliseconds=LEASE + 1000)


def test_the_points_are_all_gone_through() -> None:
    assert set(POINTS) == set(EXPECTED)


def test_SAD_03_a_worker_killed_anywhere_signs_nothing_twice_and_another_node_goes_on(
    database_url: str, shim: Shim, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'sam.sqlite'}"
    site = shimmed_site(tmp_path, url, shim)
    write_secret(tmp_path / "jobs.key", b"k" * 32)
    write_secret(tmp_path / "jobs-url", database_url.encode())
    write_secret(tmp_path / "client-secret", b"s")
    engine = open_engine(url)
    oracle = Oracle(shim, engine)
    with site.serving(), SamClient(site.socket()) as client:
        until(lambda: signs(client))
        view = site.credential(client)
        oracle.begin()
        rssp = rssp_in(tmp_path, site.socket(), Later())
        assert rssp.jobs is not None
        store, now = rssp.jobs.store, milliseconds(SystemClock().now())
        runner = Runner(store, SigningWork(rssp), lambda _uri, _job: True, Later(), notice_attempts=1)
        for number, point in enumerate(POINTS):
            sad = site.sad(view, (digest(2 * number + 1), digest(2 * number + 2)))
            request = site.request(sad)
            assert serves_once(sad, request.digests)
            wanted = Wanted(
                sad.client_id, sad.sub, json.dumps(request.to_json()).encode(), sad.exp * 1000, 600_000, once=True
            )
            job = store.add(wanted, now)
            died = subprocess.run(
                [sys.executable, "-m", "tests.integration.jobs_node", str(tmp_path), point],
                cwd=ROOT,
                stderr=subprocess.PIPE,
                check=False,
            )
            assert died.returncode == -signal.SIGKILL, died.stderr.decode()
            while runner.step():
                pass
            outcome = store.fetch(job, sad.client_id, sad.sub, milliseconds(Later().now()))
            assert outcome is not None, point
            content = json.loads(outcome.content)
            assert outcome.good is EXPECTED[point], point
            if outcome.good:
                oracle.release(request.digests, [base64.b64decode(value) for value in content["signatures"]])
            else:
                assert content["error_description"] == LOST
            # Whatever it was, it was signed once.
            assert [oracle.sent()[each] for each in map(of_digest, request.digests)] == [1, 1], point
        rssp.sam.close()
        store.close()
    oracle.verify()
    assert len(oracle.released) == 2 * sum(EXPECTED.values())
    engine.dispose()
