"""The jobs' tables.  A row is removed once it was fetched or has ended; a request, once it was carried out."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

SCHEMA_VERSION: Final = 1

metadata: Final = MetaData()

state: Final = Table(
    "job_state",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("schema_version", Integer, nullable=False),
)
"""One row: what database this is."""

jobs: Final = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("client", String(64), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("phase", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("maybe_done", Boolean, nullable=False),
    Column("once", Boolean, nullable=False),
    Column("due_at", BigInteger),
    Column("ends_at", BigInteger, nullable=False),
    Column("keep_for", BigInteger, nullable=False),
    Column("gone_at", BigInteger, nullable=False),
    Column("good", Boolean),
    Column("request", LargeBinary),
    Column("response_uri", LargeBinary),
    Column("outcome", LargeBinary),
    Index("jobs_due", "due_at"),
    Index("jobs_gone", "gone_at"),
    Index("jobs_client", "client"),
)
"""``client`` and ``owner`` are stand-ins (:meth:`signing.jobs.sealing.JobSeals.name`); the binary columns are boxes.

``due_at`` is when a worker may take the job: while one has it, the end of its lease; null where nothing is to be done.
``attempt`` is raised with each claim, by comparing and swapping: who comes back later than that writes nothing."""
