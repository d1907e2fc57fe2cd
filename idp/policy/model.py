"""A policy: levels, rules and all that a file may say besides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import time
from ipaddress import IPv4Network, IPv6Network
from types import MappingProxyType
from typing import Final, Literal

from idp.policy.evidence import SELF, Category
from idp.policy.facts import (
    LOAS,
    NO_ACR,
    OUTCOMES,
    PROOFING,
    REFUSALS,
    SCALS,
    CredentialFacts,
    Decision,
    EnrolledFactor,
    Facts,
    Loa,
    Outcome,
    Proofing,
    Reason,
    Refusal,
    Scal,
    StepUpOption,
)
from idp.policy.index import Clause, Quest, implied_names, index

__all__ = [
    "DAYS", "EIDAS", "LOAS", "NO_ACR", "OUTCOMES", "PROOFING", "REFUSALS", "SCALS",
    "Claim", "Condition", "CredentialCondition", "CredentialFacts", "Decision", "Edge", "EnrolledFactor",
    "EvidenceSet", "FactorLimits", "Facts", "Level", "Loa", "Network", "Outcome", "Policy", "Proofing", "Reason",
    "Refusal", "Requirement", "Rule", "Scal", "StepUpOption", "TimeCondition", "Transfer", "Upstream",
    "UpstreamEvidence", "UpstreamMapping", "Where", "implied_names",
]  # fmt: skip

EIDAS: Final = "eidas-2015-1502"


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a policy file; line and column count from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one piece of evidence must be.  An empty set of factors or categories asks for nothing."""

    where: Where
    factors: frozenset[str] = frozenset()
    categories: frozenset[Category] = frozenset()
    flags: frozenset[str] = frozenset()
    """All of these must be set."""
    without: frozenset[str] = frozenset()
    """None of these may be set."""
    issuers: frozenset[str] = frozenset({SELF})
    max_age: int | None = None
    """Seconds; evidence of exactly this age still counts."""
    per_transaction: bool = False
    """Only evidence made for the transaction that is being decided."""
    channels: frozenset[str] = frozenset()
    """How the secret may have travelled; evidence that names no channel does not meet it."""
    attestations: frozenset[str] = frozenset()
    """Makes or models of authenticators; evidence that names none does not meet it."""


@dataclass(frozen=True, slots=True)
class EvidenceSet:
    """Requirements that must all be met, each by another authenticator."""

    where: Where
    all_of: tuple[Requirement, ...]
    different_categories: int = 1
    """How many categories the evidence must cover together."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A framework's level that a level of the policy claims to be."""

    framework: str
    level: str

    def __str__(self) -> str:
        """As a file writes it in an edge."""
        return f"{self.framework}/{self.level}"


@dataclass(frozen=True, slots=True)
class Edge:
    """Whoever meets the one framework's level meets the other's: frameworks compare through these edges only."""

    where: Where
    stronger: Claim
    weaker: Claim


@dataclass(frozen=True, slots=True)
class Level:
    """A name for what evidence amounts to.  Times are seconds."""

    where: Where
    name: str
    any_of: tuple[EvidenceSet, ...]
    title: str = ""
    claims: tuple[Claim, ...] = ()
    acr: tuple[str, ...] = ()
    """The values of ``acr`` that express it, the one to emit first."""
    implies: tuple[str, ...] = ()
    """Levels that whoever reaches this one has reached as well."""
    proofing: Proofing = "none"
    freshness: int | None = None
    session_limit: int | None = None
    idle_limit: int | None = None
    saml: tuple[str, ...] = ()
    """The SAML ``AuthnContextClassRef`` URIs that express it, the one to emit first."""
    notified: bool = False
    """The operator says that the scheme is notified under (EU) No 910/2014, article 9; only then may ``acr`` or
    ``saml`` hold ``http://eidas.europa.eu/LoA/...``."""
    statement: str = ""
    """What the operator rests that on."""
    included: frozenset[Claim] = field(init=False, repr=False, compare=False)
    """Its claims and all that follow from them; a policy puts in what follows from its frameworks and edges."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "included", frozenset(self.claims))

    @property
    def loa(self) -> Loa | None:
        """The highest eIDAS level that follows from its claims, if any."""
        return next((loa for loa, claim in _EIDAS_CLAIMS if claim in self.included), None)


_EIDAS_CLAIMS: Final = tuple((loa, Claim(EIDAS, loa)) for loa in reversed(LOAS))


@dataclass(frozen=True, slots=True)
class CredentialCondition:
    """Which signing credentials a rule is about; an empty set asks for nothing."""

    ids: frozenset[str] = frozenset()
    scal: frozenset[str] = frozenset()
    qualifiers: frozenset[str] = frozenset()


DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""In the order of :meth:`datetime.date.weekday`."""


@dataclass(frozen=True, slots=True)
class TimeCondition:
    """A weekly window.  Where ``end`` is not after ``start``, it ends on the day after."""

    days: frozenset[str] = frozenset(DAYS)
    """Days on which the window begins."""
    start: time = time(0)
    end: time = time(0)
    """The first minute that is outside."""
    zone: str = "UTC"
    """A name of the IANA time zone database."""
    window: tuple[frozenset[int], int, int] = field(init=False, repr=False, compare=False)
    """The same in numbers: weekdays from Monday, 0, and seconds of the day."""

    def __post_init__(self) -> None:
        weekdays = frozenset(number for number, name in enumerate(DAYS) if name in self.days)
        seconds = (each.hour * 3600 + each.minute * 60 + each.second for each in (self.start, self.end))
        object.__setattr__(self, "window", (weekdays, *seconds))


Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Condition:
    """When a rule applies: every part that is given must hold."""

    clients: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    credential: CredentialCondition | None = None
    attributes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Each of these attributes of the person has one of these values."""
    networks: tuple[Network, ...] = ()
    """The request comes from one of them; an address that is unknown or unreadable is in none."""
    time: TimeCondition | None = None
    ranges: tuple[tuple[int, int, int], ...] = field(init=False, repr=False, compare=False)
    """The networks in numbers: version, mask, first address."""

    def __post_init__(self) -> None:
        numbers = ((each.version, int(each.netmask), int(each.network_address)) for each in self.networks)
        object.__setattr__(self, "ranges", tuple(numbers))


@dataclass(frozen=True, slots=True)
class Rule:
    """A floor: these actions, under this condition, need these levels and this evidence."""

    where: Where
    id: str
    actions: tuple[str, ...]
    """Names, or a prefix ending in ``.*``."""
    require: tuple[str, ...]
    when: Condition = field(default_factory=Condition)
    evidence: tuple[Requirement, ...] = ()
    because: str = ""
    evidence_set: EvidenceSet | None = field(init=False, repr=False, compare=False)
    """``evidence`` as one set, made once."""

    def __post_init__(self) -> None:
        combined = EvidenceSet(self.where, self.evidence) if self.evidence else None
        object.__setattr__(self, "evidence_set", combined)


@dataclass(frozen=True, slots=True)
class UpstreamEvidence:
    """One piece of evidence that a login elsewhere counts as."""

    where: Where
    category: Category
    factor: str = "upstream"
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class UpstreamMapping:
    """What a login counts as if every part that is given holds; nothing given holds always."""

    where: Where
    evidence: tuple[UpstreamEvidence, ...]
    classes: frozenset[str] = frozenset()
    """SAML ``AuthnContextClassRef``: one of them."""
    acr: frozenset[str] = frozenset()
    """OIDC ``acr``: one of them."""
    amr: frozenset[str] = frozenset()
    """RFC 8176 ``amr``: all of them."""
    attributes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Each has one of the values."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """What logins at other identity providers count as: the first mapping that holds, else one factor that is known
    and nothing more (the lowest)."""

    where: Where
    issuers: frozenset[str]
    mappings: tuple[UpstreamMapping, ...]
    cap: str
    """Its evidence counts for this level and those that it implies, and for no other."""
    max_age: int | None = None
    """Seconds since ``auth_time`` (``AuthnInstant``); None: only the levels' own freshness."""


Transfer = Literal["number", "qr", "none"]
"""How a request that is approved on a phone is tied to the browser it came from (NIST SP 800-63B r4, 3.1.3.2)."""


@dataclass(frozen=True, slots=True)
class FactorLimits:
    """Limits of one kind of factor.  None: the deployment's settings alone."""

    where: Where
    factor: str
    min_length: int | None = None
    """Characters of a password."""
    lifetime: int | None = None
    """Seconds that a code lives."""
    step: int | None = None
    """Seconds of one time step of TOTP (RFC 6238, X)."""
    max_failures: int | None = None
    """Consecutive failures after which the authenticator is disabled."""
    reset_on_resend: bool = False
    """Whether a new message clears the count of failures; no framework allows it."""
    restricted_notice: bool = False
    """The operator says that people are told of the risk (NIST SP 800-63B, restricted authenticators)."""
    transfer: Transfer | None = None
    """For approvals on a phone."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy file that has been read and found sound; :mod:`idp.policy.load` makes them.

    The fields after ``rules`` are indexes over the first ones, made once so that an evaluation only looks up.
    """

    name: str
    file: str
    """The path as it was given to the loader."""
    sha256: str
    """Hexadecimal, of the file's octets."""
    rules_at: Where
    """Where the rules begin: the place to point at when none of them is about an action."""
    levels: tuple[Level, ...]
    rules: tuple[Rule, ...]
    edges: tuple[Edge, ...] = ()
    upstream: tuple[Upstream, ...] = ()
    factors: Mapping[str, FactorLimits] = field(default_factory=dict)
    """By factor."""
    frameworks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Every framework that the file may name, its levels weakest first."""
    actions: frozenset[str] = frozenset()
    """The operator's own."""
    by_name: Mapping[str, Level] = field(init=False, repr=False, compare=False)
    by_acr: Mapping[str, Level] = field(init=False, repr=False, compare=False)
    by_saml: Mapping[str, Level] = field(init=False, repr=False, compare=False)
    by_issuer: Mapping[str, Upstream] = field(init=False, repr=False, compare=False)
    implied: Mapping[str, frozenset[str]] = field(init=False, repr=False, compare=False)
    """A level's name to the names of itself and every level that it implies."""
    stronger: Mapping[str, tuple[Level, ...]] = field(init=False, repr=False, compare=False)
    """A level's name to itself and every level that implies it, in the order of the file after itself."""
    level_quests: Mapping[str, tuple[Quest, ...]] = field(init=False, repr=False, compare=False)
    """A level's alternatives."""
    rule_quests: Mapping[str, Quest] = field(init=False, repr=False, compare=False)
    """A rule's own evidence, by the rule's id."""
    clauses: Mapping[str, Clause] = field(init=False, repr=False, compare=False)
    """All that follows from a rule, by its id."""
    rule_reasons: Mapping[str, Reason] = field(init=False, repr=False, compare=False)
    """What a rule says once it applies, by its id."""
    about: Mapping[str, tuple[Clause, ...]] = field(init=False, repr=False, compare=False)
    """An action that a rule names in full to all rules about it."""
    exact: Mapping[str, tuple[Rule, ...]] = field(init=False, repr=False, compare=False)
    """An action's name to the rules that give it in full."""
    prefixed: tuple[tuple[str, Rule], ...] = field(init=False, repr=False, compare=False)
    """Prefixes of actions, each with its rule."""

    def __post_init__(self) -> None:
        for name, value in index(self).items():
            object.__setattr__(self, name, value)
        about = MappingProxyType({action: self._clauses_about(action) for action in self.exact})
        object.__setattr__(self, "about", about)

    def rules_about(self, action: str) -> Iterator[Rule]:
        """The rules that name the action, whatever their conditions, each once."""
        named = self.exact.get(action, ())
        yield from named
        seen = {rule.id for rule in named}
        for prefix, rule in self.prefixed:
            if action.startswith(prefix) and rule.id not in seen:
                seen.add(rule.id)
                yield rule

    def clauses_about(self, action: str) -> tuple[Clause, ...]:
        """The same with all that follows from them."""
        named = self.about.get(action)
        return self._clauses_about(action) if named is None else named

    def _clauses_about(self, action: str) -> tuple[Clause, ...]:
        return tuple([self.clauses[rule.id] for rule in self.rules_about(action)])

    def claims_of(self, name: str) -> frozenset[Claim]:
        """What the level claims, what the levels that it implies claim, and all that follows from it by the order of
        each framework's levels and by the edges."""
        return self.by_name[name].included

    def implies(self, stronger: str, weaker: str) -> bool:
        """Whether reaching the one level is reaching the other; a level implies itself."""
        return weaker in self.implied[stronger]
