"""Documents examined in confined processes that are kept warm: what the servers use."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

from documents.bounds import Bounds
from documents.errors import REASONS, DocumentRefused, ExaminerUnavailable
from documents.findings import Examination
from foundation.confinement import Limits
from foundation.errors import SandboxUnavailable, WorkCrashed, WorkTooLarge, WorkTooLong
from foundation.sandbox_pool import Pool

_WORKER: Final = "documents.worker"
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
        self._pool = Pool(_WORKER, limits, workers=settings.workers, wait_seconds=settings.wait_seconds)
        self._bounds = settings.bounds

    def examine(self, document: bytes) -> Examination:
        """Examine a document.

        :raises DocumentRefused: it is not one to be signed.
        :raises ExaminerUnavailable: nobody was there to look.
        """
        if len(document) > self._bounds.octets:
            raise DocumentRefused("too_large")
        try:
            octets = self._pool.run(document, self._bounds.text().encode())
        except (WorkTooLong, WorkTooLarge, WorkCrashed) as error:
            raise DocumentRefused("too_complex", error.code) from error
        except SandboxUnavailable as error:
            raise ExaminerUnavailable("no document can be examined now") from error
        return _answer(octets)

    def close(self) -> None:
        """End the processes."""
        self._pool.close()


def _answer(octets: bytes) -> Examination:
    # What comes out of a confined process is believed as little as what went in.
    try:
        told = json.loads(octets)
        reason = told.get("refused")
        if reason is None:
            return Examination.from_json(octets)
        if reason not in REASONS:
            raise ValueError(reason)
    except (ValueError, AttributeError) as error:
        raise DocumentRefused("too_complex", "answer") from error
    raise DocumentRefused(reason, str(told.get("detail", ""))[:80])
