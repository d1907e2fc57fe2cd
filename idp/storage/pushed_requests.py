"""Pushed authorization requests (RFC 9126): what a client asks for, kept until the browser comes with the request URI.

Only the SHA-256 of a request URI's random part is kept.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Column, Connection, String, Table, delete, func, insert, select

from foundation.clock import epoch
from idp.oidc.request import AuthorizationRequest
from idp.storage.hashes import hash_token
from idp.storage.models import metadata
from idp.storage.seal import Sealer

oidc_pushed_requests: Final = Table(
    "oidc_pushed_requests",
    metadata,
    Column("handle_hash", String(64), primary_key=True),
    Column("client_id", String(128), nullable=False, index=True),
    Column("request", JSON, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("seal", String(64), nullable=False, default=""),
    info={"sealed": ("handle_hash", "client_id", "request", "expires_at")},
)


def push(
    connection: Connection,
    seals: Sealer,
    handle: str,
    request: AuthorizationRequest,
    now: datetime,
    *,
    seconds: int,
    limit: int,
) -> bool:
    """Keep a pushed request; False if the client has ``limit`` of them open."""
    at = epoch(now)
    count = select(func.count()).where(
        oidc_pushed_requests.c.client_id == request.client_id, oidc_pushed_requests.c.expires_at > at
    )
    if connection.execute(count).scalar_one() >= limit:
        return False
    values: dict[str, Any] = {
        "handle_hash": hash_token(handle),
        "client_id": request.client_id,
        "request": request.to_json(),
        "expires_at": at + seconds,
    }
    seal = seals.seal(oidc_pushed_requests, values)
    connection.execute(insert(oidc_pushed_requests).values(**values, seal=seal))
    return True


def take(
    connection: Connection, seals: Sealer, handle: str, client_id: str, now: datetime
) -> AuthorizationRequest | None:
    """The pushed request, once: it is deleted.  None if it is unknown, taken, expired, altered or another client's."""
    table = oidc_pushed_requests
    row = connection.execute(
        delete(table)
        .where(
            table.c.handle_hash == hash_token(handle), table.c.client_id == client_id, table.c.expires_at > epoch(now)
        )
        .returning(table)
    ).one_or_none()
    return None if row is None or not seals.holds(table, row) else AuthorizationRequest.from_json(row.request)


def purge(connection: Connection, now: datetime) -> int:
    """Forget what has expired; returns how many rows."""
    expired = delete(oidc_pushed_requests).where(oidc_pushed_requests.c.expires_at <= epoch(now))
    return connection.execute(expired).rowcount
