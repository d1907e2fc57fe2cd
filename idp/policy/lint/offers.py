"""Which evidence could come at all, and whether a set of requirements can be met by some of it.

A requirement is judged by everything that it admits, not by what its author had in mind: ``category: possession``
admits a code sent by e-mail.  Nothing here tries all selections; each question is one matching or a few.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from idp.policy.evidence import CATEGORIES, FACTOR_CATEGORIES, KEY_FACTORS, SELF, Category
from idp.policy.index import Quest
from idp.policy.lint.assignment import assignable
from idp.policy.matching import is_capped
from idp.policy.model import Policy, Requirement, UpstreamMapping

_KEY_FLAGS: Final = frozenset({"user_verified", "backup_eligible", "backed_up", "attested", "phishing_resistant"})
"""What a key can be, wherever it is kept."""

_ALWAYS: Final = {
    "sms_otp": frozenset({"restricted"}),
    "passkey": frozenset({"phishing_resistant"}),
}
"""Flags without which such evidence never comes (NIST SP 800-63B-4, 3.1.3.3; WebAuthn binds to the origin)."""

_CHANNELS: Final = {"sms_otp": frozenset({"sms"}), "email_otp": frozenset({"email"})}


@dataclass(frozen=True, slots=True)
class Offer:
    """A sort of evidence that may come."""

    factor: str
    category: Category
    issuer: str = SELF
    always: frozenset[str] = frozenset()
    """Flags that it has each time."""
    possible: frozenset[str] = frozenset()
    """Flags that it may have; includes ``always``."""
    channels: frozenset[str] | None = frozenset()
    """How its secret may travel; None: in ways that are not known here."""
    attestable: bool = False
    """Whether it may name its make."""

    @property
    def authenticator(self) -> tuple[str, ...]:
        """What two requirements of a set are never both met by (:func:`idp.policy.matching.authenticator`)."""
        return (self.factor, self.issuer) if self.issuer == SELF else (self.factor, self.issuer, self.category)

    @property
    def kind(self) -> str:
        """What a person has enrolled for it."""
        return self.factor if self.issuer == SELF else "upstream"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An offer that can meet a requirement, and what is then certain of it or possible."""

    offer: Offer
    surely_verified: bool
    maybe_verified: bool
    maybe_copyable: bool
    surely_resistant: bool
    surely_attested: bool

    @property
    def restricted(self) -> bool:
        """Whether it is a restricted authenticator (NIST SP 800-63B-4, 3.2.9)."""
        return "restricted" in self.offer.always


MAX_PARTS: Final = 16
"""An alternative with more requirements than there are kinds of factor is no policy's; beyond, categories are not
counted."""

Wanted = Callable[[Candidate], bool]
"""Which candidates to consider."""

Columns = Sequence[Sequence[Candidate]]
"""For each requirement, what can meet it."""


def _own() -> Iterator[Offer]:
    for factor, category in FACTOR_CATEGORIES.items():
        always = _ALWAYS.get(factor, frozenset())
        is_key = factor in KEY_FACTORS
        yield Offer(
            factor=factor,
            category=category,
            always=always,
            possible=always | {"transaction_bound"} | (_KEY_FLAGS if is_key else frozenset()),
            channels=None if is_key else _CHANNELS.get(factor, frozenset()),
            attestable=is_key,
        )


OWN: Final = tuple(_own())
"""What this identity provider verifies itself."""


def lowest(issuer: str) -> Offer:
    """A login elsewhere of which nothing is believed but that it happened."""
    return Offer("upstream", "knowledge", issuer)


def mapped(mapping: UpstreamMapping, issuer: str) -> tuple[Offer, ...]:
    """What a login elsewhere counts as by a mapping."""
    return tuple(Offer(item.factor, item.category, issuer, item.flags, item.flags) for item in mapping.evidence)


class Offers:
    """All that may come under a policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._elsewhere: dict[str, tuple[Offer, ...]] = {}
        for provider in policy.upstream:
            for issuer in provider.issuers:
                found = [offer for mapping in provider.mappings for offer in mapped(mapping, issuer)]
                self._elsewhere[issuer] = tuple(dict.fromkeys((lowest(issuer), *found)))

    def columns(self, quest: Quest) -> Columns:
        """For each requirement, everything that can meet it and counts towards what the quest serves."""
        return [self._candidates(need, quest.towards) for need in quest.needed.all_of]

    def _candidates(self, need: Requirement, towards: tuple[str, ...]) -> tuple[Candidate, ...]:
        found: list[Candidate] = []
        for issuer in sorted(need.issuers):
            if is_capped(self._policy, issuer, towards):
                continue
            offers = OWN if issuer == SELF else self._elsewhere.get(issuer, (lowest(issuer),))
            found.extend(_candidate(need, offer) for offer in offers if _meets(need, offer))
        return tuple(found)


def _meets(need: Requirement, offer: Offer) -> bool:
    """Whether evidence of this sort, with the most fitting flags, meets the requirement; its time plays no part."""
    return (
        (not need.factors or offer.factor in need.factors)
        and (not need.categories or offer.category in need.categories)
        and need.flags <= offer.possible
        and not need.without & offer.always
        and (not need.channels or offer.channels is None or bool(need.channels & offer.channels))
        and (not need.attestations or offer.attestable)
    )


def _candidate(need: Requirement, offer: Offer) -> Candidate:
    sure = offer.always | need.flags
    maybe = offer.possible - need.without
    return Candidate(
        offer=offer,
        surely_verified="user_verified" in sure,
        maybe_verified="user_verified" in maybe,
        maybe_copyable="backup_eligible" in maybe,
        surely_resistant="phishing_resistant" in sure,
        surely_attested="attested" in sure or bool(need.attestations),
    )


def anything(_: Candidate) -> bool:
    """Every candidate."""
    return True


def in_one_category(columns: Columns, wanted: Wanted) -> bool:
    """Whether the wanted candidates can meet all requirements at once and be of one category.

    An authenticator that is held and that verified its user covers two (:func:`idp.policy.matching.categories`);
    whether to count it as one is for ``wanted`` to say.
    """
    return any(
        _filled([[item for item in column if item.offer.category == category and wanted(item)] for column in columns])
        for category in CATEGORIES
    )


def can_be_met(columns: Columns, different: int, wanted: Wanted) -> bool:
    """Whether the wanted candidates can meet all requirements at once and cover so many categories together."""
    kept = [[item for item in column if wanted(item)] for column in columns]
    if not _filled(kept):
        return False
    if different <= 1 or len(kept) > MAX_PARTS:
        return True
    if different == 2:
        return any(map(_filled, _pinned(kept, _verifies))) or any(
            _filled(both)
            for category in ("knowledge", "possession")
            for one in _pinned(kept, of({category}))
            for both in _pinned(one, of(set(CATEGORIES) - {category}))
        )
    return any(
        _filled(three)
        for one in _pinned(kept, of({"knowledge"}))
        for two in _pinned(one, of({"possession"}))
        for three in _pinned(two, of({"inherence"}))
    )


def can_include(columns: Columns, different: int, member: Wanted, wanted: Wanted) -> bool:
    """Whether the wanted candidates can meet all requirements at once, one of them by such a member."""
    return any(can_be_met(pinned, different, wanted) for pinned in _pinned(columns, member))


def _verifies(item: Candidate) -> bool:
    return item.offer.category == "possession" and item.maybe_verified


def of(names: Container[str]) -> Wanted:
    """Candidates of these categories."""
    return lambda item: item.offer.category in names


def _pinned(columns: Columns, wanted: Wanted) -> Iterator[Columns]:
    """The same with one of the requirements met by something wanted, for each requirement that can be."""
    for index, column in enumerate(columns):
        kept = [item for item in column if wanted(item)]
        if kept:
            yield [*columns[:index], kept, *columns[index + 1 :]]


def _filled(columns: Columns) -> bool:
    """Whether each requirement can have another authenticator."""
    return assignable([{item.offer.authenticator for item in column} for column in columns])
