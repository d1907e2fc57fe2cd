"""The identity provider's database as a backup sees it: what is kept, and what ends with a restore.

What was spent after the backup would be unspent again: sessions, codes, tokens, approvals and enrolments under way are
therefore left out, and people sign in and relying parties ask anew.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, Engine, select

from archive.records import Summary
from archive.side import Side
from foundation.clock import Clock
from idp.errors import SchemaMismatch
from idp.storage.audit import DatabaseAudit
from idp.storage.engine import for_snapshot
from idp.storage.models import SCHEMA_VERSION, metadata, schema_version

TRANSIENT: Final = frozenset(
    {
        "activations",
        "admin_proposals",
        "backchannel_requests",
        "binding_codes",
        "certificate_handovers",
        "device_visits",
        "enrolments",
        "interactions",
        "oidc_access_tokens",
        "oidc_assertions",
        "oidc_codes",
        "oidc_dpop_proofs",
        "oidc_grants",
        "oidc_pushed_requests",
        "oidc_refresh_tokens",
        "otp_challenges",
        "otp_messages",
        "passkey_answers",
        "reset_proposals",
        "sessions",
        "shown_documents",
    }
)
KEPT: Final = frozenset(
    {
        "account_history",
        "accounts",
        "admin_roles",
        "audit_checkpoints",
        "audit_entries",
        "audit_head",
        "authenticators",
        "decisions",
        "device_failures",
        "event_outbox",
        "hotp_devices",
        "logout_notices",
        "message_counts",
        "message_stops",
        "notices",
        "oidc_clients",
        "policy_differences",
        "policy_history",
        "policy_states",
        "policy_versions",
        "recovery_codes",
        "schema_version",
        "token_keys",
        "wrong_codes",
    }
)


def backup_side(engine: Engine, issuer: str, clock: Clock) -> Side:
    """What :mod:`archive.side` needs to know; all modules with tables have to be imported."""
    tables = metadata.sorted_tables
    return Side(
        name="idp",
        of=issuer,
        schema=SCHEMA_VERSION,
        engine=engine,
        reading=for_snapshot(engine),
        kept=tuple(table for table in tables if table.name not in TRANSIENT),
        transient=tuple(table for table in tables if table.name in TRANSIENT),
        create=metadata.create_all,
        restored=lambda connection, summary: _restored(connection, summary, clock),
    )


def _restored(connection: Connection, summary: Summary, clock: Clock) -> None:
    if connection.execute(select(schema_version.c.version)).scalar_one_or_none() != SCHEMA_VERSION:
        raise SchemaMismatch("the backup's rows are not those of this schema")
    manifest = summary.manifest
    DatabaseAudit(clock).record(
        connection, "database.restored", made_at=manifest.made_at, content_sha256=summary.sha256
    )
