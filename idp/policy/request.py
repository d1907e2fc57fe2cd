"""What a relying party's request adds to the floor; it never takes anything away."""

from __future__ import annotations

from dataclasses import dataclass

from idp.policy import wording
from idp.policy.body import Standing
from idp.policy.demand import Demand
from idp.policy.model import Policy, Reason
from idp.policy.reasons import reason


@dataclass(frozen=True, slots=True)
class Wish:
    """What the request adds."""

    acr: str | None
    """The value to echo once its level is reached."""
    demand: Demand
    """The floor, and the level asked for."""
    reasons: tuple[Reason, ...] = ()
    unmet: bool = False
    """An essential value that cannot be had."""


def wish(policy: Policy, standing: Standing, offered: Standing, floor: Demand) -> Wish:
    """The first value that can be had together with the floor; essential values displace voluntary ones.

    :param offered: what the enrolled factors amount to by themselves.
    """
    facts = standing.body.facts
    essential = bool(facts.essential_acr)
    reasons: list[Reason] = []
    below: list[str] = []
    for uri in dict.fromkeys(facts.essential_acr or facts.acr_values):
        level = policy.by_acr.get(uri)
        asks = f"The request asks for '{uri}'"
        if level is None:
            text = f"{asks}, which expresses no level of this policy."
            reasons.append(reason("request", policy.rules_at, text, "request"))
        elif floor.implies(policy, level.name):
            below.append(uri)
            text = f"{asks}, level '{level.name}', which is less than the rules ask for."
            reasons.append(reason("request", level.where, text, "request"))
        else:
            demand = floor.with_level(policy, level.name)
            if demand.met(standing) or demand.met(offered):
                text = f"{asks}: level {wording.level(level)} is added to what the rules ask for."
                reasons.append(reason("request", level.where, text, "request"))
                return Wish(uri, demand, tuple(reasons))
            text = f"{asks}, level '{level.name}', which this person cannot reach."
            reasons.append(reason("request", level.where, text, "request"))
    if essential and below:
        # The floor implies it, so the value is true of what will have been reached; the floor stays.
        return Wish(below[0], floor, tuple(reasons))
    return Wish(None, floor, tuple(reasons), unmet=essential)
