"""What was granted to clients: codes, refresh families, access tokens.

Codes and tokens are 256 random bits or signed; only their SHA-256 is kept, so whoever reads this database can use none
of them.  Single use is one conditional statement whose row count decides: of two that race, one finds nothing left to
change, on SQLite and on PostgreSQL.

A *grant* is one approval by one person for one client (or a client's own).  All its tokens hang from it, so that
revoking it kills them; a token is active only while its grant is.

Nothing here raises for a refusal: the caller's transaction must commit what a refusal changes, and an exception would
roll it back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

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
from idp.storage.hashes import hash_token
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
_KEEP_CODE: Final = Statement(insert(oidc_codes))

KEEP_SECONDS: Final = 24 * 60 * 60
"""How long an ended grant is remembered, so that a code used again is known for what it is."""

Kind = Literal["access", "sad"]
Reason = Literal["unknown", "expired", "used", "other_client", "revoked"]


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


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a code or refresh token is not honoured; ``grant_id`` names the grant that it once belonged to."""

    reason: Reason
    grant_id: str | None = None


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A stored access token, with the grant it hangs from."""

    token_hash: str
    jti: str
    kind: Kind
    audience: str
    """``aud`` of the token."""
    resource: str
    """The resource server that may introspect it."""
    scopes: tuple[str, ...]
    issued_at: int
    expires_at: int
    revoked: bool
    grant: Grant


@dataclass(frozen=True, slots=True)
class NewAccessToken:
    """An access token that is about to be given out."""

    token_hash: str
    jti: str
    kind: Kind
    audience: str
    resource: str
    scopes: tuple[str, ...]
    expires_at: int


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


# Authorization codes


def add_code(connection: Connection, code: str, grant_id: str, now: datetime, *, seconds: int) -> None:
    """Keep a code of the grant."""
    values = {"code_hash": hash_token(code), "grant_id": grant_id, "expires_at": epoch(now) + seconds}
    _KEEP_CODE.put_off(connection, values)


def redeem_code(connection: Connection, seals: Sealer, code: str, client_id: str, now: datetime) -> Grant | Refused:
    """Use up a code, whatever becomes of the request that brought it.

    A code that comes twice, or from another client, has leaked: its grant is revoked (RFC 6749 4.1.2).
    """
    code_hash = hash_token(code)
    row = connection.execute(
        select(oidc_codes.c.expires_at.label("code_expires_at"), oidc_grants)
        .join(oidc_grants, oidc_grants.c.id == oidc_codes.c.grant_id)
        .where(oidc_codes.c.code_hash == code_hash)
    ).one_or_none()
    if row is None:
        return Refused("unknown")
    if row.client_id != client_id:
        revoke(connection, row.id, now, "other_client")
        return Refused("other_client", row.id)
    used = connection.execute(
        update(oidc_codes)
        .where(oidc_codes.c.code_hash == code_hash, oidc_codes.c.used_at.is_(None))
        .values(used_at=epoch(now))
    )
    if used.rowcount != 1:
        revoke(connection, row.id, now, "code_used_again")
        return Refused("used", row.id)
    # The code's own time is not sealed, the grant's is.
    if min(row.code_expires_at, row.expires_at) <= epoch(now):
        return Refused("expired", row.id)
    return _usable(seals, row)


# Tokens


def issue(connection: Connection, grant: Grant, access: NewAccessToken, now: datetime) -> bool:
    """Record an access token before it is given out; False if the grant was revoked meanwhile.

    Touching the grant's row first orders this against a revocation that happens at the same time.
    """
    at = epoch(now)
    alive = connection.execute(
        update(oidc_grants).where(oidc_grants.c.id == grant.id, oidc_grants.c.revoked_at.is_(None)).values(issued_at=at)
    )
    if alive.rowcount != 1:
        return False
    connection.execute(
        insert(oidc_access_tokens).values(
            token_hash=access.token_hash,
            jti=access.jti,
            grant_id=grant.id,
            kind=access.kind,
            audience=access.audience,
            resource=access.resource,
            scope=" ".join(access.scopes),
            issued_at=at,
            expires_at=access.expires_at,
        )
    )
    return True


def add_refresh(connection: Connection, token: str, grant_id: str, now: datetime, *, jkt: str | None = None) -> None:
    """Keep a refresh token of the grant.

    :param jkt: thumbprint of the key to which it is bound (RFC 9449 5): of a client that cannot authenticate.
    """
    values = {"token_hash": hash_token(token), "grant_id": grant_id, "issued_at": epoch(now), "jkt": jkt}
    connection.execute(insert(oidc_refresh_tokens).values(**values))


def refresh_jkt(connection: Connection, token: str) -> str | None:
    """Thumbprint of the key to which a refresh token is bound; None for one that is not."""
    query = select(oidc_refresh_tokens.c.jkt).where(oidc_refresh_tokens.c.token_hash == hash_token(token))
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def check_refresh(connection: Connection, seals: Sealer, token: str, client_id: str, now: datetime) -> Grant | Refused:
    """The grant of a refresh token, without using it up.

    One that was used before, or comes from another client, has leaked: the whole family dies (RFC 9700 4.14.2).
    """
    row = connection.execute(
        select(oidc_refresh_tokens.c.used_at, oidc_grants)
        .join(oidc_grants, oidc_grants.c.id == oidc_refresh_tokens.c.grant_id)
        .where(oidc_refresh_tokens.c.token_hash == hash_token(token))
    ).one_or_none()
    if row is None:
        return Refused("unknown")
    if row.client_id != client_id:
        revoke(connection, row.id, now, "other_client")
        return Refused("other_client", row.id)
    if row[0] is not None:
        revoke(connection, row.id, now, "refresh_used_again")
        return Refused("used", row.id)
    if row.revoked_at is not None:
        return Refused("revoked", row.id)
    return Refused("expired", row.id) if row.expires_at <= epoch(now) else _usable(seals, row)


def use_refresh(connection: Connection, token: str, now: datetime) -> bool:
    """Use up a refresh token; False if another request did so first."""
    used = connection.execute(
        update(oidc_refresh_tokens)
        .where(oidc_refresh_tokens.c.token_hash == hash_token(token), oidc_refresh_tokens.c.used_at.is_(None))
        .values(used_at=epoch(now))
    )
    return used.rowcount == 1


def find_access(connection: Connection, seals: Sealer, token: str) -> AccessToken | None:
    """The access token, whatever has become of it; None where its grant was altered."""
    table = oidc_access_tokens
    row = connection.execute(
        select(
            table.c.token_hash,
            table.c.jti,
            table.c.kind,
            table.c.audience,
            table.c.resource,
            table.c.scope,
            table.c.issued_at.label("token_issued_at"),
            table.c.expires_at.label("token_expires_at"),
            table.c.revoked_at.label("token_revoked_at"),
            oidc_grants,
        )
        .join(oidc_grants, oidc_grants.c.id == table.c.grant_id)
        .where(table.c.token_hash == hash_token(token))
    ).one_or_none()
    grant = None if row is None else of_row(seals, row)
    if row is None or grant is None:
        return None
    return AccessToken(
        token_hash=row.token_hash,
        jti=row.jti,
        kind=row.kind,
        audience=row.audience,
        resource=row.resource,
        scopes=tuple(row.scope.split()),
        issued_at=row.token_issued_at,
        expires_at=row.token_expires_at,
        revoked=row.token_revoked_at is not None,
        grant=grant,
    )


def find_refresh(connection: Connection, seals: Sealer, token: str) -> Grant | None:
    """The grant of a refresh token, whatever has become of either."""
    row = connection.execute(
        select(oidc_grants)
        .join(oidc_refresh_tokens, oidc_grants.c.id == oidc_refresh_tokens.c.grant_id)
        .where(oidc_refresh_tokens.c.token_hash == hash_token(token))
    ).one_or_none()
    return None if row is None else of_row(seals, row)


def is_used(connection: Connection, token: str) -> bool:
    """Whether a refresh token that was given out has been used up."""
    query = select(oidc_refresh_tokens.c.used_at).where(oidc_refresh_tokens.c.token_hash == hash_token(token))
    return connection.execute(query).scalar_one_or_none() is not None


def revoke_access(connection: Connection, token_hash: str, now: datetime) -> bool:
    """Kill one access token and nothing else (CSC API 2.0.0.2 clause 8.4.5); False when it was dead."""
    revoked = connection.execute(
        update(oidc_access_tokens)
        .where(oidc_access_tokens.c.token_hash == token_hash, oidc_access_tokens.c.revoked_at.is_(None))
        .values(revoked_at=epoch(now))
    )
    return revoked.rowcount == 1


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


def _usable(seals: Sealer, row: Row[Any]) -> Grant | Refused:
    if row.revoked_at is not None:
        return Refused("revoked", row.id)
    return of_row(seals, row) or Refused("unknown")


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
