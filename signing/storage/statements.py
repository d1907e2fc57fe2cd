"""Statements of the store that say more than which row."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Insert, Select, and_, bindparam, false, func, insert, or_, select, true

from signing.storage.tables import credentials, orders, positions, redemptions, revocations, state


def add_redemption() -> Insert:
    """Inserts nothing where the credential or the epoch has changed; neither does before the commit otherwise."""
    values = [bindparam(column.name, type_=column.type) for column in redemptions.c]
    unchanged = (
        select(*values)
        .select_from(credentials.join(state, true()))
        .where(
            credentials.c.id == bindparam("credential_id"),
            credentials.c.version == bindparam("seen_version"),
            state.c.epoch == bindparam("seen_epoch"),
        )
        .with_for_update(read=True, of=[credentials, state])
    )
    names = [column.name for column in redemptions.c]
    return insert(redemptions).from_select(names, unchanged).returning(redemptions.c.id)


def key_names(number: int) -> tuple[str, str, str]:
    """The parameters of :func:`revoked` for one of its subjects: issuer, scope, subject."""
    return f"issuer_{number}", f"scope_{number}", f"subject_{number}"


def revoked(subjects: int) -> Select[*tuple[Any, ...]]:
    """Revocations about any of so many subjects."""
    table = revocations.c
    about = (
        and_(table.issuer == bindparam(issuer), table.scope == bindparam(scope), table.subject == bindparam(subject))
        for issuer, scope, subject in map(key_names, range(subjects))
    )
    return select(revocations).where(table.received_at > bindparam("received_after"), or_(false(), *about))


def refusing() -> Select[tuple[str]]:
    """Revocations that refuse a SAD (:meth:`signing.sam.revocation.Revocation.refuses`), their MACs not looked at."""
    table = revocations.c

    def about(scope: str, subject: str) -> ColumnElement[bool]:
        return and_(table.scope == scope, table.subject == bindparam(subject))

    issued_until = and_(
        table.not_before >= bindparam("earliest"), or_(about("client", "client_id"), about("account", "account"))
    )
    return (
        select(table.jti)
        .where(table.issuer == bindparam("issuer"), or_(about("transaction", "txn"), issued_until))
        .limit(1)
    )


def made_since() -> Select[int]:
    """How many positions of a credential were taken after a second, and not released."""
    return (
        select(func.count())
        .select_from(positions.join(redemptions, redemptions.c.id == positions.c.redemption_id))
        .where(
            redemptions.c.credential_id == bindparam("credential_id"), redemptions.c.reserved_at > bindparam("since")
        )
    )


def order_query(issuer: str, jti: str) -> Select[*tuple[Any, ...]]:
    """An order that was carried out."""
    return select(orders).where(orders.c.issuer == issuer, orders.c.jti == jti)
