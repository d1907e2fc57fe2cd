"""``privyseal backup portal`` and ``privyseal restore portal``: people's documents, sealed as they are.

What was under way is left out: sessions and requests would be good again after their end.  The sealing keys are not in
it: whoever has the file and its key reads no document.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from archive.command import run_backup, run_restore
from archive.side import Side
from foundation.clock import Clock, epoch
from foundation.settings import load
from portal.errors import NotInitialised
from portal.settings import PortalSettings
from portal.store import documents, keys
from portal.store.database import for_snapshot, open_engine
from portal.store.seal import Sealer
from portal.store.tables import SCHEMA_VERSION, contents, metadata, schema_version

TRANSIENT: Final = frozenset({"portal_pending", "portal_sessions"})
KEPT: Final = frozenset({"portal_contents", "portal_documents", "portal_schema"})
_NEXT: Final = """Everybody signs in again. What people deleted since the backup is there again, until it expires; what
had expired by now was left out."""


def backup(argv: Sequence[str]) -> int:
    """Write the portal's backup; see ``--help``."""
    return run_backup("portal", _open, argv)


def restore(argv: Sequence[str]) -> int:
    """Restore the portal's database; see ``--help``."""
    return run_restore("portal", _open, argv, _NEXT)


def backup_side(settings: PortalSettings, clock: Clock) -> Side:
    """What :mod:`archive.side` needs to know.

    :raises SecretFileError: :raises KeyFileUnusable: the sealing keys cannot be used.
    """
    seal, tables = keys.load(settings.key_file, secrets.token_bytes), metadata.sorted_tables
    return Side(
        name="portal",
        of=settings.public_url,
        schema=SCHEMA_VERSION,
        engine=open_engine(settings),
        reading=for_snapshot(settings),
        kept=tuple(table for table in tables if table.name not in TRANSIENT),
        transient=tuple(table for table in tables if table.name in TRANSIENT),
        create=metadata.create_all,
        restored=lambda connection, _summary: _restored(connection, seal, clock),
        large=frozenset({contents.name}),
    )


def _open(config: Path, clock: Clock) -> Side:
    return backup_side(load(PortalSettings, config, prefix="PORTAL"), clock)


def _restored(connection: Connection, seal: Sealer, clock: Clock) -> None:
    """:raises NotInitialised: the rows are another schema's.  :raises SealBroken: the keys are not those of before."""
    if connection.scalar(select(schema_version.c.version)) != SCHEMA_VERSION:
        raise NotInitialised("the backup's rows are not those of this schema")
    documents.purge(connection, epoch(clock.now()))
    for sealed, its in keys.sealed_values(connection):
        seal.open(sealed, *its)
