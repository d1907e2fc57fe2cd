"""What was granted to clients, and the tables of all that hangs from it.

A *grant* is one approval by one person for one client (or a client's own).  All its codes and tokens hang from it
(:mod:`idp.storage.grant_tokens`), so that revoking it kills them; a token is active only while its grant is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Row,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)

from foundation.clock import epoch
from idp.authn.approval import Approval
from idp.oidc.request import AuthorizationRequest
from idp.storage.models import metadata, sessions
from idp.storage.seal import NO_SEAL, Sealer
from idp.storage.statements import Statement

oidc_grants: Final = Table(
    "oidc_grants",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("client_id", String(128), nullable=False, index=True),
    # The account, or the client's own id where no person stands behind the grant.
    Column("subject", String(128), nullable=False, index=True),
    Column("session_id", String(64), index=True),
    Column("request", JSON(none_as_null=True)),
    Column("approval", JSON(none_as_null=True)),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("issued_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("revoked_for", String(32)),
    Column("seal", String(64), nullable=False, default=""),
    info={
        "sealed": (
            "id",
            "client_id",
            "subject",
            "session_id",
            "request",
            "approval",
            "created_at",
            "expires_at",
        )
    },
)

oidc_codes: Final = Table(
    "oidc_codes",
    metadata,
    Column("code_hash", String(64), primary_key=True),
    Column("grant_id", String(64), ForeignKey("oidc_grants.id"), nullable=False, index=True),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
)

oidc_refresh_tokens: Final = Table(
    "oidc_refresh_tokens",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("grant_id", String(64), ForeignKey("oidc_grants.id"), nullable=False, index=True),
    Column("issued_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    # Of a public client's: the key that it has to show.
    Column("jkt", String(64)),
)

oidc_access_tokens: Final = Table(
    "oidc_access_tokens",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("jti", String(128), nullable=False, unique=True),
    Column("grant_id", String(64), ForeignKey("oidc_grants.id"), nullable=False, index=True),
    Column("kind", String(8), nullable=False),
    Column("audience", String(255), nullable=False),
    Column("resource", String(255), nullable=False),
    Column("scope", Text, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("revoked_at", BigInteger),
)

_BEGIN: Final = Statement(insert(oidc_grants))

KEEP_SECONDS: Final = 24 * 60 * 60
"""How long an ended grant is remembered, so that a code used again is known for what it is."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One approval for one client; ``request`` and ``approval`` are absent where a client acts for itself."""

    id: str
    client_id: str
    subject: str
    session_id: str | None
    request: AuthorizationRequest | None
    approval: Approval | None
    expires_at: int
    revoked: bool


def begin(
    connection: Connection,
    seals: Sealer,
    grant_id: str,
    *,
    client_id: str,
    subject: str,
    now: datetime,
    seconds: int,
    request: AuthorizationRequest | None = None,
    approval: Approval | None = None,
) -> Grant:
    """A new grant; ``seconds`` is its life, which no refreshing prolongs."""
    at = epoch(now)
    # An approval that was given in no session, such as one in band, has none that could end.
    session_id = None if approval is None else approval.session_id or None
    values: dict[str, Any] = {
        "id": grant_id,
        "client_id": client_id,
        "subject": subject,
        "session_id": session_id,
        "request": None if request is None else request.to_json(),
        "approval": None if approval is None else approval.to_json(),
        "created_at": at,
        "expires_at": at + seconds,
    }
    _BEGIN.put_off(connection, {**values, "seal": seals.seal(oidc_grants, values)})
    return Grant(grant_id, client_id, subject, session_id, request, approval, at + seconds, revoked=False)


def find(connection: Connection, seals: Sealer, grant_id: str) -> Grant | None:
    """The grant, revoked or not."""
    row = connection.execute(select(oidc_grants).where(oidc_grants.c.id == grant_id)).one_or_none()
    return None if row is None else of_row(seals, row)


@dataclass(frozen=True, slots=True)
class Held:
    """What a client holds of a person's; times are seconds since the epoch."""

    id: str
    client_id: str
    scopes: tuple[str, ...]
    created_at: int
    issued_at: int | None
    """When it last gave something out."""
    expires_at: int


def of_subject(connection: Connection, seals: Sealer, subject: str, now: datetime) -> tuple[Held, ...]:
    """The grants of a person that are alive, the oldest first.

    Not those of one signature or order, which end with it, nor this server's own for the person's pages.
    """
    query = (
        select(oidc_grants)
        .where(
            oidc_grants.c.subject == subject,
            oidc_grants.c.revoked_at.is_(None),
            oidc_grants.c.expires_at > epoch(now),
        )
        .order_by(oidc_grants.c.created_at, oidc_grants.c.id)
    )
    found = ((row, of_row(seals, row)) for row in connection.execute(query).all())
    return tuple(
        Held(row.id, row.client_id, grant.request.scopes, row.created_at, row.issued_at, row.expires_at)
        for row, grant in found
        if grant is not None and grant.request is not None and grant.request.action == "sign_in"
        if grant.session_id is None or session_lasts(connection, seals, grant.session_id, now)
    )


def revoke(connection: Connection, grant_id: str, now: datetime, reason: str) -> None:
    """Kill the grant and with it all its tokens; harmless when it is dead."""
    _revoke(connection, oidc_grants.c.id == grant_id, now, reason)


def revoke_several(connection: Connection, grant_ids: Collection[str], now: datetime, reason: str) -> None:
    """The same with several."""
    _revoke_in_order(connection, oidc_grants.c.id.in_(tuple(grant_ids)), now, reason)


def session_lasts(connection: Connection, seals: Sealer, session_id: str, now: datetime) -> bool:
    """Whether the session is neither ended nor past its absolute limit.

    Its idle limit is the browser's: a relying party goes on with a person who has no page of ours open.
    """
    query = select(sessions).where(
        sessions.c.id == session_id, sessions.c.revoked_at.is_(None), sessions.c.expires_at > epoch(now)
    )
    row = connection.execute(query).one_or_none()
    return row is not None and seals.holds(sessions, row)


def lock_sessions(connection: Connection, session_ids: Collection[str]) -> None:
    """Nothing more is given out in these sessions until the transaction ends.

    For whoever ends several, once it has locked these and before it looks at what was given out.
    """
    _lock_in_order(connection, oidc_grants.c.session_id.in_(tuple(session_ids)), kept=True)


def revoke_sessions(connection: Connection, session_ids: Collection[str], now: datetime) -> int:
    """Kill what was granted in sessions; returns how many grants.  Sessions are locked before grants."""
    return _revoke_in_order(connection, oidc_grants.c.session_id.in_(tuple(session_ids)), now, "session")


def revoke_subject(connection: Connection, subject: str, now: datetime) -> int:
    """Kill everything granted in a person's name, in a session or in none; returns how many grants."""
    return _revoke_in_order(connection, oidc_grants.c.subject == subject, now, "account")


def revoke_client(connection: Connection, client_id: str, now: datetime) -> int:
    """Kill everything granted to a client; returns how many grants."""
    return _revoke_in_order(connection, oidc_grants.c.client_id == client_id, now, "client")


def _revoke_in_order(connection: Connection, condition: Any, now: datetime, reason: str) -> int:
    """Lock them first in the one order in which all do who take several: an update takes them as it finds them."""
    _lock_in_order(connection, condition & oidc_grants.c.revoked_at.is_(None), kept=True)
    return _revoke(connection, condition, now, reason)


def _lock_in_order(connection: Connection, condition: Any, *, kept: bool) -> None:
    # The database's order and no other's: a collation may put a before B.
    ordered = select(oidc_grants.c.id).where(condition).order_by(oidc_grants.c.id)
    connection.execute(ordered.with_for_update(key_share=kept))


def _revoke(connection: Connection, condition: Any, now: datetime, reason: str) -> int:
    changed = connection.execute(
        update(oidc_grants)
        .where(condition, oidc_grants.c.revoked_at.is_(None))
        .values(revoked_at=epoch(now), revoked_for=reason, seal=NO_SEAL)
    )
    return changed.rowcount


# Housekeeping


def purge(connection: Connection, now: datetime) -> int:
    """Forget what can no longer be used nor abused; returns how many rows."""
    at = epoch(now)
    # As long as the session lasts, its grants say which relying parties are told of its end.
    lasts = select(sessions.c.id).where(
        sessions.c.id == oidc_grants.c.session_id, sessions.c.revoked_at.is_(None), sessions.c.expires_at > at
    )
    kept = oidc_grants.c.issued_at.is_not(None) & lasts.exists()
    over = (oidc_grants.c.expires_at <= at - KEEP_SECONDS) & ~kept
    ended = select(oidc_grants.c.id).where(over)
    _lock_in_order(connection, over, kept=False)
    statements = (
        delete(oidc_access_tokens).where(oidc_access_tokens.c.expires_at <= at),
        delete(oidc_access_tokens).where(oidc_access_tokens.c.grant_id.in_(ended)),
        delete(oidc_refresh_tokens).where(oidc_refresh_tokens.c.grant_id.in_(ended)),
        delete(oidc_codes).where(oidc_codes.c.grant_id.in_(ended)),
        delete(oidc_grants).where(over),
    )
    return sum(connection.execute(statement).rowcount for statement in statements)


def of_row(seals: Sealer, row: Row[Any]) -> Grant | None:
    """The grant of a row that is as it was written; None for another."""
    # A revoked grant has no seal any more, and nothing rests on it.
    if row.revoked_at is None and not seals.holds(oidc_grants, row):
        return None
    request: Mapping[str, Any] | None = row.request
    approval: Mapping[str, Any] | None = row.approval
    return Grant(
        id=row.id,
        client_id=row.client_id,
        subject=row.subject,
        session_id=row.session_id,
        request=None if request is None else AuthorizationRequest.from_json(request),
        approval=None if approval is None else Approval.from_json(approval),
        expires_at=row.expires_at,
        revoked=row.revoked_at is not None,
    )
