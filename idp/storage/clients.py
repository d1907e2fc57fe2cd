"""Registered clients.  Of a secret only a salted hash is kept: whoever makes one gets it back, and nobody later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Row,
    String,
    Table,
    bindparam,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from foundation.clock import epoch
from idp.errors import AlreadyExists, InputRefused
from idp.oidc.client import CLIENT_ID, SECRET_OCTETS, Client, Registration, hash_secret, make_secret
from idp.storage import accounts
from idp.storage.models import metadata
from idp.storage.statements import Statement

oidc_clients: Final = Table(
    "oidc_clients",
    metadata,
    Column("client_id", String(128), primary_key=True),
    Column("registration", JSON, nullable=False),
    Column("secret_hash", String(128)),
    Column("active", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

_SALT_OCTETS: Final = 16
_KNOWN: Final = frozenset(item.name for item in fields(Registration))
_BY_ID: Final = Statement(select(oidc_clients).where(oidc_clients.c.client_id == bindparam("wanted")))


def create(
    connection: Connection, registration: Registration, now: datetime, random: Callable[[int], bytes]
) -> tuple[Client, str | None]:
    """Register a client; returns it with its new secret, if its method of authentication has one.

    :param random: octets from the operating system's generator.
    :raises InputRefused: the registration has faults; all are named.
    :raises AlreadyExists: the client id is taken.
    """
    faults = tuple(registration.faults())
    if accounts.find(connection, registration.client_id) is not None:
        # Its own tokens have its id as ``sub`` and would pass for that person's (RFC 9068 5).
        faults = (*faults, "client_id: is the identifier of an account")
    if faults:
        raise InputRefused("; ".join(faults))
    secret = None
    if registration.auth_method in {"client_secret_basic", "client_secret_post"}:
        secret = make_secret(random(SECRET_OCTETS))
    client = Client(registration, None if secret is None else hash_secret(secret, random(_SALT_OCTETS)))
    try:
        with connection.begin_nested():
            connection.execute(
                insert(oidc_clients).values(
                    client_id=registration.client_id,
                    registration=asdict(registration),
                    secret_hash=client.secret_hash,
                    active=True,
                    created_at=epoch(now),
                )
            )
    except IntegrityError as error:
        raise AlreadyExists(f"there is a client {registration.client_id!r}") from error
    return client, secret


def find(connection: Connection, client_id: str) -> Client | None:
    """The client, active or not; None if there is none."""
    if not CLIENT_ID.match(client_id):
        return None
    row = _BY_ID(connection, {"wanted": client_id}).one_or_none()
    return None if row is None else _client(row)


def find_active(connection: Connection, client_id: str) -> Client | None:
    """The client if it may be served."""
    client = find(connection, client_id)
    return client if client is not None and client.active else None


def everyone(connection: Connection) -> tuple[Client, ...]:
    """All clients, by id."""
    rows = connection.execute(select(oidc_clients).order_by(oidc_clients.c.client_id))
    return tuple(_client(row) for row in rows)


def default_acr_values(connection: Connection) -> Mapping[str, frozenset[str]]:
    """Of each active client that registered some, the ``acr`` values that it understands."""
    active = (client for client in everyone(connection) if client.active)
    named = ((client.client_id, client.registration.default_acr_values) for client in active)
    return {client_id: frozenset(values) for client_id, values in named if values}


def renew_secret(connection: Connection, client_id: str, random: Callable[[int], bytes]) -> str | None:
    """A new secret; the old one is refused from now on.  None if the client has no secret to renew."""
    secret = make_secret(random(SECRET_OCTETS))
    changed = connection.execute(
        update(oidc_clients)
        .where(oidc_clients.c.client_id == client_id, oidc_clients.c.secret_hash.is_not(None))
        .values(secret_hash=hash_secret(secret, random(_SALT_OCTETS)))
    )
    return secret if changed.rowcount == 1 else None


def set_active(connection: Connection, client_id: str, *, active: bool) -> bool:
    """Enable or disable a client; False if there is none.  While disabled, none of its tokens is active."""
    changed = connection.execute(
        update(oidc_clients).where(oidc_clients.c.client_id == client_id).values(active=active)
    )
    return changed.rowcount == 1


def _client(row: Row[Any]) -> Client:
    return Client(_registration(row.registration), row.secret_hash, row.active)


def _registration(value: Mapping[str, Any]) -> Registration:
    content: dict[str, Any] = {
        name: tuple(item) if isinstance(item, list) else item for name, item in value.items() if name in _KNOWN
    }
    return Registration(**content)
