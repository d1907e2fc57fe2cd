"""A worker of asynchronous operations that dies at a named point: the real parts, on a real module.

``python -m tests.integration.jobs_node DIRECTORY POINT``: carries out one job of the database that ``settings_in``
names, and ends itself by SIGKILL at the point.  That exists here only.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from foundation.clock import Clock, SystemClock
from signing.app import create_app
from signing.csc.core import Rssp
from signing.csc.work import SigningWork
from signing.jobs.model import Claimed, Outcome
from signing.jobs.queue import Jobs
from signing.jobs.runner import Runner
from signing.link.client import SamClient
from signing.link.messages import SignRequest
from signing.settings import IssuerSettings, JobsSettings, WebSettings
from tests.integration.test_sam_kills import leave

POINTS = ("before_it_is_sent", "while_it_is_signed", "after_the_answer", "after_the_outcome")
DOCUMENT_POINTS = ("before_it_is_written_down", "after_it_is_written_down")
"""Of a job with documents, when the module has signed."""


def rssp_in(directory: Path, socket: Path, clock: Clock | None = None) -> Rssp:
    """The parts of a web tier, of files in a folder."""
    settings = WebSettings(
        mode="development",
        public_url="http://sign.localhost:8402",
        sam_socket=socket,
        issuer=IssuerSettings(
            "http://idp.localhost:8401", "csc", directory / "client-secret", sad_keys=(directory / "idp.pem",)
        ),
        jobs=JobsSettings(directory / "jobs.key", database_url_file=directory / "jobs-url"),
    )
    rssp = create_app(settings, clock=clock).extensions["privyseal-rssp"]
    assert isinstance(rssp, Rssp)
    return rssp


def _die(*_arguments: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()
    raise AssertionError


def _remember(jobs: Jobs, claimed: Claimed, request: bytes) -> NoReturn:
    if not jobs.store.remember(claimed, request):
        raise AssertionError("another worker has it")
    _die()


class DyingWork(SigningWork):
    """The work, dying."""

    point = ""

    def carry_out(self, claimed: Claimed) -> Outcome:
        """Carry out, up to the point."""
        if self.point == "before_it_is_sent":
            _die()
        outcome = super().carry_out(claimed)
        if self.point == "after_the_answer":
            _die()
        return outcome


def main(directory: Path, point: str) -> None:
    """Carry out one job."""
    rssp = rssp_in(directory, directory / "a.sock")
    assert rssp.jobs is not None

    def sign(_client: SamClient, request: SignRequest) -> tuple[bytes, ...]:
        leave(directory / "a.sock", request)
        _die()

    if point == "while_it_is_signed":
        setattr(SamClient, "sign", sign)  # noqa: B010 - mypy: a method is not assigned to
    if point in DOCUMENT_POINTS:
        setattr(Jobs, "remember", _remember if point == DOCUMENT_POINTS[1] else _die)  # noqa: B010 - as above
    DyingWork.point = point
    Runner(rssp.jobs.store, DyingWork(rssp), lambda _uri, _job: True, SystemClock(), notice_attempts=1).step()
    _die()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
