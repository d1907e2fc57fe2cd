"""ENR-03: nobody of the help desk takes a person's factors alone, and neither of the two has the code by default."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from connectors.ports.messaging import GatewayUnavailable
from idp.storage import accounts, activations, authenticators, resets, roles, sessions
from idp.storage.engine import reading
from idp.storage.notices import notices
from idp.storage.outbox import event_outbox
from idp.storage.resets import reset_proposals
from idp.web import caps
from tests.fakes.idp import NOW, PHONE, Idp
from tests.unit.idp_web.admin import administrator, carry_out, chain, enter, make_admin_idp, post

CAROL = "/admin/accounts/account-carol"
REASON = "lost the phone, called back on the known number"


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_admin_idp(tmp_path)
    made.add_account("carol", email="carol@example.org")
    yield made
    made.engine.dispose()


@pytest.fixture
def hanna(idp: Idp) -> FlaskClient:
    return administrator(idp, "hanna", "helpdesk")


@pytest.fixture
def hugo(idp: Idp) -> FlaskClient:
    return administrator(idp, "hugo", "helpdesk")


def factors(idp: Idp, account_id: str = "account-carol") -> set[str]:
    with reading(idp.engine) as connection:
        owned = authenticators.of_account(connection, idp.seals, account_id)
    return {item.kind for item in owned if not item.disabled}


def begin_reset(idp: Idp, browser: FlaskClient, *chosen: str, person: str = "carol", reason: str = REASON) -> Any:
    page = f"/admin/accounts/account-{person}"
    token = idp.csrf(browser, page)
    fields = {"csrf_token": token, "reason": reason, "factor": [f"{person}-{kind}" for kind in chosen]}
    return browser.post(f"{page}/reset", data=fields)


def propose(idp: Idp, browser: FlaskClient, *chosen: str) -> str:
    assert carry_out(idp, browser, begin_reset(idp, browser, *chosen)).location == "/admin/accounts"
    with reading(idp.engine) as connection:
        query = select(reset_proposals.c.id).where(reset_proposals.c.state == "open")
        return str(connection.execute(query).scalar_one())


def decide(idp: Idp, browser: FlaskClient, proposal: str, decision: str = "confirm") -> TestResponse:
    return post(idp, browser, "/admin/accounts", f"/admin/resets/{proposal}/{decision}")


def test_ENR_03_one_of_the_help_desk_proposes_another_confirms_and_the_code_goes_to_the_person(
    idp: Idp, hanna: FlaskClient, hugo: FlaskClient
) -> None:
    visitor = idp.client()
    idp.sign_in(visitor, visitor.get("/account/").location, "carol")
    proposal = propose(idp, hanna, "password", "sms_otp")
    assert factors(idp) == {"password", "sms_otp", "email_otp"}
    assert REASON in hugo.get("/admin/accounts").text
    begun = decide(idp, hugo, proposal)
    idp.pass_otp(hugo, begun.location)
    shown = hugo.get(begun.location).text
    for text in ("Confirm this reset?", "carol", "hanna", REASON, "Text message"):
        assert text in shown
    done = idp.approve(hugo, begun.location)
    assert "the code is on its way" in done.text
    assert factors(idp) == {"email_otp"}
    message = idp.inbox.messages[-1]
    code = re.search(r"(?:[0-9A-Z]{4}-){4}[0-9A-Z]{4}", message.text)
    assert code is not None
    assert message.to == "carol@example.org"
    assert code.group() not in done.text, "neither of the two sees it"
    assert "carol@example.org" not in done.text
    with reading(idp.engine) as connection:
        assert not sessions.of_account(connection, idp.seals, "account-carol", NOW, idp.settings.session)
        told = [tuple(row) for row in connection.execute(select(event_outbox.c.event, event_outbox.c.subject))]
        query = select(notices.c.change, notices.c.factor, notices.c.channel)
        noticed = {tuple(row) for row in connection.execute(query)}
    assert ("authenticator-changed", "account-carol") in told
    assert noticed == {
        ("reset", factor, channel) for factor in ("password", "sms_otp") for channel in ("email_otp", "sms_otp")
    }
    (confirmed,) = chain(idp, "reset.confirmed")
    assert (confirmed["by"], confirmed["proposed_by"]) == ("account-hugo", "account-hanna")
    assert {item["factor"] for item in chain(idp, "authenticator.reset")} == {"password", "sms_otp"}
    assert decide(idp, hugo, proposal).status_code == 409
    opened = idp.post(visitor, "/activate", username="carol", code=code.group())
    assert opened.location == "/activate"
    assert "First, a password" in visitor.get("/activate").text


def test_ENR_03_where_no_channel_is_left_the_confirmer_is_shown_the_code_once(
    idp: Idp, hanna: FlaskClient, hugo: FlaskClient
) -> None:
    begun = decide(idp, hugo, propose(idp, hanna, "password", "sms_otp", "email_otp"))
    idp.pass_otp(hugo, begun.location)
    sent = len(idp.inbox.messages)
    binding = re.search(r'name="binding" value="([^"]+)"', hugo.get(begun.location).text)
    assert binding is not None
    token = idp.csrf(hugo, begun.location)
    fields = {"csrf_token": token, "decision": "approve", "binding": binding.group(1)}
    done = hugo.post(f"{begun.location}/consent", data=fields)
    code = re.search(r"data-code>((?:[0-9A-Z]{4}-){4}[0-9A-Z]{4})<", done.text)
    assert code is not None
    assert len(idp.inbox.messages) == sent
    assert done.headers["Cache-Control"] == "no-store"
    assert hugo.post(f"{begun.location}/consent", data=fields).status_code == 400
    assert code.group(1) not in hugo.get(CAROL).text
    assert code.group(1) not in str(chain(idp, "activation.issued"))
    assert factors(idp) == set()


def test_ENR_03_an_address_that_does_not_count_yet_gets_no_code(
    idp: Idp, hanna: FlaskClient, hugo: FlaskClient
) -> None:
    with idp.engine.begin() as connection:
        authenticators.replace(
            connection,
            idp.seals,
            authenticator_id="carol-new",
            account_id="account-carol",
            kind="email_otp",
            now=NOW,
            address="mallory@example.org",
            not_before=NOW.replace(day=5),
        )
    done = carry_out(idp, hugo, decide(idp, hugo, propose(idp, hanna, "password")))
    assert "the code is on its way" in done.text
    assert idp.inbox.messages[-1].to == PHONE


def test_ENR_03_a_code_that_could_not_be_sent_counts_no_longer(
    idp: Idp, hanna: FlaskClient, hugo: FlaskClient
) -> None:
    begun = decide(idp, hugo, propose(idp, hanna, "password"))
    idp.pass_otp(hugo, begun.location)
    idp.inbox.fail = GatewayUnavailable("no answer")
    assert "could not be sent" in idp.approve(hugo, begun.location).text
    with reading(idp.engine) as connection:
        assert activations.waiting(connection, idp.seals, "account-carol", NOW) is None
    assert chain(idp, "activation.revoked")[0]["channel"] == "email_otp"
    assert "the code is on its way" in carry_out(idp, hugo, decide(idp, hugo, propose(idp, hanna))).text


def test_OTP_07_ENR_03_the_help_desks_codes_count_with_the_notices(
    idp: Idp, hanna: FlaskClient, hugo: FlaskClient
) -> None:
    """Two who conspire do not have a number written to without end."""
    begun = decide(idp, hugo, propose(idp, hanna, "password", "email_otp"))
    idp.pass_otp(hugo, begun.location)
    with reading(idp.engine) as connection:
        owned = authenticators.of_account(connection, idp.seals, "account-carol")
    (number,) = [item.address for item in owned if item.kind == "sms_otp"]
    with idp.app.app_context():
        for _ in range(10):
            caps.count_notice(number or "", NOW, first=True)
    assert "could not be sent" in idp.approve(hugo, begun.location).text
    (revoked,) = chain(idp, "activation.revoked")
    assert (revoked["channel"], revoked["cause"]) == ("sms_otp", "too_many")


def test_ADM_01_ENR_03_whoever_proposed_a_reset_does_not_confirm_it_in_any_session(
    idp: Idp, hanna: FlaskClient
) -> None:
    proposal = propose(idp, hanna, "password")
    elsewhere = idp.client()
    enter(idp, elsewhere, "hanna")
    for browser in (hanna, elsewhere):
        answer = decide(idp, browser, proposal)
        assert answer.status_code == 403
        assert "You proposed it yourself" in answer.text
    assert "confirm-reset" not in hanna.get("/admin/accounts").text
    assert [item["cause"] for item in chain(idp, "reset.refused")] == ["same_person", "same_person"]
    assert "password" in factors(idp)


@pytest.mark.parametrize(
    ("person", "cause"), [("hanna", "own_factors"), ("olivia", "administrator"), ("carol", "subject")]
)
def test_ENR_03_whose_factors_the_help_desk_resets_not(idp: Idp, hanna: FlaskClient, person: str, cause: str) -> None:
    idp.add_account("olivia")
    idp.give_roles("account-olivia", "operators")
    with idp.engine.begin() as connection:
        accounts.set_status(connection, "account-carol", "disabled")
    page = hanna.get(f"/admin/accounts/account-{person}").text
    assert "propose-reset" not in page
    token = idp.csrf(hanna, "/admin/accounts/account-hanna")
    answer = hanna.post(
        f"/admin/accounts/account-{person}/reset", data={"csrf_token": token, "reason": REASON, "factor": []}
    )
    assert answer.status_code == 403
    assert chain(idp, "reset.refused")[0]["cause"] == cause


def test_ENR_03_somebody_who_became_an_administrator_meanwhile_is_not_reset(
    idp: Idp, hanna: FlaskClient, hugo: FlaskClient
) -> None:
    proposal = propose(idp, hanna, "password")
    idp.give_roles("account-carol", "helpdesk")
    assert carry_out(idp, hugo, decide(idp, hugo, proposal)).status_code == 403
    assert chain(idp, "reset.refused")[0]["cause"] == "administrator"
    assert "password" in factors(idp)


def test_ADM_01_ENR_03_a_proposal_of_somebody_who_left_the_help_desk_is_not_carried_out(
    idp: Idp, hanna: FlaskClient, hugo: FlaskClient
) -> None:
    proposal = propose(idp, hanna, "password")
    with idp.engine.begin() as connection:
        roles.revoke(connection, "account-hanna", "helpdesk", NOW)
    assert carry_out(idp, hugo, decide(idp, hugo, proposal)).status_code == 403
    assert chain(idp, "reset.refused")[0]["cause"] == "proposer"


def test_ADM_01_ENR_03_an_expired_reset_is_not_confirmed(idp: Idp, hanna: FlaskClient, hugo: FlaskClient) -> None:
    proposal = propose(idp, hanna, "password")
    idp.clock.advance(24 * 3600)
    enter(idp, hugo, "hugo")
    assert "Nothing is waiting" in hugo.get("/admin/accounts").text
    token = idp.csrf(hugo, CAROL)
    answer = hugo.post(f"/admin/resets/{proposal}/confirm", data={"csrf_token": token})
    assert answer.status_code == 403
    assert chain(idp, "reset.refused")[0]["cause"] == "expired"


@pytest.mark.parametrize("sealed", [False, True])
def test_ADM_01_ENR_03_a_reset_that_was_changed_meanwhile_is_not_confirmed(
    idp: Idp, hanna: FlaskClient, hugo: FlaskClient, sealed: bool
) -> None:
    proposal = propose(idp, hanna, "password")
    begun = decide(idp, hugo, proposal)
    idp.pass_otp(hugo, begun.location)
    with idp.engine.begin() as connection:
        row = connection.execute(select(reset_proposals)).one()
        changed = {**row._mapping, "factors": [["carol-sms_otp", "sms_otp"]]}
        # Somebody who has the key too: only the content that was approved tells.
        seal = idp.seals.seal(reset_proposals, changed) if sealed else row.seal
        connection.execute(update(reset_proposals).values(factors=changed["factors"], seal=seal))
    answer = idp.approve(hugo, begun.location)
    assert answer.status_code == (403 if sealed else 409)
    assert factors(idp) == {"password", "sms_otp", "email_otp"}


def test_a_reset_is_rejected_or_withdrawn_and_one_at_a_time_is_open(
    idp: Idp, hanna: FlaskClient, hugo: FlaskClient
) -> None:
    first = begin_reset(idp, hugo, "sms_otp")
    proposal = propose(idp, hanna, "password")
    assert carry_out(idp, hugo, first).status_code == 403
    assert chain(idp, "reset.refused")[0]["cause"] == "open"
    assert "A proposal waits" in hugo.get(CAROL).text
    carry_out(idp, hugo, decide(idp, hugo, proposal, "reject"))
    carry_out(idp, hanna, decide(idp, hanna, propose(idp, hanna, "password"), "reject"))
    assert [item["by"] for item in chain(idp, "reset.rejected")] == ["account-hugo", "account-hanna"]
    assert "password" in factors(idp)


@pytest.mark.parametrize(("reason", "chosen"), [("", "password"), ("x" * 201, "password"), (REASON, "nothing")])
def test_a_reset_that_says_nothing_sensible_is_refused_at_once(
    idp: Idp, hanna: FlaskClient, reason: str, chosen: str
) -> None:
    answer = begin_reset(idp, hanna, chosen, reason=reason)
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text


def test_a_person_is_found_by_the_exact_user_name_and_shown_masked(idp: Idp, hanna: FlaskClient) -> None:
    assert hanna.get("/admin/accounts?username=CAROL").location == CAROL
    # ADM-02: whoever follows no redirect has learned all the same that there is such a person.
    assert [item["subject"] for item in chain(idp, "admin.viewed")] == ["account-carol"]
    for name in ("car", "carol%", "nobody", "x" * 5000, "ca%00rol"):
        assert hanna.get(f"/admin/accounts?username={name}").status_code == 404
    page = hanna.get(CAROL).text
    for secret in (PHONE, "carol@example.org", "argon2"):
        assert secret not in page
    assert chain(idp, "admin.viewed")[-1]["subject"] == "account-carol"
    assert hanna.get("/admin/accounts/nobody").status_code == 404


def test_ADM_02_an_auditor_sees_people_and_no_button(idp: Idp) -> None:
    browser = administrator(idp, "alice", "auditors")
    assert "propose-reset" not in browser.get(CAROL).text
    with reading(idp.engine) as connection:
        assert resets.waiting(connection, idp.seals, NOW) == ()
