"""Resets of a person's factors by the help desk: two people stand behind each (ENR-03, ADM-01).  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from idp.errors import InputRefused, ResetRefused

REASON_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class ResetFactor:
    """An authenticator that shall be disabled."""

    id: str
    kind: str


@dataclass(frozen=True, slots=True)
class ResetProposal:
    """One administrator's proposal that a person's factors be disabled, and a code be made to bind others."""

    id: str
    account_id: str
    """Whose factors."""
    factors: tuple[ResetFactor, ...]
    """None: a code alone, for somebody whose last one is lost or has expired."""
    reason: str
    proposed_by: str
    """The account that proposed it."""
    created_at: datetime
    expires_at: datetime

    def content(self) -> dict[str, Any]:
        """What a second administrator confirms, as JSON values: all of it is shown and bound to the approval."""
        return {
            "request_id": self.id,
            "account_id": self.account_id,
            "factors": [{"id": item.id, "factor": item.kind} for item in self.factors],
            "reason": self.reason,
            "proposed_by": self.proposed_by,
        }


def check_reason(text: str) -> str:
    """Why it is done, in the proposer's words, for whoever confirms it and for the audit chain.

    :raises InputRefused: empty, longer than 200 characters, or not printable.
    """
    reason = " ".join(text.split())
    if not 1 <= len(reason) <= REASON_MAX or not reason.isprintable():
        raise InputRefused(f"a reason has 1 to {REASON_MAX} printable characters")
    return reason


def check_subject(account_id: str, by: str, *, active: bool, administers: bool) -> None:
    """Whether somebody's factors may be reset in the administration's pages at all.

    1. Nobody resets their own.  2. The person may sign in.  3. The person does not administer: whoever could hand
    administrators' accounts out could hand every role out.

    :raises ResetRefused: one of these does not hold.
    """
    if by == account_id:
        raise ResetRefused("own_factors", "nobody resets their own factors")
    if not active:
        raise ResetRefused("subject", "the account is disabled")
    if administers:
        raise ResetRefused("administrator", "an administrator's factors are reset on the command line")


def check_reset(proposal: ResetProposal, shown: Mapping[str, object], by: str, now: datetime) -> None:
    """Whether an administrator may confirm a reset.

    1. It is what was shown.  2. It has not expired.  3. Whoever proposed it does not confirm it, in whatever session.
    4. Nor does the person concerned.

    :param shown: the content that the administrator saw and approved.
    :raises ResetRefused: one of these does not hold.
    """
    if dict(shown) != proposal.content():
        raise ResetRefused("changed", "the proposal is not what was shown")
    if now >= proposal.expires_at:
        raise ResetRefused("expired", "the proposal has expired")
    if by == proposal.proposed_by:
        raise ResetRefused("same_person", "whoever proposes a reset does not confirm it")
    if by == proposal.account_id:
        raise ResetRefused("own_factors", "nobody resets their own factors")
