"""Settings of the anchor process: ``anchor.toml``, environment prefix ``PRIVYSEAL_ANCHOR_``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class TsaSettings:
    """A time-stamping authority by its connector's registered name, with the settings that it defines itself."""

    connector: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnchorSettings:
    """Everything in ``anchor.toml``."""

    mode: Literal["development", "production"]
    anchors_file: Path
    """Where anchors are kept, a line each: on another machine's disk, or one that only takes additions."""
    tsa: Mapping[str, TsaSettings]
    """Authorities by a name of the operator's; asked in the order of their names until one answers."""
    database_url: str | None = None
    database_url_file: Path | None = None
    """Owner-only file, for a URL that carries a password.  The role needs to read, nothing else."""
    export_dir: Path | None = None
    """Where records are copied to, a file for each anchor; None: they are not."""
    checkpoint_keys: tuple[Path, ...] = ()
    """Public keys, PEM, that the chain's own checkpoints are signed with; none: signatures are not verified."""
    interval_seconds: int = 300
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @property
    def production(self) -> bool:
        """Whether development stand-ins are refused."""
        return self.mode == "production"

    def faults(self) -> Iterable[str]:
        """What types cannot say."""
        if (self.database_url is None) == (self.database_url_file is None):
            yield "exactly one of database_url and database_url_file is given"
        if self.production and self.database_url is not None:
            yield "mode is production: the database's URL belongs in database_url_file"
        if not self.tsa:
            yield "tsa names at least one authority"
        if not 10 <= self.interval_seconds <= 86_400:
            yield "interval_seconds is 10 to 86400"
