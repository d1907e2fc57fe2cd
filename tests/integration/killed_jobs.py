"""Asynchronous operations over a real module, whose workers are killed at named points and followed by another node."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from contract.sad import Sad
from foundation.clock import SystemClock
from foundation.files import write_secret
from signing.csc.core import Rssp
from signing.csc.work import SigningWork
from signing.jobs.model import Wanted, milliseconds
from signing.jobs.runner import LEASE, Runner
from signing.jobs.store import JobStore
from signing.link.client import SamClient
from tests.integration.jobs_node import rssp_in
from tests.integration.sam_site import ROOT, Site
from tests.integration.test_sam_kills import shimmed_site, signs, until
from tests.shim import Shim

LOST = "The outcome is not known; the authorization is spent"
"""What a client is told where nobody can say whether it was signed."""


@dataclass(frozen=True)
class Later:
    """A clock of another node, when that many leases of what died are over."""

    leases: int

    def now(self) -> datetime:
        """Ahead of the real one."""
        return SystemClock().now() + timedelta(milliseconds=self.leases * LEASE + 1000)


@dataclass
class KilledJobs:
    """The module, the jobs' database, and the node that goes on with what others left."""

    directory: Path
    site: Site
    client: SamClient
    rssp: Rssp
    store: JobStore
    later: Later

    def add(self, sad: Sad, request: object) -> str:
        """A job for the SAD, whose request is JSON; its identifier."""
        asked = json.dumps(request).encode()
        wanted = Wanted(sad.client_id, sad.sub, asked, sad.exp * 1000, 600_000, once=True)
        return self.store.add(wanted, milliseconds(SystemClock().now()))

    def kill(self, point: str) -> None:
        """A node takes the job, and dies at the point."""
        died = subprocess.run(
            [sys.executable, "-m", "tests.integration.jobs_node", str(self.directory), point],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            check=False,
        )
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()

    def finish(self, job: str, sad: Sad) -> tuple[bool, dict[str, Any]]:
        """Another node does what is left to do; whether it came out well, and what the client is told."""
        runner = Runner(self.store, SigningWork(self.rssp), lambda _uri, _job: True, self.later, notice_attempts=1)
        while runner.step():
            pass
        outcome = self.store.fetch(job, sad.client_id, sad.sub, milliseconds(self.later.now()))
        assert outcome is not None
        return outcome.good, json.loads(outcome.content)


@contextmanager
def killed_jobs(directory: Path, jobs_url: str, shim: Shim, *, leases: int = 1) -> Iterator[KilledJobs]:
    """A module with its database in the directory, that serves.

    :param jobs_url: of the jobs' database, which is empty.
    :param leases: by so many the next node's clock is ahead.
    """
    site = shimmed_site(directory, f"sqlite:///{directory / 'sam.sqlite'}", shim)
    write_secret(directory / "jobs.key", b"k" * 32)
    write_secret(directory / "jobs-url", jobs_url.encode())
    write_secret(directory / "client-secret", b"s")
    with site.serving(), SamClient(site.socket()) as client:
        until(lambda: signs(client))
        later = Later(leases)
        rssp = rssp_in(directory, site.socket(), later)
        assert rssp.jobs is not None
        yield KilledJobs(directory, site, client, rssp, rssp.jobs.store, later)
        rssp.sam.close()
        rssp.jobs.store.close()
