"""How two policies differ, in words: levels, rules, limits and what else a file says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from idp.policy import wording
from idp.policy.model import (
    DAYS,
    Condition,
    CredentialCondition,
    EvidenceSet,
    FactorLimits,
    Level,
    Policy,
    Requirement,
    Rule,
    TimeCondition,
    Upstream,
    UpstreamMapping,
    Where,
)

_NOWHERE: Final = Where("", 0, 0)
_LIMITS: Final = frozenset(item.name for item in fields(FactorLimits)) - {"where", "factor"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same."""

    subject: str
    """For example ``rule 'sign'``."""
    text: str
    """For example ``now also needs level 'high'``."""
    before: Where | None
    """Where it stands in the first file; None: it does not."""
    after: Where | None

    def __str__(self) -> str:
        return f"{self.subject} {self.text}" if self.text[0] != ":" else f"{self.subject}{self.text}"


def differences(old: Policy, new: Policy) -> tuple[Difference, ...]:
    """All that the second file says otherwise than the first, in the order of the file's parts.

    Words for people (``title``, ``because``) count; comments, the order of keys and the description do not.
    """
    return (
        *_names(old, new),
        *_edges(old, new),
        *_each("level", old.by_name, new.by_name, _level, _level_words),
        *_order(old, new),
        *_each("rule", _by_id(old), _by_id(new), _rule, _rule_words),
        *_each("limits of", old.factors, new.factors, _limits, _limits_words),
        *_each("upstream", _by_issuer(old), _by_issuer(new), _upstream, _upstream_words),
    )


# The file


def _names(old: Policy, new: Policy) -> Iterator[Difference]:
    if old.name != new.name:
        yield Difference("the policy", f": name '{old.name}' → '{new.name}'", old.rules_at, new.rules_at)
    for name in sorted({*old.frameworks, *new.frameworks}):
        before, after = old.frameworks.get(name), new.frameworks.get(name)
        if before != after:
            text = f": {_list(before or ())} → {_list(after or ())}"
            yield Difference(f"framework '{name}'", text, old.rules_at, new.rules_at)
    for text in _members("declares the action", sorted(old.actions), sorted(new.actions)):
        yield Difference("the policy", text, old.rules_at, new.rules_at)


def _edges(old: Policy, new: Policy) -> Iterator[Difference]:
    before = {f"{item.stronger} implies {item.weaker}": item.where for item in old.edges}
    after = {f"{item.stronger} implies {item.weaker}": item.where for item in new.edges}
    for words in sorted({*before, *after}):
        if words not in before:
            yield Difference("the policy", f"now says that {words}", None, after[words])
        elif words not in after:
            yield Difference("the policy", f"no longer says that {words}", before[words], None)


def _order(old: Policy, new: Policy) -> Iterator[Difference]:
    """The later of two unordered levels is the one whose acr is returned, so their order counts."""
    kept = [level.name for level in new.levels if level.name in old.by_name]
    before = [level.name for level in old.levels if level.name in new.by_name]
    if before != kept:
        text = f": order {_list(before)} → {_list(kept)}"
        yield Difference("levels", text, old.levels[0].where, new.levels[0].where)


def _each(
    what: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    compare: Callable[[Any, Any], Iterator[str]],
    words: Callable[[Any], str],
) -> Iterator[Difference]:
    """Things with names: gone, changed, new."""
    for name in (*old, *(name for name in new if name not in old)):
        subject = f"{what} '{name}'"
        if name not in old:
            yield Difference(subject, f"is new: {words(new[name])}", None, new[name].where)
        elif name not in new:
            yield Difference(subject, f"is gone: {words(old[name])}", old[name].where, None)
        else:
            for text in compare(old[name], new[name]):
                yield Difference(subject, text, old[name].where, new[name].where)


# Levels


def _level(old: Level, new: Level) -> Iterator[str]:
    for key in ("freshness", "session_limit", "idle_limit"):
        yield from _value(key, getattr(old, key), getattr(new, key), wording.duration)
    yield from _value("proofing", old.proofing, new.proofing)
    yield from _value("title", old.title, new.title)
    for key in ("acr", "saml"):
        before, after = getattr(old, key), getattr(new, key)
        if before != after:
            yield f": {key} {_list(before)} → {_list(after)}"
    yield from _members("implies", old.implies, new.implies)
    claims = [[str(item) for item in level.claims] for level in (old, new)]
    yield from _members("claims", claims[0], claims[1])
    yield from _value("notified", old.notified, new.notified)
    yield from _value("statement", old.statement, new.statement)
    ways = [{_bare_set(item): item for item in level.any_of} for level in (old, new)]
    for asked, way in ways[1].items():
        if asked not in ways[0]:
            yield f"is now also reached by {wording.alternative(way)}"
    for asked, way in ways[0].items():
        if asked not in ways[1]:
            yield f"is no longer reached by {wording.alternative(way)}"


def _level_words(level: Level) -> str:
    return "reached by " + "; or ".join(wording.alternative(item) for item in level.any_of)


def _bare_set(item: EvidenceSet) -> object:
    """What it asks for, without places; the order of its requirements asks for nothing."""
    return frozenset(Counter(map(_bare, item.all_of)).items()), item.different_categories


def _bare(item: Requirement) -> Requirement:
    return replace(item, where=_NOWHERE)


# Rules


def _by_id(policy: Policy) -> dict[str, Rule]:
    return {rule.id: rule for rule in policy.rules}


def _rule(old: Rule, new: Rule) -> Iterator[str]:
    yield from _members("is about", old.actions, new.actions)
    for name in new.require:
        if name not in old.require:
            yield f"now also needs level '{name}'"
    for name in old.require:
        if name not in new.require:
            yield f"no longer needs level '{name}'"
    evidence = [{_bare(item): item for item in rule.evidence} for rule in (old, new)]
    for key, item in evidence[1].items():
        if key not in evidence[0]:
            yield f"now also needs {wording.requirement(item)}"
    for key, item in evidence[0].items():
        if key not in evidence[1]:
            yield f"no longer needs {wording.requirement(item)}"
    yield from _condition(old.when, new.when)
    yield from _value("because", old.because, new.because)


def _rule_words(rule: Rule) -> str:
    levels = wording.listed((f"'{name}'" for name in rule.require), "and")
    text = f"{wording.listed(rule.actions, 'and')} needs level {levels}"
    if rule.evidence_set is not None:
        text += f", with {wording.alternative(rule.evidence_set)}"
    conditions = list(_parts(rule.when).items())
    return text + (f", when {'; '.join(f'{name} {words}' for name, words in conditions)}" if conditions else "")


def _condition(old: Condition, new: Condition) -> Iterator[str]:
    before, after = _parts(old), _parts(new)
    for name in dict.fromkeys((*before, *after)):
        if name not in before:
            yield f"now applies only when {name} {after[name]}"
        elif name not in after:
            yield f"applies whatever the {name.split(' ')[0]}, no longer only when {name} {before[name]}"
        elif before[name] != after[name]:
            yield f"applies when {name} {after[name]}, formerly {before[name]}"


def _parts(when: Condition) -> dict[str, str]:
    """Each part of a condition in words."""
    found: dict[str, str] = {}
    if when.clients:
        found["client"] = _is(when.clients)
    if when.groups:
        found["group"] = _is(when.groups)
    for name, values in sorted(when.attributes.items()):
        found[f"attribute '{name}'"] = _is(values)
    if when.credential is not None:
        found["credential"] = _credential(when.credential)
    if when.networks:
        found["network"] = _is(map(str, when.networks))
    if when.time is not None:
        found["time"] = _time(when.time)
    return found


def _credential(when: CredentialCondition) -> str:
    parts = (("id", when.ids), ("scal", when.scal), ("qualifier", when.qualifiers))
    return wording.listed((f"{name} {_is(values)}" for name, values in parts if values), "and")


def _time(when: TimeCondition) -> str:
    days = "every day" if when.days == set(DAYS) else ", ".join(day for day in DAYS if day in when.days)
    return f"is {days} {when.start:%H:%M} to {when.end:%H:%M} {when.zone}"


def _is(values: Iterable[str]) -> str:
    return f"is {wording.listed(sorted(values), 'or')}"


# Limits and other identity providers


def _limits(old: FactorLimits, new: FactorLimits) -> Iterator[str]:
    for item in fields(FactorLimits):
        if item.name in _LIMITS:
            yield from _value(item.name, getattr(old, item.name), getattr(new, item.name), _limit(item.name))


def _limits_words(limits: FactorLimits) -> str:
    named = ((item.name, getattr(limits, item.name)) for item in fields(FactorLimits) if item.name in _LIMITS)
    return ", ".join(f"{name} {_limit(name)(value)}" for name, value in named if value not in {None, False})


def _limit(name: str) -> Callable[[Any], str]:
    return wording.duration if name in {"lifetime", "step"} else _word


def _by_issuer(policy: Policy) -> dict[str, Upstream]:
    return {", ".join(sorted(item.issuers)): item for item in policy.upstream}


def _upstream(old: Upstream, new: Upstream) -> Iterator[str]:
    yield from _value("cap", old.cap, new.cap)
    yield from _value("max_age", old.max_age, new.max_age, wording.duration)
    before, after = [tuple(_bare_mapping(mapping) for mapping in item.mappings) for item in (old, new)]
    if before != after:
        yield f": what its logins count as is written otherwise ({len(before)} mappings → {len(after)})"


def _upstream_words(item: Upstream) -> str:
    return f"its logins count up to level '{item.cap}'"


def _bare_mapping(item: UpstreamMapping) -> UpstreamMapping:
    return replace(item, where=_NOWHERE, evidence=tuple(replace(part, where=_NOWHERE) for part in item.evidence))


# Words


def _value(name: str, old: Any, new: Any, words: Callable[[Any], str] | None = None) -> Iterator[str]:
    """One value that is another one; the words of an absent one are 'none'."""
    if old != new:
        shown = ["none" if value in {None, ""} else (words or _word)(value) for value in (old, new)]
        yield f": {name} {shown[0]} → {shown[1]}"


def _word(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _members(verb: str, old: Iterable[str], new: Iterable[str]) -> Iterator[str]:
    before, after = tuple(old), tuple(new)
    for name in after:
        if name not in before:
            yield f"now also {verb} {name}"
    for name in before:
        if name not in after:
            yield f"no longer {verb} {name}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
