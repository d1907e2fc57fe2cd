"""All that must be met at once: the join of every floor, and the evidence that rules ask for besides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from idp.policy.body import Body, Standing
from idp.policy.index import Asking, Clause, Quest
from idp.policy.model import Policy


@dataclass(frozen=True, slots=True)
class Demand:
    """Levels and evidence."""

    levels: tuple[str, ...]
    """None of them implied by another one, in the order of the file."""
    askings: tuple[Asking, ...]
    """The rules with evidence of their own."""
    quests: tuple[Quest, ...]
    """What those ask for, each once."""

    @classmethod
    def of(cls, policy: Policy, clauses: Sequence[Clause]) -> Demand:
        """What these rules demand."""
        askings = tuple([clause.asking for clause in clauses if clause.asking is not None])
        quests = dict.fromkeys([each.quest for each in askings])
        return cls(join(policy, frozenset().union(*[clause.require for clause in clauses])), askings, tuple(quests))

    def with_level(self, policy: Policy, name: str) -> Demand:
        """The same and one level more."""
        return Demand(join(policy, (*self.levels, name)), self.askings, self.quests)

    def met(self, standing: Standing) -> bool:
        """Whether nothing is missing."""
        return all(standing.reaches(name) for name in self.levels) and standing.meets_all(self.quests)

    def implies(self, policy: Policy, name: str) -> bool:
        """Whether a level that is demanded implies this other one."""
        return any(other != name and policy.implies(other, name) for other in self.levels)

    def useful(self, body: Body) -> int:
        """The bits of the evidence that may serve to meet it."""
        policy = body.policy
        found = body.essence(self.quests).any
        for name in dict.fromkeys(level.name for each in self.levels for level in policy.stronger[each]):
            for quest in policy.level_quests[name]:
                found |= body.fits(quest).any
        return found


def join(policy: Policy, names: Iterable[str]) -> tuple[str, ...]:
    """The least that reaches all the levels: those not implied by another of them, in the order of the file."""
    wanted = frozenset(names)
    return tuple(
        level.name
        for level in policy.levels
        if level.name in wanted
        and not any(other != level.name and policy.implies(other, level.name) for other in wanted)
    )
