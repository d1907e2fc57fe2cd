"""Why a decision is what it is, in sentences that name the line of the policy they rest on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from idp.policy import wording
from idp.policy.demand import Demand
from idp.policy.evidence import SELF, Evidence
from idp.policy.index import Quest
from idp.policy.matching import Misfit, Obstacle, Reached, Standing, capped, proofed
from idp.policy.model import Level, Policy, Reason, Where


def reason(rule: str, where: Where, text: str, contributor: str) -> Reason:
    """One sentence with its place."""
    return Reason(rule, where.file, where.line, text, contributor)


def no_rule(policy: Policy, action: str) -> Reason:
    """Nothing allows the action."""
    text = f"No rule is about '{action}' under these circumstances; what no rule allows is refused."
    return reason("default", policy.rules_at, text, "policy")


def of_standing(policy: Policy, standing: Standing, demand: Demand) -> Iterator[Reason]:
    """What the evidence amounts to, measured by what is demanded."""
    for item in standing.body.facts.evidence:
        yield from _about_evidence(policy, standing, demand, item)
    for name in demand.levels:
        yield from _about_level(policy, standing, policy.by_name[name])
    yield from _about_rules(policy, standing, demand)


def _about_evidence(policy: Policy, standing: Standing, demand: Demand, item: Evidence) -> Iterator[Reason]:
    problem = standing.body.obstacle(item)
    upstream = policy.by_issuer.get(item.issuer)
    if problem is not None:
        text = f"The {wording.evidence(item)} does not count: {_OBSTACLES[problem]}."
        if problem == "upstream_age" and upstream is not None:
            yield reason("upstream", upstream.where, text, "upstream")
        else:
            by_request = problem in {"max_age", "reauthentication"}
            yield reason("evidence", policy.rules_at, text, "request" if by_request else "evidence")
    elif upstream is not None and capped(policy, item, demand.levels):
        text = (
            f"The {wording.evidence(item)} counts up to level {wording.level(policy.by_name[upstream.cap])} only: "
            "that is the cap of that identity provider."
        )
        yield reason("upstream", upstream.where, text, "upstream")


_OBSTACLES: Final[dict[Obstacle, str]] = {
    "future": "its time lies in the future",
    "max_age": "the request asks for something newer",
    "reauthentication": "the request asks for a new authentication",
    "bound_elsewhere": "it was made for another transaction only",
    "upstream_age": "it is older than the policy allows for that identity provider",
}


def _about_level(policy: Policy, standing: Standing, level: Level) -> Iterator[Reason]:
    reached = standing.level(level.name)
    if reached is not None:
        yield _reached(reached)
        return
    proofing = standing.body.facts.proofing
    if not proofed(level, standing.body.facts):
        text = (
            f"Level {wording.level(level)} needs a person whose identity was proofed at '{level.proofing}'; "
            f"this person's was at '{proofing}'."
        )
        yield reason(f"level:{level.name}", level.where, text, "person")
    quests = policy.level_quests[level.name]
    if any(standing.meets(quest) is not None for quest in quests):
        return
    ways = "; or ".join(unmet(standing, quest) for quest in quests)
    text = f"Level {wording.level(level)} is not reached by its evidence: {ways}."
    stronger = [other.name for other in policy.stronger[level.name][1:]]
    if stronger:
        text += f" Nor is a level that implies it reached ({', '.join(stronger)})."
    yield reason(f"level:{level.name}", level.any_of[0].where, text, "evidence")


def _reached(reached: Reached) -> Reason:
    via = "" if reached.by.name == reached.level.name else f" by way of level {wording.level(reached.by)}"
    text = f"Level {wording.level(reached.level)} is reached{via}: {_shown(reached.evidence)}."
    return reason(f"level:{reached.level.name}", reached.by.where, text, _contributor(reached.evidence))


def _shown(items: tuple[Evidence, ...]) -> str:
    return wording.listed((wording.evidence(item) for item in items), "and")


def _contributor(items: tuple[Evidence, ...]) -> str:
    """``upstream`` takes part where another identity provider vouched."""
    return "evidence" if all(item.issuer == SELF for item in items) else "evidence+upstream"


def _about_rules(policy: Policy, standing: Standing, demand: Demand) -> Iterator[Reason]:
    """Each rule's own evidence; the sentence ends alike for all rules that ask for the same."""
    ends: dict[Quest, tuple[str, str]] = {}
    for quest in demand.quests:
        found = standing.meets(quest)
        if found is None:
            ends[quest] = (f"is not there: {unmet(standing, quest)}.", "evidence")
        else:
            ends[quest] = (f"is there: {_shown(found)}.", _contributor(found))
    for rule in demand.rules:
        end, contributor = ends[policy.rule_quests[rule.id]]
        where = rule.evidence[0].where
        yield Reason(rule.id, where.file, where.line, f"The evidence that rule '{rule.id}' asks for {end}", contributor)


def unmet(standing: Standing, quest: Quest) -> str:
    """What a set asks for, what of it is missing, and which evidence falls just short."""
    missing = [index for index, there in enumerate(standing.meeting(quest)) if not there]
    if not missing:
        return f"{quest.asks} (each is there, but not from enough different factors or categories)"
    notes = [f"missing: {wording.listed((quest.words[index] for index in missing), 'and')}"]
    notes.extend(_near_misses(standing, quest, missing))
    return f"{quest.asks} ({'; '.join(notes)})"


def _near_misses(standing: Standing, quest: Quest, missing: list[int]) -> Iterator[str]:
    body = standing.body
    for index in missing:
        for item in body.facts.evidence:
            why = None if body.obstacle(item) else body.misfit(quest, quest.needed.all_of[index], item)
            if why is not None and why != "kind":
                yield f"the {wording.evidence(item)} {_MISFITS[why]}"


_MISFITS: Final[dict[Misfit, str]] = {
    "issuer": "comes from another issuer",
    "flags": "lacks a property, or has one that is excluded",
    "channel": "came another way",
    "attestation": "is not proved to be of such a make",
    "transaction": "was not made for this transaction",
    "age": "is too old",
    "cap": "is capped below it",
}
