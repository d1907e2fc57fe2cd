"""The role matrix, and who may confirm what."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from idp.authn.roles import MATRIX, ROLES, VISITS, Access, Proposal, Role, admits, check_confirmation, may
from idp.errors import ProposalRefused

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
PROPOSAL = Proposal("p1", "grant", "bob", "policy", "olivia", NOW, NOW + timedelta(hours=24))

WHO: dict[str, str] = {
    "admin.overview": "policy relying_parties operators helpdesk auditors",
    "admin.policy": "policy operators auditors",
    "admin.policy_history": "policy operators auditors",
    "admin.policy_version": "policy operators auditors",
    "admin.explore": "policy auditors",
    "admin.trial": "policy",
    "admin.try_candidate": "policy",
    "admin.clients": "relying_parties auditors",
    "admin.client": "relying_parties auditors",
    "admin.change_client": "relying_parties",
    "admin.audit": "auditors",
    "admin.decision": "auditors",
    "admin.export": "auditors",
    "admin.roles": "operators auditors",
    "admin.propose": "operators",
    "admin.confirm": "operators",
    "admin.reject": "operators",
    "admin.accounts": "helpdesk auditors",
    "admin.account": "helpdesk auditors",
    "admin.propose_reset": "helpdesk",
    "admin.confirm_reset": "helpdesk",
    "admin.reject_reset": "helpdesk",
}
"""Written down a second time, so that nobody widens the matrix with one slip."""


def test_ADM_02_the_matrix_is_what_was_decided() -> None:
    assert {name: set(access.roles) for name, access in MATRIX.items()} == {
        name: set(roles.split()) for name, roles in WHO.items()
    }


def test_ADM_02_auditors_change_nothing() -> None:
    assert [name for name, access in MATRIX.items() if access.changes and "auditors" in access.roles] == []


def test_ADM_02_no_role_is_about_what_people_do_in_their_own_name() -> None:
    actions = {access.action for access in MATRIX.values()}
    assert all(action.startswith("admin.") for action in actions)
    assert not any(may(action, frozenset(ROLES)) for action in ("signature.activate", "credential.create", "sign_in"))


@pytest.mark.parametrize("endpoint", [None, "", "admin.unknown", "account.overview"])
def test_an_endpoint_that_is_not_in_the_matrix_is_open_to_nobody(endpoint: str | None) -> None:
    assert not admits(endpoint, frozenset(ROLES))


def test_nobody_without_a_role_is_admitted_anywhere() -> None:
    assert not any(admits(endpoint, frozenset()) for endpoint in MATRIX)
    assert not any(may(access.action, frozenset()) for access in MATRIX.values())


def test_a_change_never_counts_as_a_visit() -> None:
    changes = {access.action for access in MATRIX.values() if access.changes}
    assert changes
    assert changes.isdisjoint(VISITS)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_opens_something(role: Role) -> None:
    assert any(access.roles == {role} or role in access.roles for access in MATRIX.values())
    assert isinstance(MATRIX["admin.overview"], Access)


def test_another_operator_confirms() -> None:
    check_confirmation(PROPOSAL, PROPOSAL.content(), "oscar", NOW)


@pytest.mark.parametrize(
    ("proposal", "by", "at", "cause"),
    [
        (PROPOSAL, "olivia", NOW, "same_person"),
        (PROPOSAL, "bob", NOW, "own_role"),
        (PROPOSAL, "oscar", NOW + timedelta(hours=24), "expired"),
        (replace(PROPOSAL, role="operators"), "oscar", NOW, "changed"),
        (replace(PROPOSAL, account_id="mallory"), "oscar", NOW, "changed"),
        (replace(PROPOSAL, change="revoke"), "oscar", NOW, "changed"),
        (replace(PROPOSAL, proposed_by="oscar"), "olivia", NOW, "changed"),
    ],
)
def test_ADM_01_nobody_confirms_alone_for_themselves_too_late_or_what_was_not_shown(
    proposal: Proposal, by: str, at: datetime, cause: str
) -> None:
    with pytest.raises(ProposalRefused) as refused:
        check_confirmation(proposal, PROPOSAL.content(), by, at)
    assert refused.value.cause == cause


def test_a_person_may_confirm_that_they_lose_a_role() -> None:
    revocation = replace(PROPOSAL, change="revoke")
    check_confirmation(revocation, revocation.content(), "bob", NOW)
