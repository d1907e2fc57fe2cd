"""Policy and facts to a decision; pure.

The steps, in order:

1. The rules about the action whose condition holds.  None: deny.  For a signature in band, those that name it in full
   permit it, and those about signatures apply as well.
2. The floor: the join of all levels and all evidence that those rules ask for; before the person's factors are changed,
   also of the strongest levels that these can reach.
3. The request: it may add a level to the floor, never take one away.
4. What the evidence reaches.  Everything asked for: allow.
5. What the person could add: the smallest sets of enrolled factors that would lead to allow.  None: deny.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from idp.policy.body import Body, Reached, Standing
from idp.policy.body import standing as standing_of
from idp.policy.conditions import Circumstances
from idp.policy.demand import Demand, join
from idp.policy.evidence import Evidence
from idp.policy.index import Clause
from idp.policy.keys import SIGN, SIGN_IN_BAND
from idp.policy.matching import proofed
from idp.policy.methods import methods
from idp.policy.model import (
    LOAS,
    NO_ACR,
    Decision,
    Facts,
    Loa,
    Outcome,
    Policy,
    Reason,
    Refusal,
    StepUpOption,
)
from idp.policy.options import options, steps
from idp.policy.reasons import no_rule, of_standing, reason
from idp.policy.request import Wish, wish
from idp.policy.strength import raised, recovering

__all__ = ["applying", "decide", "evaluate", "join"]


def evaluate(policy: Policy, facts: Facts) -> Decision:
    """Decide; the same arguments always give the same decision."""
    # 1. rules
    return decide(policy, facts, applying(policy, facts))


def decide(policy: Policy, facts: Facts, clauses: Sequence[Clause]) -> Decision:
    """The steps after the first.

    :param clauses: what :func:`applying` found for these facts.
    """
    if not clauses:
        nothing, why = Demand((), (), ()), no_rule(policy, facts.action)
        return _decision(policy, standing_of(policy, facts), nothing, [why], "deny", refusal="no_rule")
    available = steps(facts)
    body = Body(policy, facts, facts.evidence, (item for step in available for item in step.evidence))
    standing = Standing(body, body.there)
    # 2. floor
    everything = body.bits(item for step in available for item in step.evidence)
    offered = Standing(body, everything)
    floor = raised(policy, offered, Demand.of(policy, clauses))
    reasons = [*(clause.reason for clause in clauses), *floor.reasons]
    # 3. request
    wished = wish(policy, standing, offered, floor.demand)
    demand = wished.demand
    reasons.extend(wished.reasons)
    # 4. reached
    reasons.extend(of_standing(policy, standing, demand))
    if demand.met(standing) and not wished.unmet:
        return _decision(policy, standing, demand, reasons, "allow", acr=wished.acr)
    # 5. step-up
    refusal, explanation = _refusal(policy, Standing(body, body.there | everything), wished)
    if refusal is not None:
        return _decision(policy, standing, demand, (*reasons, *explanation), "deny", refusal=refusal)
    found = options(body, available, demand)
    if floor.recovery is not None:
        found = recovering(found, options(body, available, floor.recovery))
    return _decision(policy, standing, demand, reasons, "step_up", options=found)


def applying(policy: Policy, facts: Facts) -> list[Clause]:
    """The rules about the action whose condition holds.

    Client, groups, attributes, credential, network and time of day are looked at here, and nowhere later.
    """
    circumstances = Circumstances(facts)
    if facts.action != SIGN_IN_BAND:
        return circumstances.applying(policy.clauses_about(facts.action))
    named = circumstances.applying(policy.clauses[rule.id] for rule in policy.exact.get(SIGN_IN_BAND, ()))
    if not named:
        return []
    return list(dict.fromkeys([*named, *circumstances.applying(policy.clauses_about(SIGN))]))


def _refusal(policy: Policy, at_best: Standing, wished: Wish) -> tuple[Refusal | None, tuple[Reason, ...]]:
    """Why no step-up can help; None if one can.

    :param at_best: what everything that is there and could be added amounts to.
    """
    facts = at_best.body.facts
    if not wished.demand.met(at_best):
        if any(not any(proofed(by, facts) for by in policy.stronger[name]) for name in wished.demand.levels):
            return "proofing", ()
        text = "The factors that this person has enrolled cannot supply what is missing."
        if facts.transaction is None and (facts.force_reauthentication or facts.max_age == 0):
            text = "The request asks for a new authentication, but there is no transaction it could be made for."
        return "unreachable", (reason("default", policy.rules_at, text, "person"),)
    if wished.unmet:
        text = "The request insists on an acr that cannot be given; nothing less may be given instead."
        return "unmet_request", (reason("request", policy.rules_at, text, "request"),)
    return None, ()


# The decision


def _decision(
    policy: Policy,
    standing: Standing,
    demand: Demand,
    reasons: Iterable[Reason],
    outcome: Outcome,
    *,
    acr: str | None = None,
    options: tuple[StepUpOption, ...] = (),
    refusal: Refusal | None = None,
) -> Decision:
    every = [found for level in policy.levels if (found := standing.level(level.name)) is not None]
    counted = [found for found in every if found.level.name in demand.levels]
    shown = _shown(policy, every, acr)
    if shown is not None and shown not in counted:
        counted.append(shown)
    relied_on = _relied_on(standing, demand, counted)
    emitted = NO_ACR if shown is None else (acr or shown.level.acr[0])
    limiting = [level for found in counted for level in (found.level, found.by)] if outcome == "allow" else []
    return Decision(
        outcome=outcome,
        required=demand.levels,
        reached=tuple(found.level.name for found in every),
        acr=emitted,
        loa=_loa(counted),
        amr=methods(relied_on),
        relied_on=relied_on,
        auth_time=min((item.at for item in relied_on), default=None),
        session_limit=_shortest(level.session_limit for level in limiting),
        idle_limit=_shortest(level.idle_limit for level in limiting),
        options=options,
        reasons=tuple(reasons),
        refusal=refusal,
    )


def _shown(policy: Policy, every: list[Reached], acr: str | None) -> Reached | None:
    """The level to name in ``acr``: the one asked for, or the strongest reached; on a tie, the later in the file."""
    if acr is not None:
        return next(found for found in every if acr in found.level.acr)
    named = [found for found in every if found.level.acr]
    names = join(policy, (found.level.name for found in named))
    return next((found for found in reversed(named) if found.level.name in names), None)


def _relied_on(standing: Standing, demand: Demand, counted: list[Reached]) -> tuple[Evidence, ...]:
    """What shows the levels and the rules' own evidence, oldest first, each once."""
    items = [item for found in counted for item in found.evidence]
    items.extend(standing.all_that_meets(demand.quests))
    return tuple(sorted(dict.fromkeys(items), key=lambda item: (item.at, item.factor, item.authenticator_id)))


def _loa(counted: list[Reached]) -> Loa | None:
    claimed = {level.loa for found in counted for level in (found.level, found.by)}
    return next((loa for loa in reversed(LOAS) if loa in claimed), None)


def _shortest(limits: Iterable[int | None]) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)
