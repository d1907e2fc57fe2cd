"""What a finished interaction proves: who, on which evidence, by which decision, approved which transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from foundation.clock import epoch, from_epoch
from idp.policy.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's approval of one transaction, as the policy decided it."""

    txn: str
    """The transaction: all evidence that is bound to a transaction was made for this one."""
    account_id: str
    session_id: str
    """Storage identifier of the server-side session; never the cookie's secret."""
    client_id: str
    action: str
    """The policy's action that was allowed."""
    binding: str
    """The hash of what the person was shown and approved (:mod:`idp.activation.binding`)."""
    decision_id: str
    policy_name: str
    policy_sha256: str
    acr: str
    loa: str | None
    amr: tuple[str, ...]
    auth_time: datetime
    """Time of the oldest evidence relied on."""
    evidence: tuple[Evidence, ...]
    approved_at: datetime
    session_limit: int | None = None
    """Seconds from ``auth_time`` for which the policy lets the level stand; None: it sets no limit."""
    signer_proof: Mapping[str, Any] | None = None
    """What the person's own device signed about it, as a SAD carries it (:mod:`contract.proof`)."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which :meth:`from_json` makes the same approval (times in whole seconds)."""
        return {
            "txn": self.txn,
            "account_id": self.account_id,
            "session_id": self.session_id,
            "client_id": self.client_id,
            "action": self.action,
            "binding": self.binding,
            "decision_id": self.decision_id,
            "policy_name": self.policy_name,
            "policy_sha256": self.policy_sha256,
            "acr": self.acr,
            "loa": self.loa,
            "amr": list(self.amr),
            "auth_time": epoch(self.auth_time),
            "evidence": [item.to_json() for item in self.evidence],
            "approved_at": epoch(self.approved_at),
            "session_limit": self.session_limit,
            "signer_proof": None if self.signer_proof is None else dict(self.signer_proof),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Approval:
        """The approval that :meth:`to_json` wrote; not for input from outside."""
        return cls(
            txn=value["txn"],
            account_id=value["account_id"],
            session_id=value["session_id"],
            client_id=value["client_id"],
            action=value["action"],
            binding=value["binding"],
            decision_id=value["decision_id"],
            policy_name=value["policy_name"],
            policy_sha256=value["policy_sha256"],
            acr=value["acr"],
            loa=value["loa"],
            amr=tuple(value["amr"]),
            auth_time=from_epoch(value["auth_time"]),
            evidence=tuple(Evidence.from_json(item) for item in value["evidence"]),
            approved_at=from_epoch(value["approved_at"]),
            session_limit=value["session_limit"],
            signer_proof=value.get("signer_proof"),
        )
