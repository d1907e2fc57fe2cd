"""The pages of an interaction, through HTTP and a real database: what people do, and what others try."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import argon2
import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, func, select, text

from connectors.ports.messaging import GatewayUnavailable, SmsMessage
from idp.activation.intent import DocumentDigest, SignatureIntent
from idp.authn.password import Passwords
from idp.errors import CredentialUnavailable, CredentialUnusable
from idp.storage import accounts, authenticators
from idp.storage.engine import reading
from idp.storage.models import decisions, otp_challenges, sessions
from idp.web.interaction import BeginInteraction, Finished
from tests.fakes.idp import PASSWORD, Idp, make_idp

SHA256 = "2.16.840.1.101.3.4.2.1"
INTENT = SignatureIntent(
    "cred-1",
    SHA256,
    (DocumentDigest(bytes(range(32)), "Rental contract.pdf"), DocumentDigest(b"\xab" * 32, "Annex.pdf")),
    "dtbsr",
    2,
)
SUBSTANTIAL = "http://eidas.europa.eu/NotNotified/LoA/substantial"


def signature(**values: Any) -> BeginInteraction:
    given: dict[str, Any] = {
        "kind": "test",
        "action": "signature.activate",
        "client_id": "example-contracts",
        "client_name": "Example Contracts",
        "payload": {"state": "xyz"},
        "intent": INTENT,
        "return_to": "http://rp.localhost:8405/callback",
    }
    return BeginInteraction(**{**given, **values})


def plain(**values: Any) -> BeginInteraction:
    return signature(**{"action": "sign_in", "intent": None, **values})


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path)
    yield made
    made.engine.dispose()


@pytest.fixture
def browser(idp: Idp) -> FlaskClient:
    return idp.client()


def cookie(browser: FlaskClient) -> str:
    found = browser.get_cookie("privyseal_session")
    assert found is not None
    return found.value


def last(idp: Idp) -> Finished:
    return idp.finished[-1]


def at_consent(idp: Idp, browser: FlaskClient, request: BeginInteraction | None = None) -> str:
    """Go to the consent page of a signature."""
    path = idp.path(browser, request or signature())
    idp.sign_in(browser, path)
    idp.pass_otp(browser, path)
    return path


# What people do


def test_the_sign_in_page_says_which_rule_asks_for_it_and_what_is_missing(idp: Idp, browser: FlaskClient) -> None:
    shown = browser.get(idp.path(browser, signature())).text
    assert 'data-form="sign-in"' in shown
    rules = re.findall(r'data-reason data-rule="([^"]+)" data-file="tests.yaml" data-line="(\d+)">([^<]+)', shown)
    assert [rule for rule, _line, _text in rules] == ["sign", "level:substantial", "sign"]
    assert all(int(line) > 0 and text for _rule, line, text in rules)
    assert "Why am I asked for this?" in shown


def test_OTP_11_the_reasons_for_signing_in_are_the_same_whoever_is_named(idp: Idp, browser: FlaskClient) -> None:
    idp.add_account("bob", phone=None, proofing="none")
    path = idp.path(browser, signature())
    pages = [idp.sign_in(browser, path, username, "wrong").text for username in ("alice", "bob", "nobody")]
    reasons = [re.findall(r"<li>.*?</li>", page, re.DOTALL) for page in pages]
    assert reasons[0]
    assert reasons[0] == reasons[1] == reasons[2]


def test_a_signature_takes_password_code_and_consent_and_yields_an_approval(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    assert 'data-form="sign-in"' in browser.get(path).text
    assert idp.sign_in(browser, path).location == path
    choose = browser.get(path).text
    assert 'data-form="choose"' in choose
    assert re.search(r'data-reason data-rule="sign" data-file="tests.yaml" data-line="\d+"', choose)
    assert "+34•••••••01" in choose
    assert "+34600000001" not in choose
    assert idp.pass_otp(browser, path).location == path
    assert idp.approve(browser, path).location == "http://rp.localhost:8405/callback?ok"
    approval = last(idp).approval
    assert approval is not None
    assert approval.account_id == idp.alice
    assert (approval.loa, approval.acr, approval.client_id) == ("substantial", SUBSTANTIAL, "example-contracts")
    assert [item.factor for item in approval.evidence] == ["password", "sms_otp"]
    assert last(idp).payload == {"state": "xyz"}
    with reading(idp.engine) as connection:
        decision = connection.execute(select(decisions).where(decisions.c.id == approval.decision_id)).one()
        events = connection.execute(text("select event from audit_entries order by sequence")).scalars().all()
    assert decision.detail["decision"]["reasons"][0]["rule"] == "sign"
    assert events == ["login.succeeded", "otp.sent", "otp.accepted", "transaction.approved"]


def test_the_consent_page_shows_who_asks_what_digests_and_which_credential(idp: Idp, browser: FlaskClient) -> None:
    shown = browser.get(at_consent(idp, browser)).text
    assert "Example Contracts asks for your signature" in shown
    assert "Name as stated by Example Contracts" in shown
    assert f'data-digest="{bytes(range(32)).hex()}"' in shown
    assert "<span>0001</span><span>0203</span>" in shown
    assert "Digest of the data to be signed, SHA-256" in shown
    assert "C=ES,O=Example,CN=Alice Example" in shown
    assert "C=ES,CN=Example Issuing CA" in shown
    assert idp.credentials.asked == [(idp.alice, "example-contracts", "cred-1")]


def test_a_code_by_email_serves_as_well(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    idp.pass_otp(browser, path, "email_otp")
    assert idp.approve(browser, path).status_code == 302
    message = idp.inbox.messages[-1]
    assert (message.to, getattr(message, "subject", "")) == ("alice@example.org", "Your code for Example Contracts")


def test_the_message_says_who_asks_for_what_and_carries_the_pages_reference(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    idp.post(browser, path, "/factor", factor="sms_otp")
    said = idp.inbox.messages[-1].text
    assert "Example Contracts: sign 2 documents (Rental contract pdf, Annex pdf)" in said
    reference = re.search(r'class="reference">(\w{4})<', browser.get(path).text)
    assert reference is not None
    assert f"Reference {reference.group(1)}" in said


def test_a_sign_in_needs_no_consent_and_the_next_one_no_page(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, plain())
    assert idp.sign_in(browser, path).location.endswith("?ok")
    assert idp.begin(browser, plain(client_id="another")).location.endswith("?ok")
    assert [item.approval.client_id for item in idp.finished if item.approval] == ["example-contracts", "another"]


def test_prompt_consent_asks_even_for_a_sign_in(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, plain(prompt=("consent",)))
    assert idp.sign_in(browser, path).location == path
    assert "wants to know who you are" in browser.get(path).text
    assert idp.approve(browser, path).location.endswith("?ok")


def test_a_person_who_does_not_approve_gives_access_denied(idp: Idp, browser: FlaskClient) -> None:
    path = at_consent(idp, browser)
    assert idp.post(browser, path, "/consent", decision="deny").location.endswith("?access_denied")
    assert last(idp).approval is None
    assert browser.get(path).status_code == 400


def test_whoever_leaves_before_signing_in_is_taken_back(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    assert idp.post(browser, path, "/leave").location.endswith("?access_denied")


@pytest.mark.parametrize(
    ("request_", "error"),
    [(plain(prompt=("none",)), "login_required"), (signature(prompt=("none",)), "login_required")],
)
def test_prompt_none_shows_no_page_to_strangers(
    idp: Idp, browser: FlaskClient, request_: BeginInteraction, error: str
) -> None:
    assert idp.begin(browser, request_).location.endswith(f"?{error}")


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (plain(prompt=("none",)), "ok"),
        (plain(prompt=("none", "consent")), "consent_required"),
        (plain(prompt=("none",), client_id="strict"), "interaction_required"),
        (signature(prompt=("none",)), "interaction_required"),
    ],
)
def test_prompt_none_says_what_would_be_needed(
    idp: Idp, browser: FlaskClient, request_: BeginInteraction, error: str
) -> None:
    idp.sign_in(browser, idp.path(browser, plain()))
    assert idp.begin(browser, request_).location.endswith(f"?{error}")


def test_OAU_12_an_essential_acr_that_cannot_be_reached_is_an_error_not_a_lower_level(
    idp: Idp, browser: FlaskClient
) -> None:
    path = idp.path(browser, plain(essential_acr=("http://eidas.europa.eu/NotNotified/LoA/high",)))
    assert idp.sign_in(browser, path).location.endswith("?unmet_authentication_requirements")
    assert last(idp).approval is None


def test_an_acr_that_was_asked_for_raises_a_sign_in(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, plain(acr_values=(SUBSTANTIAL,)))
    assert idp.sign_in(browser, path).location == path
    assert idp.pass_otp(browser, path).location.endswith("?ok")
    approval = last(idp).approval
    assert approval is not None
    assert approval.acr == SUBSTANTIAL


@pytest.mark.parametrize("again", [{"prompt": ("login",)}, {"max_age": 0}, {"max_age": 60}])
def test_a_fresh_login_is_asked_for_when_the_request_wants_one(
    idp: Idp, browser: FlaskClient, again: dict[str, Any]
) -> None:
    idp.sign_in(browser, idp.path(browser, plain()))
    idp.clock.advance(61)
    path = idp.path(browser, plain(**again))
    assert 'data-form="sign-in"' in browser.get(path).text
    assert idp.sign_in(browser, path).location.endswith("?ok")
    approval = last(idp).approval
    assert approval is not None
    assert approval.auth_time == idp.clock.now()


def test_somebody_not_identified_well_enough_reads_so_and_goes_back(idp: Idp, browser: FlaskClient) -> None:
    idp.add_account("bob", proofing="low")
    path = idp.path(browser, signature())
    idp.sign_in(browser, path, "bob")
    page = browser.get(path)
    assert page.status_code == 403
    assert "identified more thoroughly" in page.text
    assert idp.post(browser, path, "/leave").location.endswith("?access_denied")


# Passwords


def test_OTP_11_unknown_user_wrong_password_and_disabled_account_get_the_same_answer_for_the_same_work(
    idp: Idp, browser: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    idp.add_account("bob")
    with idp.engine.begin() as connection:
        accounts.set_status(connection, "account-bob", "disabled")
    done: list[bool] = []
    real = Passwords.verify

    def counted(self: Passwords, encoded: str | None, password: str) -> bool:
        done.append(True)
        return real(self, encoded, password)

    monkeypatch.setattr(Passwords, "verify", counted)
    path = idp.path(browser, plain())
    answers = []
    for username, password in (("nobody", PASSWORD), ("alice", "wrong password"), ("bob", PASSWORD)):
        done.clear()
        response = idp.sign_in(browser, path, username, password)
        assert done == [True]
        body = response.text.replace(f'value="{username}"', 'value=""')
        answers.append((response.status_code, body, sorted(set(response.headers.keys()))))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 403


def test_OTP_11_whoever_is_refused_the_database_is_asked_the_same_number_of_things(
    idp: Idp, browser: FlaskClient
) -> None:
    idp.add_account("bob")
    with idp.engine.begin() as connection:
        accounts.set_status(connection, "account-bob", "disabled")
    path = idp.path(browser, plain())
    token = idp.csrf(browser, path)
    counts = []
    for username, password in (("nobody", PASSWORD), ("alice", "wrong password"), ("bob", PASSWORD)):
        asked: list[str] = []

        def listen(_connection: Any, _cursor: Any, statement: str, *_rest: Any, asked: list[str] = asked) -> None:
            asked.append(statement.split(maxsplit=1)[0])

        event.listen(idp.engine, "before_cursor_execute", listen)
        data = {"csrf_token": token, "username": username, "password": password}
        assert browser.post(f"{path}/password", data=data).status_code == 403
        event.remove(idp.engine, "before_cursor_execute", listen)
        counts.append((len(asked), asked.count("SELECT"), asked.count("BEGIN")))
    assert counts[0] == counts[1] == counts[2]


def test_OTP_12_after_many_wrong_passwords_even_the_right_one_waits_a_moment(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, plain())
    for _ in range(6):
        idp.sign_in(browser, path, password="wrong password")
        idp.clock.advance(2)
    assert idp.sign_in(browser, path).status_code == 403
    idp.clock.advance(4)
    assert idp.sign_in(browser, path).status_code == 302


def test_a_password_hash_with_other_costs_is_renewed(idp: Idp, browser: FlaskClient) -> None:
    old = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    with idp.engine.begin() as connection:
        authenticators.change_secret(connection, idp.seals, "alice-password", old)
    assert idp.sign_in(browser, idp.path(browser, plain())).status_code == 302
    with reading(idp.engine) as connection:
        found = authenticators.of_kind(connection, idp.seals, idp.alice, "password")
    assert found is not None
    assert "m=64,t=1,p=1" in (found.secret_hash or "")


# One-time codes over the pages


def test_a_get_never_sends_a_code(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    for suffix in ("", "?choose=1", "?factor=sms_otp"):
        browser.get(path + suffix)
    assert browser.get(f"{path}/factor").status_code == 405
    assert idp.inbox.messages == []


def test_OTP_07_a_stranger_cannot_make_a_message_go_out(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    assert idp.post(browser, path, "/factor", factor="sms_otp").status_code == 400
    assert idp.inbox.messages == []


def test_a_factor_that_the_policy_does_not_ask_for_sends_nothing(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    for factor in ("password", "totp", "", "sms_otp "):
        assert idp.post(browser, path, "/factor", factor=factor).status_code == 403
    assert idp.inbox.messages == []


def test_OTP_03_a_resend_carries_the_same_code_after_the_cool_down(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    idp.post(browser, path, "/factor", factor="sms_otp")
    first = idp.inbox.code
    refused = idp.post(browser, path, "/factor", factor="sms_otp")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "30")
    assert 'data-wait="30"' in browser.get(path).text
    idp.clock.advance(30)
    assert idp.post(browser, path, "/factor", factor="sms_otp").status_code == 303
    assert (len(idp.inbox.messages), idp.inbox.code) == (2, first)


def test_OTP_01_five_wrong_codes_and_the_right_one_is_refused_too(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    idp.post(browser, path, "/factor", factor="sms_otp")
    wrong = f"{(int(idp.inbox.code) + 1) % 10**6:06d}"
    for _ in range(5):
        assert idp.post(browser, path, "/code", code=wrong).status_code == 403
    assert idp.post(browser, path, "/code", code=idp.inbox.code).status_code == 403
    assert 'data-form="choose"' in browser.get(path).text


def test_OTP_05_a_code_of_one_signature_does_not_serve_another(idp: Idp, browser: FlaskClient) -> None:
    one, other = idp.path(browser, signature()), idp.path(browser, signature())
    idp.sign_in(browser, one)
    assert idp.post(browser, other, "/continue").location == other
    idp.post(browser, one, "/factor", factor="sms_otp")
    code_of_one = idp.inbox.code
    idp.post(browser, other, "/factor", factor="sms_otp")
    assert idp.inbox.code != code_of_one
    assert idp.post(browser, other, "/code", code=code_of_one).status_code == 403
    assert idp.post(browser, one, "/code", code=code_of_one).status_code == 303


def test_SES_06_the_step_up_of_one_signature_leaves_another_where_it_was(idp: Idp, browser: FlaskClient) -> None:
    at_consent(idp, browser)
    other = idp.path(browser, signature())
    assert 'data-form="choose"' in browser.get(other).text
    assert idp.post(browser, other, "/consent", decision="approve", binding="x").status_code == 400


def test_OTP_09_when_the_gateway_fails_nobody_is_let_in_and_the_next_message_has_the_same_code(
    idp: Idp, browser: FlaskClient
) -> None:
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    idp.inbox.fail = GatewayUnavailable("down")
    response = idp.post(browser, path, "/factor", factor="sms_otp")
    assert response.status_code == 403
    assert "If no code arrives" in response.text
    assert idp.post(browser, path, "/factor", factor="sms_otp").status_code == 429
    idp.clock.advance(30)
    assert idp.post(browser, path, "/factor", factor="sms_otp").status_code == 303
    with reading(idp.engine) as connection:
        assert connection.execute(select(func.count()).select_from(otp_challenges)).scalar_one() == 1
    assert idp.post(browser, path, "/code", code=idp.inbox.code).status_code == 303


def test_OTP_06_a_code_is_in_no_page_no_address_and_nowhere_in_the_database(
    idp: Idp, browser: FlaskClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    response = idp.post(browser, path, "/factor", factor="sms_otp")
    code = idp.inbox.code
    wrong = idp.post(browser, path, "/code", code=f"{(int(code) + 1) % 10**6:06d}")
    pages = response.text + response.location + browser.get(path).text + wrong.text
    idp.post(browser, path, "/code", code=code)
    assert code not in pages
    assert code not in caplog.text
    with idp.engine.connect() as connection:
        tables = connection.execute(text("select name from sqlite_master where type = 'table'")).scalars().all()
        content = {name: repr(connection.execute(text(f"select * from {name}")).all()) for name in tables}
    leaked = {name for name, rows in content.items() if re.search(rf"(?<!\d){code}(?!\d)", rows)}
    assert leaked == set()


@pytest.mark.parametrize(
    "label",
    ["Your code is 123456", "see https://evil.example.org/login now", "line\r\nbreak: 999999", "x" * 200],
)
def test_OTP_10_a_documents_name_cannot_put_a_code_or_a_link_into_the_message(
    idp: Idp, browser: FlaskClient, label: str
) -> None:
    intent = SignatureIntent("cred-1", SHA256, (DocumentDigest(b"\x01" * 32, label),), "dtbsr", 1)
    path = idp.path(browser, signature(intent=intent))
    idp.sign_in(browser, path)
    idp.post(browser, path, "/factor", factor="sms_otp")
    message = idp.inbox.messages[-1]
    assert isinstance(message, SmsMessage)
    assert re.findall(r"\d{6}", message.text) == [idp.inbox.code]
    assert "://" not in message.text
    assert len(message.text.splitlines()) == 1
    assert len(message.text) < 200


# Sessions


def test_SES_01_the_cookie_changes_at_login_and_at_step_up_and_the_old_one_is_dead(
    idp: Idp, browser: FlaskClient
) -> None:
    path = idp.path(browser, signature())
    seen = [cookie(browser)]
    idp.sign_in(browser, path)
    seen.append(cookie(browser))
    idp.pass_otp(browser, path)
    seen.append(cookie(browser))
    assert len(set(seen)) == 3
    for old in seen[:2]:
        thief = idp.client()
        thief.set_cookie("privyseal_session", old)
        assert thief.get(path).status_code == 400


def test_SES_01_a_cookie_that_was_planted_before_the_login_is_worth_nothing_after_it(idp: Idp) -> None:
    attacker, victim = idp.client(), idp.client()
    path = idp.path(attacker, signature())
    victim.set_cookie("privyseal_session", cookie(attacker))
    idp.sign_in(victim, path)
    assert attacker.get(path).status_code == 400
    assert 'data-form="choose"' in victim.get(path).text


def test_SES_02_the_cookie_of_production_is_bound_to_the_host(tmp_path: Path) -> None:
    idp = make_idp(tmp_path, issuer="https://idp.example.org")
    browser = idp.client()
    idp.waiting.append(plain())
    response = browser.get("/test/begin", base_url="https://idp.example.org")
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
    header = response.headers["Set-Cookie"]
    assert header.startswith("__Host-privyseal=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(header.split("; "))
    assert "Domain" not in header
    idp.engine.dispose()


def test_SES_02_in_development_the_cookie_is_still_out_of_reach_of_scripts(idp: Idp, browser: FlaskClient) -> None:
    header = idp.begin(browser, plain()).headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(header.split("; "))
    assert cookie(browser) not in idp.path(browser, plain())


def test_SES_03_sign_out_ends_the_session_on_the_server(idp: Idp, browser: FlaskClient) -> None:
    path = at_consent(idp, browser)
    held = cookie(browser)
    idp.post(browser, "/account/", "sign-out")
    assert browser.get_cookie("privyseal_session") is None
    thief = idp.client()
    thief.set_cookie("privyseal_session", held)
    assert thief.get(path).status_code == 400
    assert thief.get("/account/").status_code == 303


def test_SES_07_somebody_else_in_the_same_browser_cannot_finish_what_the_first_began(
    idp: Idp, browser: FlaskClient
) -> None:
    idp.add_account("bob")
    path = at_consent(idp, browser)
    binding = re.search(r'name="binding" value="([^"]+)"', browser.get(path).text)
    assert binding is not None
    idp.sign_in(browser, idp.path(browser, plain(prompt=("login",))), "bob")
    mine = idp.path(browser, signature())
    response = browser.post(
        f"{path}/consent",
        data={"csrf_token": idp.csrf(browser, mine), "decision": "approve", "binding": binding.group(1)},
    )
    assert response.status_code == 400
    assert [item for item in idp.finished if item.approval and item.approval.action == "signature.activate"] == []


def test_SES_07_bob_cannot_sign_in_to_what_alice_began(idp: Idp, browser: FlaskClient) -> None:
    idp.add_account("bob")
    idp.sign_in(browser, idp.path(browser, plain()))
    idp.clock.advance(61)
    path = idp.path(browser, plain(max_age=60))
    assert idp.sign_in(browser, path, "bob").status_code == 403
    assert idp.sign_in(browser, path, "alice").location.endswith("?ok")


def test_another_browser_cannot_see_an_interaction(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    stranger = idp.client()
    assert stranger.get(path).status_code == 400
    idp.sign_in(stranger, idp.path(stranger, plain()))
    assert stranger.get(path).status_code == 400


def test_an_interaction_that_was_begun_in_another_tab_before_the_login_goes_on(idp: Idp, browser: FlaskClient) -> None:
    waiting = idp.path(browser, plain(client_id="another"))
    idp.sign_in(browser, idp.path(browser, plain()))
    assert "Continue as Alice Example?" in browser.get(waiting).text
    assert idp.post(browser, waiting, "/continue").location.endswith("?ok")


def test_an_account_that_is_disabled_is_out_at_once(idp: Idp, browser: FlaskClient) -> None:
    path = at_consent(idp, browser)
    with idp.engine.begin() as connection:
        accounts.set_status(connection, idp.alice, "disabled")
    page = browser.get(path)
    assert 'data-form="sign-in"' in page.text
    assert 'data-form="consent"' not in page.text


def test_past_the_policys_session_limit_the_password_is_asked_for_again(idp: Idp, browser: FlaskClient) -> None:
    idp.sign_in(browser, idp.path(browser, plain(acr_values=(SUBSTANTIAL,))))
    for _ in range(4):
        idp.clock.advance(15 * 60)
        browser.get("/account/")
    path = idp.path(browser, signature())
    idp.clock.advance(60)
    idp.pass_otp(browser, path)
    page = browser.get(path).text
    assert "type your password again" in page
    assert 'value="alice"' in page


def test_a_session_that_is_not_used_is_over(idp: Idp, browser: FlaskClient) -> None:
    idp.sign_in(browser, idp.path(browser, plain()))
    idp.clock.advance(idp.settings.session.idle_seconds)
    assert idp.begin(browser, plain(prompt=("none",))).location.endswith("?login_required")


# Forms


POSTS = ("/password", "/continue", "/factor", "/code", "/consent", "/leave")


@pytest.mark.parametrize("action", POSTS)
@pytest.mark.parametrize("token", [None, "", "wrong", "é\udc80"])
def test_SES_04_a_form_without_its_sessions_token_changes_nothing(
    idp: Idp, browser: FlaskClient, action: str, token: str | None
) -> None:
    path = at_consent(idp, browser)
    data = {"username": "alice", "password": PASSWORD, "decision": "approve", "factor": "sms_otp"}
    if token is not None:
        data["csrf_token"] = token.encode("utf-8", "replace").decode()
    before = (len(idp.finished), len(idp.inbox.messages), cookie(browser))
    assert browser.post(f"{path}{action}", data=data).status_code == 400
    assert (len(idp.finished), len(idp.inbox.messages), cookie(browser)) == before


def test_SES_04_login_csrf_the_attackers_own_token_does_not_sign_a_victim_in(idp: Idp) -> None:
    attacker, victim = idp.client(), idp.client()
    theirs, mine = idp.path(attacker, plain()), idp.path(victim, plain())
    token = idp.csrf(attacker, theirs)
    data = {"csrf_token": token, "username": "alice", "password": PASSWORD}
    assert victim.post(f"{mine}/password", data=data).status_code == 400
    assert victim.post(f"{theirs}/password", data=data).status_code == 400
    assert idp.begin(victim, plain(prompt=("none",))).location.endswith("?login_required")


@pytest.mark.parametrize("path", ["/account/sign-out", "/account/credentials", "/account/sessions/x/revoke"])
def test_SES_04_the_account_pages_forms_need_the_token_too(idp: Idp, browser: FlaskClient, path: str) -> None:
    idp.sign_in(browser, idp.path(browser, plain()))
    assert browser.post(path, data={"profile": "default"}).status_code == 400
    assert idp.begin(browser, plain(prompt=("none",))).location.endswith("?ok")


# Consent


@pytest.mark.parametrize("binding", ["", "0" * 64])
def test_OAU_10_consent_to_something_else_than_was_shown_is_refused(
    idp: Idp, browser: FlaskClient, binding: str
) -> None:
    path = at_consent(idp, browser)
    response = idp.post(browser, path, "/consent", decision="approve", binding=binding)
    assert response.status_code == 400
    assert idp.finished == []


def test_OAU_10_the_consent_of_one_transaction_does_not_serve_another(idp: Idp, browser: FlaskClient) -> None:
    one = at_consent(idp, browser)
    other = idp.path(browser, signature())
    idp.pass_otp(browser, other)
    found = re.search(r'name="binding" value="([^"]+)"', browser.get(one).text)
    assert found is not None
    assert idp.post(browser, other, "/consent", decision="approve", binding=found.group(1)).status_code == 400


def test_OAU_10_a_request_that_changed_after_it_was_shown_is_not_approved(idp: Idp, browser: FlaskClient) -> None:
    path = at_consent(idp, browser)
    page = browser.get(path).text
    with idp.engine.begin() as connection:
        found = connection.execute(text("select request from interactions")).scalar_one()
        changed = found.replace("Annex.pdf", "Other.pdf")
        assert changed != found
        connection.execute(text("update interactions set request = :changed"), {"changed": changed})
    binding = re.search(r'name="binding" value="([^"]+)"', page)
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert binding is not None
    assert token is not None
    data = {"csrf_token": token.group(1), "decision": "approve", "binding": binding.group(1)}
    assert browser.post(f"{path}/consent", data=data).status_code == 400
    assert idp.finished == []


def test_consent_comes_after_the_policy_whatever_is_posted(idp: Idp, browser: FlaskClient) -> None:
    path = at_consent(idp, browser)
    binding = re.search(r'name="binding" value="([^"]+)"', browser.get(path).text)
    assert binding is not None
    idp.clock.advance(11 * 60)
    response = idp.post(browser, path, "/consent", decision="approve", binding=binding.group(1))
    assert 'data-form="choose"' in response.text
    assert idp.finished == []


def test_an_approval_is_given_once(idp: Idp, browser: FlaskClient) -> None:
    path = at_consent(idp, browser)
    page = browser.get(path).text
    data = dict(re.findall(r'name="(csrf_token|binding)" value="([^"]+)"', page)) | {"decision": "approve"}
    assert browser.post(f"{path}/consent", data=data).status_code == 302
    assert browser.post(f"{path}/consent", data=data).status_code == 400
    assert len(idp.finished) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (CredentialUnavailable("no answer"), "The signing service does not answer"),
        (CredentialUnusable("not hers"), "This credential cannot be used"),
    ],
)
def test_without_the_credential_nothing_goes_on(idp: Idp, browser: FlaskClient, error: Any, words: str) -> None:
    idp.credentials.error = error
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    page = browser.get(path)
    assert (page.status_code, words in page.text) == (503, True)
    assert idp.post(browser, path, "/factor", factor="sms_otp").status_code == 503
    assert idp.inbox.messages == []
    idp.credentials.error = None
    assert 'data-form="choose"' in browser.get(path).text


@pytest.mark.parametrize("change", [{"status": "disabled"}, {"credential_id": "cred-2"}])
def test_a_credential_that_is_disabled_or_another_one_is_not_used(
    idp: Idp, browser: FlaskClient, change: dict[str, str]
) -> None:
    idp.credentials.view = dataclasses.replace(idp.credentials.view, **change)
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    assert "This credential cannot be used" in browser.get(path).text
    assert idp.post(browser, path, "/leave").location.endswith("?access_denied")


def test_SES_09_names_from_outside_are_text(idp: Idp, browser: FlaskClient) -> None:
    evil = '<script>alert(1)</script>"'
    intent = SignatureIntent("cred-1", SHA256, (DocumentDigest(b"\x01" * 32, evil),), "dtbsr", 1)
    path = at_consent(idp, browser, signature(client_name=evil, intent=intent))
    page = browser.get(path).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


# Headers and language


def test_SES_05_pages_cannot_be_framed_run_no_foreign_script_and_are_not_kept(idp: Idp, browser: FlaskClient) -> None:
    for path in (at_consent(idp, browser), "/account/", "/no/such/page"):
        headers = browser.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("http://rp.localhost:8405/callback?a=b", "form-action 'self' http://rp.localhost:8405"),
        ("https://rp.example.org/cb", "form-action 'self' https://rp.example.org"),
        ("org.example.app:/cb", "form-action 'self' org.example.app:"),
        ("https://user@rp.example.org/", "form-action 'self'"),
        ("javascript:alert(1)", "form-action 'self'"),
        ("", "form-action 'self'"),
    ],
)
def test_forms_may_end_at_the_relying_party_and_nowhere_else(
    idp: Idp, browser: FlaskClient, uri: str, target: str
) -> None:
    path = idp.path(browser, plain(return_to=uri))
    assert browser.get(path).headers["Content-Security-Policy"].endswith(target)


def test_pages_have_nothing_inline(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    pages = [browser.get(path).text]
    idp.sign_in(browser, path)
    pages.append(browser.get(path).text)
    idp.post(browser, path, "/factor", factor="sms_otp")
    pages.append(browser.get(path).text)
    for page in pages:
        assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son[a-z]+=|javascript:", page)
        assert not re.search(r'(src|href)="(https?:)?//', page)


def test_sessions_without_a_person_are_kept_for_the_length_of_an_interaction_only(
    idp: Idp, browser: FlaskClient
) -> None:
    idp.begin(browser, plain())
    idp.clock.advance(idp.settings.session.interaction_seconds)
    idp.begin(idp.client(), plain())
    with reading(idp.engine) as connection:
        assert connection.execute(select(func.count()).select_from(sessions)).scalar_one() == 1
