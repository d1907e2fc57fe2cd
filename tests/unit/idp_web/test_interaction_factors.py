"""Passwords and one-time codes over the pages of an interaction."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import argon2
import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, func, select, text

from connectors.ports.messaging import OutcomeUnknown, SmsMessage
from idp.activation.intent import DocumentDigest, SignatureIntent
from idp.authn.password import Passwords
from idp.storage import accounts, authenticators
from idp.storage.engine import reading
from idp.storage.models import otp_challenges
from tests.fakes.idp import PASSWORD, Idp
from tests.unit.idp_web.interactions import (
    SHA256,
    at_consent,
    plain,
    signature,
)

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
    idp.inbox.fail = OutcomeUnknown("down")
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
    written, bound = message.text.splitlines()
    assert re.findall(r"\d{6}", written) == [idp.inbox.code]
    assert bound == f"@idp.localhost #{idp.inbox.code}"
    assert "://" not in message.text
    assert len(message.text) < 200
