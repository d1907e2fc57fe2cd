"""What administrators may do: the one table that decides, and who may confirm whose proposal.  Pure.

Holding a role is not enough: each page and each change is an action of the policy as well, which says how well whoever
asks has to have proved who they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal, get_args

from idp.errors import ProposalRefused

Role = Literal["policy", "relying_parties", "operators", "helpdesk", "auditors"]
"""``policy``: reads and tries policy files.  ``relying_parties``: stops and readmits clients.  ``operators``: propose
and confirm who holds which role.  ``helpdesk``: proposes and confirms that people's factors are reset.  ``auditors``:
read everything and change nothing."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)

AdminAction = Literal[
    "admin.view",
    "admin.policy.view",
    "admin.policy.explore",
    "admin.policy.try",
    "admin.clients.view",
    "admin.clients.change",
    "admin.audit.view",
    "admin.audit.export",
    "admin.roles.view",
    "admin.roles.propose",
    "admin.roles.confirm",
    "admin.roles.reject",
    "admin.accounts.view",
    "admin.accounts.reset.propose",
    "admin.accounts.reset.confirm",
    "admin.accounts.reset.reject",
]
"""The policy's names for what is behind the pages."""


@dataclass(frozen=True, slots=True)
class Access:
    """What an endpoint asks for: one of the roles, and what the policy asks for its action."""

    action: AdminAction
    roles: frozenset[Role]
    page: str = ""
    """The endpoint whose page has the form, where something is different afterwards: the person approves it in an
    interaction of its own, and has to get as far as that page before anything is said."""

    @property
    def changes(self) -> bool:
        """Whether something is different afterwards."""
        return bool(self.page)


_EVERYBODY: Final[frozenset[Role]] = frozenset(ROLES)
_READS_POLICY: Final[frozenset[Role]] = frozenset({"policy", "operators", "auditors"})
_EXPLORES: Final[frozenset[Role]] = frozenset({"policy", "auditors"})
_TRIES: Final[frozenset[Role]] = frozenset({"policy"})
_READS_CLIENTS: Final[frozenset[Role]] = frozenset({"relying_parties", "auditors"})
_CHANGES_CLIENTS: Final[frozenset[Role]] = frozenset({"relying_parties"})
_AUDITS: Final[frozenset[Role]] = frozenset({"auditors"})
_READS_ROLES: Final[frozenset[Role]] = frozenset({"operators", "auditors"})
_CHANGES_ROLES: Final[frozenset[Role]] = frozenset({"operators"})
_READS_ACCOUNTS: Final[frozenset[Role]] = frozenset({"helpdesk", "auditors"})
_RESETS: Final[frozenset[Role]] = frozenset({"helpdesk"})

MATRIX: Final[Mapping[str, Access]] = MappingProxyType(
    {
        "admin.overview": Access("admin.view", _EVERYBODY),
        "admin.policy": Access("admin.policy.view", _READS_POLICY),
        "admin.policy_history": Access("admin.policy.view", _READS_POLICY),
        "admin.policy_version": Access("admin.policy.view", _READS_POLICY),
        "admin.explore": Access("admin.policy.explore", _EXPLORES),
        "admin.trial": Access("admin.policy.try", _TRIES),
        "admin.try_candidate": Access("admin.policy.try", _TRIES),
        "admin.clients": Access("admin.clients.view", _READS_CLIENTS),
        "admin.client": Access("admin.clients.view", _READS_CLIENTS),
        "admin.change_client": Access("admin.clients.change", _CHANGES_CLIENTS, "admin.clients"),
        "admin.audit": Access("admin.audit.view", _AUDITS),
        "admin.decision": Access("admin.audit.view", _AUDITS),
        "admin.export": Access("admin.audit.export", _AUDITS),
        "admin.roles": Access("admin.roles.view", _READS_ROLES),
        "admin.propose": Access("admin.roles.propose", _CHANGES_ROLES, "admin.roles"),
        "admin.confirm": Access("admin.roles.confirm", _CHANGES_ROLES, "admin.roles"),
        "admin.reject": Access("admin.roles.reject", _CHANGES_ROLES, "admin.roles"),
        "admin.accounts": Access("admin.accounts.view", _READS_ACCOUNTS),
        "admin.account": Access("admin.accounts.view", _READS_ACCOUNTS),
        "admin.propose_reset": Access("admin.accounts.reset.propose", _RESETS, "admin.accounts"),
        "admin.confirm_reset": Access("admin.accounts.reset.confirm", _RESETS, "admin.accounts"),
        "admin.reject_reset": Access("admin.accounts.reset.reject", _RESETS, "admin.accounts"),
    }
)
"""Each endpoint of the administration's pages.  One that is not here is open to nobody."""

VISITS: Final[frozenset[str]] = frozenset(access.action for access in MATRIX.values() if not access.changes)
"""Actions that show pages: what is proved for one of them counts for the session, as with a sign-in."""


def admits(endpoint: str | None, held: frozenset[Role]) -> bool:
    """Whether somebody with these roles may use an endpoint."""
    access = MATRIX.get(endpoint or "")
    return access is not None and bool(access.roles & held)


def may(action: str, held: frozenset[Role]) -> bool:
    """Whether somebody with these roles may do what is behind an action."""
    return any(access.action == action and access.roles & held for access in MATRIX.values())


Change = Literal["grant", "revoke"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """One operator's proposal that somebody shall hold a role, or no longer."""

    id: str
    change: Change
    account_id: str
    """Whose role."""
    role: Role
    proposed_by: str
    """The account that proposed it."""
    created_at: datetime
    expires_at: datetime

    def content(self) -> dict[str, str]:
        """What a second operator confirms, as JSON values: all of it is shown and bound to the approval."""
        return {
            "request_id": self.id,
            "change": self.change,
            "account_id": self.account_id,
            "role": self.role,
            "proposed_by": self.proposed_by,
        }


def check_confirmation(proposal: Proposal, shown: Mapping[str, object], by: str, now: datetime) -> None:
    """Whether an operator may confirm a proposal: two people stand behind each change (ADM-01).

    1. It is what was shown.  2. It has not expired.  3. Whoever proposed it does not confirm it, in whatever session.
    4. Nobody confirms a role for themselves.

    :param shown: the content that the operator saw and approved.
    :raises ProposalRefused: one of these does not hold.
    """
    if dict(shown) != proposal.content():
        raise ProposalRefused("changed", "the proposal is not what was shown")
    if now >= proposal.expires_at:
        raise ProposalRefused("expired", "the proposal has expired")
    if by == proposal.proposed_by:
        raise ProposalRefused("same_person", "whoever proposes a change does not confirm it")
    if by == proposal.account_id and proposal.change == "grant":
        raise ProposalRefused("own_role", "nobody confirms a role for themselves")
