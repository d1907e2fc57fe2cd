"""Shadow mode: another policy is asked about every decision that is recorded, and decides nothing.

It is asked after the answer was decided and recorded, about the same facts; whatever it says, and if it fails, the
answer is the same.
"""

from __future__ import annotations

from foundation import log
from idp.policy.model import Decision, Facts
from idp.storage import shadow as storage
from idp.storage.engine import reading
from idp.web.services import services

_log = log.get(__name__)


def compare(decision_id: str, txn: str, facts: Facts, decision: Decision) -> None:
    """Ask the candidate, if there is one, about a decision that has been recorded; never raises."""
    with_services = services()
    view = with_services.view
    candidate = view.candidate
    if candidate is None:
        return
    found = candidate.ask(decision_id, facts, decision)
    if found is None:
        return
    names = {
        "decision_id": decision_id,
        "txn": txn,
        "policy_sha256": view.policy.sha256,
        "candidate_sha256": candidate.policy.sha256,
        "kind": found.kind,
        "outcome": found.before.outcome,
        "candidate_outcome": found.after.outcome,
        "rules": [cause.rule for cause in found.causes],
    }
    _log.info("a candidate decides otherwise", extra={"fields": names})
    try:
        if candidate.kept is None:
            with reading(with_services.engine) as connection:
                candidate.kept = storage.count(connection, candidate.policy.sha256)
        if candidate.kept >= storage.MAX_DIFFERENCES:
            return
        with with_services.engine.begin() as connection:
            storage.record(connection, txn, view.policy.sha256, candidate.policy.sha256, found)
            with_services.audit.record(connection, "policy.shadow_differs", **names)
        candidate.kept += 1
    except Exception:  # noqa: BLE001 - the answer has been decided: nothing here may change it
        _log.exception("a difference could not be recorded", extra={"fields": names})
