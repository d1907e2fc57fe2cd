"""What a replay found, for people and as JSON values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from foundation.clock import epoch
from idp.policy.explain import decision_json, reason_json, reason_line
from idp.policy.replay import Change, Group, Replayed, headline, noun, responsible, telling


def as_lines(found: Replayed, what: str = "recorded") -> Iterator[str]:
    """For people: a headline for each kind of change and action, below it who it hits and why, with an example."""
    seen: set[tuple[str, str]] = set()
    for group in found.ordered():
        if (group.kind, group.action) not in seen:
            seen.add((group.kind, group.action))
            yield headline(found, group.kind, group.action, what)
        yield from _group_lines(group)
    if not found.groups:
        yield f"none of {found.records} {what} decisions would come out otherwise"
    for name, count in sorted(found.unknown_attributes.items()):
        yield (
            f"note: {count} of {found.records} say nothing of the attribute '{name}', which the policy then in force "
            "did not ask about; they are replayed as if the person did not have it"
        )


def _group_lines(group: Group) -> Iterator[str]:
    at = f" at {group.client_id}" if group.client_id else ""
    yield f"  {group.count} {noun(group.action, group.count)}{at}: {group.detail}, by {responsible(group)}"
    example = group.examples[0]
    yield f"    for example {example.decision_id} of {example.facts.now:%Y-%m-%d %H:%M:%SZ}"
    yield from (f"      {reason_line(reason)}" for reason in telling(example))


def as_json(found: Replayed) -> dict[str, Any]:
    """As JSON values; times are NumericDates."""
    return {
        "records": found.records,
        "changed": found.changed,
        "first": None if found.first is None else epoch(found.first),
        "last": None if found.last is None else epoch(found.last),
        "by_action": dict(sorted(found.by_action.items())),
        "unknown_attributes": dict(sorted(found.unknown_attributes.items())),
        "groups": [_group_json(found, group) for group in found.ordered()],
    }


def _group_json(found: Replayed, group: Group) -> dict[str, Any]:
    return {
        "kind": group.kind,
        "action": group.action,
        "client_id": group.client_id,
        "detail": group.detail,
        "count": group.count,
        "of": found.by_action[group.action],
        "rules": [{"rule": item.rule, "file": item.file, "line": item.line} for item in group.causes],
        "examples": [_change_json(example) for example in group.examples],
    }


def _change_json(change: Change) -> dict[str, Any]:
    before = change.before
    return {
        "decision_id": change.decision_id,
        "at": epoch(change.facts.now),
        "before": {
            "outcome": before.outcome,
            "refusal": before.refusal,
            "required": list(before.required),
            "acr": before.acr,
            "loa": before.loa,
            "options": [list(option) for option in before.options],
            "session_limit": before.session_limit,
            "idle_limit": before.idle_limit,
        },
        "after": decision_json(change.after),
        "telling": [reason_json(reason) for reason in telling(change)],
    }
