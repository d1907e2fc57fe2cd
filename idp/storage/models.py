"""The identity provider's tables.  Times are seconds since the epoch, UTC; identifiers are random text.

No column holds a secret in clear: passwords are argon2id hashes, session cookies are kept as SHA-256, and of a
one-time code nothing is kept at all (it is derived from a key outside the database and the challenge's row).

Tables whose rows decide who somebody is or what they approved have a ``seal`` (:mod:`idp.storage.seal`) over the
columns that ``info["sealed"]`` names.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text

SCHEMA_VERSION: Final = 8
ADDED_TO_SINCE: Final = 4
"""The earliest version whose tables are all here as they were: from it on, versions only added tables and indexes."""

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""All tables of this database, those of other modules of this package too."""

schema_version: Final = Table(
    "schema_version",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)

accounts: Final = Table(
    "accounts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("username", String(128), nullable=False, unique=True),
    Column("status", String(16), nullable=False),
    Column("name", String(64), nullable=False),
    Column("given_name", String(64)),
    Column("surname", String(64)),
    Column("country", String(2)),
    Column("serial_number", String(64)),
    Column("locale", String(16)),
    # How well the person was identified, and what a policy's conditions look at.
    Column("proofing", String(16), nullable=False),
    Column("groups", JSON, nullable=False),
    Column("attributes", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

authenticators: Final = Table(
    "authenticators",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account_id", String(64), ForeignKey("accounts.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("address", String(255)),
    Column("secret_hash", String(255)),
    # What the person calls it, and what is public about it by its kind (a passkey's public key, a token's digits).
    Column("label", String(64), nullable=False, default=""),
    Column("data", JSON, nullable=False, default=dict),
    # A seed, encrypted (idp.storage.boxes).
    Column("secret_box", Text),
    # By what it is found when nobody has said who they are; unique while it is enabled, null afterwards.
    Column("lookup", String(64), unique=True),
    # The last step of a clock, the next event of a counter, a passkey's signature counter: it only ever grows.
    Column("counter", BigInteger, nullable=False, default=0),
    Column("failures", Integer, nullable=False, default=0),
    Column("blocked_until", BigInteger, nullable=False, default=0),
    Column("last_success_at", BigInteger, nullable=False, default=0),
    Column("disabled_at", BigInteger),
    Column("not_before", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seal", String(64), nullable=False, default=""),
    # Not what is counted, which every wrong password changes: its older states could come back all the same.
    info={
        "sealed": (
            "id",
            "account_id",
            "kind",
            "address",
            "secret_hash",
            "label",
            "data",
            "secret_box",
            "lookup",
            "not_before",
            "created_at",
        )
    },
)

otp_challenges: Final = Table(
    "otp_challenges",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("authenticator_id", String(64), ForeignKey("authenticators.id"), nullable=False),
    Column("session_id", String(64), nullable=False),
    Column("txn", String(64), nullable=False),
    Column("intent_sha256", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    # Unique while the challenge is live, null afterwards: there is one live code a purpose.
    Column("live_slot", String(160), unique=True),
    Column("failures", Integer, nullable=False, default=0),
    Column("sends", Integer, nullable=False, default=0),
    Column("created_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("closed_at", BigInteger),
    Index("ix_otp_challenges_counting", "authenticator_id", "created_at"),
    # By these a page finds the code that was sent, among a day's.
    Index("ix_otp_challenges_session_txn", "session_id", "txn"),
)

# Wrong passwords of browsers in which the password was right before; see idp.authn.device.
device_failures: Final = Table(
    "device_failures",
    metadata,
    Column("device_id", String(64), primary_key=True),
    Column("authenticator_id", String(64), ForeignKey("authenticators.id"), nullable=False),
    Column("failures", Integer, nullable=False),
    Column("blocked_until", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False, index=True),
)

sessions: Final = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("account_id", String(64), ForeignKey("accounts.id"), index=True),
    Column("evidence", JSON, nullable=False),
    Column("device", String(255), nullable=False, default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    # Times in which nobody used it: see idp.authn.session.with_pause.
    Column("pauses", JSON, nullable=False, default=list),
    Column("revoked_at", BigInteger),
    Column("seal", String(64), nullable=False, default=""),
    info={
        "sealed": (
            "id",
            "token_hash",
            "account_id",
            "evidence",
            "device",
            "created_at",
            "last_seen_at",
            "expires_at",
            "pauses",
        )
    },
)

interactions: Final = Table(
    "interactions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("session_id", String(64), nullable=False, index=True),
    Column("account_id", String(64)),
    Column("txn", String(64), nullable=False, unique=True),
    Column("state", String(16), nullable=False),
    Column("request", JSON, nullable=False),
    # Evidence that is bound to this transaction; what holds for the whole session is in the session's row.
    Column("evidence", JSON, nullable=False),
    Column("credential", JSON),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("seal", String(64), nullable=False, default=""),
    info={
        "sealed": (
            "id",
            "session_id",
            "account_id",
            "txn",
            "request",
            "evidence",
            "credential",
            "created_at",
            "expires_at",
        )
    },
)

decisions: Final = Table(
    "decisions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("txn", String(64), nullable=False, index=True),
    Column("account_id", String(64), nullable=False),
    Column("client_id", String(255), nullable=False),
    Column("action", String(64), nullable=False),
    Column("effect", String(16), nullable=False),
    Column("policy_name", String(128), nullable=False),
    Column("policy_sha256", String(64), nullable=False),
    Column("detail", JSON, nullable=False),
)

token_keys: Final = Table(
    "token_keys",
    metadata,
    Column("kid", String(128), primary_key=True),
    Column("state", String(16), nullable=False),
    # Unique for "next" and "current", null for "retired": there is one of each.
    Column("slot", String(16), unique=True),
    Column("public_jwk", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)

# Who administers.  A role that was taken away keeps its row and loses its seal; see idp.storage.roles.
admin_roles: Final = Table(
    "admin_roles",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account_id", String(64), ForeignKey("accounts.id"), nullable=False, index=True),
    Column("role", String(32), nullable=False),
    # Unique while the role is held, null afterwards: nobody holds one twice.
    Column("live_slot", String(100), unique=True),
    Column("granted_by", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("seal", String(64), nullable=False, default=""),
    info={"sealed": ("id", "account_id", "role", "live_slot", "granted_by", "created_at")},
)

admin_proposals: Final = Table(
    "admin_proposals",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("change", String(16), nullable=False),
    Column("account_id", String(64), ForeignKey("accounts.id"), nullable=False),
    Column("role", String(32), nullable=False),
    # Unique while it is open: one proposal about one role of one person.
    Column("live_slot", String(100), unique=True),
    Column("proposed_by", String(64), ForeignKey("accounts.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("decided_by", String(64)),
    Column("decided_at", BigInteger),
    Column("seal", String(64), nullable=False, default=""),
    info={"sealed": ("id", "change", "account_id", "role", "live_slot", "proposed_by", "created_at", "expires_at")},
)
