"""Settings of ``privyseal ades extend``: ``extend.toml``, environment prefix ``PRIVYSEAL_EXTEND_``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from foundation.settings import Mode
from signing.settings import StatusSettings, TimestampSettings


@dataclass(frozen=True, slots=True)
class ExtensionSettings:
    """Everything in ``extend.toml``: two tables of the web tier's, and how they are meant."""

    mode: Mode
    status: StatusSettings
    """Who is asked about certificates; its trust anchors are those that signatures are validated with too."""
    timestamp_authorities: tuple[TimestampSettings, ...]
    """Asked in this order."""

    def faults(self) -> Iterator[str]:
        """What the types cannot say."""
        if not self.timestamp_authorities:
            yield "timestamp_authorities names at least one"

    @property
    def production(self) -> bool:
        """Whether development stand-ins are refused."""
        return self.mode == "production"
