"""Statements of the store that say more than which row."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Integer, Select, String, and_, bindparam, false, or_, select, tuple_

from signing.storage.tables import orders, outcomes, redemptions, revocations, undecided


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


def overdue(following: bool) -> Select[*tuple[Any, ...]]:
    """Undecided redemptions by age, a page; parameters: ``reserved_before``, ``most``.

    Begins at what is undecided, and looks up each by its key, whatever the database thinks of the tables' sizes: a
    subquery that gives one value is nothing that it could turn round.

    :param following: whether a page came before; parameters: ``after_second``, ``after_id``.
    """
    since = select(redemptions.c.reserved_at).where(redemptions.c.id == undecided.c.redemption_id).scalar_subquery()
    # An outcome, where somebody put the row back: it is not closed once more.
    state = select(outcomes.c.state).where(outcomes.c.redemption_id == undecided.c.redemption_id).scalar_subquery()
    names = (undecided.c.redemption_id.label("id"), since.label("since"))
    dated = select(*names).where(state.is_(None)).subquery("dated")
    page = select(dated).where(dated.c.since < bindparam("reserved_before"))
    if following:
        after = tuple_(bindparam("after_second", type_=BigInteger), bindparam("after_id", type_=String))
        page = page.where(tuple_(dated.c.since, dated.c.id) > after)
    page = page.order_by(dated.c.since, dated.c.id).limit(bindparam("most", type_=Integer))
    first = page.subquery("page")
    found = select(redemptions).join(first, redemptions.c.id == first.c.id)
    return found.order_by(first.c.since, first.c.id)
