"""Documents examined in confined processes that are kept warm: what the servers use."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final

from documents.bounds import Bounds
from documents.errors import REASONS, DocumentRefused, ExaminerUnavailable
from documents.findings import Examination
from foundation.confinement import Limits
from foundation.errors import SandboxError, SandboxUnavailable, WorkCrashed, WorkTooLarge, WorkTooLong
from foundation.sandbox import AT_ONCE
from foundation.sandbox_pool import Pool

_WORKER: Final = "documents.worker"
_SMALL: Final = 64 * 1024
"""Octets of a document that is handed over together with others."""
_ANSWER_OCTETS: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ExaminerSettings:
    """How many processes, and how much each may use for one document."""

    workers: int = 2
    wait_seconds: float = 30.0
    """For a process that is free."""
    memory: int = 512 * 1024 * 1024
    """Octets of address space."""
    seconds: int = 20
    """Of processor time at most; a small document has less."""
    documents: int = 100
    """After how many a process ends; 1: each document has one of its own."""
    bounds: Bounds = field(default_factory=Bounds)


class Examiner:
    """Examines documents; may be used by any thread."""

    def __init__(self, settings: ExaminerSettings | None = None) -> None:
        settings = settings or ExaminerSettings()
        limits = Limits(
            address_space=settings.memory,
            cpu_seconds=settings.seconds,
            wall_seconds=3.0 * settings.seconds,
            file_octets=_ANSWER_OCTETS,
        )
        self._pool = Pool(
            _WORKER,
            limits,
            workers=settings.workers,
            wait_seconds=settings.wait_seconds,
            files=settings.documents,
        )
        self._bounds = settings.bounds

    def examine(self, document: bytes) -> Examination:
        """Examine a document.

        :raises DocumentRefused: it is not one to be signed.
        :raises ExaminerUnavailable: nobody was there to look.
        """
        (examination,) = self.examine_all([document])
        return examination

    def examine_all(self, documents: Iterable[bytes]) -> Iterator[Examination]:
        """Examine documents of one owner, in their order, small ones some at a time.

        :raises DocumentRefused: where one's examination would be, if it is not one to be signed.
        :raises ExaminerUnavailable: nobody was there to look.
        """
        rest = list(documents)
        while rest:
            if len(rest[0]) > self._bounds.octets:
                raise DocumentRefused("too_large")
            done = self._some(rest[: _together(rest)])
            rest = rest[len(done) :]
            yield from map(_examined, done)

    def _some(self, documents: Sequence[bytes]) -> list[bytes | SandboxError]:
        try:
            return self._pool.run_some(documents, self._bounds.text().encode())
        except SandboxUnavailable as error:
            raise ExaminerUnavailable("no document can be examined now") from error

    def close(self) -> None:
        """End the processes."""
        self._pool.close()


def _together(documents: Sequence[bytes]) -> int:
    """How many of the first are handed over at once: small ones only."""
    small = takewhile(lambda each: len(each) <= _SMALL, documents[:AT_ONCE])
    return max(1, sum(1 for _ in small))


def _examined(done: bytes | SandboxError) -> Examination:
    if isinstance(done, WorkTooLong | WorkTooLarge | WorkCrashed):
        raise DocumentRefused("too_complex", done.code) from done
    if isinstance(done, SandboxError):
        raise ExaminerUnavailable("no document can be examined now") from done
    return _answer(done)


def _answer(octets: bytes) -> Examination:
    # What comes out of a confined process is believed as little as what went in.
    try:
        told = json.loads(octets)
        reason = told.get("refused")
        if reason is None:
            return Examination.from_table(told)
        if reason not in REASONS:
            raise ValueError(reason)
    except (ValueError, AttributeError) as error:
        raise DocumentRefused("too_complex", "answer") from error
    raise DocumentRefused(reason, str(told.get("detail", ""))[:80])
