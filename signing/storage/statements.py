"""Statements of the store that say more than which row."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, bindparam, false, func, or_, select

from signing.storage.tables import orders, positions, redemptions, revocations


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


def made_since() -> Select[int]:
    """How many positions of a credential were taken after a second, and not released."""
    # By the approval first: that is what positions are found by.
    same = and_(
        redemptions.c.issuer == positions.c.issuer,
        redemptions.c.txn == positions.c.txn,
        redemptions.c.id == positions.c.redemption_id,
    )
    return (
        select(func.count())
        .select_from(positions.join(redemptions, same))
        .where(
            redemptions.c.credential_id == bindparam("credential_id"), redemptions.c.reserved_at > bindparam("since")
        )
    )


def order_query(issuer: str, jti: str) -> Select[*tuple[Any, ...]]:
    """An order that was carried out."""
    return select(orders).where(orders.c.issuer == issuer, orders.c.jti == jti)
