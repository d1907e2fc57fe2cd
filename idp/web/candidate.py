"""A policy on trial: asked about decisions, and stopped when it fails or is slow again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from foundation import log
from idp.policy.model import Decision, Facts, Policy
from idp.policy.records import verdict_of
from idp.policy.replay import Change, change

SLOW_SECONDS: Final = 0.05
"""Fifty times what an evaluation may take."""
STRIKES: Final = 10
"""So often it may fail or be slow."""

_log = log.get(__name__)


class Candidate:
    """A policy on trial in this process; safe to share between threads."""

    def __init__(self, policy: Policy, seconds: Callable[[], float] = time.perf_counter) -> None:
        self.policy: Final = policy
        self._seconds = seconds
        self._lock = threading.Lock()
        self._strikes = 0
        self.compared = 0
        """Decisions that it was asked about by this process."""
        self.changed = 0
        """Of these, those that would have come out otherwise."""
        self.kept: int | None = None
        """How many differences the database has, about; None: not known yet."""

    @property
    def stopped(self) -> bool:
        """Whether it is not asked any more."""
        return self._strikes >= STRIKES

    def ask(self, decision_id: str, facts: Facts, decision: Decision) -> Change | None:
        """What it would have decided otherwise; None: nothing, or it is not asked any more."""
        if self.stopped:
            return None
        begun = self._seconds()
        found, failed = None, False
        try:
            found = change(self.policy, decision_id, facts, verdict_of(decision))
        except Exception:  # noqa: BLE001 - a policy on trial fails no request
            failed = True
            _log.exception("a candidate could not be asked", extra={"fields": self._fields()})
        slow = self._seconds() - begun > SLOW_SECONDS
        with self._lock:
            self.compared += 1
            self.changed += found is not None
            self._strikes += failed or slow
            over = self._strikes == STRIKES and (failed or slow)
        if over:
            _log.error("a candidate is not asked any more: it fails or is slow", extra={"fields": self._fields()})
        return found

    def _fields(self) -> dict[str, object]:
        return {"candidate": self.policy.name, "candidate_sha256": self.policy.sha256}
