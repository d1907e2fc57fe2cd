"""A telephone number or a mail address is bound: proved with a code, once, and a changed one counts later (OTP-08)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html import escape
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from connectors.ports.messaging import DeliveryState, OutcomeUnknown, Receipt, RecipientRefused, SmsMessage
from connectors.ports.sms_text import segments
from idp.settings import OtpSettings
from idp.storage import accounts, authenticators, messages, notices
from idp.storage.authenticators import Authenticator
from idp.storage.engine import reading
from tests.fakes.idp import EMAIL, NOW, PHONE, Idp, make_idp
from tests.unit.idp_web.factors import POLICY, enrolment
from tests.unit.idp_web.interactions import signature

NUMBER = "+34600000077"


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path, policy=POLICY)
    yield made
    made.engine.dispose()


@pytest.fixture
def browser(idp: Idp) -> FlaskClient:
    return idp.client()


def at_form(idp: Idp, browser: FlaskClient, kind: str = "sms_otp", by: str = "sms_otp") -> str:
    """The path of the form, with nothing sent to it yet."""
    path = enrolment(idp, browser, kind, by=by)
    idp.inbox.messages.clear()
    idp.clock.advance(60)
    return path


def send(idp: Idp, browser: FlaskClient, path: str, address: str = "") -> int:
    return idp.post(browser, path, "/send", address=address).status_code


def live(idp: Idp, kind: str) -> list[Authenticator]:
    with reading(idp.engine) as connection:
        owned = authenticators.of_account(connection, idp.seals, idp.alice)
    return [item for item in owned if item.kind == kind and not item.disabled]


@pytest.mark.parametrize(
    ("kind", "typed", "said"),
    [("sms_otp", "600 <b>", "a plus sign and the country code"), ("email_otp", "alice@", "the whole mail address")],
)
def test_OTP_10_what_is_no_address_is_refused_with_how_it_is_written_and_kept_to_be_mended(
    idp: Idp, browser: FlaskClient, kind: str, typed: str, said: str
) -> None:
    path = at_form(idp, browser, kind)
    answer = idp.post(browser, path, "/send", address=typed)
    assert answer.status_code == 400
    assert said in answer.text
    assert f'value="{escape(typed)}"' in answer.text
    assert '<a href="#address">' in answer.text, "the sentence leads to the field"
    assert idp.inbox.messages == []


def test_OTP_08_a_changed_number_counts_after_72_hours_and_the_former_one_is_told(
    idp: Idp, browser: FlaskClient
) -> None:
    path = at_form(idp, browser)
    assert browser.get(path).status_code == 200
    assert idp.inbox.messages == [], "a GET sends nothing"
    assert send(idp, browser, path, " +34 600-000 077 ") == 303
    (message,) = idp.inbox.messages
    assert message.to == NUMBER
    page = browser.get(path).text
    assert "+34•••••••77" in page
    assert NUMBER not in page
    assert "codes go to neither" in page
    assert idp.post(browser, path, code=idp.inbox.code).location == "/account/"
    (item,) = live(idp, "sms_otp")
    assert (item.address, item.not_before - item.created_at) == (NUMBER, timedelta(hours=72))
    assert "Not active until" in browser.get("/account/").text
    with reading(idp.engine) as connection:
        told = notices.due(connection, idp.seals, NOW + timedelta(days=1), 10)
    assert {(notice.change, notice.address) for notice in told} == {("replaced", PHONE), ("replaced", EMAIL)}


def test_OTP_08_removing_the_number_first_does_not_get_round_the_wait(idp: Idp, browser: FlaskClient) -> None:
    with idp.engine.begin() as connection:
        authenticators.remove(connection, "alice-sms_otp", NOW)
    path = at_form(idp, browser, by="email_otp")
    send(idp, browser, path, NUMBER)
    idp.post(browser, path, code=idp.inbox.code)
    assert not live(idp, "sms_otp")[0].usable(idp.clock.now())


def test_OTP_08_an_accounts_first_address_counts_at_once(idp: Idp, browser: FlaskClient) -> None:
    idp.add_account("bert")
    idp.sign_in(browser, browser.get("/account/").location, "bert")
    path = at_form(idp, browser, "email_otp")
    send(idp, browser, path, "bert@example.org")
    assert idp.inbox.messages[-1].to == "bert@example.org"
    assert idp.post(browser, path, code=idp.inbox.code).status_code == 303
    with reading(idp.engine) as connection:
        owned = authenticators.of_account(connection, idp.seals, "account-bert")
    assert next(item for item in owned if item.kind == "email_otp").usable(idp.clock.now())


def test_OTP_07_OTP_09_the_same_code_goes_out_again_after_a_pause_and_not_too_often(
    idp: Idp, browser: FlaskClient
) -> None:
    path = at_form(idp, browser)
    send(idp, browser, path, NUMBER)
    code = idp.inbox.code
    assert send(idp, browser, path) == 400, "too soon"
    codes = []
    for _ in range(2):
        idp.clock.advance(31)
        assert send(idp, browser, path) == 303
        codes.append(idp.inbox.code)
    assert codes == [code, code]
    idp.clock.advance(31)
    assert send(idp, browser, path) == 400, "as often as it may be"
    idp.inbox.fail = RecipientRefused("no")
    assert len(idp.inbox.messages) == 3


def test_OTP_07_the_page_says_when_the_same_code_may_be_sent_again(idp: Idp, browser: FlaskClient) -> None:
    """Before anybody asks too soon: so does the page on which a code is typed for a step-up."""
    path = at_form(idp, browser)
    assert "data-wait" not in browser.get(path).text
    send(idp, browser, path, NUMBER)
    idp.clock.advance(10)
    page = browser.get(path).text
    assert 'data-wait="20"' in page
    assert "ask for the same code again in 20 seconds" in page
    idp.clock.advance(21)
    page = browser.get(path).text
    assert 'data-wait="0"' in page
    assert "The same code can be sent again" in page
    for _ in range(2):
        assert send(idp, browser, path) == 303
        idp.clock.advance(31)
    assert "sent as often as it may be" in browser.get(path).text


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "again in 5 minutes"), ("de", "In 5 Minuten"), ("es", "dentro de 5 minutos"), ("fr", "dans 5 minutes")],
)
def test_OTP_07_a_long_pause_is_said_in_minutes(tmp_path: Path, language: str, words: str) -> None:
    """As it is where such a code was asked for too soon."""
    limits = OtpSettings(cool_down_seconds=300, max_per_address=1000, max_per_account=1000, max_per_network=1000)
    idp = make_idp(tmp_path, policy=POLICY, otp=limits)
    browser = idp.client()
    path = at_form(idp, browser)
    send(idp, browser, path, NUMBER)
    assert words in browser.get(path, headers={"Accept-Language": language}).text
    idp.engine.dispose()


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "add this to your account"),
        ("de", "dies Ihrem Konto hinzufügen"),
        ("es", "adir esto a su cuenta"),
        ("fr", "ajouter ceci à votre compte"),
    ],
)
def test_OTP_05_a_message_to_a_new_number_is_one_segment_says_so_and_ends_with_our_origin(
    idp: Idp, browser: FlaskClient, language: str, words: str
) -> None:
    with idp.engine.begin() as connection:
        accounts.set_locale(connection, idp.alice, language)
    path = at_form(idp, browser)
    assert send(idp, browser, path, NUMBER) == 303
    text, code = idp.inbox.messages[-1].text, idp.inbox.code
    assert segments(text) == 1, text
    first, last = text.split("\n")
    assert last == f"@idp.localhost #{code}"
    assert first.startswith(code)
    assert words in first
    assert "Privy Seal" in first
    shown = browser.get(path).text
    reference = re.search(r'class="reference">([A-Z2-7]{4})<', shown)
    assert reference is not None
    assert reference.group(1) in first


def seen(idp: Idp) -> list[tuple[str, str, str]]:
    """What became of alice's messages by text message, the newest first: state, gateway's reference, their code's."""
    with reading(idp.engine) as connection:
        found = messages.of_account(connection, idp.alice, 20)
    return [(sent.state, sent.delivery.reference, sent.challenge_id) for sent, kind in found if kind == "sms_otp"]


def test_OTP_09_what_became_of_a_message_to_a_number_that_is_to_be_bound_is_kept_too(
    idp: Idp, browser: FlaskClient
) -> None:
    path = at_form(idp, browser, by="email_otp")
    assert send(idp, browser, path, NUMBER) == 303
    idp.clock.advance(31)
    idp.inbox.fail = OutcomeUnknown("sent, or not")
    assert send(idp, browser, path) == 400
    idp.clock.advance(31)
    assert send(idp, browser, path) == 303
    first, second = idp.inbox.messages
    assert isinstance(first, SmsMessage)
    assert isinstance(second, SmsMessage)
    assert first.id
    assert second.id not in {"", first.id}, "a gateway leaves out doubles by it"
    assert [item[:2] for item in seen(idp)] == [("pending", "message-2"), ("unknown", ""), ("pending", "message-1")]
    assert len({item[2] for item in seen(idp)}) == 1
    with idp.engine.begin() as connection:
        assert messages.told(connection, Receipt("message-2", DeliveryState.DELIVERED), idp.clock.now())
    assert [item[0] for item in seen(idp)] == ["delivered", "unknown", "pending"]
    idp.inbox.fail = RecipientRefused("no")
    assert send(idp, browser, path, "+34600000078") == 400
    assert len(seen(idp)) == 3, "it certainly did not go out"


def test_OTP_07_codes_to_numbers_that_nobody_binds_count_for_the_alarm(idp: Idp, browser: FlaskClient) -> None:
    """Whoever pumps chooses the numbers: there is no other place for that than where one is bound."""

    def conversion() -> tuple[int, int]:
        with reading(idp.engine) as connection:
            return messages.conversion(connection, idp.clock.now(), 3600)

    path = at_form(idp, browser, by="email_otp")
    for number in ("+34600000077", "+34600000078", "+34600000079"):
        assert send(idp, browser, path, number) == 303
        idp.clock.advance(31)
    assert conversion() == (0, 0), "they may still be used"
    idp.clock.advance(300)
    assert conversion() == (3, 0)
    path = at_form(idp, browser, by="email_otp")
    assert send(idp, browser, path, NUMBER) == 303
    assert idp.post(browser, path, code=idp.inbox.code).status_code == 303
    assert conversion() == (4, 1)
    idp.clock.advance(26 * 3600)
    with idp.engine.begin() as connection:
        messages.purge(connection, idp.clock.now())
        assert connection.execute(select(func.count()).select_from(messages.binding_codes)).scalar_one() == 0
    assert conversion() == (0, 0)


def test_OTP_03_another_number_ends_the_code_of_the_first_and_a_third_is_the_last(
    idp: Idp, browser: FlaskClient
) -> None:
    path = at_form(idp, browser)
    send(idp, browser, path, NUMBER)
    first = idp.inbox.code
    for number in ("+34600000078", "+34600000079"):
        idp.clock.advance(31)
        assert send(idp, browser, path, number) == 303
    idp.clock.advance(31)
    assert send(idp, browser, path, "+34600000080") == 400
    assert idp.post(browser, path, code=first).status_code == 400
    assert idp.post(browser, path, code=idp.inbox.code).status_code == 303
    assert live(idp, "sms_otp")[0].address == "+34600000079"


def test_OTP_09_a_refused_message_may_be_tried_again_at_once(idp: Idp, browser: FlaskClient) -> None:
    path = at_form(idp, browser)
    idp.inbox.fail = RecipientRefused("no")
    assert send(idp, browser, path, NUMBER) == 400
    assert send(idp, browser, path) == 303
    assert idp.post(browser, path, code=idp.inbox.code).status_code == 303


@pytest.mark.parametrize("address", ["", "12345", "+34600\r\nBcc: x", PHONE, "\uff0b34600000077"])
def test_OTP_10_what_is_no_number_or_is_there_already_gets_no_message(
    idp: Idp, browser: FlaskClient, address: str
) -> None:
    path = at_form(idp, browser)
    assert send(idp, browser, path, address) == 400
    assert idp.inbox.messages == []


def test_OTP_01_five_wrong_codes_at_whatever_pace_end_it(idp: Idp, browser: FlaskClient) -> None:
    path = at_form(idp, browser)
    send(idp, browser, path, NUMBER)
    code, token = idp.inbox.code, idp.csrf(browser, path)
    cookie = browser.get_cookie("privyseal_session")
    assert cookie is not None

    def guess(number: int) -> int:
        client = idp.client()
        client.set_cookie("privyseal_session", cookie.value)
        wrong = f"{(int(code) + 1 + number) % 1_000_000:06}"
        return client.post(path, data={"csrf_token": token, "code": wrong}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(guess, range(12))) == {400}
    assert idp.post(browser, "/account/", code="").status_code in {400, 405}
    assert browser.post(path, data={"csrf_token": token, "code": code}).status_code == 400, "it is over"
    assert [item.address for item in live(idp, "sms_otp")] == [PHONE]


def test_OTP_03_OTP_06_a_code_dies_with_its_time_and_is_in_no_row(idp: Idp, browser: FlaskClient) -> None:
    path = at_form(idp, browser)
    send(idp, browser, path, NUMBER)
    code = idp.inbox.code
    with reading(idp.engine) as connection:
        rows = connection.exec_driver_sql("select * from enrolments").all()
        chain = connection.exec_driver_sql("select fields from audit_entries").all()
    assert code not in json.dumps([[str(value) for value in row] for row in (*rows, *chain)])
    idp.clock.advance(301)
    assert "can no longer be used" in idp.post(browser, path, code=code).text


def test_OTP_12_whoever_types_anothers_number_again_and_again_leaves_its_owner_a_code(tmp_path: Path) -> None:
    limits = OtpSettings(max_per_account=1000, max_per_network=1000)
    idp = make_idp(tmp_path, policy=POLICY, otp=limits)
    idp.add_account("mallory", phone=None, email="mallory@example.org")
    browser = idp.client()
    idp.sign_in(browser, browser.get("/account/").location, "mallory")
    statuses, page = [], ""
    for _ in range(2):
        path = at_form(idp, browser, by="email_otp")
        for _ in range(2):
            statuses.append(send(idp, browser, path, PHONE))
            idp.clock.advance(31)
        page = page or browser.get(path).text
    assert statuses == [303, 303, 400, 400]
    victim = idp.client()
    assert "sent as often as it may be" in page
    path = idp.path(victim, signature())
    idp.sign_in(victim, path)
    assert idp.post(victim, path, "/factor", factor="sms_otp").status_code == 303
    assert idp.inbox.messages[-1].to == PHONE
    idp.engine.dispose()


def test_OTP_07_one_mailbox_is_one_however_it_is_written(tmp_path: Path) -> None:
    """Somebody buries a mailbox that is not theirs: capitals and sub-addresses lead to the same one (RFC 5233)."""
    # Of three places one is kept for whoever has bound the address.
    limits = OtpSettings(max_per_address=3, max_per_account=1000, max_per_network=1000)
    idp = make_idp(tmp_path, policy=POLICY, otp=limits)
    browser = idp.client()
    path = at_form(idp, browser, "email_otp")
    written = ("victim@example.net", "Victim@example.NET", "VICTIM@example.net", "victim+x@example.net")
    statuses = []
    for address in written:
        statuses.append(send(idp, browser, path, address))
        idp.clock.advance(31)
    assert statuses == [303, 303, 400, 400]
    assert [message.to for message in idp.inbox.messages] == list(written[:2])
    idp.engine.dispose()
