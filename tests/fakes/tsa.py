"""A time-stamping authority that stamps nothing, for tests of what is done with stamps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from connectors.ports.tsa import HashName, TimestampToken
from foundation.clock import from_epoch

AT = from_epoch(1_772_366_400)


@dataclass
class FakeTsa:
    """Keeps what it is asked for, or fails as told."""

    name: str = "fake"
    failure: BaseException | None = None
    stamped: list[bytes] = field(default_factory=list)
    at: datetime = AT
    nonces: list[int | None] = field(default_factory=list)

    def stamp(self, imprint: bytes, hash_name: HashName, nonce: int | None = None) -> TimestampToken:
        """A token that says who made it, and nothing that verifies."""
        if self.failure is not None:
            raise self.failure
        self.stamped.append(imprint)
        self.nonces.append(nonce)
        return TimestampToken(b"token of " + self.name.encode(), self.at, len(self.stamped), "1.2.3", self.name)
