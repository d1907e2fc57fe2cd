"""Why a job cannot be taken in, carried out or fetched."""

from __future__ import annotations

from signing.errors import SigningError


class JobsError(SigningError):
    """Base; never raised itself."""


class JobsUnavailable(JobsError):
    """The jobs' database does not answer, or is not this program's."""

    code = "jobs_unavailable"


class TooManyJobs(JobsError):
    """The client, or all of them, have as many jobs as they may."""

    code = "too_many_jobs"


class UnknownJob(JobsError):
    """There is no such job of that client and person: never, not any more, or it has been fetched."""

    code = "unknown_job"


class BoxBroken(JobsError):
    """What the database holds is not what this program put there."""

    code = "job_altered"


class NotYet(JobsError):
    """What a job needs is not there now."""

    code = "not_yet"

    def __init__(self, *, certainly_undone: bool) -> None:
        """:param certainly_undone: nothing came of the attempt; otherwise nobody knows."""
        super().__init__("not yet")
        self.certainly_undone = certainly_undone
