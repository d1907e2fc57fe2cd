"""Statements of the store that say more than which row."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, bindparam, false, or_, select

from signing.storage.tables import orders, revocations


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


def order_query(issuer: str, jti: str) -> Select[*tuple[Any, ...]]:
    """An order that was carried out."""
    return select(orders).where(orders.c.issuer == issuer, orders.c.jti == jti)
