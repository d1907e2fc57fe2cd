"""The policy under the lens, with what several checks ask of it."""

from __future__ import annotations

from collections.abc import Iterator

from idp.policy import wording
from idp.policy.index import Quest
from idp.policy.keys import FRAMEWORKS
from idp.policy.lint.deployment import Deployment
from idp.policy.lint.frameworks import Demand
from idp.policy.lint.offers import Candidate, Columns, Offers, Wanted, can_be_met, can_include, in_one_category
from idp.policy.model import Claim, Level, Policy


class Subject:
    """Policy and deployment."""

    def __init__(self, policy: Policy, deployment: Deployment) -> None:
        self.policy = policy
        self.deployment = deployment
        self._offers = Offers(policy)
        self._columns: dict[int, Columns] = {}

    def claims(self, level: Level) -> frozenset[Claim]:
        """All that is said of whoever reaches the level: by itself, by what it implies, and by what follows."""
        return self.policy.claims_of(level.name)

    def demanding(self, demands: tuple[Demand, ...]) -> Iterator[tuple[Level, tuple[Demand, ...]]]:
        """The levels that claim something of which the demands are true, in the order of the file."""
        for level in self.policy.levels:
            found = tuple(demand for demand in demands if demand.claim in self.claims(level))
            if found:
                yield level, found

    def alternatives(self, level: Level) -> tuple[Quest, ...]:
        """The level's own alternatives."""
        return self.policy.level_quests[level.name]

    def ways(self, level: Level) -> Iterator[Quest]:
        """Every alternative that reaches the level: its own, and those of the levels that imply it."""
        for candidate in self.policy.stronger[level.name]:
            yield from self.alternatives(candidate)

    def claimed(self, level: Level, demands: tuple[Demand, ...]) -> str:
        """The level and the most that it claims of each demand's framework, in words."""
        claims = self.claims(level)
        found = []
        for framework in dict.fromkeys(demand.framework for demand in demands):
            names = [name for name in FRAMEWORKS[framework] if Claim(framework, name) in claims]
            found.append(f"{framework}/{names[-1]}")
        return f"level '{level.name}' claims {wording.listed(found, 'and')}"

    def columns(self, alternative: Quest) -> Columns:
        """For each requirement of the alternative, everything that can meet it."""
        found = self._columns.get(id(alternative))
        if found is None:
            found = self._columns[id(alternative)] = self._offers.columns(alternative)
        return found

    def offered(self, item: Candidate) -> bool:
        """Whether the deployment offers it, as far as that is known."""
        enabled = self.deployment.enabled
        return enabled is None or item.offer.kind in enabled

    def can_be_met(self, alternative: Quest, wanted: Wanted) -> bool:
        """Whether wanted things alone can meet the alternative."""
        return can_be_met(self.columns(alternative), alternative.needed.different_categories, wanted)

    def can_include(self, alternative: Quest, member: Wanted, wanted: Wanted) -> bool:
        """Whether wanted things alone can meet the alternative, such a member among them."""
        return can_include(self.columns(alternative), alternative.needed.different_categories, member, wanted)

    def needs(self, alternative: Quest, wanted: Wanted) -> bool:
        """Whether the alternative cannot be met without something wanted."""
        return not self.can_be_met(alternative, lambda item: not wanted(item))

    def one_category_is_enough(self, alternative: Quest, *, at_best: bool = False) -> bool:
        """Whether the alternative can be met in one category.

        :param at_best: count on user verification wherever it may be, not only where it is asked for.
        """

        def counts_once(item: Candidate) -> bool:
            verified = item.maybe_verified if at_best else item.surely_verified
            return not (verified and item.offer.category == "possession")

        # With different_categories, the evaluation itself refuses evidence of one category.
        return alternative.needed.different_categories == 1 and in_one_category(self.columns(alternative), counts_once)
