"""What a person has to prove before what they can prove themselves with is changed; pure.

Enrolling, replacing or removing a factor needs the level that it leads to (NIST SP 800-63B r4 4.1.2, (EU) 2015/1502
annex 2.2.4): with the factor added to what the person has, the strongest levels that are then in reach; and of those
that were out of reach without it, the strongest that are in reach now.  What is in reach only grows with a factor, so
both come to the same: *the strongest levels that what the person has can reach*.  A rule can ask for more, never less.
Nobody who proved less than the person can adds something of their own, or takes away what they cannot use (ENR-02).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from idp.policy import wording
from idp.policy.body import Standing
from idp.policy.demand import Demand, join
from idp.policy.keys import FACTOR_CHANGES
from idp.policy.matching import for_this
from idp.policy.model import Policy, Reason, StepUpOption
from idp.policy.reasons import reason

ENROLLED: Final = "enrolled"
"""What a reason rests on that comes from the person's factors and no line of the policy."""
RECOVERY: Final = "recovery_code"


def strongest(policy: Policy, reached: Iterable[str]) -> tuple[str, ...]:
    """The levels of which none is implied by another, in the order of the file."""
    return join(policy, reached)


@dataclass(frozen=True, slots=True)
class Raised:
    """The floor of an action, as it is for this person."""

    demand: Demand
    reasons: tuple[Reason, ...]
    """A sentence for each level that the rules alone did not ask for."""
    recovery: Demand | None = None
    """What the rules alone ask for, where that is less: enough for whoever uses a recovery code up for this change."""


def raised(policy: Policy, offered: Standing, floor: Demand) -> Raised:
    """The floor with the strongest levels in reach, where the action changes the person's factors.

    A recovery code stands for what was lost (NIST SP 800-63B r4 4.2.1): one that was used for this very change leaves
    the rules to decide alone.

    :param offered: what all the person's enrolled factors amount to, used now.
    """
    facts = offered.body.facts
    if facts.action not in FACTOR_CHANGES:
        return Raised(floor, ())
    demand, reasons = floor, []
    for name in strongest(policy, (level.name for level in policy.levels if offered.reaches(level.name))):
        if name in floor.levels or floor.implies(policy, name):
            continue
        demand = demand.with_level(policy, name)
        where, words = policy.by_name[name].where, wording.level(policy.by_name[name])
        text = f"The person can reach level {words} with what they have: who changes that shows it first."
        reasons.append(reason(ENROLLED, where, text, "person"))
    if not reasons:
        return Raised(floor, ())
    if any(item.factor == RECOVERY and for_this(item, facts) for item in facts.evidence):
        text = "A recovery code was used for this change: it stands for what was lost, and the rules alone decide."
        return Raised(floor, (reason(ENROLLED, policy.rules_at, text, "evidence"),))
    return Raised(demand, tuple(reasons), None if facts.transaction is None else floor)


def recovering(found: tuple[StepUpOption, ...], by_rules: tuple[StepUpOption, ...]) -> tuple[StepUpOption, ...]:
    """The options, and after them those that use a recovery code up and are enough by the rules alone."""
    there = {option.missing for option in found}
    return (
        *found,
        *(option for option in by_rules if RECOVERY in option.missing and option.missing not in there),
    )
