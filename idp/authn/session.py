"""What a session amounts to now: the evidence that counts for one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from idp.policy.evidence import Evidence


@dataclass(frozen=True, slots=True)
class AuthnContext:
    """Who is there, on which evidence; levels are for the policy to derive."""

    account_id: str
    session_id: str
    evidence: tuple[Evidence, ...]
    now: datetime


def context_of(
    *,
    account_id: str,
    session_id: str,
    session_evidence: Iterable[Evidence],
    transaction_evidence: Iterable[Evidence],
    txn: str,
    now: datetime,
    session_limit: int | None = None,
) -> AuthnContext:
    """The evidence that may be relied on for one transaction.

    Evidence that is bound to a transaction counts for that one only (SES-06); evidence from the future is none.

    :param session_limit: seconds after which what the session remembers no longer counts; what was proved for this
        transaction does.
    """
    oldest = None if session_limit is None else now - timedelta(seconds=session_limit)
    kept = [
        item
        for item in (*session_evidence, *transaction_evidence)
        if item.at <= now
        and (not item.has("transaction_bound") or item.transaction == txn)
        and (oldest is None or item.at >= oldest or item.transaction == txn)
    ]
    return AuthnContext(account_id, session_id, tuple(sorted(kept, key=lambda item: item.at)), now)
