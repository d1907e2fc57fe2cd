"""What the frameworks demand at which of their levels, edition by edition.

A claim includes the weaker ones of its framework, so a demand stands at the first level that makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from idp.policy.model import EIDAS, Claim, Proofing

R3: Final = "nist-800-63b:r3"
R4: Final = "nist-800-63b:r4"
X2012: Final = "x1254:2012"
X2020: Final = "x1254:2020"
ISO: Final = "iso29115:2013"


@dataclass(frozen=True, slots=True)
class Demand:
    """A level of a framework that demands something, and the clause in which it does."""

    framework: str
    level: str
    clause: str

    @property
    def claim(self) -> Claim:
        """The claim that makes it binding."""
        return Claim(self.framework, self.level)

    def __str__(self) -> str:
        return str(self.claim)


def clauses(demands: tuple[Demand, ...]) -> str:
    """The clauses, each once."""
    return "; ".join(clauses_of(demands))


def clauses_of(*tables: tuple[Demand, ...]) -> tuple[str, ...]:
    """All clauses of some tables, each once."""
    return tuple(dict.fromkeys(demand.clause for table in tables for demand in table))


NO_EMAIL: Final = (
    Demand(R3, "aal2", "NIST SP 800-63B-3, 5.1.3.1"),
    Demand(R4, "aal2", "NIST SP 800-63B-4, 3.1.3.1"),
)
"""``Methods that do not prove possession of a specific device`` shall not be used out of band."""

TWO_FACTORS: Final = (
    Demand(R3, "aal2", "NIST SP 800-63B-3, 4.2.1"),
    Demand(R4, "aal2", "NIST SP 800-63B-4, 2.2.1"),
    Demand(EIDAS, "substantial", "(EU) 2015/1502, annex, 2.2.1"),
    Demand(X2012, "loa3", "ITU-T X.1254 (09/2012), 6.3"),
    Demand(X2020, "aal2", "ITU-T X.1254 (09/2020), AAL2"),
    Demand(ISO, "loa3", "ISO/IEC 29115:2013, 6.3"),
)

NO_COPIES: Final = (
    Demand(R3, "aal3", "NIST SP 800-63B-3, 4.3.1"),
    Demand(R4, "aal3", "NIST SP 800-63B-4, 2.3.1"),
    Demand(EIDAS, "high", "(EU) 2015/1502, annex, 2.2.1"),
    Demand(X2012, "loa4", "ITU-T X.1254 (09/2012), 6.4"),
    Demand(X2020, "aal3", "ITU-T X.1254 (09/2020), AAL3"),
    Demand(ISO, "loa4", "ISO/IEC 29115:2013, 6.4"),
)
"""Where a key may not exist twice."""

NO_SENT_CODES: Final = (
    Demand(EIDAS, "high", "(EU) 2015/1502, annex, 2.3.1"),
    Demand(X2012, "loa4", "ITU-T X.1254 (09/2012), 6.4"),
    Demand(X2020, "aal3", "ITU-T X.1254 (09/2020), AAL3"),
    Demand(ISO, "loa4", "ISO/IEC 29115:2013, 6.4"),
)
"""Where attackers of high potential are withstood, or a key is in hardware; at NIST's AAL3 nothing that is sent resists
phishing anyway."""

RESTRICTED: Final = (
    Demand(R3, "aal2", "NIST SP 800-63B-3, 5.2.10"),
    Demand(R4, "aal2", "NIST SP 800-63B-4, 3.2.9"),
)
"""Where a restricted authenticator needs an alternative, and people a notice."""

TRANSFER: Final = (Demand(R4, "aal1", "NIST SP 800-63B-4, 3.1.3.2"),)
"""Where a mere approval on a phone is no out-of-band authenticator."""

OFFER_RESISTANT: Final = (Demand(R4, "aal2", "NIST SP 800-63B-4, 2.2.2"),)
"""Where a phishing-resistant way must be offered."""

ASK_RESISTANT: Final = (
    Demand(R3, "aal3", "NIST SP 800-63B-3, 4.3.2"),
    Demand(R4, "aal3", "NIST SP 800-63B-4, 2.3.2"),
)
"""Where every way must be phishing-resistant (revision 3: resistant to verifier impersonation)."""

ASK_HARDWARE: Final = (
    Demand(R3, "aal3", "NIST SP 800-63B-3, 4.3.1"),
    Demand(EIDAS, "high", "(EU) 2015/1502, annex, 2.2.1"),
    Demand(X2012, "loa4", "ITU-T X.1254 (09/2012), 6.4"),
    Demand(ISO, "loa4", "ISO/IEC 29115:2013, 6.4"),
)
"""Where the key must be in hardware, which only an attestation shows."""

ASK_HELD: Final = (
    Demand(R3, "aal2", "NIST SP 800-63B-3, 4.2.1"),
    Demand(R4, "aal2", "NIST SP 800-63B-4, 2.2.1"),
)
"""Where one of the factors is something held, whatever the other."""

SHORT_PASSWORD: Final = (
    Demand(R3, "aal1", "NIST SP 800-63B-3, 5.1.1.2"),
    Demand(R4, "aal1", "NIST SP 800-63B-4, 3.1.1.2"),
)
"""Eight characters at least, whatever is beside the password."""

LONE_PASSWORD: Final = (Demand(R4, "aal1", "NIST SP 800-63B-4, 3.1.1.2"),)
"""Fifteen characters where nothing is."""


@dataclass(frozen=True, slots=True)
class Proofed:
    """How well a level's people must have been identified."""

    demand: Demand
    minimum: Proofing
    binding: bool
    """Whether the framework uses this very scale; if not, the minimum is our reading of it."""


_ENROLMENT: Final = "(EU) 2015/1502, annex, 2.1.2"

PROOFED: Final = (
    Proofed(Demand(EIDAS, "low", _ENROLMENT), "low", binding=True),
    Proofed(Demand(EIDAS, "substantial", _ENROLMENT), "substantial", binding=True),
    Proofed(Demand(EIDAS, "high", _ENROLMENT), "high", binding=True),
    Proofed(Demand(ISO, "loa2", "ISO/IEC 29115:2013, 10.1"), "low", binding=True),
    Proofed(Demand(ISO, "loa3", "ISO/IEC 29115:2013, 10.1"), "substantial", binding=False),
    Proofed(Demand(ISO, "loa4", "ISO/IEC 29115:2013, 10.1"), "high", binding=False),
    Proofed(Demand(X2012, "loa2", "ITU-T X.1254 (09/2012), 10.1"), "low", binding=True),
    Proofed(Demand(X2012, "loa3", "ITU-T X.1254 (09/2012), 10.1"), "substantial", binding=False),
    Proofed(Demand(X2012, "loa4", "ITU-T X.1254 (09/2012), 10.1"), "high", binding=False),
)


@dataclass(frozen=True, slots=True)
class SessionLimit:
    """How long a session may last or be idle, in seconds, and how strongly a revision says so."""

    demand: Demand
    what: Literal["session_limit", "idle_limit"]
    seconds: int
    shall: bool
    must_exist: bool
    """Whether there SHALL be a limit at all; where the limit itself is one, always."""


_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR

SESSION_LIMITS: Final = (
    SessionLimit(
        Demand(R3, "aal1", "NIST SP 800-63B-3, 4.1.3"), "session_limit", 30 * _DAY, shall=False, must_exist=False
    ),
    SessionLimit(
        Demand(R3, "aal2", "NIST SP 800-63B-3, 4.2.3"), "session_limit", 12 * _HOUR, shall=True, must_exist=True
    ),
    SessionLimit(Demand(R3, "aal2", "NIST SP 800-63B-3, 4.2.3"), "idle_limit", 30 * 60, shall=True, must_exist=True),
    SessionLimit(
        Demand(R3, "aal3", "NIST SP 800-63B-3, 4.3.3"), "session_limit", 12 * _HOUR, shall=True, must_exist=True
    ),
    SessionLimit(Demand(R3, "aal3", "NIST SP 800-63B-3, 4.3.3"), "idle_limit", 15 * 60, shall=True, must_exist=True),
    SessionLimit(
        Demand(R4, "aal1", "NIST SP 800-63B-4, 2.1.3"), "session_limit", 30 * _DAY, shall=False, must_exist=True
    ),
    SessionLimit(Demand(R4, "aal2", "NIST SP 800-63B-4, 2.2.3"), "session_limit", _DAY, shall=False, must_exist=True),
    SessionLimit(Demand(R4, "aal2", "NIST SP 800-63B-4, 2.2.3"), "idle_limit", _HOUR, shall=False, must_exist=False),
    SessionLimit(
        Demand(R4, "aal3", "NIST SP 800-63B-4, 2.3.3"), "session_limit", 12 * _HOUR, shall=True, must_exist=True
    ),
    SessionLimit(Demand(R4, "aal3", "NIST SP 800-63B-4, 2.3.3"), "idle_limit", 15 * 60, shall=False, must_exist=False),
)
"""A claim includes the weaker ones, so of the limits on one thing in one framework the last that applies counts."""
