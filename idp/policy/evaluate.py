"""Policy and facts to a decision; pure.

The steps, in order:

1. The rules about the action whose condition holds.  None: deny.
2. The floor: the join of all levels and all evidence that those rules ask for.
3. The request: it may add a level to the floor, never take one away.
4. What the evidence reaches.  Everything asked for: allow.
5. What the person could add: the smallest sets of enrolled factors that would lead to allow.  None: deny.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from idp.policy import wording
from idp.policy.conditions import applies
from idp.policy.evidence import Evidence
from idp.policy.matching import Obstacle, Reached, Standing, misfit, obstacle, proofed
from idp.policy.methods import methods
from idp.policy.model import (
    LOAS,
    NO_ACR,
    Decision,
    EnrolledFactor,
    EvidenceSet,
    Facts,
    Level,
    Loa,
    Outcome,
    Policy,
    Reason,
    Refusal,
    Requirement,
    Rule,
    StepUpOption,
    Where,
)


@dataclass(frozen=True, slots=True)
class _Demand:
    """All that must be met at once."""

    levels: tuple[str, ...]
    """None of them implied by another one, in the order of the file."""
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the request adds."""

    acr: str | None
    """The value to echo once its level is reached."""
    level: str | None
    reasons: tuple[Reason, ...]
    unmet: bool = False
    """An essential value that cannot be had."""


def evaluate(policy: Policy, facts: Facts) -> Decision:
    """Decide; the same arguments always give the same decision."""
    # 1. rules
    rules = tuple(rule for rule in policy.rules_about(facts.action) if applies(rule.when, facts))
    standing = Standing(policy, facts, facts.evidence)
    if not rules:
        return _decision(policy, standing, _Demand((), ()), [_no_rule(policy, facts)], "deny", refusal="no_rule")
    # 2. floor
    floor = _Demand(join(policy, (name for rule in rules for name in rule.require)), rules)
    reasons = [_rule_reason(policy, rule) for rule in rules]
    # 3. request
    wish = _wish(policy, facts, standing, floor)
    reasons.extend(wish.reasons)
    demand = floor if wish.level is None else _Demand(join(policy, (*floor.levels, wish.level)), rules)
    # 4. reached
    reasons.extend(_standing_reasons(policy, facts, standing, demand))
    if _met(standing, demand) and not wish.unmet:
        return _decision(policy, standing, demand, reasons, "allow", acr=wish.acr)
    # 5. step-up
    refusal, explanation = _refusal(policy, facts, demand, wish)
    if refusal is not None:
        return _decision(policy, standing, demand, (*reasons, *explanation), "deny", refusal=refusal)
    return _decision(policy, standing, demand, reasons, "step_up", options=_options(policy, facts, demand))


def join(policy: Policy, names: Iterable[str]) -> tuple[str, ...]:
    """The least that reaches all the levels: those not implied by another of them, in the order of the file."""
    wanted = frozenset(names)
    return tuple(
        level.name
        for level in policy.levels
        if level.name in wanted
        and not any(other != level.name and policy.implies(other, level.name) for other in wanted)
    )


# 1. Rules


def _no_rule(policy: Policy, facts: Facts) -> Reason:
    text = f"No rule is about '{facts.action}' under these circumstances; what no rule allows is refused."
    return _reason("default", policy.rules_at, text, "policy")


def _rule_reason(policy: Policy, rule: Rule) -> Reason:
    parts = (
        ("client", bool(rule.when.clients)),
        ("group", bool(rule.when.groups)),
        ("attribute", bool(rule.when.attributes)),
        ("credential", rule.when.credential is not None),
        ("network", bool(rule.when.networks)),
        ("time", rule.when.time is not None),
    )
    contributor = "+".join(name for name, given in parts if given) or "policy"
    text = wording.rule(rule, (policy.by_name[name] for name in rule.require))
    return _reason(rule.id, rule.where, text, contributor)


def _reason(rule: str, where: Where, text: str, contributor: str) -> Reason:
    return Reason(rule, where.file, where.line, text, contributor)


# 3. Request


def _wish(policy: Policy, facts: Facts, standing: Standing, floor: _Demand) -> _Wish:
    """The first value that can be had together with the floor; essential values displace voluntary ones."""
    essential = bool(facts.essential_acr)
    asked = facts.essential_acr or facts.acr_values
    reasons: list[Reason] = []
    below: list[str] = []
    offered = Standing(policy, facts, _offered(facts))
    for uri in dict.fromkeys(asked):
        level = policy.by_acr.get(uri)
        if level is None:
            text = f"The request asks for '{uri}', which expresses no level of this policy."
            reasons.append(_reason("request", policy.rules_at, text, "request"))
        elif _below(policy, level.name, floor):
            below.append(uri)
            text = f"The request asks for '{uri}', level '{level.name}', which is less than the rules ask for."
            reasons.append(_reason("request", level.where, text, "request"))
        else:
            demand = _Demand(join(policy, (*floor.levels, level.name)), floor.rules)
            if _met(standing, demand) or _met(offered, demand):
                text = f"The request asks for '{uri}': level {wording.level(level)} is added to what the rules ask for."
                reasons.append(_reason("request", level.where, text, "request"))
                return _Wish(uri, level.name, tuple(reasons))
            text = f"The request asks for '{uri}', level '{level.name}', which this person cannot reach."
            reasons.append(_reason("request", level.where, text, "request"))
    if essential and below:
        # The floor implies it, so the value is true of what will have been reached; the floor stays.
        return _Wish(below[0], None, tuple(reasons))
    return _Wish(None, None, tuple(reasons), unmet=essential)


def _below(policy: Policy, name: str, floor: _Demand) -> bool:
    return any(other != name and policy.implies(other, name) for other in floor.levels)


# 4. Reached


def _met(standing: Standing, demand: _Demand) -> bool:
    return all(standing.level(name) is not None for name in demand.levels) and all(
        standing.meets(rule.evidence_set) is not None for rule in demand.rules if rule.evidence_set is not None
    )


def _standing_reasons(policy: Policy, facts: Facts, standing: Standing, demand: _Demand) -> Iterator[Reason]:
    for item in facts.evidence:
        problem = obstacle(item, facts)
        if problem is not None:
            text = f"The {wording.evidence(item)} does not count: {_OBSTACLES[problem]}."
            by_request = problem in {"max_age", "reauthentication"}
            yield _reason("evidence", policy.rules_at, text, "request" if by_request else "evidence")
    for name in demand.levels:
        yield from _level_reasons(policy, facts, standing, policy.by_name[name])
    for rule in demand.rules:
        if rule.evidence_set is not None:
            yield _evidence_reason(facts, standing, rule, rule.evidence_set)


_OBSTACLES: dict[Obstacle, str] = {
    "future": "its time lies in the future",
    "max_age": "the request asks for something newer",
    "reauthentication": "the request asks for a new authentication",
    "bound_elsewhere": "it was made for another transaction only",
}


def _level_reasons(policy: Policy, facts: Facts, standing: Standing, level: Level) -> Iterator[Reason]:
    reached = standing.level(level.name)
    if reached is not None:
        yield _reached_reason(reached)
        return
    if not proofed(level, facts):
        text = (
            f"Level {wording.level(level)} needs a person whose identity was proofed at '{level.proofing}'; "
            f"this person's was at '{facts.proofing}'."
        )
        yield _reason(f"level:{level.name}", level.where, text, "person")
    if any(standing.meets(item, level.freshness) is not None for item in level.any_of):
        return
    ways = "; or ".join(unmet(item, level.freshness, facts, standing) for item in level.any_of)
    text = f"Level {wording.level(level)} is not reached by its evidence: {ways}."
    stronger = [other.name for other in policy.stronger[level.name][1:]]
    if stronger:
        text += f" Nor is a level that implies it reached ({', '.join(stronger)})."
    yield _reason(f"level:{level.name}", level.any_of[0].where, text, "evidence")


def _reached_reason(reached: Reached) -> Reason:
    shown = wording.listed((wording.evidence(item) for item in reached.evidence), "and")
    via = "" if reached.by == reached.level else f" by way of level {wording.level(reached.by)}"
    text = f"Level {wording.level(reached.level)} is reached{via}: {shown}."
    return _reason(f"level:{reached.level.name}", reached.by.where, text, "evidence")


def _evidence_reason(facts: Facts, standing: Standing, rule: Rule, needed: EvidenceSet) -> Reason:
    found = standing.meets(needed)
    if found is None:
        text = f"The evidence that rule '{rule.id}' asks for is not there: {unmet(needed, None, facts, standing)}."
    else:
        shown = wording.listed((wording.evidence(item) for item in found), "and")
        text = f"The evidence that rule '{rule.id}' asks for is there: {shown}."
    return _reason(rule.id, needed.all_of[0].where, text, "evidence")


def unmet(needed: EvidenceSet, freshness: int | None, facts: Facts, standing: Standing) -> str:
    """What a set asks for, what of it is missing, and which evidence falls just short."""
    missing = [item for item in needed.all_of if not standing.meeting(item, freshness)]
    asks = wording.alternative(needed)
    if not missing:
        return f"{asks} (each is there, but not from enough different factors or categories)"
    notes = [f"missing: {wording.listed((wording.requirement(item) for item in missing), 'and')}"]
    notes.extend(_near_misses(missing, freshness, facts))
    return f"{asks} ({'; '.join(notes)})"


def _near_misses(missing: Iterable[Requirement], freshness: int | None, facts: Facts) -> Iterator[str]:
    for need in missing:
        for item in facts.evidence:
            why = None if obstacle(item, facts) else misfit(need, item, facts, freshness)
            if why is not None and why != "kind":
                yield f"the {wording.evidence(item)} {_MISFITS[why]}"


_MISFITS = {
    "issuer": "comes from another issuer",
    "flags": "lacks a property, or has one that is excluded",
    "transaction": "was not made for this transaction",
    "age": "is too old",
}


# 5. Step-up


def _offered(facts: Facts) -> tuple[Evidence, ...]:
    """The evidence that the person's enrolled factors would yield if all were used now."""
    return tuple(_as_if_used(item, facts) for item in dict.fromkeys(facts.enrolled))


def _as_if_used(item: EnrolledFactor, facts: Facts) -> Evidence:
    flags = item.flags if facts.transaction is not None else item.flags - {"transaction_bound"}
    return Evidence(
        factor=item.factor,
        authenticator_id="enrolled",
        category=item.category,
        at=facts.now,
        issuer=item.issuer,
        flags=flags,
        transaction=facts.transaction,
    )


def _refusal(policy: Policy, facts: Facts, demand: _Demand, wish: _Wish) -> tuple[Refusal | None, tuple[Reason, ...]]:
    """Why no step-up can help; None if one can."""
    if not _met(Standing(policy, facts, (*facts.evidence, *_offered(facts))), demand):
        if any(not any(proofed(by, facts) for by in policy.stronger[name]) for name in demand.levels):
            return "proofing", ()
        text = "The factors that this person has enrolled cannot supply what is missing."
        if facts.transaction is None and (facts.force_reauthentication or facts.max_age == 0):
            text = "The request asks for a new authentication, but there is no transaction it could be made for."
        return "unreachable", (_reason("default", policy.rules_at, text, "person"),)
    if wish.unmet:
        text = "The request insists on an acr that cannot be given; nothing less may be given instead."
        return "unmet_request", (_reason("request", policy.rules_at, text, "request"),)
    return None, ()


def _options(policy: Policy, facts: Facts, demand: _Demand) -> tuple[StepUpOption, ...]:
    """Every set of enrolled factors that would lead to allow and of which none could be left out, best first.

    A factor whose evidence still counts adds nothing, so no smallest set has it: it is not asked for again.
    """
    useful = [item for item in _offered(facts) if _useful(policy, facts, demand, item)]
    found: list[tuple[Evidence, ...]] = []
    for size in range(1, len(useful) + 1):
        for chosen in combinations(useful, size):
            names = {item.factor for item in chosen}
            if not any({item.factor for item in smaller} <= names for smaller in found) and _met(
                Standing(policy, facts, (*facts.evidence, *chosen)), demand
            ):
                found.append(chosen)
    # Sorting is stable: among equals, the order of enrolment.
    found.sort(key=_cost)
    level = "+".join(demand.levels)
    return tuple(StepUpOption(level, tuple(item.factor for item in sorted(chosen, key=_turn))) for chosen in found)


def _useful(policy: Policy, facts: Facts, demand: _Demand, item: Evidence) -> bool:
    """Whether it meets any requirement at all; trying the others would cost time and change nothing."""
    for name in demand.levels:
        for level in policy.stronger[name]:
            for alternative in level.any_of:
                if any(misfit(need, item, facts, None) is None for need in alternative.all_of):
                    return True
    return any(misfit(need, item, facts, None) is None for rule in demand.rules for need in rule.evidence)


def _cost(chosen: tuple[Evidence, ...]) -> tuple[int, bool, int]:
    """Fewest factors first, then phishing-resistant ones, then those that no restricted channel carries."""
    resistant = any(item.has("phishing_resistant") for item in chosen)
    return len(chosen), not resistant, sum(item.has("restricted") for item in chosen)


def _turn(item: Evidence) -> bool:
    """Knowledge is asked for first, so that no message is sent on behalf of somebody who does not know the password."""
    return item.category != "knowledge"


# The decision


def _decision(
    policy: Policy,
    standing: Standing,
    demand: _Demand,
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


def _relied_on(standing: Standing, demand: _Demand, counted: list[Reached]) -> tuple[Evidence, ...]:
    """What shows the levels and the rules' own evidence, oldest first, each once."""
    items = [item for found in counted for item in found.evidence]
    for rule in demand.rules:
        if rule.evidence_set is not None:
            items.extend(standing.meets(rule.evidence_set) or ())
    return tuple(sorted(dict.fromkeys(items), key=lambda item: (item.at, item.factor, item.authenticator_id)))


def _loa(counted: list[Reached]) -> Loa | None:
    claimed = {level.loa for found in counted for level in (found.level, found.by)}
    return next((loa for loa in reversed(LOAS) if loa in claimed), None)


def _shortest(limits: Iterable[int | None]) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)
