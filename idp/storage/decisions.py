"""Decisions of the policy, with all that led to them: the other end of a SAD's ``decision_id``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, insert

from foundation.clock import epoch
from idp.policy.model import Decision, Facts, Policy
from idp.storage.models import decisions


def record(
    connection: Connection,
    *,
    decision_id: str,
    txn: str,
    account_id: str,
    policy: Policy,
    facts: Facts,
    decision: Decision,
) -> None:
    """Keep a decision."""
    connection.execute(
        insert(decisions).values(
            id=decision_id,
            at=epoch(facts.now),
            txn=txn,
            account_id=account_id,
            client_id=facts.client_id or "",
            action=facts.action,
            effect=decision.outcome,
            policy_name=policy.name,
            policy_sha256=policy.sha256,
            detail=_detail(facts, decision),
        )
    )


def _detail(facts: Facts, decision: Decision) -> dict[str, Any]:
    return {
        "evidence": [item.to_json() for item in facts.evidence],
        "relied_on": [item.to_json() for item in decision.relied_on],
        "credential": None if facts.credential is None else asdict(facts.credential),
        "proofing": facts.proofing,
        "acr_values": list(facts.acr_values),
        "essential_acr": list(facts.essential_acr),
        "max_age": facts.max_age,
        "required": list(decision.required),
        "reached": list(decision.reached),
        "acr": decision.acr,
        "loa": decision.loa,
        "amr": list(decision.amr),
        "options": [asdict(option) for option in decision.options],
        "reasons": [asdict(reason) for reason in decision.reasons],
        "refusal": decision.refusal,
    }
