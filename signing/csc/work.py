"""Carries asynchronous operations out, for whoever fetches their outcome later (CSC API 2.0.0.2 11.10, 11.11)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from foundation.log import get
from signing.csc import documents, errors
from signing.csc.core import Rssp
from signing.csc.document_assembly import Signed
from signing.jobs.errors import JobsUnavailable, NotYet
from signing.jobs.model import Claimed, Outcome
from signing.link import codes
from signing.link.errors import LinkError, LinkRefused
from signing.link.messages import SignRequest

if TYPE_CHECKING:
    from signing.jobs.queue import Jobs

_PASSING: Final = frozenset(
    {codes.DEVICE_UNAVAILABLE, codes.AUDIT_UNAVAILABLE, codes.LEDGER_SET_BACK, codes.BUSY}
)
"""Refusals of the module's after which nothing is spent, and the same may be asked again."""
_DOCUMENTS_TAKE: Final = 180_000
"""Milliseconds for which a worker has a job with documents: for their way, and for stamps and status."""

T = TypeVar("T")
R = TypeVar("R")

_log = get(__name__)


@dataclass(frozen=True, slots=True)
class SigningWork:
    """Carries ``signHash`` and ``signDoc`` out."""

    rssp: Rssp

    def carry_out(self, claimed: Claimed) -> Outcome:
        """Ask the module, as it is asked where somebody waits.

        :raises NotYet: it does not answer, or cannot sign now.
        """
        request = json.loads(claimed.request)
        try:
            if request.get("method") == documents.METHOD:
                return _good(self._documents(claimed, request))
            values = self.rssp.ask(_patient(self.rssp.sam.sign, claimed), SignRequest.from_json(request))
        except errors.CscError as error:
            return _failed(error)
        return _good({"signatures": [base64.b64encode(value).decode() for value in values]})

    def _documents(self, claimed: Claimed, request: Mapping[str, Any]) -> Mapping[str, Any]:
        jobs = self.rssp.jobs
        if jobs is None or not jobs.hold(claimed, _DOCUMENTS_TAKE):
            raise NotYet(certainly_undone=True)
        asked = documents.asked_later(self.rssp, request, until=claimed.ends_at // 1000)

        spent = asked.signed is not None

        def keep(signed: Sequence[Signed]) -> bool:
            nonlocal spent
            spent = True
            return _remembered(jobs, claimed, documents.with_signed(request, signed))

        try:
            return documents.carry_out(self.rssp, asked, lambda call: _patient(call, claimed), keep)
        except errors.TemporarilyUnavailable as error:
            if error.description == errors.INDETERMINATE:
                raise
            # Not before the module, or behind it: then the job has what it signed or, if that could not be written
            # down, this process has it, for the next attempt.
            raise NotYet(certainly_undone=not spent and asked.name not in self.rssp.unfinished) from error

    def given_up(self, claimed: Claimed, *, maybe_done: bool) -> Outcome:
        """The SAD has expired, or what may have been signed is not asked for again."""
        _log.error("a job was given up", extra={"fields": {"job": claimed.id, "maybe_done": maybe_done}})
        if maybe_done:
            return _failed(errors.TemporarilyUnavailable(errors.INDETERMINATE))
        return _failed(errors.InvalidRequest(errors.SAD_EXPIRED))


def _remembered(jobs: Jobs, claimed: Claimed, left: Mapping[str, Any]) -> bool:
    """Whether what is left to be done is in the job's row.  Where it is not, what was signed goes on all the same."""
    try:
        return jobs.remember(claimed, json.dumps(left).encode())
    except JobsUnavailable:
        _log.error("what was signed for a job is not written down", extra={"fields": {"job": claimed.id}})
        return False


def _patient(call: Callable[[T], R], claimed: Claimed) -> Callable[[T], R]:
    """Ask the module so that what passes is no refusal."""

    def asking(argument: T) -> R:
        try:
            return call(argument)
        except LinkRefused as error:
            if error.refusal in _PASSING:
                raise NotYet(certainly_undone=True) from error
            if error.refusal == codes.SAD_USED and claimed.maybe_done:
                # By an attempt of ours, whose answer nobody has.
                raise LinkRefused(codes.INDETERMINATE) from error
            raise
        except LinkError as error:
            raise NotYet(certainly_undone=False) from error

    return asking


def _good(content: Mapping[str, Any]) -> Outcome:
    return Outcome(json.dumps(content).encode(), good=True)


def _failed(error: errors.CscError) -> Outcome:
    if error.status == 401:
        # Of the token with which it was asked for, not of that with which it is fetched.
        error = errors.invalid("SAD")
    content = {"status": error.status, "error": error.code, "error_description": error.description}
    return Outcome(json.dumps(content).encode(), good=False)
