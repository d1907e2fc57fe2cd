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
from idp.policy.index import Quest, Sort
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
    slept,
    too_short,
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
        self._of_quest: dict[Quest, Fits] = {}
        self._fits: dict[Sort, dict[tuple[int, ...], Fits]] = {}
        self._selections: dict[tuple[Fits, int], tuple[Evidence, ...] | None] = {}
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
        found = self._of_quest.get(quest)
        if found is None:
            found = self._of_quest[quest] = self.all_fits((quest,))[quest]
        return found

    def all_fits(self, quests: tuple[Quest, ...]) -> dict[Quest, Fits]:
        """The same of several.  Quests of one sort differ in the ages that they allow, of which only those matter that
        lie between the ages of the evidence: alike for all evidence is one object."""
        ages, known = self._sorted.ages, self._fits
        found = {}
        for quest in quests:
            limits, sort = quest.limits, quest.sort
            if len(limits) == 1:
                young: tuple[int, ...] = (bisect.bisect_right(ages, limits[0]),)
            else:
                young = tuple([bisect.bisect_right(ages, limit) for limit in limits])
            of_sort = known.get(sort)
            if of_sort is None:
                of_sort = known[sort] = {}
            fits = of_sort.get(young)
            if fits is None:
                fits = of_sort[young] = Fits(sort, self._sorted.fitting(sort, young))
            found[quest] = fits
        return found

    def misfit(self, quest: Quest, need: Requirement, item: Evidence) -> Misfit | None:
        """Why the evidence does not meet one of the quest's requirements, or None if it does."""
        why = misfit(need, item, self.facts, quest.freshness)
        if why is None and slept(self.policy, item, quest.towards):
            return "idle"
        if why is None and quest.sort.alone and too_short(item, self.facts):
            return "unmeasured" if item.min_length is None else "short"
        return "cap" if why is None and capped(self.policy, item, quest.towards) else why

    def selection(self, quest: Quest, mask: int) -> tuple[Evidence, ...] | None:
        """A selection of the evidence in the mask that meets all requirements, the newest first tried; None if there
        is none."""
        return self.selected(self.fits(quest), mask)

    def selected(self, fits: Fits, mask: int) -> tuple[Evidence, ...] | None:
        """The same for what fits."""
        for bits in fits.bits:
            if not bits & mask:
                return None
        if fits.simple:
            return self.newest(fits.any & mask)
        key = (fits, mask & fits.any)
        if key not in self._selections:
            candidates = [self._newest(bits & mask) for bits in fits.bits]
            search = Search(candidates, fits.sort.different_categories, FREE_TRIES + self._tries)
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
            found = self._essence[id(quests)] = Essence(quests, self.all_fits(quests))
        return found


def _lowest(mask: int) -> int:
    """The index of the lowest bit that is set, which is the newest evidence's."""
    return (mask & -mask).bit_length() - 1


class Fits:
    """For each requirement of some quests, the bits of the evidence that meets it."""

    __slots__ = ("any", "bits", "simple", "sort")

    def __init__(self, sort: Sort, bits: tuple[int, ...]) -> None:
        self.sort = sort
        self.bits = bits
        self.any = functools.reduce(operator.or_, bits, 0)
        self.simple = sort.simple


class Essence:
    """Several quests.  However many there are, the simple ones differ only in which evidence meets them, of which there
    are few sorts."""

    __slots__ = ("any", "bits", "fits", "others", "quests")

    def __init__(self, quests: tuple[Quest, ...], fits: dict[Quest, Fits]) -> None:
        self.quests = quests
        """Kept, so that no other tuple can have its identity."""
        self.fits = fits
        distinct = dict.fromkeys(fits.values())
        self.bits = tuple(dict.fromkeys([each.any for each in distinct if each.simple]))
        """Of the simple ones: each once."""
        self.others = tuple([each for each in distinct if not each.simple])
        self.any = functools.reduce(operator.or_, [each.any for each in distinct], 0)


class _Sorted:
    """Evidence by each property that a requirement may ask for: the same as :func:`misfit` says, all at once."""

    def __init__(self, policy: Policy, facts: Facts, items: tuple[Evidence, ...]) -> None:
        self._policy = policy
        self.ages = [age(item, facts) for item in items]
        """Ascending, since the newest comes first."""
        self._factors: dict[str, int] = {}
        self._categories: dict[str, int] = {}
        self._issuers: dict[str, int] = {}
        self._flags: dict[str, int] = {}
        self._channels: dict[str | None, int] = {}
        self._attestations: dict[str | None, int] = {}
        self._for_this = 0
        self._kinds: dict[int, int] = {}
        self._rested = tuple((item, 1 << index) for index, item in enumerate(items) if item.idle)
        self._short = sum(1 << index for index, item in enumerate(items) if too_short(item, facts))
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

    def fitting(self, sort: Sort, young: tuple[int, ...]) -> tuple[int, ...]:
        """For each requirement, the bits of the evidence that meets it.

        :param young: for each of them, how many pieces are not too old.
        """
        allowed = ~self._capped(sort.towards) if self._policy.upstream else -1
        for item, bit in self._rested:
            if slept(self._policy, item, sort.towards):
                allowed &= ~bit
        if sort.alone:
            allowed &= ~self._short
        found = []
        for kind, newest in zip(sort.kinds, young, strict=True):
            mask = self._kinds.get(id(kind))
            if mask is None:
                mask = self._kinds[id(kind)] = self._of_kind(kind)
            found.append(mask & allowed & ((1 << newest) - 1))
        return tuple(found)

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

    def _capped(self, towards: tuple[str, ...]) -> int:
        """The bits of what is capped below one of these levels."""
        return sum(bits for issuer, bits in self._issuers.items() if is_capped(self._policy, issuer, towards))


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
        for bits in essence.bits:
            if not bits & mask:
                return False
        return all(self.body.selected(fits, mask) is not None for fits in essence.others)

    def meets_what_fits(self, fits: Fits) -> tuple[Evidence, ...] | None:
        """The same as :meth:`meets` for all quests that this fits."""
        return self.body.selected(fits, self._mask)

    def all_that_meets(self, quests: tuple[Quest, ...]) -> Iterator[Evidence]:
        """What meets one of them, some of it perhaps more than once."""
        essence = self.body.essence(quests)
        for bits in essence.bits:
            yield from self.body.newest(bits & self._mask) or ()
        for fits in essence.others:
            yield from self.meets_what_fits(fits) or ()

    def meeting(self, quest: Quest) -> tuple[bool, ...]:
        """For each requirement, whether anything meets it, taken by itself."""
        return self.meeting_what_fits(self.body.fits(quest))

    def meeting_what_fits(self, fits: Fits) -> tuple[bool, ...]:
        """The same as :meth:`meeting` for all quests that this fits."""
        return tuple([bool(bits & self._mask) for bits in fits.bits])


def standing(policy: Policy, facts: Facts) -> Standing:
    """What the evidence of the facts amounts to."""
    body = Body(policy, facts, facts.evidence)
    return Standing(body, body.there)
