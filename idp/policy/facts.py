"""What goes into an evaluation besides the policy, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, get_args

from idp.policy.errors import FactsInvalid
from idp.policy.evidence import FACTORS, FLAGS, SELF, Category, Evidence

Proofing = Literal["none", "low", "substantial", "high"]
"""How well the person behind the account was identified, on the scale of (EU) 2015/1502, annex, 2.1."""

PROOFING: Final[tuple[Proofing, ...]] = get_args(Proofing)

Loa = Literal["low", "substantial", "high"]
"""Assurance levels of (EU) No 910/2014, article 8(2)."""

LOAS: Final[tuple[Loa, ...]] = get_args(Loa)

Scal = Literal["1", "2"]
"""Sole control assurance level, as CSC writes it."""

SCALS: Final[tuple[Scal, ...]] = get_args(Scal)

NO_ACR: Final = "0"
"""OIDC Core 2: the authentication did not meet ISO/IEC 29115 level 1."""


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
    channel: str | None = None
    """How its secret would travel."""
    attestation: str | None = None
    """Its make or model, where that is proved."""
    min_length: int | None = None
    """Of a password, what its evidence will say (:attr:`Evidence.min_length`).  None: nobody knows before it is typed,
    and it is offered as one that is long enough."""

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
    replaces: str | None = None
    """The kind of factor of which the action puts another in the place of the one that the person has.  A password
    that is replaced may be too short to stand alone: that is what the change mends."""

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


class Reason(NamedTuple):
    """One sentence of the derivation and the line of the policy that it rests on.  A tuple, since a decision may have
    hundreds and tuples are made in a quarter of the time."""

    rule: str
    """A rule's id, or ``level:<name>``, or ``request``, ``evidence``, ``upstream`` or ``default``."""
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
