"""Asking another policy about decisions that were made: what would change, in words.

A change is anything that the person or the relying party would notice: allowed, asked for more or refused; offered
other ways; another ``acr`` or eIDAS level; other limits of the session; and, where both allow, other levels that had to
be reached, since a policy that asks for less than before is noticed by nobody until it matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from idp.policy import wording
from idp.policy.body import standing
from idp.policy.evaluate import evaluate
from idp.policy.explain import applying
from idp.policy.model import Decision, Facts, Policy, Reason
from idp.policy.records import DecisionRecord, Verdict, named_attributes, verdict_of
from idp.policy.strength import ENROLLED

EXAMPLES: Final = 3
"""So many decisions of each group are shown."""

Kind = Literal["step_up", "deny", "allow", "refusal", "required", "acr", "loa", "limits", "options"]
"""What changes: the new outcome, or, where that is the old one, what else."""

_WOULD: Final[Mapping[Kind, str]] = {
    "step_up": "would now need step-up",
    "deny": "would now be refused",
    "allow": "would now be allowed",
    "refusal": "would be refused for another reason",
    "required": "would be allowed for other levels",
    "acr": "would get another acr",
    "loa": "would get another eIDAS level",
    "limits": "would get other session limits",
    "options": "would be offered other ways",
}

_ACTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "sign_in": ("sign-in", "sign-ins"),
    "signature.activate": ("signature", "signatures"),
    "signature.activate_in_band": ("signature in band", "signatures in band"),
    "credential.create": ("credential creation", "credential creations"),
    "credential.suspend": ("credential suspension", "credential suspensions"),
    "credential.resume": ("credential resumption", "credential resumptions"),
    "credential.revoke": ("credential revocation", "credential revocations"),
    "credential.delete": ("credential deletion", "credential deletions"),
    "account.enrol_factor": ("enrolment of a factor", "enrolments of factors"),
    "account.reset_factor": ("reset of a factor", "resets of factors"),
}


@dataclass(frozen=True, slots=True)
class Cause:
    """A rule that a change rests on."""

    rule: str
    """A rule's id, or ``request``, or ``default`` where there is no rule."""
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Change:
    """A decision that would come out otherwise."""

    kind: Kind
    decision_id: str
    """Or the name of the case."""
    facts: Facts
    before: Verdict
    after: Decision
    causes: tuple[Cause, ...]
    """The rules of the other policy that bring it about: those not met, or, where it allows, those that apply."""


@dataclass(slots=True)
class Group:
    """Changes of one kind, action and relying party that rest on the same rules."""

    kind: Kind
    action: str
    client_id: str | None
    detail: str
    causes: tuple[Cause, ...]
    count: int = 0
    examples: list[Change] = field(default_factory=list)
    """The first ones, at most :data:`EXAMPLES`."""


@dataclass(slots=True)
class Replayed:
    """What a replay found; it grows with the number of groups, not with that of the records."""

    records: int = 0
    by_action: dict[str, int] = field(default_factory=dict)
    groups: dict[tuple[object, ...], Group] = field(default_factory=dict)
    unknown_attributes: dict[str, int] = field(default_factory=dict)
    """Attributes that the policy asks about, with the number of records that do not say what the person's were."""
    first: datetime | None = None
    last: datetime | None = None

    @property
    def changed(self) -> int:
        """How many decisions would come out otherwise."""
        return sum(group.count for group in self.groups.values())

    def ordered(self) -> list[Group]:
        """The groups, the most serious kind first, then by action and the largest first."""
        kinds = list(_WOULD)
        return sorted(
            self.groups.values(),
            key=lambda group: (kinds.index(group.kind), group.action, -group.count, group.client_id or ""),
        )


def replay(policy: Policy, records: Iterable[DecisionRecord]) -> Iterator[Change]:
    """The decisions that would come out otherwise under the policy, in the order of the records."""
    for record in records:
        found = change(policy, record.decision_id, record.facts, record.verdict)
        if found is not None:
            yield found


def change(policy: Policy, decision_id: str, facts: Facts, before: Verdict) -> Change | None:
    """How the policy's decision on the facts differs from another one, or None if it does not."""
    after = evaluate(policy, facts)
    kind = _kind(before, verdict_of(after))
    if kind is None:
        return None
    return Change(kind, decision_id, facts, before, after, _causes(policy, facts, after))


def summarise(
    policy: Policy,
    records: Iterable[DecisionRecord],
    before: Callable[[DecisionRecord], Verdict] = lambda record: record.verdict,
) -> Replayed:
    """Replay all records and group what changes.

    :param before: what to compare with: what was decided then, unless given.
    """
    found = Replayed()
    named = named_attributes(policy)
    for record in records:
        _count(found, record.facts, named)
        changed = change(policy, record.decision_id, record.facts, before(record))
        if changed is not None:
            _add(found, changed)
    return found


def decided_by(policy: Policy) -> Callable[[DecisionRecord], Verdict]:
    """For :func:`summarise`: compare with what this policy would have decided."""
    return lambda record: verdict_of(evaluate(policy, record.facts))


def _count(found: Replayed, facts: Facts, named: frozenset[str]) -> None:
    found.records += 1
    found.by_action[facts.action] = found.by_action.get(facts.action, 0) + 1
    for name in named - set(facts.attributes):
        found.unknown_attributes[name] = found.unknown_attributes.get(name, 0) + 1
    found.first = facts.now if found.first is None else min(found.first, facts.now)
    found.last = facts.now if found.last is None else max(found.last, facts.now)


def _add(found: Replayed, changed: Change) -> None:
    detail = _detail(changed)
    key = (changed.kind, changed.facts.action, changed.facts.client_id, detail, changed.causes)
    group = found.groups.setdefault(
        key, Group(changed.kind, changed.facts.action, changed.facts.client_id, detail, changed.causes)
    )
    group.count += 1
    if len(group.examples) < EXAMPLES:
        group.examples.append(changed)


def _kind(before: Verdict, after: Verdict) -> Kind | None:
    if before.outcome != after.outcome:
        return after.outcome
    if before.refusal != after.refusal:
        return "refusal"
    if after.outcome == "step_up":
        return "options" if before.options != after.options else None
    if after.outcome == "deny":
        return None
    if before.required != after.required:
        return "required"
    if before.acr != after.acr:
        return "acr"
    if before.loa != after.loa:
        return "loa"
    limits = (before.session_limit, before.idle_limit) != (after.session_limit, after.idle_limit)
    return "limits" if limits else None


def _causes(policy: Policy, facts: Facts, after: Decision) -> tuple[Cause, ...]:
    if after.refusal == "no_rule":
        return (Cause("default", policy.rules_at.file, policy.rules_at.line),)
    held = applying(after)
    rules = [rule for rule in policy.rules if (rule.id, rule.where.line) in held]
    if after.outcome != "allow":
        found = standing(policy, facts)
        unmet = [
            rule
            for rule in rules
            if not set(rule.require) <= set(after.reached)
            or (rule.evidence_set is not None and found.meets(policy.rule_quests[rule.id]) is None)
        ]
        if not unmet and any(item.rule == ENROLLED for item in after.reasons):
            return (Cause(ENROLLED, policy.rules_at.file, policy.rules_at.line),)
        if not unmet:
            # The rules are met: what is missing is what the relying party asked for.
            return (Cause("request", policy.rules_at.file, policy.rules_at.line),)
        rules = unmet
    return tuple(Cause(rule.id, rule.where.file, rule.where.line) for rule in rules)


# In words


def headline(found: Replayed, kind: Kind, action: str, what: str = "recorded") -> str:
    """For example: 37 of 410 recorded sign-ins would now need step-up."""
    count = sum(group.count for group in found.groups.values() if (group.kind, group.action) == (kind, action))
    total = found.by_action[action]
    return f"{count} of {total} {what} {noun(action, total)} {_WOULD[kind]}"


def noun(action: str, count: int) -> str:
    """What happened, in words."""
    one, many = _ACTIONS.get(action, (f"decision on '{action}'", f"decisions on '{action}'"))
    return one if count == 1 else many


def responsible(group: Group) -> str:
    """The rules that the changes of a group rest on, with their places."""
    return wording.listed((f"{_cause(item)} ({item.file}:{item.line})" for item in group.causes), "and")


def _cause(item: Cause) -> str:
    others = {
        "default": "the lack of a rule about it",
        "request": "what the relying party asks for",
        ENROLLED: "what the person can prove",
    }
    return others.get(item.rule, f"rule '{item.rule}'")


def telling(changed: Change) -> tuple[Reason, ...]:
    """Why the new decision is not the old one: its reasons from the rules that it rests on, and what is not there."""
    names = {item.rule for item in changed.causes}
    reasons = changed.after.reasons
    if changed.after.outcome == "allow":
        return tuple(reason for reason in reasons if reason.rule in names)
    reached = {f"level:{name}" for name in changed.after.reached}
    return tuple(
        reason
        for reason in reasons
        if reason.rule in names or (reason.rule.startswith("level:") and reason.rule not in reached)
    )


def _detail(changed: Change) -> str:
    """From what to what, where the kind alone does not tell."""
    before, after = changed.before, verdict_of(changed.after)
    if changed.kind in {"step_up", "deny", "allow"}:
        return f"{_outcome(before)} → {_outcome(after)}"
    if changed.kind == "refusal":
        return f"{before.refusal} → {after.refusal}"
    if changed.kind == "required":
        return f"level {_names(before.required)} → {_names(after.required)}"
    if changed.kind == "options":
        return f"{_options(before)} → {_options(after)}"
    if changed.kind == "limits":
        return f"{_limits(before)} → {_limits(after)}"
    if changed.kind == "acr":
        return f"{before.acr} → {after.acr}"
    return f"{before.loa or 'none'} → {after.loa or 'none'}"


_OUTCOMES: Final = {"allow": "allowed", "step_up": "step-up", "deny": "refused"}


def _outcome(verdict: Verdict) -> str:
    ways = f" by {_options(verdict)}" if verdict.options else ""
    why = f" ({verdict.refusal})" if verdict.refusal else ""
    return f"{_OUTCOMES[verdict.outcome]}{ways}{why}"


def _options(verdict: Verdict) -> str:
    options = (wording.listed((wording.FACTOR_WORDS.get(name, name) for name in way), "and") for way in verdict.options)
    return wording.listed(options, "or") or "nothing"


def _limits(verdict: Verdict) -> str:
    session, idle = (
        "none" if limit is None else wording.duration(limit) for limit in (verdict.session_limit, verdict.idle_limit)
    )
    return f"session {session}, idle {idle}"


def _names(names: tuple[str, ...]) -> str:
    return wording.listed((f"'{name}'" for name in names), "and") or "none"
