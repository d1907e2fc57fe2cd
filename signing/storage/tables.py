"""Tables.  Rows of the ledger are inserted, never changed; the exceptions are said at their tables."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

from auditlog.sql import audit_tables

SCHEMA_VERSION: Final = 5
"""Checked at every start; a change of the tables raises it."""

metadata: Final = MetaData()

state: Final = Table(
    "sam_state",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("schema_version", Integer, nullable=False),
    Column("realm", String(64), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("epoch_not_before", BigInteger, nullable=False),
)
"""One row: what database this is."""

anchored: Final = Table(
    "sam_anchored",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
)
"""One row: number of the anchor on the token that the last change or checkpoint wrote.  Apart from the state, whose row
signatures hold: this one is only touched with the audit head locked."""

_PENDING: Final = "status = 'pending'"

credentials: Final = Table(
    "credentials",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("realm", String(64), nullable=False),
    Column("issuer", String(255), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("status", String(16), nullable=False),
    Column("profile", String(64), nullable=False),
    Column("policy", String(128), nullable=False),
    Column("scal", String(1), nullable=False),
    Column("qualifier", String(64)),
    Column("multisign", Integer, nullable=False),
    Column("floor_loa", String(16), nullable=False),
    Column("floor_categories", Integer, nullable=False),
    Column("floor_sad_seconds", Integer, nullable=False),
    Column("floor_evidence_seconds", Integer, nullable=False),
    Column("floor_phishing_resistant", Integer, nullable=False),
    Column("floor_signatures_per_day", Integer, nullable=False),
    Column("floor_signer_proof", Integer, nullable=False),
    Column("subject", Text, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("certificates", Text, nullable=False),
    Column("wrapped_key", LargeBinary),
    Column("kek_id", String(128)),
    Column("key_profile", String(64)),
    Column("key_mechanism", String(32)),
    Column("proof_keys", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("origin", String(16), nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    Index("credentials_owner", "owner"),
    Index("credentials_pending", "created", postgresql_where=text(_PENDING), sqlite_where=text(_PENDING)),
)
"""A row is replaced as a whole, by its next version, under the next MAC."""

orders: Final = Table(
    "orders",
    metadata,
    Column("issuer", String(255), nullable=False),
    Column("jti", String(128), nullable=False),
    Column("token_sha256", String(64), nullable=False),
    Column("operation", String(64), nullable=False),
    Column("credential_id", String(128), nullable=False),
    Column("used_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("issuer", "jti"),
)
"""Used orders: the primary key is what makes them single-use."""

approvals: Final = Table(
    "approvals",
    metadata,
    Column("issuer", String(255), nullable=False),
    Column("txn", String(128), nullable=False),
    Column("allowance", String(64), nullable=False),
    Column("live", String(128)),
    PrimaryKeyConstraint("issuer", "txn"),
)
"""What an approval allows, fixed by the first SAD seen of it; also the lock that puts its requests into a row.

``live`` is the ``jti`` of the SAD that took the place of all before it; null as long as none has.  It is changed by
comparing and swapping, and never set back to null."""

redemptions: Final = Table(
    "redemptions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("issuer", String(255), nullable=False),
    Column("txn", String(128), nullable=False),
    Column("sad_jti", String(128), nullable=False),
    Column("credential_id", String(128), nullable=False),
    Column("client_id", String(255), nullable=False),
    Column("positions", Text, nullable=False),
    Column("reserved_at", BigInteger, nullable=False),
    Column("proof", String(64), unique=True),
    Index("redemptions_reserved_at", "reserved_at"),
    Index("redemptions_credential", "credential_id", "reserved_at"),
)
"""Transition to RESERVED.  ``proof`` is the proof of possession that was spent with it, where the SAD is bound to a
key: its uniqueness is what makes a proof single-use (RFC 9449 11.1)."""

positions: Final = Table(
    "positions",
    metadata,
    Column("issuer", String(255), nullable=False),
    Column("txn", String(128), nullable=False),
    Column("position", Integer, nullable=False),
    Column("redemption_id", String(64), nullable=False),
    PrimaryKeyConstraint("issuer", "txn", "position"),
)
"""Positions that are not free.  The primary key is the invariant of the ledger: whatever the code does, a position
belongs to one redemption.  Rows are removed in one case only: in the transaction that writes RELEASED."""

outcomes: Final = Table(
    "outcomes",
    metadata,
    Column("redemption_id", String(64), ForeignKey("redemptions.id"), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
)
"""Transition out of RESERVED: the primary key is the compare-and-swap between a request and the reconciler."""

undecided: Final = Table("undecided", metadata, Column("redemption_id", String(64), primary_key=True))
"""Redemptions without an outcome, so that looking for them costs as much as there are, not as the ledger has.  A row is
added in the transaction of its redemption and removed in that of its outcome, never changed; it promises nothing: what
stands in the other two tables is so, whatever stands here."""

revocations: Final = Table(
    "revocations",
    metadata,
    Column("issuer", String(255), nullable=False),
    Column("jti", String(128), nullable=False),
    Column("realm", String(64), nullable=False),
    Column("event", String(64), nullable=False),
    Column("scope", String(16), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    PrimaryKeyConstraint("issuer", "jti"),
    Index("revocations_subject", "issuer", "scope", "subject"),
    Index("revocations_received_at", "received_at"),
)
"""What issuers took back, an event a row; the primary key is what makes a ``jti`` single-use."""

audit: Final = audit_tables(metadata)
