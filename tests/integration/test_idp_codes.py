"""What one-time codes are counted by, when they end and what a gateway's failure costs, on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, select, update

from connectors.ports.messaging import (
    GatewayMisconfigured,
    GatewayUnavailable,
    MessagingError,
    OutcomeUnknown,
    RecipientRefused,
)
from idp.activation.intent import DocumentDigest, SignatureIntent
from idp.authn.otp import derive_code
from idp.errors import OtpCoolDown, OtpLocked
from idp.settings import OtpSettings
from idp.storage import accounts, authenticators, challenges
from idp.storage.accounts import NewAccount
from idp.storage.challenges import Challenge, Purpose, Verdict
from idp.storage.engine import create_tables, open_engine, reading
from idp.storage.models import otp_challenges
from idp.web.interaction import BeginInteraction
from tests.fakes.idp import Idp, make_idp
from tests.fakes.seals import make_sealer

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
SEALS = make_sealer()
KEY = bytes(32)
LIMITS = OtpSettings(cool_down_seconds=30)
SECOND = timedelta(seconds=1)
DAY = timedelta(hours=24)
INTENT = SignatureIntent(
    "cred-1", "2.16.840.1.101.3.4.2.1", (DocumentDigest(b"\x01" * 32, "contract.pdf"),), "dtbsr", 1
)
SIGNATURE = BeginInteraction(
    "test", "signature.activate", "example-contracts", {}, intent=INTENT, client_name="Example Contracts"
)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    create_tables(engine)
    with engine.begin() as connection:
        accounts.create(connection, "alice", NewAccount("alice", "Alice Example"), NOW)
        for name in ("phone", "other"):
            authenticators.add(
                connection,
                SEALS,
                authenticator_id=name,
                account_id="alice",
                kind="sms_otp",
                now=NOW,
                address="+34600000001",
            )
    yield engine
    engine.dispose()


@pytest.fixture
def idp(tmp_path: Path, database_url: str) -> Iterator[Idp]:
    made = make_idp(tmp_path, database_url)
    yield made
    made.engine.dispose()


def purpose(txn: str = "txn", authenticator: str = "phone") -> Purpose:
    return Purpose(authenticator, "session", txn, hashlib.sha256(b"intent").hexdigest())


def send(engine: Engine, now: datetime, asked: Purpose) -> Challenge:
    with engine.begin() as connection:
        return challenges.open_or_resend(
            connection, asked, new_id=f"{asked.authenticator_id}-{asked.txn}", now=now, limits=LIMITS
        )


def attempt(engine: Engine, typed: str, now: datetime, asked: Purpose) -> Verdict:
    with engine.begin() as connection:
        return challenges.attempt(connection, asked, typed, key=KEY, now=now, limits=LIMITS)[0]


def code_of(challenge: Challenge) -> str:
    return derive_code(KEY, challenge.binding)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06d}"


def fail(engine: Engine, number: int, now: datetime, prefix: str = "f", authenticator: str = "phone") -> None:
    """So many wrong codes, five a challenge."""
    for index in range(0, number, 5):
        asked = purpose(f"{prefix}{index}", authenticator)
        code = code_of(send(engine, now, asked))
        for _ in range(min(5, number - index)):
            assert attempt(engine, wrong(code), now, asked) in {Verdict.WRONG, Verdict.DEAD}


# OTP-02: what the day's count takes in


def test_OTP_02_the_day_takes_in_challenges_made_less_than_24_hours_ago_and_no_older_ones(engine: Engine) -> None:
    fail(engine, 25, NOW, "a")
    fail(engine, 25, NOW + SECOND, "b")
    with pytest.raises(OtpLocked):
        send(engine, NOW + DAY - SECOND, purpose("late"))
    # The first half has left the day; the second has not.
    fail(engine, 25, NOW + DAY, "c")
    with pytest.raises(OtpLocked):
        send(engine, NOW + DAY, purpose("later"))


def test_OTP_02_another_authenticators_wrong_codes_are_its_own(engine: Engine) -> None:
    fail(engine, 50, NOW, authenticator="other")
    with pytest.raises(OtpLocked):
        send(engine, NOW, purpose("x", "other"))
    assert send(engine, NOW, purpose()).failures == 0


@pytest.mark.parametrize("state", ["live", "used", "failed", "expired"])
def test_OTP_02_wrong_codes_count_whatever_became_of_their_challenge(engine: Engine, state: str) -> None:
    fail(engine, 50, NOW)
    with engine.begin() as connection:
        connection.execute(update(otp_challenges).values(state=state))
    with pytest.raises(OtpLocked):
        send(engine, NOW, purpose("x"))


def test_OTP_02_a_success_does_not_begin_the_day_anew(engine: Engine) -> None:
    fail(engine, 45, NOW)
    now = NOW + timedelta(minutes=1)
    code = code_of(send(engine, now, purpose("good")))
    assert attempt(engine, code, now, purpose("good")) is Verdict.ACCEPTED
    # Challenges that were open before the success, and challenges after it.
    later = now + timedelta(minutes=1)
    fail(engine, 5, later, "more")
    with pytest.raises(OtpLocked):
        send(engine, later, purpose("x"))


def test_OTP_02_challenges_kept_open_until_the_person_succeeds_are_counted_too(idp: Idp) -> None:
    thief = idp.client()
    opened: list[tuple[str, str]] = []
    for _ in range(12):
        path = idp.path(thief, SIGNATURE)
        identify(idp, thief, path)
        assert idp.post(thief, path, "/factor", factor="sms_otp").status_code == 303
        opened.append((path, idp.inbox.code))
    idp.clock.advance(2)
    person = idp.client()
    path = idp.path(person, SIGNATURE)
    identify(idp, person, path)
    assert idp.pass_otp(person, path).status_code == 303
    guesses = 0
    for path, code in opened:
        for _ in range(5):
            guesses += "locked" not in idp.post(thief, path, "/code", code=wrong(code)).text
    assert guesses == 50


def identify(idp: Idp, browser: FlaskClient, path: str) -> None:
    if 'data-form="sign-in"' in browser.get(path).text:
        idp.sign_in(browser, path)
    elif 'data-form="continue"' in browser.get(path).text:
        idp.post(browser, path, "/continue")


# OTP-03: a resend prolongs nothing


def test_OTP_03_a_resend_changes_neither_the_code_nor_its_end_in_the_database(engine: Engine) -> None:
    first = send(engine, NOW, purpose())
    for seconds in (30, 60):
        send(engine, NOW + seconds * SECOND, purpose())
    with reading(engine) as connection:
        row = connection.execute(select(otp_challenges)).one()
    assert (row.id, row.sends, row.created_at) == (first.id, 3, int(NOW.timestamp()))
    assert row.expires_at == int((NOW + 300 * SECOND).timestamp())
    assert attempt(engine, code_of(first), NOW + 301 * SECOND, purpose()) is Verdict.DEAD


def test_OTP_03_a_resend_does_not_give_wrong_codes_back(engine: Engine) -> None:
    code = code_of(send(engine, NOW, purpose()))
    for _ in range(4):
        attempt(engine, wrong(code), NOW, purpose())
    send(engine, NOW + 30 * SECOND, purpose())
    assert attempt(engine, wrong(code), NOW + 30 * SECOND, purpose()) is Verdict.DEAD
    assert attempt(engine, code, NOW + 30 * SECOND, purpose()) is Verdict.DEAD


def test_OTP_03_a_code_that_was_said_to_be_expired_stays_so_when_the_clock_is_set_back(engine: Engine) -> None:
    code = code_of(send(engine, NOW, purpose()))
    assert attempt(engine, code, NOW + 301 * SECOND, purpose()) is Verdict.DEAD
    assert attempt(engine, code, NOW + 101 * SECOND, purpose()) is Verdict.DEAD
    with reading(engine) as connection:
        assert connection.execute(select(otp_challenges.c.state)).scalar_one() == "expired"


def test_OTP_03_over_the_pages_too_an_expired_code_stays_expired(idp: Idp) -> None:
    browser = idp.client()
    path = idp.path(browser, SIGNATURE)
    idp.sign_in(browser, path)
    idp.post(browser, path, "/factor", factor="sms_otp")
    code = idp.inbox.code
    idp.clock.advance(301)
    assert "no longer" in idp.post(browser, path, "/code", code=code).text
    idp.clock.advance(-200)
    assert idp.post(browser, path, "/code", code=code).status_code == 403


def test_closing_what_expired_leaves_other_transactions_and_sessions_alone(engine: Engine) -> None:
    code = code_of(send(engine, NOW, purpose("mine")))
    other = code_of(send(engine, NOW + 200 * SECOND, purpose("other")))
    assert attempt(engine, code, NOW + 301 * SECOND, purpose("mine")) is Verdict.DEAD
    assert attempt(engine, other, NOW + 301 * SECOND, purpose("other")) is Verdict.ACCEPTED


# OTP-04: the database decides


@pytest.mark.parametrize("state", ["used", "failed", "expired"])
def test_OTP_04_a_challenge_that_was_closed_meanwhile_accepts_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    found = send(engine, NOW, purpose())
    with engine.begin() as connection:
        connection.execute(update(otp_challenges).values(state=state, live_slot=None, closed_at=1))
    # What another request read a moment before.
    monkeypatch.setattr(challenges, "live_later", lambda *_: lambda: found)
    assert attempt(engine, code_of(found), NOW, purpose()) is Verdict.DEAD
    with reading(engine) as connection:
        row = connection.execute(select(otp_challenges)).one()
        assert authenticators.of_kind(connection, SEALS, "alice", "sms_otp") is not None
    assert (row.state, row.closed_at) == (state, 1)


def test_OTP_04_a_challenge_that_met_too_many_wrong_codes_meanwhile_accepts_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = send(engine, NOW, purpose())
    with engine.begin() as connection:
        connection.execute(update(otp_challenges).values(failures=LIMITS.max_wrong))
    monkeypatch.setattr(challenges, "live_later", lambda *_: lambda: found)
    assert attempt(engine, code_of(found), NOW, purpose()) is Verdict.DEAD


# OTP-07, OTP-09: a gateway that fails


def at_factor(idp: Idp) -> tuple[FlaskClient, str]:
    browser = idp.client()
    path = idp.path(browser, SIGNATURE)
    idp.sign_in(browser, path)
    return browser, path


def test_OTP_07_a_gateway_that_gives_no_answer_may_have_delivered_so_the_message_counts(idp: Idp) -> None:
    browser, path = at_factor(idp)
    handed_over = 0
    for _ in range(60):
        idp.inbox.fail = OutcomeUnknown("timed out, and was delivered all the same")
        idp.post(browser, path, "/factor", factor="sms_otp")
        handed_over += idp.inbox.fail is None
    assert handed_over == 1
    for _ in range(3):
        idp.clock.advance(30)
        idp.inbox.fail = OutcomeUnknown("down")
        idp.post(browser, path, "/factor", factor="sms_otp")
        handed_over += idp.inbox.fail is None
    assert handed_over == idp.settings.otp.max_sends


def test_OTP_09_what_was_delivered_without_an_answer_can_be_typed(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, path = at_factor(idp)

    def late(message: Any) -> None:
        idp.inbox.messages.append(message)
        raise OutcomeUnknown("timed out")

    monkeypatch.setattr(idp.inbox, "send_sms", late)
    response = idp.post(browser, path, "/factor", factor="sms_otp")
    assert response.status_code == 403
    assert "If no code arrives" in response.text
    assert 'data-form="otp"' in response.text
    assert idp.post(browser, path, "/code", code=idp.inbox.code).status_code == 303


@pytest.mark.parametrize("refusal", [RecipientRefused("no"), GatewayMisconfigured("no"), GatewayUnavailable("no")])
def test_OTP_09_a_message_that_was_refused_may_be_sent_again_at_once(idp: Idp, refusal: MessagingError) -> None:
    browser, path = at_factor(idp)
    idp.inbox.fail = refusal
    assert idp.post(browser, path, "/factor", factor="sms_otp").status_code == 403
    assert idp.post(browser, path, "/factor", factor="sms_otp").status_code == 303
    assert idp.post(browser, path, "/code", code=idp.inbox.code).status_code == 303


def test_OTP_07_the_hours_messages_are_those_of_the_last_hour(engine: Engine) -> None:
    for number in range(LIMITS.max_messages_an_hour):
        send(engine, NOW, purpose(f"m{number}"))
    with pytest.raises(OtpCoolDown):
        send(engine, NOW + timedelta(hours=1) - SECOND, purpose("x"))
    assert send(engine, NOW + timedelta(hours=1), purpose("x")).sent.sends == 1


# OTP-10: what a relying party writes into our message


@pytest.mark.parametrize(
    ("label", "seen"),
    [
        ("go to evil.example.com now", "evil example com"),
        ("evil\uff0eexample\u3002com", "evil example"),
        ("evil\u2024example", "evil example"),
        ("your code is 482 913", "your code is 482..."),
        ("code 48-29-13", "code 482..."),
        ("code 48.29.13", "code 482..."),
        ("code 4_8_2_9_1_3", "code 482..."),
        ("code (48) 29, 13", "code (482..."),
        ("\u2463\u2467\u2461\u2468\u2460\u2462", "482..."),
        ("\uff14\uff18\uff12\uff19\uff11\uff13", "482..."),
        ("Annex 12, page 3.pdf", "Annex 12, page 3 pdf"),
    ],
)
def test_OTP_10_no_name_makes_a_link_or_reads_like_a_code(idp: Idp, label: str, seen: str) -> None:
    text = message_about(idp, label)
    assert f"({seen})" in text or seen in text
    assert sum(character.isdigit() for character in text.split("document (")[1].split("Reference")[0]) <= 3
    assert "." not in text.split("(")[1].split(")")[0].replace("...", "")


def test_OTP_10_two_names_hold_no_code_between_them(idp: Idp) -> None:
    assert "(code 482...)" in message_about(idp, "code 4829", "1357")


def message_about(idp: Idp, *labels: str) -> str:
    digests = tuple(DocumentDigest(bytes([number]) * 32, label) for number, label in enumerate(labels))
    intent = SignatureIntent("cred-1", INTENT.hash_alg, digests, "dtbsr", len(digests))
    browser = idp.client()
    path = idp.path(browser, BeginInteraction("test", "signature.activate", "example-contracts", {}, intent=intent))
    idp.sign_in(browser, path)
    idp.post(browser, path, "/factor", factor="sms_otp")
    return idp.inbox.messages[-1].text
