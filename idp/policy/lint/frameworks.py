"""What the frameworks demand at which of their levels, edition by edition.

A claim includes the weaker ones of its framework, so a demand stands at the first level that makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from idp.policy.model import EIDAS, Claim

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
        return f"{self.framework}/{self.level}"


def clauses(demands: tuple[Demand, ...]) -> str:
    """The clauses, each once."""
    return "; ".join(clauses_of(demands))


def clauses_of(*tables: tuple[Demand, ...]) -> tuple[str, ...]:
    """All clauses of some tables, each once."""
    return tuple(dict.fromkeys(demand.clause for table in tables for demand in table))


def names(demands: tuple[Demand, ...]) -> str:
    """The claims in words."""
    return " and ".join(str(demand) for demand in demands)


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
