"""Why a decision is what it is, in sentences that name the line of the policy they rest on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from idp.policy import wording
from idp.policy.body import Fits, Reached, Standing
from idp.policy.demand import Demand
from idp.policy.evidence import MIN_LENGTH_ALONE, SELF, Evidence
from idp.policy.index import Quest
from idp.policy.matching import Misfit, Obstacle, capped, misfit, proofed
from idp.policy.model import Level, Policy, Reason, Where


def reason(rule: str, where: Where, text: str, contributor: str) -> Reason:
    """One sentence with its place."""
    return Reason(rule, where.file, where.line, text, contributor)


def no_rule(policy: Policy, action: str) -> Reason:
    """Nothing allows the action."""
    text = f"No rule is about '{action}' under these circumstances; what no rule allows is refused."
    return reason("default", policy.rules_at, text, "policy")


def of_standing(policy: Policy, standing: Standing, demand: Demand) -> list[Reason]:
    """What the evidence amounts to, measured by what is demanded."""
    return list(_Reasoning(policy, standing, demand).all())


@dataclass(frozen=True, slots=True)
class _Short:
    """What of a quest is missing, as far as that does not depend on the ages that it allows."""

    missing: tuple[int, ...]
    """The indexes of the requirements that nothing meets."""
    near_misses: str
    """Which evidence falls just short of them, in words."""
    the_only_one: bool
    """There is one requirement only, and it is missing."""


class _Reasoning:
    """Writes the sentences of one evaluation; what is said of a piece of evidence is put into words once."""

    def __init__(self, policy: Policy, standing: Standing, demand: Demand) -> None:
        self._policy = policy
        self._standing = standing
        self._body = standing.body
        self._demand = demand
        self._words: dict[int, str] = {}
        # By identity: the evidence belongs to the facts, and the kinds to the policy.
        self._near: dict[int, list[Evidence]] = {}
        self._counting = [item for item in self._body.facts.evidence if self._body.obstacle(item) is None]

    def all(self) -> Iterator[Reason]:
        """First the evidence, then levels, then what rules ask for besides."""
        for item in self._body.facts.evidence:
            yield from self._about_evidence(item)
        for name in self._demand.levels:
            yield from self._about_level(self._policy.by_name[name])
        yield from self._about_rules()

    def _evidence(self, item: Evidence) -> str:
        words = self._words.get(id(item))
        if words is None:
            words = self._words[id(item)] = wording.evidence(item)
        return words

    def _about_evidence(self, item: Evidence) -> Iterator[Reason]:
        problem = self._body.obstacle(item)
        upstream = self._policy.by_issuer.get(item.issuer)
        if problem is not None:
            text = f"The {self._evidence(item)} does not count: {_OBSTACLES[problem]}."
            if problem == "upstream_age" and upstream is not None:
                yield reason("upstream", upstream.where, text, "upstream")
            else:
                by_request = problem in {"max_age", "reauthentication"}
                yield reason("evidence", self._policy.rules_at, text, "request" if by_request else "evidence")
        elif upstream is not None and capped(self._policy, item, self._demand.levels):
            cap = wording.level(self._policy.by_name[upstream.cap])
            text = (
                f"The {self._evidence(item)} counts up to level {cap} only: that is the cap of that identity provider."
            )
            yield reason("upstream", upstream.where, text, "upstream")

    def _about_level(self, level: Level) -> Iterator[Reason]:
        reached = self._standing.level(level.name)
        if reached is not None:
            yield self._reached(reached)
            return
        facts = self._body.facts
        if not proofed(level, facts):
            text = (
                f"Level {wording.level(level)} needs a person whose identity was proofed at '{level.proofing}'; "
                f"this person's was at '{facts.proofing}'."
            )
            yield reason(f"level:{level.name}", level.where, text, "person")
        quests = self._policy.level_quests[level.name]
        if any(self._standing.meets(quest) is not None for quest in quests):
            return
        ways = "; or ".join(self._unmet(quest, self._short(quest, self._body.fits(quest))) for quest in quests)
        text = f"Level {wording.level(level)} is not reached by its evidence: {ways}."
        stronger = [other.name for other in self._policy.stronger[level.name][1:]]
        if stronger:
            text += f" Nor is a level that implies it reached ({', '.join(stronger)})."
        yield reason(f"level:{level.name}", level.any_of[0].where, text, "evidence")

    def _reached(self, reached: Reached) -> Reason:
        via = "" if reached.by.name == reached.level.name else f" by way of level {wording.level(reached.by)}"
        text = f"Level {wording.level(reached.level)} is reached{via}: {self._shown(reached.evidence)}."
        return reason(f"level:{reached.level.name}", reached.by.where, text, _contributor(reached.evidence))

    def _shown(self, items: tuple[Evidence, ...]) -> str:
        return wording.listed((self._evidence(item) for item in items), "and")

    def _about_rules(self) -> Iterator[Reason]:
        """Each rule's own evidence.  How a sentence ends depends on what fits only, and is worked out once for all
        rules of which the same is true."""
        all_fits = self._body.essence(self._demand.quests).fits
        ends: dict[Fits, tuple[_Short | None, str, str]] = {}
        for asking in self._demand.askings:
            fits = all_fits[asking.quest]
            end = ends.get(fits)
            if end is None:
                end = ends[fits] = self._end(asking.quest, fits)
            short, words, contributor = end
            if short is None:
                text = asking.begins + words
            elif short.the_only_one:
                text = asking.lacking + words
            else:
                text = f"{asking.begins}is not there: {self._unmet(asking.quest, short)}."
            yield Reason(asking.rule, asking.file, asking.line, text, contributor)

    def _end(self, quest: Quest, fits: Fits) -> tuple[_Short | None, str, str]:
        """What is missing, if anything; how a sentence about it ends; and the contributor."""
        found = self._standing.meets_what_fits(fits)
        if found is not None:
            return None, f"is there: {self._shown(found)}.", _contributor(found)
        short = self._short(quest, fits)
        return short, f"{short.near_misses}).", "evidence"

    def _short(self, quest: Quest, fits: Fits) -> _Short:
        """What of a quest is missing; the same for all quests that this fits."""
        met = self._standing.meeting_what_fits(fits)
        missing = tuple(index for index, there in enumerate(met) if not there)
        near_misses = "".join(self._near_misses(quest, index) for index in missing)
        return _Short(missing, near_misses, bool(missing) and len(met) == 1)

    @staticmethod
    def _unmet(quest: Quest, short: _Short) -> str:
        """What a set asks for, what of it is missing, and which evidence falls just short."""
        if short.the_only_one:
            return f"{quest.lacking}{short.near_misses})"
        if not short.missing:
            return f"{quest.asks} (each is there, but not from enough different factors or categories)"
        words = wording.listed((quest.words[index] for index in short.missing), "and")
        return f"{quest.asks} (missing: {words}{short.near_misses})"

    def _near_misses(self, quest: Quest, index: int) -> str:
        """What falls just short of a requirement that nothing meets."""
        kind = quest.sort.kinds[index]
        near = self._near.get(id(kind))
        if near is None:
            facts = self._body.facts
            near = [item for item in self._counting if misfit(kind, item, facts, None) != "kind"]
            self._near[id(kind)] = near
        need = quest.needed.all_of[index]
        judged = ((item, self._body.misfit(quest, need, item)) for item in near)
        return "".join(f"; the {self._evidence(item)} {_MISFITS[why]}" for item, why in judged if why is not None)


def _contributor(items: tuple[Evidence, ...]) -> str:
    """``upstream`` takes part where another identity provider vouched."""
    for item in items:
        if item.issuer != SELF:
            return "evidence+upstream"
    return "evidence"


_OBSTACLES: Final[dict[Obstacle, str]] = {
    "future": "its time lies in the future",
    "max_age": "the request asks for something newer",
    "reauthentication": "the request asks for a new authentication",
    "bound_elsewhere": "it was made for another transaction only",
    "upstream_age": "it is older than the policy allows for that identity provider",
}


_MISFITS: Final[dict[Misfit, str]] = {
    "issuer": "comes from another issuer",
    "flags": "lacks a property, or has one that is excluded",
    "channel": "came another way",
    "attestation": "is not proved to be of such a make",
    "transaction": "was not made for this transaction",
    "age": "is too old",
    "idle": "was left alone for longer than the level bears",
    "cap": "is capped below it",
    "short": f"has fewer than {MIN_LENGTH_ALONE} characters, and does not stand alone",
    "unmeasured": f"was verified before it was looked whether it has {MIN_LENGTH_ALONE} characters, and does not stand "
    "alone",
}
