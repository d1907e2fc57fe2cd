"""What an evaluation looks up, worked out once when a policy is made."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from idp.policy import wording
from idp.policy.closure import closed
from idp.policy.facts import Reason

if TYPE_CHECKING:
    from idp.policy.model import Claim, Condition, EvidenceSet, Level, Policy, Requirement, Rule, Where


UNLIMITED: Final = sys.maxsize
"""Seconds that no evidence is old."""

LONG_ALONE: Final = "nist-800-63b:r4", "aal1"
"""The framework's level that asks for a longer password where it is the only factor (3.1.1.2); all above it include
it."""


@dataclass(frozen=True, slots=True, eq=False)
class Sort:
    """What quests have in common that differ only in how old the evidence may be, and in where they stand.  Evidence is
    held against it once for all of them."""

    kinds: tuple[Requirement, ...]
    """Each requirement without its place and age; those of a policy that are alike are one object."""
    towards: tuple[str, ...]
    """The levels that it serves: evidence that is capped below one of them does not count."""
    different_categories: int
    simple: bool
    """Whether anything that meets its only requirement meets all of it."""
    alone: bool = False
    """Whether what meets its only requirement stands alone where revision 4 of NIST SP 800-63B is claimed: a password
    serves there only if it is long enough."""


@dataclass(frozen=True, slots=True, eq=False)
class Quest:
    """A set of requirements and what meeting it serves.  What is worked out about it is kept by its identity."""

    needed: EvidenceSet
    sort: Sort
    limits: tuple[int, ...]
    """Seconds, for each requirement: how old evidence may be for it and for the level that is served."""
    freshness: int | None = None
    """Seconds; the limit of the level that it serves."""
    towards: tuple[str, ...] = ()
    """The levels that it serves."""
    asks: str = ""
    """All of it in words."""
    words: tuple[str, ...] = ()
    """Each requirement in words."""
    lacking: str = ""
    """How a sentence begins when none of them is met."""


@dataclass(frozen=True, slots=True, eq=False)
class Asking:
    """A rule's own evidence, and how the sentences about it begin."""

    rule: str
    file: str
    line: int
    """Where the rule states it."""
    quest: Quest
    begins: str
    lacking: str
    """How it begins when nothing meets the only requirement."""


@dataclass(frozen=True, slots=True, eq=False)
class Clause:
    """A rule, with all that follows from the policy alone."""

    rule: Rule
    require: tuple[str, ...]
    clients: frozenset[str]
    """The relying parties that it is about; none: all."""
    circumstances: Condition
    """The condition's other parts; what is alike is one object."""
    reason: Reason
    """What it says once it applies."""
    asking: Asking | None


class _Quests:
    """Makes a policy's quests."""

    def __init__(self, nowhere: Where) -> None:
        self._nowhere = nowhere
        self._kinds: dict[Requirement, Requirement] = {}
        self._sorts: dict[object, Sort] = {}

    def make(
        self, needed: EvidenceSet, freshness: int | None, towards: tuple[str, ...], *, long_alone: bool = False
    ) -> Quest:
        """The quest for a set of requirements.

        :param long_alone: a password that meets all of it has to be long.
        """
        words = tuple(wording.requirement(item) for item in needed.all_of)
        asks = wording.alternative(needed)
        lacking = f"{asks} (missing: {wording.listed(words, 'and')}"
        limits = tuple(_least(item.max_age, freshness) for item in needed.all_of)
        sort = self._sort_of(needed, towards, alone=long_alone and len(needed.all_of) == 1)
        return Quest(needed, sort, limits, freshness, towards, asks, words, lacking)

    def _sort_of(self, needed: EvidenceSet, towards: tuple[str, ...], *, alone: bool) -> Sort:
        kinds, different = self._kinds_of(needed.all_of), needed.different_categories
        made = Sort(kinds, towards, different, len(kinds) == 1 and different == 1, alone)
        return self._sorts.setdefault((kinds, towards, different, alone), made)

    def _kinds_of(self, needs: Iterable[Requirement]) -> tuple[Requirement, ...]:
        plain = (replace(item, where=self._nowhere, max_age=None) for item in needs)
        return tuple(self._kinds.setdefault(item, item) for item in plain)

    def of_level(self, level: Level) -> tuple[Quest, ...]:
        """One for each alternative."""
        claimed = any((claim.framework, claim.level) == LONG_ALONE for claim in level.included)
        return tuple(self.make(item, level.freshness, (level.name,), long_alone=claimed) for item in level.any_of)

    def of_rules(self, policy: Policy) -> dict[str, Quest]:
        """By rule; rules that ask for the same have the same quest, so that it is looked for once."""
        quests: dict[str, Quest] = {}
        shared: dict[object, Quest] = {}
        for rule in policy.rules:
            if rule.evidence_set is not None:
                towards = rule.require if policy.upstream else ()
                content = (tuple(replace(item, where=self._nowhere) for item in rule.evidence), frozenset(towards))
                if content not in shared:
                    shared[content] = self.make(rule.evidence_set, None, towards)
                quests[rule.id] = shared[content]
        return quests


def _least(*limits: int | None) -> int:
    return min((limit for limit in limits if limit is not None), default=UNLIMITED)


def quest(needed: EvidenceSet) -> Quest:
    """The quest for a set of requirements of no policy."""
    return _Quests(needed.where).make(needed, None, ())


def index(policy: Policy) -> dict[str, Any]:
    """The values of the policy's fields that are made from the others."""
    declared = {level.name: level for level in policy.levels}
    implied = {name: implied_names(name, declared) for name in declared}
    levels = tuple(_closed_level(policy, level, declared, implied[level.name]) for level in policy.levels)
    by_name = {level.name: level for level in levels}
    stronger = {
        level.name: (level, *(other for other in levels if level.name in implied[other.name] and other is not level))
        for level in levels
    }
    exact: dict[str, tuple[Rule, ...]] = {}
    for rule in policy.rules:
        for action in dict.fromkeys(rule.actions):
            if not action.endswith(".*"):
                exact[action] = (*exact.get(action, ()), rule)
    quests = _Quests(policy.rules_at)
    fields: dict[str, Mapping[str, Any]] = {
        "by_name": by_name,
        "by_acr": {uri: level for level in levels for uri in level.acr},
        "by_saml": {uri: level for level in levels for uri in level.saml},
        "by_issuer": {issuer: item for item in policy.upstream for issuer in item.issuers},
        "implied": implied,
        "stronger": stronger,
        "level_quests": {level.name: quests.of_level(level) for level in levels},
        "rule_quests": quests.of_rules(policy),
        "rule_reasons": {rule.id: _rule_reason(rule, by_name) for rule in policy.rules},
        "exact": exact,
    }
    fields["clauses"] = _clauses(policy, fields["rule_quests"], fields["rule_reasons"])
    prefixed = ((action[:-1], rule) for rule in policy.rules for action in rule.actions if action.endswith(".*"))
    return {
        "levels": levels,
        "prefixed": tuple(prefixed),
        **{name: MappingProxyType(value) for name, value in fields.items()},
    }


def _closed_level(policy: Policy, level: Level, declared: Mapping[str, Level], implied: frozenset[str]) -> Level:
    """A copy, since the same level in another policy may include something else."""
    claims: Iterator[Claim] = (claim for name in implied for claim in declared[name].claims)
    copy = replace(level)
    # Reaching it is reaching what it implies, so what that claims is true as well.
    object.__setattr__(copy, "included", closed(claims, policy.frameworks, policy.edges))
    return copy


def _circumstances(policy: Policy) -> dict[str, Condition]:
    """By rule, its condition without the relying parties; rules under the same circumstances have one object."""
    shared: dict[object, Condition] = {}
    found: dict[str, Condition] = {}
    for rule in policy.rules:
        when = rule.when
        content = (when.groups, when.credential, tuple(sorted(when.attributes.items())), when.networks, when.time)
        found[rule.id] = shared.setdefault(content, replace(when, clients=frozenset()))
    return found


def _clauses(policy: Policy, quests: Mapping[str, Quest], reasons: Mapping[str, Reason]) -> dict[str, Clause]:
    circumstances = _circumstances(policy)
    found = {}
    for rule in policy.rules:
        asking = _asking(rule, quests[rule.id]) if rule.id in quests else None
        clients = rule.when.clients
        found[rule.id] = Clause(rule, rule.require, clients, circumstances[rule.id], reasons[rule.id], asking)
    return found


def _asking(rule: Rule, asked: Quest) -> Asking:
    where = rule.evidence[0].where
    begins = f"The evidence that rule '{rule.id}' asks for "
    return Asking(rule.id, where.file, where.line, asked, begins, f"{begins}is not there: {asked.lacking}")


def _rule_reason(rule: Rule, by_name: Mapping[str, Level]) -> Reason:
    when = rule.when
    parts = {
        "client": when.clients,
        "group": when.groups,
        "attribute": when.attributes,
        "credential": when.credential,
        "network": when.networks,
        "time": when.time,
    }
    contributor = "+".join(name for name, given in parts.items() if given) or "policy"
    text = wording.rule(rule, (by_name[name] for name in rule.require))
    return Reason(rule.id, rule.where.file, rule.where.line, text, contributor)


def implied_names(name: str, levels: Mapping[str, Level]) -> frozenset[str]:
    """The level and all that it implies over any number of edges; ends on a cycle, ignores names that are no level."""
    found: set[str] = set()
    open_names = [name]
    while open_names:
        current = open_names.pop()
        if current in levels and current not in found:
            found.add(current)
            open_names.extend(levels[current].implies)
    return frozenset(found)
