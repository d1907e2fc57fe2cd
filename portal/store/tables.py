"""The tables.  Times are whole seconds since 1970; what a person brought is sealed, names of documents included."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table

SCHEMA_VERSION: Final = 1

metadata = MetaData()

schema_version = Table("portal_schema", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

sessions = Table(
    "portal_sessions",
    metadata,
    Column("browser", String(64), primary_key=True),  # mark of the cookie's token
    Column("owner", String(64), nullable=False),  # mark of the person's subject
    Column("sealed", LargeBinary, nullable=False),  # JSON: subject, service token
    Column("began", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Index("portal_sessions_until", "until"),
)

pending = Table(
    "portal_pending",
    metadata,
    Column("state", String(64), primary_key=True),  # mark of the request's state
    Column("browser", String(64), nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # JSON: code verifier, nonce, what is to be done with the answer
    Column("until", BigInteger, nullable=False),
    Index("portal_pending_until", "until"),
)

documents = Table(
    "portal_documents",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # JSON: name, digest, and what became of it
    Column("octets", BigInteger, nullable=False),  # of all contents together
    Column("brought", BigInteger, nullable=False),
    Column("signed", BigInteger),
    Column("until", BigInteger, nullable=False),
    Index("portal_documents_owner", "owner", "brought"),
    Index("portal_documents_until", "until"),
)

contents = Table(
    "portal_contents",
    metadata,
    Column("document", String(32), ForeignKey("portal_documents.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", String(8), primary_key=True),  # original, signed
    Column("sealed", LargeBinary, nullable=False),
)
