"""Who administers: roles that people hold, and proposals that a second operator has still to confirm.

Rows are sealed: whoever writes to the database makes nobody an administrator.  What ends a row takes its seal away.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, Table, and_, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from foundation.clock import epoch, from_epoch
from idp.authn.roles import ROLES, Change, Proposal, Role
from idp.errors import ProposalRefused
from idp.storage.models import admin_proposals, admin_roles
from idp.storage.seal import NO_SEAL, Sealer

COMMAND_LINE: Final = "command_line"
"""Who grants a role without being a person of this identity provider: whoever runs its commands."""
LIFE: Final = timedelta(hours=24)
"""How long a proposal waits for a second operator."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A role that somebody holds."""

    account_id: str
    role: Role
    granted_by: str
    """An account, or :data:`COMMAND_LINE`."""
    since: datetime


def of_account(connection: Connection, seals: Sealer, account_id: str) -> frozenset[Role]:
    """The roles of a person."""
    rows = connection.execute(select(admin_roles).where(admin_roles.c.account_id == account_id, _held())).all()
    return frozenset(_role(row.role) for row in rows if seals.holds(admin_roles, row))


def everyone(connection: Connection, seals: Sealer) -> tuple[Holding, ...]:
    """All roles that are held, by person and role."""
    query = select(admin_roles).where(_held()).order_by(admin_roles.c.account_id, admin_roles.c.role)
    return tuple(
        Holding(row.account_id, _role(row.role), row.granted_by, from_epoch(row.created_at))
        for row in connection.execute(query).all()
        if seals.holds(admin_roles, row)
    )


def grant(
    connection: Connection, seals: Sealer, *, grant_id: str, account_id: str, role: Role, by: str, now: datetime
) -> bool:
    """Give somebody a role; False if they hold it.

    :param by: the account that confirmed it, or :data:`COMMAND_LINE`.
    """
    if role in of_account(connection, seals, account_id):
        return False
    # One that does not verify counts as absent and stands in nobody's way.
    _end(connection, or_(_is(account_id, role), admin_roles.c.live_slot == _slot(account_id, role)), now)
    values = {
        "id": grant_id,
        "account_id": account_id,
        "role": role,
        "live_slot": _slot(account_id, role),
        "granted_by": by,
        "created_at": epoch(now),
    }
    return _inserted(connection, seals, admin_roles, values)


def revoke(connection: Connection, account_id: str, role: Role, now: datetime) -> bool:
    """Take a role away, from the next request on; False if nobody held it."""
    return _end(connection, _is(account_id, role), now)


def propose(
    connection: Connection,
    seals: Sealer,
    *,
    proposal_id: str,
    change: Change,
    account_id: str,
    role: Role,
    by: str,
    now: datetime,
) -> Proposal:
    """Propose that somebody shall hold a role, or no longer.

    :raises ProposalRefused: it is so already, or such a proposal is open.
    """
    held = role in of_account(connection, seals, account_id)
    if held == (change == "grant"):
        raise ProposalRefused("as_it_is", "the person holds the role already" if held else "nobody holds that role")
    _close_expired(connection, now)
    values = {
        "id": proposal_id,
        "change": change,
        "account_id": account_id,
        "role": role,
        "live_slot": _slot(account_id, role),
        "proposed_by": by,
        "created_at": epoch(now),
        "expires_at": epoch(now + LIFE),
    }
    if not _inserted(connection, seals, admin_proposals, {**values, "state": "open"}):
        raise ProposalRefused("open", "a proposal about that role of that person is open")
    return Proposal(proposal_id, change, account_id, role, by, from_epoch(epoch(now)), from_epoch(epoch(now + LIFE)))


def waiting(connection: Connection, seals: Sealer, now: datetime) -> tuple[Proposal, ...]:
    """Proposals that can still be confirmed, oldest first."""
    query = (
        select(admin_proposals)
        .where(admin_proposals.c.state == "open", admin_proposals.c.expires_at > epoch(now))
        .order_by(admin_proposals.c.created_at, admin_proposals.c.id)
    )
    return tuple(_proposal(row) for row in connection.execute(query).all() if seals.holds(admin_proposals, row))


def find(connection: Connection, seals: Sealer, proposal_id: str) -> Proposal | None:
    """The open proposal of that identifier, expired or not; None if there is none, or it was altered."""
    row = connection.execute(
        select(admin_proposals).where(admin_proposals.c.id == proposal_id, admin_proposals.c.state == "open")
    ).one_or_none()
    return None if row is None or not seals.holds(admin_proposals, row) else _proposal(row)


def decide(
    connection: Connection, proposal_id: str, state: Literal["confirmed", "rejected"], by: str, now: datetime
) -> bool:
    """End a proposal, once; False if it has ended."""
    changed = connection.execute(
        update(admin_proposals)
        .where(admin_proposals.c.id == proposal_id, admin_proposals.c.state == "open")
        .values(state=state, live_slot=None, decided_by=by, decided_at=epoch(now), seal=NO_SEAL)
    )
    return changed.rowcount == 1


def _end(connection: Connection, which: Any, now: datetime) -> bool:
    ended = {"ended_at": epoch(now), "live_slot": None, "seal": NO_SEAL}
    return connection.execute(update(admin_roles).where(which, _held()).values(**ended)).rowcount > 0


def _is(account_id: str, role: str) -> Any:
    return and_(admin_roles.c.account_id == account_id, admin_roles.c.role == role)


def _close_expired(connection: Connection, now: datetime) -> None:
    connection.execute(
        update(admin_proposals)
        .where(admin_proposals.c.state == "open", admin_proposals.c.expires_at <= epoch(now))
        .values(state="expired", live_slot=None, seal=NO_SEAL)
    )


def _inserted(connection: Connection, seals: Sealer, table: Table, values: dict[str, Any]) -> bool:
    try:
        with connection.begin_nested():
            connection.execute(insert(table).values(**values, seal=seals.seal(table, values)))
    except IntegrityError:
        return False
    return True


def _held() -> Any:
    return admin_roles.c.ended_at.is_(None)


def _slot(account_id: str, role: str) -> str:
    return f"{account_id}/{role}"


def _role(text: str) -> Role:
    # The seal covers it, and what is sealed was a role.
    return next(role for role in ROLES if role == text)


def _proposal(row: Row[Any]) -> Proposal:
    return Proposal(
        id=row.id,
        change="grant" if row.change == "grant" else "revoke",
        account_id=row.account_id,
        role=_role(row.role),
        proposed_by=row.proposed_by,
        created_at=from_epoch(row.created_at),
        expires_at=from_epoch(row.expires_at),
    )
