"""SAD-03: workers of asynchronous operations are killed; the HSM's side keeps count of what was signed."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from signing.csc.jobs import serves_once
from signing.storage.engine import open_engine
from tests.fakes.sam import digest
from tests.integration.jobs_node import POINTS
from tests.integration.killed_jobs import LOST, killed_jobs
from tests.integration.oracle import Oracle
from tests.shim import Shim, of_digest

pytestmark = pytest.mark.hsm

EXPECTED = {
    "before_it_is_sent": True,
    "while_it_is_signed": True,
    "after_the_answer": False,
    "after_the_outcome": True,
}
"""Whether there are values in the end."""


def test_the_points_are_all_gone_through() -> None:
    assert set(POINTS) == set(EXPECTED)


def test_SAD_03_a_worker_killed_anywhere_signs_nothing_twice_and_another_node_goes_on(
    database_url: str, shim: Shim, tmp_path: Path
) -> None:
    with killed_jobs(tmp_path, database_url, shim) as jobs:
        engine = open_engine(f"sqlite:///{tmp_path / 'sam.sqlite'}")
        oracle, view = Oracle(shim, engine), jobs.site.credential(jobs.client)
        oracle.begin()
        for number, point in enumerate(POINTS):
            sad = jobs.site.sad(view, (digest(2 * number + 1), digest(2 * number + 2)))
            request = jobs.site.request(sad)
            assert serves_once(sad, request.digests)
            job = jobs.add(sad, request.to_json())
            jobs.kill(point)
            good, content = jobs.finish(job, sad)
            assert good is EXPECTED[point], point
            if good:
                oracle.release(request.digests, [base64.b64decode(value) for value in content["signatures"]])
            else:
                assert content["error_description"] == LOST
            # Whatever it was, it was signed once.
            assert [oracle.sent()[each] for each in map(of_digest, request.digests)] == [1, 1], point
    oracle.verify()
    assert len(oracle.released) == 2 * sum(EXPECTED.values())
    engine.dispose()
