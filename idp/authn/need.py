"""What kind of proof a decision still asks for, so that a person can be told in their own language.  Pure.

The policy's sentences are its author's and stay in the language in which they were written; this is what follows from
the options alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import Enum

from idp.policy.evaluate import evaluate
from idp.policy.evidence import FACTOR_CATEGORIES, KEY_FACTORS, MIN_LENGTH_ALONE, Evidence
from idp.policy.model import Decision, Facts, Policy


class Need(Enum):
    """Why what was proved is not enough."""

    AGAIN = "again"
    """What is known is to be proved again: it was proved too long ago, or for something else."""
    ANOTHER_KIND = "another_kind"
    """A factor of a category that nothing was proved in."""
    NOW = "now"
    """A factor of a category in which something was proved, used for this very request."""
    KEY = "key"
    """A key, where something that is held was proved already: it has to be one that cannot be phished."""
    MORE = "more"
    """Several ways lead on, and they have nothing in common."""


def need_of(decision: Decision, evidence: Iterable[Evidence]) -> Need | None:
    """What the decision lacks; None if it lacks nothing, or nothing can be done about it.

    :param evidence: what was proved, as far as it may be relied on for this transaction.
    """
    sets = [option.missing for option in decision.options if option.missing]
    if decision.outcome != "step_up" or not sets:
        return None
    proved = {item.category for item in evidence}
    asked = [{FACTOR_CATEGORIES.get(kind) for kind in kinds} for kinds in sets]
    if all(kinds == ("password",) for kinds in sets):
        return Need.AGAIN
    if proved and all(categories.isdisjoint(proved) for categories in asked):
        return Need.ANOTHER_KIND
    if "possession" in proved and all("possession" in categories for categories in asked):
        return Need.KEY if all(set(kinds) & KEY_FACTORS for kinds in sets) else Need.NOW
    return Need.MORE


def lacks_length_only(policy: Policy, facts: Facts, decision: Decision) -> bool:
    """Whether the person's password is known to be too short, and a longer one would be all that it takes.

    Only who has proved the password is told (OTP-11): nothing else says of it how long it is.
    """
    known = {item.min_length for item in facts.enrolled if item.min_length is not None}
    if decision.outcome == "allow" or not known or min(known) >= MIN_LENGTH_ALONE:
        return False
    proved = tuple(
        item if item.min_length is None else replace(item, min_length=MIN_LENGTH_ALONE) for item in facts.evidence
    )
    return evaluate(policy, replace(facts, evidence=proved)).outcome == "allow"
