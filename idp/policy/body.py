"""What all the evidence of an evaluation amounts to.

Everything here only asks whether *some* selection of the evidence fits.  No requirement is ever spoilt by evidence that
is there as well, so more evidence can only reach more.

An evaluation asks what many subsets of the same few pieces of evidence amount to.  :class:`Body` holds all of them and
judges each piece once; a subset is a set of bits.
"""

from __future__ import annotations

import bisect
import functools
import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from idp.policy.evidence import Evidence
from idp.policy.index import Quest
from idp.policy.matching import (
    Misfit,
    Obstacle,
    age,
    authenticator,
    capped,
    for_this,
    is_capped,
    misfit,
    obstacle,
    proofed,
)
from idp.policy.model import Facts, Level, Policy, Requirement
from idp.policy.selecting import FREE_TRIES, MAX_TRIES, Search

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Reached:
    """A level that is reached, by which level (itself or one that implies it), and the evidence that shows it."""

    level: Level
    by: Level
    evidence: tuple[Evidence, ...]


class Body:
    """All the evidence that may play a part in one evaluation."""

    def __init__(
        self, policy: Policy, facts: Facts, evidence: Iterable[Evidence], offered: Iterable[Evidence] = ()
    ) -> None:
        """``evidence`` is there; ``offered`` could be added."""
        self.policy = policy
        self.facts = facts
        marked = [(item, False) for item in evidence] + [(item, True) for item in offered]
        # Newest first; sorting is stable, so within one second the order in which they were given decides.
        usable = sorted(
            (pair for pair in marked if self.obstacle(pair[0]) is None), key=lambda pair: pair[0].at, reverse=True
        )
        self._items = tuple(item for item, _ in usable)
        self._singles = tuple((item,) for item in self._items)
        self.there = sum(1 << index for index, (_, added) in enumerate(usable) if not added)
        """The bits of the usable evidence that is there."""
        self._offered = {id(item): 1 << index for index, (item, added) in enumerate(usable) if added}
        self._sorted = _Sorted(policy, facts, self._items)
        self._fits: dict[int, Fits] = {}
        self._selections: dict[tuple[int, int], tuple[Evidence, ...] | None] = {}
        self._essence: dict[int, Essence] = {}
        self._tries = MAX_TRIES

    def obstacle(self, item: Evidence) -> Obstacle | None:
        """Why the evidence counts for nothing here."""
        return obstacle(item, self.facts, self.policy.by_issuer.get(item.issuer))

    def bits(self, offered: Iterable[Evidence]) -> int:
        """The bits of evidence that was given as offered; what is not usable has none."""
        return sum(self._offered.get(id(item), 0) for item in offered)

    def fits(self, quest: Quest) -> Fits:
        """Which evidence meets which of its requirements."""
        found = self._fits.get(id(quest))
        if found is None:
            found = self._fits[id(quest)] = Fits(quest, self._sorted.fitting(quest))
        return found

    def misfit(self, quest: Quest, need: Requirement, item: Evidence) -> Misfit | None:
        """Why the evidence does not meet one of the quest's requirements, or None if it does."""
        why = misfit(need, item, self.facts, quest.freshness)
        return "cap" if why is None and capped(self.policy, item, quest.towards) else why

    def selection(self, quest: Quest, mask: int) -> tuple[Evidence, ...] | None:
        """A selection of the evidence in the mask that meets all requirements, the newest first tried; None if there
        is none."""
        fits = self.fits(quest)
        for bits in fits.bits:
            if not bits & mask:
                return None
        if fits.simple:
            return self.newest(fits.any & mask)
        key = (id(quest), mask & fits.any)
        if key not in self._selections:
            candidates = [self._newest(bits & mask) for bits in fits.bits]
            search = Search(candidates, quest.needed.different_categories, FREE_TRIES + self._tries)
            self._selections[key] = search.find()
            self._tries -= max(0, search.tried - FREE_TRIES)
        return self._selections[key]

    def _newest(self, mask: int) -> tuple[Evidence, ...]:
        """The newest of each sort that the selection can tell apart."""
        found: dict[tuple[object, ...], Evidence] = {}
        while mask:
            index = _lowest(mask)
            mask &= mask - 1
            item = self._items[index]
            found.setdefault((*authenticator(item), item.category, item.has("user_verified")), item)
        return tuple(found.values())

    def newest(self, mask: int) -> tuple[Evidence, ...] | None:
        """The newest evidence in the mask; None if that is empty."""
        return self._singles[_lowest(mask)] if mask else None

    def essence(self, quests: tuple[Quest, ...]) -> Essence:
        """Several quests, as little of them as needs to be looked at."""
        found = self._essence.get(id(quests))
        if found is None:
            found = self._essence[id(quests)] = Essence(quests, tuple(self.fits(quest) for quest in quests))
        return found


def _lowest(mask: int) -> int:
    """The index of the lowest bit that is set, which is the newest evidence's."""
    return (mask & -mask).bit_length() - 1


class Fits:
    """For each requirement of a quest, the bits of the evidence that meets it."""

    __slots__ = ("any", "bits", "quest", "simple")

    def __init__(self, quest: Quest, bits: tuple[int, ...]) -> None:
        self.quest = quest
        """Kept, so that no other quest can have its identity."""
        self.bits = bits
        self.any = bits[0] if len(bits) == 1 else functools.reduce(operator.or_, bits, 0)
        self.simple = len(bits) == 1 and quest.needed.different_categories == 1
        """Whether anything that fits meets all of it."""


class Essence:
    """Several quests.  However many there are, the simple ones differ only in which evidence meets them, of which there
    are few sorts."""

    __slots__ = ("any", "bits", "fits", "others", "quests")

    def __init__(self, quests: tuple[Quest, ...], fits: tuple[Fits, ...]) -> None:
        self.quests = quests
        """Kept, so that no other tuple can have its identity."""
        self.fits = fits
        self.bits = tuple(dict.fromkeys(each.any for each in fits if each.simple))
        """Of the simple ones: each sort once."""
        self.others = tuple(each.quest for each in fits if not each.simple)
        self.any = functools.reduce(operator.or_, (each.any for each in fits), 0)


class _Sorted:
    """Evidence by each property that a requirement may ask for: the same as :func:`misfit` says, all at once."""

    def __init__(self, policy: Policy, facts: Facts, items: tuple[Evidence, ...]) -> None:
        self._policy = policy
        self._ages = [age(item, facts) for item in items]
        """Ascending, since the newest comes first."""
        self._factors: dict[str, int] = {}
        self._categories: dict[str, int] = {}
        self._issuers: dict[str, int] = {}
        self._flags: dict[str, int] = {}
        self._channels: dict[str | None, int] = {}
        self._attestations: dict[str | None, int] = {}
        self._for_this = 0
        self._kinds: dict[int, int] = {}
        for index, item in enumerate(items):
            bit = 1 << index
            self._factors[item.factor] = self._factors.get(item.factor, 0) | bit
            self._categories[item.category] = self._categories.get(item.category, 0) | bit
            self._issuers[item.issuer] = self._issuers.get(item.issuer, 0) | bit
            self._channels[item.channel] = self._channels.get(item.channel, 0) | bit
            self._attestations[item.attestation] = self._attestations.get(item.attestation, 0) | bit
            for flag in item.flags:
                self._flags[flag] = self._flags.get(flag, 0) | bit
            if for_this(item, facts):
                self._for_this |= bit

    def fitting(self, quest: Quest) -> tuple[int, ...]:
        """For each requirement, the bits of the evidence that meets it."""
        fresh = self._not_older(quest.freshness)
        if self._policy.upstream:
            fresh &= ~self._capped(quest)
        found = []
        for need, kind in zip(quest.needed.all_of, quest.kinds, strict=True):
            mask = self._kinds.get(id(kind))
            if mask is None:
                mask = self._kinds[id(kind)] = self._of_kind(kind)
            found.append(mask & fresh & self._not_older(need.max_age))
        return tuple(found)

    def _not_older(self, limit: int | None) -> int:
        return -1 if limit is None else (1 << bisect.bisect_right(self._ages, limit)) - 1

    def _of_kind(self, need: Requirement) -> int:
        mask = _any_of(self._issuers, need.issuers)
        if need.factors:
            mask &= _any_of(self._factors, need.factors)
        if need.categories:
            mask &= _any_of(self._categories, need.categories)
        for flag in need.flags:
            mask &= self._flags.get(flag, 0)
        for flag in need.without:
            mask &= ~self._flags.get(flag, 0)
        if need.channels:
            mask &= _any_of(self._channels, need.channels)
        if need.attestations:
            mask &= _any_of(self._attestations, need.attestations)
        if need.per_transaction:
            mask &= self._for_this
        return mask

    def _capped(self, quest: Quest) -> int:
        """The bits of what is capped below a level that the quest serves."""
        return sum(bits for issuer, bits in self._issuers.items() if is_capped(self._policy, issuer, quest.towards))


def _any_of(table: Mapping[_Key, int], names: Iterable[_Key]) -> int:
    mask = 0
    for name in names:
        mask |= table.get(name, 0)
    return mask


class Standing:
    """What some of the evidence amounts to under a policy; remembers what it has worked out."""

    def __init__(self, body: Body, mask: int) -> None:
        self.body = body
        self._mask = mask
        self._own: dict[str, tuple[Evidence, ...] | None] = {}

    def level(self, name: str) -> Reached | None:
        """How the level is reached: by its own alternatives, or else by a level that implies it."""
        policy = self.body.policy
        for candidate in policy.stronger[name]:
            found = self._own_evidence(candidate)
            if found is not None:
                return Reached(policy.by_name[name], candidate, found)
        return None

    def reaches(self, name: str) -> bool:
        """Whether the level is reached."""
        return any(self._own_evidence(candidate) is not None for candidate in self.body.policy.stronger[name])

    def _own_evidence(self, level: Level) -> tuple[Evidence, ...] | None:
        if level.name not in self._own:
            self._own[level.name] = self._work_out(level)
        return self._own[level.name]

    def _work_out(self, level: Level) -> tuple[Evidence, ...] | None:
        if not proofed(level, self.body.facts):
            return None
        found = (self.meets(quest) for quest in self.body.policy.level_quests[level.name])
        return next((evidence for evidence in found if evidence is not None), None)

    def meets(self, quest: Quest) -> tuple[Evidence, ...] | None:
        """A selection that meets all requirements, the newest evidence first tried; None if there is none."""
        return self.body.selection(quest, self._mask)

    def meets_all(self, quests: tuple[Quest, ...]) -> bool:
        """Whether each of them is met."""
        mask, essence = self._mask, self.body.essence(quests)
        return all(bits & mask for bits in essence.bits) and all(
            self.body.selection(quest, mask) is not None for quest in essence.others
        )

    def each_met(self, quests: tuple[Quest, ...]) -> Iterator[tuple[Quest, tuple[Evidence, ...] | None]]:
        """Each with a selection that meets it."""
        mask, body = self._mask, self.body
        for fits in body.essence(quests).fits:
            yield fits.quest, body.newest(fits.any & mask) if fits.simple else body.selection(fits.quest, mask)

    def all_that_meets(self, quests: tuple[Quest, ...]) -> Iterator[Evidence]:
        """What meets one of them, some of it perhaps more than once."""
        essence = self.body.essence(quests)
        for bits in essence.bits:
            yield from self.body.newest(bits & self._mask) or ()
        for quest in essence.others:
            yield from self.meets(quest) or ()

    def lacks_the_only_one(self, quest: Quest) -> bool:
        """Whether it has one requirement only, which nothing meets."""
        bits = self.body.fits(quest).bits
        return len(bits) == 1 and not bits[0] & self._mask

    def meeting(self, quest: Quest) -> tuple[bool, ...]:
        """For each requirement, whether anything meets it, taken by itself."""
        return tuple(bool(bits & self._mask) for bits in self.body.fits(quest).bits)


def standing(policy: Policy, facts: Facts) -> Standing:
    """What the evidence of the facts amounts to."""
    body = Body(policy, facts, facts.evidence)
    return Standing(body, body.there)
