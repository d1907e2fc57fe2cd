"""The module's database as a backup sees it: every table, and what a restored one has to say before it is relied on."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, Engine, select, update

from archive.records import Summary
from archive.side import Side
from auditlog.sql import AuditLog
from foundation.clock import Clock
from signing.sam import events
from signing.sam.errors import StateRefused
from signing.storage.engine import READ_ONLY
from signing.storage.tables import SCHEMA_VERSION, audit, metadata, state

NO_EPOCH = 0
"""Of no epoch is a database that was restored: the anchor on the token knows none of that number, so that nothing is
signed, also with a database that has lost nothing, before two operators have raised it (SAD-12)."""


def backup_side(engine: Engine, realm: str, clock: Clock) -> Side:
    """What :mod:`archive.side` needs to know."""
    options: dict[str, object] = {READ_ONLY: True}
    if engine.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"
    return Side(
        name="sam",
        of=realm,
        schema=SCHEMA_VERSION,
        engine=engine,
        reading=engine.execution_options(**options),
        kept=tuple(metadata.sorted_tables),
        transient=(),
        create=metadata.create_all,
        restored=_restored(realm, clock),
    )


def _restored(realm: str, clock: Clock) -> Callable[[Connection, Summary], None]:
    def restored(connection: Connection, summary: Summary) -> None:
        found = connection.execute(select(state.c.realm, state.c.schema_version)).one_or_none()
        if found is None or tuple(found) != (realm, SCHEMA_VERSION):
            raise StateRefused("the backup's rows are not those of this realm and schema")
        connection.execute(update(state).values(epoch=NO_EPOCH))
        fields = {"made_at": summary.manifest.made_at, "content_sha256": summary.sha256}
        AuditLog(audit, events.CATALOGUE).append(connection, events.DATABASE_RESTORED, fields, clock.now())

    return restored
