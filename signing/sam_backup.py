"""``privyseal backup sam`` and ``privyseal restore sam``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from archive.command import run_backup, run_restore
from archive.side import Side
from foundation.clock import Clock
from foundation.settings import load
from signing.sam_app.parts import open_store
from signing.sam_settings import SamSettings
from signing.storage.backup import backup_side

_NEXT: Final = """Nothing is signed yet. Two operators sign `ledger.restore` (`privyseal operator sign`, `cosign`), then
`privyseal sam restore`: it raises the epoch, and every SAD and order from before is refused."""


def backup(argv: Sequence[str]) -> int:
    """Write the module's backup; see ``--help``."""
    return run_backup("sam", _open, argv)


def restore(argv: Sequence[str]) -> int:
    """Restore the module's database; see ``--help``."""
    return run_restore("sam", _open, argv, _NEXT)


def _open(config: Path, clock: Clock) -> Side:
    settings = load(SamSettings, config, prefix="SAM")
    return backup_side(open_store(settings).engine, settings.realm, clock)
