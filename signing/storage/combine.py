"""What several threads ask for at the same time is done by one of them for all: group commit.

Nobody waits for company: who finds nobody at work begins at once, with whatever is there.  Meanwhile others come, and
the first of them begins, for all of them, when the one before has finished.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from signing.sam.errors import StoreUnavailable

T = TypeVar("T")
J = TypeVar("J", bound="Job[Any]")


class Job(Generic[T]):
    """Something that a thread waits for."""

    def __init__(self) -> None:
        # Held until it is this job's turn: to lead, or to take what somebody else has done.
        self._turn = threading.Lock()
        self._turn.acquire()
        self._values: list[T] = []
        self._error: Exception | None = None

    @property
    def settled(self) -> bool:
        """Whether there is an answer."""
        return bool(self._values) or self._error is not None

    def settle(self, value: T) -> None:
        """Done."""
        self._values.append(value)

    def fail(self, error: Exception) -> None:
        """Not done, and why; the error is this job's alone."""
        self._error = error

    def wait(self) -> None:
        """For :meth:`call`."""
        self._turn.acquire()

    def call(self) -> None:
        """Wake whoever waits."""
        self._turn.release()

    def result(self) -> T:
        """The answer; raises what it failed with."""
        if self._error is not None:
            raise self._error
        return self._values[0]


class Combiner(Generic[J]):
    """Hands jobs that wait at the same time to one function.  Thread-safe; has no thread of its own."""

    def __init__(self, work: Callable[[Sequence[J]], None], most: int) -> None:
        """:param work: settles each job that it is given, or fails it; never called twice at the same time.
        :param most: jobs that it is given at a time."""
        self._work = work
        self._most = most
        self._waiting: deque[J] = deque()
        self._at_work = False
        self._lock = threading.Lock()

    def run(self, job: J) -> None:
        """Have a job done, with those of others; afterwards it is settled.

        What the function raises ends here where it was this thread that called it; the jobs of others have then failed.
        """
        with self._lock:
            self._waiting.append(job)
            leading = not self._at_work
            self._at_work = True
        if not leading:
            job.wait()
            if job.settled:
                return
        self._lead(job)

    def _lead(self, own: J) -> None:
        """With the first job that waits being our own."""
        with self._lock:
            jobs = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            self._work(jobs)
        finally:
            self._hand_over()
            for job in jobs:
                if not job.settled:
                    job.fail(StoreUnavailable("a fault in another request ended the transaction"))
                if job is not own:
                    job.call()

    def _hand_over(self) -> None:
        with self._lock:
            following = self._waiting[0] if self._waiting else None
            self._at_work = following is not None
        if following is not None:
            following.call()
