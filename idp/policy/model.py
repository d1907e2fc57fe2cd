"""Policy, facts and decision: what goes into an evaluation and what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from ipaddress import IPv4Network, IPv6Network
from types import MappingProxyType
from typing import Final, Literal, get_args

from idp.policy.closure import closed
from idp.policy.errors import FactsInvalid
from idp.policy.evidence import FACTORS, FLAGS, SELF, Category, Evidence

Proofing = Literal["none", "low", "substantial", "high"]
"""How well the person behind the account was identified, on the scale of (EU) 2015/1502, annex, 2.1."""

PROOFING: Final[tuple[Proofing, ...]] = get_args(Proofing)

Loa = Literal["low", "substantial", "high"]
"""Assurance levels of (EU) No 910/2014, article 8(2)."""

LOAS: Final[tuple[Loa, ...]] = get_args(Loa)

EIDAS: Final = "eidas-2015-1502"

Scal = Literal["1", "2"]
"""Sole control assurance level, as CSC writes it."""

SCALS: Final[tuple[Scal, ...]] = get_args(Scal)

NO_ACR: Final = "0"
"""OIDC Core 2: the authentication did not meet ISO/IEC 29115 level 1."""


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
        return next((loa for loa in reversed(LOAS) if Claim(EIDAS, loa) in self.included), None)


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
    stronger: Mapping[str, tuple[Level, ...]] = field(init=False, repr=False, compare=False)
    """A level's name to itself and every level that implies it, in the order of the file after itself."""
    _exact: Mapping[str, tuple[Rule, ...]] = field(init=False, repr=False, compare=False)
    _prefixed: tuple[Rule, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        declared = {level.name: level for level in self.levels}
        implied = {level.name: implied_names(level.name, declared) for level in self.levels}
        # Copies: the same levels in another policy may include something else.
        levels = tuple(replace(level) for level in self.levels)
        for level in levels:
            # Reaching it is reaching what it implies, so what that claims is true as well.
            claims = (claim for name in implied[level.name] for claim in declared[name].claims)
            object.__setattr__(level, "included", closed(claims, self.frameworks, self.edges))
        by_name = {level.name: level for level in levels}
        stronger = {
            level.name: (
                level,
                *(other for other in levels if level.name in implied[other.name] and other.name != level.name),
            )
            for level in levels
        }
        exact: dict[str, tuple[Rule, ...]] = {}
        for rule in self.rules:
            for action in dict.fromkeys(rule.actions):
                exact[action] = (*exact.get(action, ()), rule)
        index: dict[str, object] = {
            "by_name": MappingProxyType(by_name),
            "levels": levels,
            "by_acr": MappingProxyType({uri: level for level in levels for uri in level.acr}),
            "by_saml": MappingProxyType({uri: level for level in levels for uri in level.saml}),
            "by_issuer": MappingProxyType({issuer: item for item in self.upstream for issuer in item.issuers}),
            "stronger": MappingProxyType(stronger),
            "_exact": MappingProxyType({name: found for name, found in exact.items() if not name.endswith(".*")}),
            "_prefixed": tuple(rule for rule in self.rules if any(name.endswith(".*") for name in rule.actions)),
        }
        for name, value in index.items():
            object.__setattr__(self, name, value)

    def rules_about(self, action: str) -> Iterator[Rule]:
        """The rules that name the action, whatever their conditions."""
        named = self._exact.get(action, ())
        yield from named
        for rule in self._prefixed:
            if rule not in named and any(name.endswith(".*") and action.startswith(name[:-1]) for name in rule.actions):
                yield rule

    def claims_of(self, name: str) -> frozenset[Claim]:
        """What the level claims, what the levels that it implies claim, and all that follows from it by the order of
        each framework's levels and by the edges."""
        return self.by_name[name].included

    def implies(self, stronger: str, weaker: str) -> bool:
        """Whether reaching the one level is reaching the other; a level implies itself."""
        return any(level.name == stronger for level in self.stronger[weaker])


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


@dataclass(frozen=True, slots=True)
class EnrolledFactor:
    """Something the person can be asked for now: an authenticator, or a linked upstream identity provider.

    ``flags`` are those that its evidence will carry.  Before the person is known, these are the factors that the
    deployment offers for signing in.
    """

    factor: str
    category: Category
    flags: frozenset[str] = frozenset()
    issuer: str = SELF

    def __post_init__(self) -> None:
        if self.factor not in FACTORS:
            raise FactsInvalid(f"unknown factor {self.factor!r}")
        if self.flags - FLAGS:
            raise FactsInvalid(f"unknown flags {sorted(self.flags - FLAGS)}")


@dataclass(frozen=True, slots=True)
class CredentialFacts:
    """The signing credential that an action is about."""

    id: str
    scal: Scal
    qualifier: str | None = None
    """For example ``eu_eidas_qes``, as CSC names it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything an evaluation may look at.

    :raises FactsInvalid: ``now`` is not aware UTC, or ``max_age`` is negative.
    """

    action: str
    evidence: tuple[Evidence, ...]
    now: datetime
    client_id: str | None = None
    groups: frozenset[str] = frozenset()
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    proofing: Proofing = "none"
    """The account's.  Before the person is known, ``high``: without evidence nothing is allowed, and what can be
    offered then does not depend on whose account it will be."""
    credential: CredentialFacts | None = None
    network: str | None = None
    """The address the request came from."""
    transaction: str | None = None
    """The transaction that is being decided: for a signature, its ``txn``; for a sign-in, that interaction."""
    acr_values: tuple[str, ...] = ()
    """Asked for by the request, in its order of preference (OIDC Core 3.1.2.1): voluntary."""
    essential_acr: tuple[str, ...] = ()
    """Asked for as an essential claim (OIDC Core 5.5.1.1): one of them, or nothing."""
    max_age: int | None = None
    """Seconds; nothing older counts.  0 means the same as ``force_reauthentication``."""
    force_reauthentication: bool = False
    """Only evidence made for ``transaction`` counts (``prompt=login``, SAML ``ForceAuthn``)."""
    enrolled: tuple[EnrolledFactor, ...] = ()

    def __post_init__(self) -> None:
        if self.now.tzinfo is None or self.now.utcoffset() != timedelta(0):
            raise FactsInvalid("now is aware and in UTC")
        if self.max_age is not None and self.max_age < 0:
            raise FactsInvalid("max_age may not be negative")


Outcome = Literal["allow", "step_up", "deny"]

OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)

Refusal = Literal["no_rule", "proofing", "unreachable", "unmet_request"]
"""Why an outcome is ``deny``.  ``unmet_request`` is OIDC's ``unmet_authentication_requirements``: without the essential
``acr`` the action would be possible."""

REFUSALS: Final[tuple[Refusal, ...]] = get_args(Refusal)


@dataclass(frozen=True, slots=True)
class StepUpOption:
    """One way to get what is missing: all of these factors, in this order."""

    level: str
    """What it leads to; several names are joined with ``+``."""
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """One sentence of the derivation and the line of the policy that it rests on."""

    rule: str
    """A rule's id, or ``level:<name>``, or ``request``, or ``default``."""
    file: str
    line: int
    text: str
    contributor: str
    """Who brought it in: ``policy`` (a rule without condition), the parts of a rule's condition (``client``, ``group``,
    ``attribute``, ``credential``, ``network``, ``time``, joined with ``+``), ``request``, ``evidence``, ``upstream``
    or ``person``."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy says.  Limits are seconds from sign-in and from the last activity; None: the policy sets none."""

    outcome: Outcome
    required: tuple[str, ...]
    reached: tuple[str, ...]
    acr: str
    loa: Loa | None
    amr: tuple[str, ...]
    relied_on: tuple[Evidence, ...]
    auth_time: datetime | None
    session_limit: int | None
    idle_limit: int | None
    options: tuple[StepUpOption, ...]
    reasons: tuple[Reason, ...]
    refusal: Refusal | None = None
