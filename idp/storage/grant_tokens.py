"""What is given out under grants: codes, refresh families, access tokens.

Codes and tokens are 256 random bits or signed; only their SHA-256 is kept, so whoever reads this database can use none
of them.  Single use is one conditional statement whose row count decides: of two that race, one finds nothing left to
change, on SQLite and on PostgreSQL.

Nothing here raises for a refusal: the caller's transaction must commit what a refusal changes, and an exception would
roll it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, insert, select, update

from foundation.clock import epoch
from idp.storage import grants
from idp.storage.grants import Grant, oidc_access_tokens, oidc_codes, oidc_grants, oidc_refresh_tokens
from idp.storage.hashes import hash_token
from idp.storage.seal import Sealer
from idp.storage.statements import Statement

_KEEP_CODE: Final = Statement(insert(oidc_codes))

Kind = Literal["access", "sad"]
Reason = Literal["unknown", "expired", "used", "other_client", "revoked"]


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
        grants.revoke(connection, row.id, now, "other_client")
        return Refused("other_client", row.id)
    used = connection.execute(
        update(oidc_codes)
        .where(oidc_codes.c.code_hash == code_hash, oidc_codes.c.used_at.is_(None))
        .values(used_at=epoch(now))
    )
    if used.rowcount != 1:
        grants.revoke(connection, row.id, now, "code_used_again")
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
        grants.revoke(connection, row.id, now, "other_client")
        return Refused("other_client", row.id)
    if row[0] is not None:
        grants.revoke(connection, row.id, now, "refresh_used_again")
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
    grant = None if row is None else grants.of_row(seals, row)
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
    return None if row is None else grants.of_row(seals, row)


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


def _usable(seals: Sealer, row: Row[Any]) -> Grant | Refused:
    if row.revoked_at is not None:
        return Refused("revoked", row.id)
    return grants.of_row(seals, row) or Refused("unknown")
