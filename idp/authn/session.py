"""What a session amounts to now: the evidence that counts for one transaction, and the decision that it leads to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from foundation.clock import epoch
from idp.policy.evaluate import evaluate
from idp.policy.evidence import Evidence
from idp.policy.model import Decision, Facts, Policy

MOST_PAUSES: Final = 16
"""That are kept of a session.  Of more, two count as one that ended with the later and was as long as the longer."""

LEAST_PAUSE: Final = 60
"""Seconds; people read a page for as long."""

Pause = tuple[int, int]
"""A time in which nobody used a session: when it ended, as a NumericDate, and how many seconds it had lasted."""


def with_pause(pauses: Sequence[Pause], ended: int, seconds: int) -> tuple[Pause, ...]:
    """A session's pauses and one more, if it is one: the oldest first, each shorter than the one before.

    What was proved before a pause was proved before all later ones too, so a shorter one that came earlier tells
    nothing more.
    """
    if seconds < LEAST_PAUSE:
        return tuple(pauses)
    kept = [each for each in pauses if each[1] > seconds]
    kept.append((ended, seconds))
    if len(kept) > MOST_PAUSES:
        kept[-2:] = [(ended, kept[-2][1])]
    return tuple(kept)


def _rested(item: Evidence, pauses: Sequence[Pause]) -> Evidence:
    longest = max((seconds for ended, seconds in pauses if ended > epoch(item.at)), default=0)
    return item if longest == item.idle else replace(item, idle=longest)


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
    pauses: Sequence[Pause] = (),
) -> AuthnContext:
    """The evidence that may be relied on for one transaction.

    Evidence that is bound to a transaction counts for that one only (SES-06); evidence from the future is none.

    :param session_limit: seconds after which what the session remembers no longer counts; what was proved for this
        transaction does.
    :param pauses: of the session: each level of the policy bears its own.
    """
    oldest = None if session_limit is None else now - timedelta(seconds=session_limit)
    kept = [
        _rested(item, pauses)
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
        left = evidence(held)
        if left == facts.evidence:
            # The same facts: the decision would be the same again.
            break
        facts = replace(facts, evidence=left)
        decision = evaluate(policy, facts)
    return facts, decision
