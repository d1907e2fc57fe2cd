"""What the API needs of jobs: take one in, fetch what came of one."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from foundation.clock import Clock
from foundation.egress import Egress
from foundation.files import read_secret
from signing.jobs.database import make_tables, open_database
from signing.jobs.model import Claimed, Outcome, Wanted, milliseconds
from signing.jobs.notices import Notices
from signing.jobs.runner import Background, Runner, Work
from signing.jobs.sealing import JobSeals, read_key
from signing.jobs.store import JobStore
from signing.settings import JobsSettings


def _nobody() -> None:
    """There is no worker here to be woken."""


@dataclass(slots=True)
class Jobs:
    """Asynchronous operations of one web tier.  Thread-safe."""

    store: JobStore
    notices: Notices
    clock: Clock
    settings: JobsSettings
    wake: Callable[[], None] = field(default=_nobody)

    def add(self, wanted: Wanted) -> str:
        """Take an operation in; see :meth:`JobStore.add`."""
        job = self.store.add(wanted, milliseconds(self.clock.now()))
        self.wake()
        return job

    def fetch(self, job: str, client_id: str, account: str) -> Outcome | None:
        """What came of it; see :meth:`JobStore.fetch`."""
        return self.store.fetch(job, client_id, account, milliseconds(self.clock.now()))

    def hold(self, claimed: Claimed, milliseconds_more: int) -> bool:
        """Have a job for longer, from now on; False where another worker has it by now."""
        return self.store.hold(claimed, milliseconds(self.clock.now()) + milliseconds_more)

    def remember(self, claimed: Claimed, request: bytes) -> bool:
        """Have what is left to be done in the request's place; see :meth:`JobStore.remember`."""
        return self.store.remember(claimed, request)

    def background(self, work: Work) -> Background:
        """What carries jobs out; not started yet."""
        runner = Runner(self.store, work, self.notices.send, self.clock, notice_attempts=self.settings.notice_attempts)
        running = Background(runner, self.settings.workers)
        self.wake = running.wake
        return running


def open_jobs(settings: JobsSettings, egress: Egress, clock: Clock) -> Jobs:
    """The jobs that the settings name, with their tables.

    :raises SettingsError, SecretFileError: database or key file cannot be used.
    :raises JobsUnavailable: the database does not answer.
    """
    url = settings.database_url
    if url is None:
        url = "" if settings.database_url_file is None else read_secret(settings.database_url_file).decode()
    engine = open_database(url)
    make_tables(engine)
    store = JobStore(
        engine,
        JobSeals(read_key(settings.key_file), secrets.token_bytes),
        secrets.token_bytes,
        most=settings.max_jobs,
        most_of_a_client=settings.max_jobs_of_a_client,
        most_octets=settings.max_octets,
        most_octets_of_a_client=settings.max_octets_of_a_client,
    )
    notices = Notices(
        settings.response_uris,
        egress,
        timeout_seconds=settings.notice_seconds,
        authorities=settings.response_authorities,
    )
    return Jobs(store, notices, clock, settings)
