"""``privyseal backup idp`` and ``privyseal restore idp``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from archive.command import run_backup, run_restore
from foundation.clock import Clock
from foundation.settings import load
from idp.settings import IdpSettings

if TYPE_CHECKING:
    from archive.side import Side

_NEXT: Final = """Everybody signs in again, and relying parties ask for new tokens. What was removed since the backup is
there again, and codes of recovery lists and of devices with a counter that were used since can be used once more: have
lost devices, used recovery codes and such devices removed before the identity provider serves."""


def backup(argv: Sequence[str]) -> int:
    """Write the identity provider's backup; see ``--help``."""
    return run_backup("idp", _open, argv)


def restore(argv: Sequence[str]) -> int:
    """Restore the identity provider's database; see ``--help``."""
    return run_restore("idp", _open, argv, _NEXT)


def _open(config: Path, clock: Clock) -> Side:
    # Brings in every module that has tables.
    from idp.app import open_database
    from idp.storage.backup import backup_side

    settings = load(IdpSettings, config, prefix="IDP")
    return backup_side(open_database(settings), settings.issuer, clock)
