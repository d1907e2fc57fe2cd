"""Levels, rules and decisions as the pages show them; a policy's own words stay as its authors wrote them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from idp.policy import wording
from idp.policy.model import Condition, Level, Policy, Rule


@dataclass(frozen=True, slots=True)
class LevelRow:
    """A level, for a table."""

    name: str
    title: str
    line: int
    claims: tuple[str, ...]
    uris: tuple[str, ...]
    implies: tuple[str, ...]
    proofing: str
    ways: tuple[tuple[str, int], ...]
    """Each set of evidence in words, with its line."""
    limits: tuple[tuple[str, str], ...]
    """``freshness``, ``session`` or ``idle`` with a time."""


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule, for a table."""

    id: str
    line: int
    actions: tuple[str, ...]
    conditions: tuple[str, ...]
    levels: tuple[str, ...]
    evidence: str
    because: str


def level_rows(policy: Policy) -> tuple[LevelRow, ...]:
    """All levels, in the order of the file."""
    return tuple(_level(level) for level in policy.levels)


def _level(level: Level) -> LevelRow:
    limits = (("freshness", level.freshness), ("session", level.session_limit), ("idle", level.idle_limit))
    return LevelRow(
        name=level.name,
        title=level.title,
        line=level.where.line,
        claims=tuple(f"{claim.framework}: {claim.level}" for claim in level.claims),
        uris=(*level.acr, *level.saml),
        implies=level.implies,
        proofing=level.proofing,
        ways=tuple((wording.alternative(item), item.where.line) for item in level.any_of),
        limits=tuple((name, wording.duration(limit)) for name, limit in limits if limit is not None),
    )


def rule_rows(policy: Policy) -> tuple[RuleRow, ...]:
    """All rules, in the order of the file."""
    return tuple(_rule(rule) for rule in policy.rules)


def _rule(rule: Rule) -> RuleRow:
    return RuleRow(
        id=rule.id,
        line=rule.where.line,
        actions=rule.actions,
        conditions=tuple(_conditions(rule.when)),
        levels=rule.require,
        evidence="" if rule.evidence_set is None else wording.alternative(rule.evidence_set),
        because=rule.because,
    )


def _conditions(when: Condition) -> Iterator[str]:
    yield from _one_of("relying party", when.clients)
    yield from _one_of("group", when.groups)
    for name, values in when.attributes.items():
        yield from _one_of(f"attribute {name}", values)
    if when.credential is not None:
        yield from _one_of("credential", when.credential.ids)
        yield from _one_of("SCAL", when.credential.scal)
        yield from _one_of("qualifier", when.credential.qualifiers)
    yield from _one_of("network", frozenset(map(str, when.networks)))
    if when.time is not None:
        days = ", ".join(day for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun") if day in when.time.days)
        yield f"{days} from {when.time.start:%H:%M} to {when.time.end:%H:%M}, {when.time.zone}"


def _one_of(what: str, values: frozenset[str]) -> Iterator[str]:
    if values:
        yield f"{what} {wording.listed(sorted(values), 'or')}"
