"""What a client may show once: assertions of who it is (RFC 7523), and proofs of possession (RFC 9449 11.1)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, String, Table, delete, insert
from sqlalchemy.exc import IntegrityError

from foundation.clock import epoch
from foundation.dpop import DpopProof
from idp.oidc.assertion import AssertionUse
from idp.storage.hashes import hash_token
from idp.storage.models import metadata

oidc_assertions: Final = Table(
    "oidc_assertions",
    metadata,
    Column("client_id", String(128), primary_key=True),
    Column("jti_hash", String(64), primary_key=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

oidc_dpop_proofs: Final = Table(
    "oidc_dpop_proofs",
    metadata,
    Column("use", String(64), primary_key=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

KEPT_SECONDS: Final = 2 * 60 * 60
"""After it expired: a clock that steps an hour ahead and back must not make good again what was used (OPS-08)."""


def remember_assertion(connection: Connection, use: AssertionUse) -> bool:
    """Remember an assertion until it expires; False if it has been used before."""
    try:
        with connection.begin_nested():
            connection.execute(
                insert(oidc_assertions).values(
                    client_id=use.client_id, jti_hash=hash_token(use.jti), expires_at=use.exp
                )
            )
    except IntegrityError:
        return False
    return True


def remember_proof(connection: Connection, proof: DpopProof) -> bool:
    """Remember a DPoP proof until it would be refused for its age; False if it has been used before (RFC 9449 11.1)."""
    try:
        with connection.begin_nested():
            connection.execute(insert(oidc_dpop_proofs).values(use=proof.use, expires_at=proof.memorable_until))
    except IntegrityError:
        return False
    return True


def purge(connection: Connection, now: datetime) -> int:
    """Forget what would be refused for its age, also by a clock that is behind; returns how many rows."""
    at = epoch(now) - KEPT_SECONDS
    tables = (oidc_assertions, oidc_dpop_proofs)
    return sum(connection.execute(delete(table).where(table.c.expires_at <= at)).rowcount for table in tables)
