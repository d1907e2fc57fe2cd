"""A decision with its derivation: as JSON values, and as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from foundation.clock import epoch
from idp.policy import wording
from idp.policy.body import Standing, standing
from idp.policy.index import Quest
from idp.policy.matching import proofed
from idp.policy.model import Decision, Facts, Level, Policy, Reason, Where


def decision_json(decision: Decision) -> dict[str, Any]:
    """A decision as JSON values; times are NumericDates.  What is kept of a decision
    on a transaction has its own form (:mod:`idp.storage.decisions`)."""
    return {
        "outcome": decision.outcome,
        "refusal": decision.refusal,
        "required": list(decision.required),
        "reached": list(decision.reached),
        "acr": decision.acr,
        "loa": decision.loa,
        "amr": list(decision.amr),
        "auth_time": None if decision.auth_time is None else epoch(decision.auth_time),
        "session_limit": decision.session_limit,
        "idle_limit": decision.idle_limit,
        "relied_on": [item.to_json() for item in decision.relied_on],
        "options": [{"level": item.level, "missing": list(item.missing)} for item in decision.options],
        "reasons": [reason_json(reason) for reason in decision.reasons],
    }


def reason_json(reason: Reason) -> dict[str, Any]:
    """A reason as JSON values."""
    return {
        "rule": reason.rule,
        "file": reason.file,
        "line": reason.line,
        "text": reason.text,
        "contributor": reason.contributor,
    }


def reason_line(reason: Reason) -> str:
    """A reason for a person to read."""
    return f"{reason.file}:{reason.line} [{reason.contributor}] {reason.text}"


def reason_rules(decision: Decision) -> tuple[str, ...]:
    """The rules that a decision's reasons rest on, in order, each once: what ``reasons`` of a case lists."""
    return tuple(dict.fromkeys(reason.rule for reason in decision.reasons))


def applying(decision: Decision) -> frozenset[tuple[str, int]]:
    """Id and line of every rule whose condition held: each has a reason of its own, at the place where it begins."""
    if decision.refusal == "no_rule":
        return frozenset()
    others = {"evidence", "request", "person", "upstream"}
    return frozenset(
        (reason.rule, reason.line)
        for reason in decision.reasons
        if others.isdisjoint(reason.contributor.split("+"))
    )


def explain_json(policy: Policy, facts: Facts, decision: Decision) -> dict[str, Any]:
    """The decision, the policy that made it, and for each level what of it is met."""
    found = standing(policy, facts)
    return {
        "policy": {"name": policy.name, "file": policy.file, "sha256": policy.sha256},
        "action": facts.action,
        "decision": decision_json(decision),
        "levels": [_level_json(level, policy, found) for level in policy.levels],
    }


def _level_json(level: Level, policy: Policy, found: Standing) -> dict[str, Any]:
    reached = found.level(level.name)
    return {
        "name": level.name,
        "reached": reached is not None,
        "by_way_of": None if reached is None or reached.by.name == level.name else reached.by.name,
        "proofed": proofed(level, found.body.facts),
        "line": level.where.line,
        "any_of": [_set_json(quest, found) for quest in policy.level_quests[level.name]],
    }


def _set_json(quest: Quest, found: Standing) -> dict[str, Any]:
    needs = zip(quest.needed.all_of, quest.words, found.meeting(quest), strict=True)
    return {
        "line": quest.needed.where.line,
        "met": found.meets(quest) is not None,
        "all_of": [{"line": need.where.line, "asks": asks, "met": met} for need, asks, met in needs],
        "different_categories": quest.needed.different_categories,
    }


def explain(policy: Policy, facts: Facts, decision: Decision) -> str:
    """The same for a person to read; ends without a newline."""
    return "\n".join(_lines(policy, facts, decision))


_OUTCOMES = {"allow": "allowed", "step_up": "more is needed", "deny": "refused"}


def _lines(policy: Policy, facts: Facts, decision: Decision) -> Iterator[str]:
    refusal = f" ({decision.refusal})" if decision.refusal else ""
    yield f"{facts.action}: {_OUTCOMES[decision.outcome]}{refusal}"
    yield f"  policy    {policy.name}, {policy.file}, sha256 {policy.sha256}"
    yield f"  required  {', '.join(decision.required) or 'nothing'}"
    yield f"  reached   {', '.join(decision.reached) or 'nothing'}"
    yield f"  acr       {decision.acr}"
    yield f"  eIDAS     {decision.loa or 'none'}"
    yield f"  amr       {' '.join(decision.amr) or 'none'}"
    if decision.auth_time is not None:
        yield f"  auth_time {decision.auth_time:%Y-%m-%d %H:%M:%SZ}"
    for name, limit in (("session", decision.session_limit), ("idle", decision.idle_limit)):
        if limit is not None:
            yield f"  {name:<9} at most {wording.duration(limit)}"
    if decision.options:
        yield ""
        yield "ways on, best first"
        for option in decision.options:
            words = (wording.FACTOR_WORDS[factor] for factor in option.missing)
            yield f"  {wording.listed(words, 'and')}: leads to {option.level}"
    yield ""
    yield "because"
    for reason in decision.reasons:
        yield f"  {reason_line(reason)}"
    yield ""
    yield "levels"
    found = standing(policy, facts)
    for level in policy.levels:
        yield from _level_lines(level, policy, found)


def _level_lines(level: Level, policy: Policy, found: Standing) -> Iterator[str]:
    reached = found.level(level.name)
    state = "not reached" if reached is None else "reached"
    if reached is not None and reached.by.name != level.name:
        state += f" by way of {reached.by.name}"
    yield f"  {level.name}: {state} ({_place(level.where)})"
    facts = found.body.facts
    if not proofed(level, facts):
        yield f"    - identity proofed at '{level.proofing}'; this person's was at '{facts.proofing}'"
    for quest in policy.level_quests[level.name]:
        met = found.meets(quest) is not None
        yield f"    {_mark(met=met)} {quest.asks} ({_place(quest.needed.where)})"
        for need, asks, fits in zip(quest.needed.all_of, quest.words, found.meeting(quest), strict=True):
            yield f"      {_mark(met=fits)} {asks} ({_place(need.where)})"


def _mark(*, met: bool) -> str:
    return "+" if met else "-"


def _place(where: Where) -> str:
    return f"line {where.line}"
