"""Roles and proposals in the database, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, update

from idp.errors import ProposalRefused
from idp.storage import accounts, roles
from idp.storage.accounts import NewAccount
from idp.storage.engine import create_tables, open_engine, reading
from idp.storage.models import admin_proposals, admin_roles
from idp.storage.seal import Sealer
from tests.fakes.idp import POLICY, make_idp
from tests.fakes.seals import make_sealer
from tests.unit.idp_web.admin import ADMINISTRATION, administrator

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


@pytest.fixture
def seals() -> Sealer:
    return make_sealer()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    create_tables(made)
    with made.begin() as connection:
        for person in ("alice", "mallory", "olivia"):
            accounts.create(connection, person, NewAccount(person, person), NOW)
    yield made
    made.dispose()


def grant(engine: Engine, seals: Sealer, person: str, role: Any, now: datetime = NOW) -> bool:
    with engine.begin() as connection:
        return roles.grant(
            connection,
            seals,
            grant_id=f"{person}-{role}-{now:%H%M}",
            account_id=person,
            role=role,
            by=roles.COMMAND_LINE,
            now=now,
        )


def held(engine: Engine, seals: Sealer, person: str) -> set[str]:
    with reading(engine) as connection:
        return set(roles.of_account(connection, seals, person))


def propose(engine: Engine, seals: Sealer, proposal_id: str = "p1", now: datetime = NOW, **changes: Any) -> Any:
    values = {"change": "grant", "account_id": "alice", "role": "policy", "by": "olivia", **changes}
    with engine.begin() as connection:
        return roles.propose(connection, seals, proposal_id=proposal_id, now=now, **values)


def test_a_role_is_held_once_taken_away_and_given_again(engine: Engine, seals: Sealer) -> None:
    assert grant(engine, seals, "alice", "policy")
    assert not grant(engine, seals, "alice", "policy", NOW + timedelta(minutes=1))
    assert held(engine, seals, "alice") == {"policy"}
    with engine.begin() as connection:
        assert roles.revoke(connection, "alice", "policy", NOW)
        assert not roles.revoke(connection, "alice", "policy", NOW)
    assert held(engine, seals, "alice") == set()
    assert grant(engine, seals, "alice", "policy", NOW + timedelta(hours=1))
    with reading(engine) as connection:
        (found,) = roles.everyone(connection, seals)
    assert (found.account_id, found.role, found.granted_by) == ("alice", "policy", "command_line")


@pytest.mark.parametrize(
    "change",
    [
        {"account_id": "mallory"},
        {"role": "operators"},
        {"granted_by": "olivia"},
        {"seal": ""},
        {"created_at": 1},
    ],
)
def test_ADM_01_whoever_writes_to_the_database_makes_nobody_an_administrator(
    engine: Engine, seals: Sealer, change: dict[str, Any]
) -> None:
    grant(engine, seals, "alice", "policy")
    with engine.begin() as connection:
        connection.execute(update(admin_roles).values(**change))
    assert held(engine, seals, "alice") | held(engine, seals, "mallory") == set()
    assert (found := seals.take()) is not None
    assert found.table == "admin_roles"
    assert grant(engine, seals, "alice", "policy", NOW + timedelta(hours=1)), "what was altered stands in nobody's way"
    assert held(engine, seals, "alice") == {"policy"}


def test_ADM_01_a_revoked_role_does_not_come_back_by_clearing_the_column(engine: Engine, seals: Sealer) -> None:
    grant(engine, seals, "alice", "policy")
    with engine.begin() as connection:
        roles.revoke(connection, "alice", "policy", NOW)
        connection.execute(update(admin_roles).values(ended_at=None, live_slot="alice/policy"))
    assert held(engine, seals, "alice") == set()


def test_ADM_01_an_invented_row_with_anothers_seal_counts_as_absent(engine: Engine, seals: Sealer) -> None:
    grant(engine, seals, "alice", "policy")
    with engine.begin() as connection:
        row = dict(connection.execute(select(admin_roles)).one()._mapping)
        copy = {**row, "id": "copy", "account_id": "mallory", "live_slot": "mallory/policy"}
        connection.execute(insert(admin_roles).values(**copy))
    assert held(engine, seals, "mallory") == set()


def test_a_proposal_waits_and_ends_once(engine: Engine, seals: Sealer) -> None:
    made = propose(engine, seals)
    with reading(engine) as connection:
        assert roles.waiting(connection, seals, NOW) == (made,)
        assert roles.find(connection, seals, "p1") == made
    with engine.begin() as connection:
        assert roles.decide(connection, "p1", "rejected", "alice", NOW)
        assert not roles.decide(connection, "p1", "confirmed", "alice", NOW)
    with reading(engine) as connection:
        assert roles.waiting(connection, seals, NOW) == ()
        assert roles.find(connection, seals, "p1") is None


def test_one_proposal_about_one_role_of_one_person(engine: Engine, seals: Sealer) -> None:
    propose(engine, seals)
    with pytest.raises(ProposalRefused) as refused:
        propose(engine, seals, "p2", by="mallory")
    assert refused.value.cause == "open"
    propose(engine, seals, "p3", role="auditors")
    later = NOW + roles.LIFE
    with reading(engine) as connection:
        assert roles.waiting(connection, seals, later) == ()
    assert propose(engine, seals, "p4", later).id == "p4"


@pytest.mark.parametrize("change", ["grant", "revoke"])
def test_what_is_so_already_is_not_proposed(engine: Engine, seals: Sealer, change: str) -> None:
    if change == "grant":
        grant(engine, seals, "alice", "policy")
    with pytest.raises(ProposalRefused) as refused:
        propose(engine, seals, change=change)
    assert refused.value.cause == "as_it_is"


@pytest.mark.parametrize(
    "change",
    [
        {"account_id": "mallory"},
        {"role": "operators"},
        {"change": "revoke"},
        {"proposed_by": "mallory"},
        {"expires_at": 2_000_000_000},
        {"seal": "00" * 32},
    ],
)
def test_ADM_01_an_altered_proposal_is_none(engine: Engine, seals: Sealer, change: dict[str, Any]) -> None:
    propose(engine, seals)
    with engine.begin() as connection:
        connection.execute(update(admin_proposals).values(**change))
    with reading(engine) as connection:
        assert roles.find(connection, seals, "p1") is None
        assert roles.waiting(connection, seals, NOW) == ()
    assert seals.take() is not None


@pytest.mark.postgres
@pytest.mark.parametrize("nul", ["%00", "%00alice"])
def test_pages_on_postgresql_refuse_a_nul_and_find_records(postgres_url: str, tmp_path: Path, nul: str) -> None:
    idp = make_idp(tmp_path, postgres_url, policy=POLICY + ADMINISTRATION)
    browser = administrator(idp, "alice", "policy", "operators", "auditors")
    assert browser.get(f"/admin/policy/explore?username={nul}").status_code == 400
    assert browser.get(f"/admin/audit?event={nul}&text={nul}").status_code == 200
    assert browser.get(f"/admin/policy/history/{'0' * 64}?from={nul}").status_code == 404
    token = idp.csrf(browser, "/admin/roles")
    fields = {"csrf_token": token, "username": "\0", "role": "policy", "change": "grant"}
    assert browser.post("/admin/roles/proposals", data=fields).status_code == 400
    assert "login.succeeded</strong>" in browser.get("/admin/audit?event=login.&text=account-alice").text
    assert "login.succeeded</strong>" not in browser.get("/admin/audit?event=login.&text=acc_unt-alice").text
    idp.engine.dispose()
