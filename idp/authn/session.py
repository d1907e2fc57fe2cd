"""What a session amounts to now: the evidence that counts for one transaction, and the decision that it leads to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from idp.policy.evaluate import evaluate
from idp.policy.evidence import Evidence
from idp.policy.model import Decision, Facts, Policy


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


def decide(policy: Policy, facts: Facts, evidence: Callable[[int], tuple[Evidence, ...]]) -> tuple[Facts, Decision]:
    """The decision once every session limit that it brings with it holds of the evidence that it rests on.

    What a limit leaves out may have been what a level was reached by; another way of reaching it may have a shorter
    limit, which then holds as well.

    :param facts: with all the evidence there is.
    :param evidence: what counts under a session limit in seconds, as :func:`context_of` says.
    :returns: the facts that were decided in the end, and the decision.
    """
    decision, held = evaluate(policy, facts), None
    while decision.outcome == "allow" and decision.session_limit is not None:
        if held is not None and held <= decision.session_limit:
            break
        held = decision.session_limit
        facts = replace(facts, evidence=evidence(held))
        decision = evaluate(policy, facts)
    return facts, decision
