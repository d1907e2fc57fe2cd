"""The policy under the lens, with what several checks ask of it."""

from __future__ import annotations

from collections.abc import Iterator

from idp.policy.lint.deployment import Deployment
from idp.policy.lint.frameworks import Demand
from idp.policy.lint.offers import Offers
from idp.policy.load import FRAMEWORKS
from idp.policy.model import Claim, EvidenceSet, Level, Policy, Requirement, implied_names


class Subject:
    """Policy and deployment."""

    def __init__(self, policy: Policy, deployment: Deployment) -> None:
        self.policy = policy
        self.deployment = deployment
        self.offers = Offers(policy)
        self._claims = {level.name: _closed(policy, level) for level in policy.levels}

    def claims(self, level: Level) -> frozenset[Claim]:
        """All that is said of whoever reaches the level: by itself, by what it implies, and by what follows."""
        return self._claims[level.name]

    def demanding(self, demands: tuple[Demand, ...]) -> Iterator[tuple[Level, tuple[Demand, ...]]]:
        """The levels that claim something of which the demands are true, in the order of the file."""
        for level in self.policy.levels:
            found = tuple(demand for demand in demands if demand.claim in self.claims(level))
            if found:
                yield level, found

    def requirements(self, level: Level) -> Iterator[tuple[EvidenceSet, Requirement]]:
        """Every requirement of the level's own alternatives."""
        for alternative in level.any_of:
            for need in alternative.all_of:
                yield alternative, need

    def ways(self, level: Level) -> Iterator[EvidenceSet]:
        """Every alternative that reaches the level: its own, and those of the levels that imply it."""
        for candidate in self.policy.stronger[level.name]:
            yield from candidate.any_of


def _closed(policy: Policy, level: Level) -> frozenset[Claim]:
    """The claims of the level and of all that it implies, closed over each framework's order and the edges."""
    frameworks = {**FRAMEWORKS, **policy.frameworks}
    found: set[Claim] = set()
    waiting = [claim for name in implied_names(level.name, policy.by_name) for claim in policy.by_name[name].claims]
    while waiting:
        claim = waiting.pop()
        if claim in found:
            continue
        found.add(claim)
        order = frameworks.get(claim.framework, ())
        if claim.level in order[1:]:
            waiting.append(Claim(claim.framework, order[order.index(claim.level) - 1]))
        waiting.extend(edge.weaker for edge in policy.edges if edge.stronger == claim)
    return frozenset(found)
