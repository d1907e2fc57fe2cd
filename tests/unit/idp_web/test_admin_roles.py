"""Roles and relying parties: two operators behind each change, and what is approved is what is done."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, select, update
from werkzeug.test import TestResponse

from foundation.clock import epoch
from idp.storage import accounts, clients, roles
from idp.storage.engine import reading
from idp.storage.logouts import logout_notices
from idp.storage.models import admin_proposals
from idp.storage.outbox import event_outbox
from tests.fakes.idp import NOW, Idp
from tests.unit.idp_web.admin import add_client, administrator, carry_out, chain, enter, make_admin_idp, post

HOUR = 3600


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_admin_idp(tmp_path)
    made.add_account("carol")
    yield made
    made.engine.dispose()


@pytest.fixture
def olivia(idp: Idp) -> FlaskClient:
    return administrator(idp, "olivia", "operators")


@pytest.fixture
def oscar(idp: Idp) -> FlaskClient:
    return administrator(idp, "oscar", "operators")


def held(idp: Idp, username: str) -> set[str]:
    with reading(idp.engine) as connection:
        return set(roles.of_account(connection, idp.seals, f"account-{username}"))


def propose(
    idp: Idp, browser: FlaskClient, username: str = "carol", role: str = "policy", change: str = "grant"
) -> str:
    """Propose a change and give back the proposal's identifier."""
    begun = post(idp, browser, "/admin/roles", "/admin/roles/proposals", username=username, role=role, change=change)
    assert carry_out(idp, browser, begun).location == "/admin/roles"
    with reading(idp.engine) as connection:
        return str(
            connection.execute(select(admin_proposals.c.id).where(admin_proposals.c.state == "open")).scalar_one()
        )


def decide(idp: Idp, browser: FlaskClient, proposal: str, decision: str = "confirm") -> TestResponse:
    return post(idp, browser, "/admin/roles", f"/admin/roles/proposals/{proposal}/{decision}")


def test_ADM_01_one_operator_proposes_and_another_confirms(idp: Idp, olivia: FlaskClient, oscar: FlaskClient) -> None:
    proposal = propose(idp, olivia)
    assert held(idp, "carol") == set()
    assert "<bdi>carol</bdi> shall hold the role Policy" in oscar.get("/admin/roles").text
    begun = decide(idp, oscar, proposal)
    idp.pass_otp(oscar, begun.location)
    shown = oscar.get(begun.location).text
    assert "Confirm this change of roles?" in shown
    assert "carol" in shown
    assert "olivia" in shown
    assert idp.approve(oscar, begun.location).location == "/admin/roles"
    assert held(idp, "carol") == {"policy"}
    (granted,) = chain(idp, "role.granted")
    assert (granted["by"], granted["proposed_by"], granted["request_id"]) == (
        "account-oscar",
        "account-olivia",
        proposal,
    )
    assert decide(idp, oscar, proposal).status_code == 409


def test_a_proposal_is_carried_out_once_whoever_confirms_it_at_the_same_time(
    idp: Idp, olivia: FlaskClient, oscar: FlaskClient
) -> None:
    proposal = propose(idp, olivia)
    otto = administrator(idp, "otto", "operators")
    pages = [(browser, decide(idp, browser, proposal).location) for browser in (oscar, otto)]
    for browser, page in pages:
        idp.pass_otp(browser, page)
    assert [idp.approve(browser, page).status_code for browser, page in pages] == [303, 409]
    assert len(chain(idp, "role.granted")) == 1


def test_a_change_that_came_true_meanwhile_is_not_proposed(idp: Idp, olivia: FlaskClient) -> None:
    begun = post(idp, olivia, "/admin/roles", "/admin/roles/proposals", username="carol", role="policy", change="grant")
    idp.give_roles("account-carol", "policy")
    assert carry_out(idp, olivia, begun).status_code == 409
    assert chain(idp, "role.refused")[0]["cause"] == "as_it_is"


def test_a_role_is_taken_away_in_the_same_way(idp: Idp, olivia: FlaskClient, oscar: FlaskClient) -> None:
    idp.give_roles("account-carol", "auditors")
    carry_out(idp, oscar, decide(idp, oscar, propose(idp, olivia, role="auditors", change="revoke")))
    assert held(idp, "carol") == set()
    assert chain(idp, "role.revoked")[0]["by"] == "account-oscar"


def test_ADM_01_whoever_proposed_a_change_does_not_confirm_it_in_any_session(idp: Idp, olivia: FlaskClient) -> None:
    proposal = propose(idp, olivia)
    elsewhere = idp.client()
    enter(idp, elsewhere, "olivia")
    for browser in (olivia, elsewhere):
        answer = decide(idp, browser, proposal)
        assert answer.status_code == 403
        assert "You proposed it yourself" in answer.text
    assert held(idp, "carol") == set()
    assert [fields["cause"] for fields in chain(idp, "role.refused")] == ["same_person", "same_person"]
    assert "confirm-role" not in olivia.get("/admin/roles").text


def test_ADM_01_nobody_confirms_a_role_for_themselves(idp: Idp, olivia: FlaskClient, oscar: FlaskClient) -> None:
    proposal = propose(idp, olivia, "oscar", "auditors")
    assert decide(idp, oscar, proposal).status_code == 403
    assert chain(idp, "role.refused")[0]["cause"] == "own_role"
    assert held(idp, "oscar") == {"operators"}


def test_ADM_01_an_expired_proposal_is_not_confirmed(idp: Idp, olivia: FlaskClient, oscar: FlaskClient) -> None:
    proposal = propose(idp, olivia)
    begun = decide(idp, oscar, proposal)
    idp.pass_otp(oscar, begun.location)
    with idp.engine.begin() as connection:
        expires = connection.execute(select(admin_proposals.c.expires_at)).scalar_one()
    assert expires - int(NOW.timestamp()) == 24 * HOUR
    idp.clock.advance(24 * HOUR)
    enter(idp, oscar, "oscar")
    assert "Nothing is waiting" in oscar.get("/admin/roles").text
    answer = oscar.post(
        f"/admin/roles/proposals/{proposal}/confirm", data={"csrf_token": idp.csrf(oscar, "/admin/roles")}
    )
    assert answer.status_code == 403
    assert "expired" in answer.text
    assert held(idp, "carol") == set()


def test_ADM_01_a_proposal_that_was_changed_meanwhile_is_not_confirmed(
    idp: Idp, olivia: FlaskClient, oscar: FlaskClient
) -> None:
    proposal = propose(idp, olivia)
    begun = decide(idp, oscar, proposal)
    idp.pass_otp(oscar, begun.location)
    found = re.search(r'name="binding" value="([^"]+)"', oscar.get(begun.location).text)
    assert found is not None
    with idp.engine.begin() as connection:
        # Somebody who has the key too: only the content that was approved tells.
        row = connection.execute(select(admin_proposals)).one()
        changed = {**row._mapping, "role": "operators", "live_slot": "account-carol/operators"}
        seal = idp.seals.seal(admin_proposals, changed)
        connection.execute(update(admin_proposals).values(**{**changed, "seal": seal}))
    answer = idp.post(oscar, begun.location, "/consent", decision="approve", binding=found.group(1))
    assert answer.status_code == 403
    assert "not what you were shown" in answer.text
    assert held(idp, "carol") == set()
    assert chain(idp, "role.refused")[-1]["cause"] == "changed"


def test_ADM_01_an_altered_proposal_is_gone(idp: Idp, olivia: FlaskClient, oscar: FlaskClient) -> None:
    proposal = propose(idp, olivia)
    with idp.engine.begin() as connection:
        connection.execute(update(admin_proposals).values(role="operators"))
    assert decide(idp, oscar, proposal).status_code == 409
    assert chain(idp, "record.altered")[0]["table"] == "admin_proposals"


def test_ADM_01_a_proposal_of_somebody_who_is_no_longer_an_operator_is_not_carried_out(
    idp: Idp, olivia: FlaskClient, oscar: FlaskClient
) -> None:
    proposal = propose(idp, olivia)
    with idp.engine.begin() as connection:
        roles.revoke(connection, "account-olivia", "operators", NOW)
    answer = carry_out(idp, oscar, decide(idp, oscar, proposal))
    assert answer.status_code == 403
    assert held(idp, "carol") == set()
    assert chain(idp, "role.refused")[-1]["cause"] == "proposer"


def test_ADM_01_an_operator_who_lost_the_role_between_step_up_and_approval_does_nothing(
    idp: Idp, olivia: FlaskClient, oscar: FlaskClient
) -> None:
    begun = decide(idp, oscar, propose(idp, olivia))
    idp.pass_otp(oscar, begun.location)
    with idp.engine.begin() as connection:
        roles.revoke(connection, "account-oscar", "operators", NOW)
    assert "Your role no longer allows it" in idp.approve(oscar, begun.location).text
    assert held(idp, "carol") == set()


def test_a_disabled_person_gets_no_role(idp: Idp, olivia: FlaskClient, oscar: FlaskClient) -> None:
    proposal = propose(idp, olivia)
    with idp.engine.begin() as connection:
        accounts.set_status(connection, "account-carol", "disabled")
    assert carry_out(idp, oscar, decide(idp, oscar, proposal)).status_code == 403
    assert held(idp, "carol") == set()


def test_a_proposal_is_rejected_or_withdrawn(idp: Idp, olivia: FlaskClient, oscar: FlaskClient) -> None:
    carry_out(idp, oscar, decide(idp, oscar, propose(idp, olivia), "reject"))
    carry_out(idp, olivia, decide(idp, olivia, propose(idp, olivia), "reject"))
    assert [fields["by"] for fields in chain(idp, "role.rejected")] == ["account-oscar", "account-olivia"]
    assert held(idp, "carol") == set()


def test_ADM_01_a_change_asks_for_a_factor_of_its_own(idp: Idp, olivia: FlaskClient) -> None:
    begun = post(idp, olivia, "/admin/roles", "/admin/roles/proposals", username="carol", role="policy", change="grant")
    page = olivia.get(begun.location).text
    assert "One more step" in page
    assert "Changing who administers" in page
    assert (
        "change who administers"
        in (idp.post(olivia, begun.location, "/factor", factor="sms_otp"), idp.inbox)[1].messages[-1].text
    )
    with reading(idp.engine) as connection:
        assert roles.waiting(connection, idp.seals, NOW) == ()


def test_what_is_not_approved_is_not_done(idp: Idp, olivia: FlaskClient) -> None:
    begun = post(idp, olivia, "/admin/roles", "/admin/roles/proposals", username="carol", role="policy", change="grant")
    idp.pass_otp(olivia, begun.location)
    answer = idp.post(olivia, begun.location, "/consent", decision="deny")
    assert answer.status_code == 403
    assert "You did not approve the request." in answer.text
    with reading(idp.engine) as connection:
        assert roles.waiting(connection, idp.seals, NOW) == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"username": "nobody", "role": "policy", "change": "grant"},
        {"username": "carol", "role": "root", "change": "grant"},
        {"username": "carol", "role": "policy", "change": "sudo"},
        {"username": "carol", "role": "policy", "change": "revoke"},
        {"username": "olivia", "role": "operators", "change": "grant"},
        {"username": "x" * 5000, "role": "policy", "change": "grant"},
    ],
)
def test_a_proposal_that_says_nothing_sensible_is_refused_at_once(
    idp: Idp, olivia: FlaskClient, fields: dict[str, str]
) -> None:
    answer = post(idp, olivia, "/admin/roles", "/admin/roles/proposals", **fields)
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text


# Relying parties


def active(idp: Idp) -> bool:
    with reading(idp.engine) as connection:
        found = clients.find(connection, "example-contracts")
    assert found is not None
    return found.active


def test_a_relying_party_is_stopped_and_served_again(idp: Idp) -> None:
    add_client(idp)
    browser = administrator(idp, "alice", "relying_parties")
    page = "/admin/clients/example-contracts"
    carry_out(idp, browser, post(idp, browser, page, f"{page}/change", change="disabled"))
    assert not active(idp)
    with reading(idp.engine) as connection:
        told = connection.execute(select(event_outbox.c.event, event_outbox.c.subject)).all()
    assert told == [("client-disabled", "example-contracts")], "SAD-11: its SADs end as well"
    assert post(idp, browser, page, f"{page}/change", change="disabled").status_code == 409
    carry_out(idp, browser, post(idp, browser, page, f"{page}/change", change="enabled"))
    assert active(idp)
    assert [(item["change"], item["by"]) for item in chain(idp, "client.changed")] == [
        ("disabled", idp.alice),
        ("enabled", idp.alice),
    ]


def test_administrators_see_where_a_relying_party_is_told_of_ended_sessions_and_how_that_goes(idp: Idp) -> None:
    told = "https://rp.example.org/logout"
    add_client(idp, backchannel_logout_uri=told)
    browser = administrator(idp, "alice", "auditors")
    page = browser.get("/admin/clients/example-contracts").text
    assert told in page
    assert "still to be told" not in page
    rows = {"client_id": "example-contracts", "account_id": "a", "session_id": "s", "created_at": epoch(NOW)}
    over = {"attempts": 1, "next_attempt_at": None, "ended_at": epoch(NOW)}
    with idp.engine.begin() as connection:
        for number, more in enumerate(
            (
                {"attempts": 1, "next_attempt_at": epoch(NOW), "ended_at": None, "state": "waiting", "cause": "failed"},
                {**over, "state": "told", "cause": ""},
                {**over, "state": "dropped", "cause": "overdue"},
            )
        ):
            connection.execute(insert(logout_notices).values(**rows, **more, id=str(number)))
    page = browser.get("/admin/clients/example-contracts").text
    for words in ("still to be told: 1", "last told ", "last given up ", "failed"):
        assert words in page


def test_ADM_02_an_auditor_sees_a_relying_party_and_no_button(idp: Idp) -> None:
    add_client(idp)
    browser = administrator(idp, "alice", "auditors")
    page = browser.get("/admin/clients/example-contracts").text
    assert "change-client" not in page
    assert "secret" not in page.replace("client_secret_basic", "")


def test_SES_09_a_relying_partys_name_is_text(idp: Idp) -> None:
    add_client(idp, name="<img src=x onerror=alert(1)>")
    browser = administrator(idp, "alice", "relying_parties")
    for path in ("/admin/clients", "/admin/clients/example-contracts"):
        assert "<img src=x" not in browser.get(path).text
        assert "&lt;img src=x" in browser.get(path).text


def test_a_relying_party_that_is_none_is_not_found(idp: Idp) -> None:
    browser = administrator(idp, "alice", "relying_parties")
    assert browser.get("/admin/clients/nobody").status_code == 404
