"""Notices about changed factors: over every channel from before the change, in the person's language, until sent."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import select, update

from auditlog.sql import read_entries
from connectors.ports.messaging import (
    GatewayMisconfigured,
    GatewayUnavailable,
    MailMessage,
    MessagingError,
    OutcomeUnknown,
    RecipientRefused,
    SmsMessage,
)
from idp.errors import UnknownAccount
from idp.notices import Change, notify_change
from idp.notifier import MOST_ATTEMPTS, MOST_UNKNOWN, Notifier, start
from idp.policy.evidence import FACTOR_CATEGORIES
from idp.settings import OtpSettings
from idp.storage import accounts, authenticators, notices
from idp.storage.accounts import NewAccount
from idp.storage.audit import TABLES
from idp.storage.models import authenticators as authenticator_rows
from idp.web import services as composition
from idp.web.services import Messaging
from tests.fakes.idp import EMAIL, NOW, PHONE, Idp, make_idp
from tests.unit.idp_web.interactions import signature


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path)
    yield made
    made.engine.dispose()


def change(idp: Idp, factor: str = "password", what: Change = "replaced", account_id: str = "account-alice") -> int:
    with idp.engine.begin() as connection:
        random = composition.of(idp.app).random
        return notify_change(
            connection, idp.seals, account_id=account_id, factor=factor, change=what, now=NOW, random=random
        )


def told(idp: Idp) -> list[str]:
    return [message.to for message in idp.inbox.messages]


def events(idp: Idp) -> list[tuple[str, Any]]:
    with idp.engine.connect() as connection:
        entries = [entry for entry in read_entries(connection, TABLES.entries) if entry.event.startswith("notice.")]
    return [(entry.event, json.loads(entry.fields).get("cause")) for entry in entries]


def waiting(idp: Idp) -> int:
    with idp.engine.connect() as connection:
        return notices.waiting(connection)


def test_ENR_03_OTP_08_the_former_address_is_told_and_the_new_one_is_not(idp: Idp) -> None:
    with idp.engine.begin() as connection:
        random = composition.of(idp.app).random
        assert notify_change(
            connection, idp.seals, account_id=idp.alice, factor="sms_otp", change="replaced", now=NOW, random=random
        ) == 2  # fmt: skip
        authenticators.replace(
            connection,
            idp.seals,
            authenticator_id="new",
            account_id=idp.alice,
            kind="sms_otp",
            now=NOW,
            address="+34600000009",
        )
    assert Notifier(idp.app).deliver()
    assert sorted(told(idp)) == [PHONE, EMAIL]
    assert (waiting(idp), events(idp)) == (0, [("notice.sent", None)] * 2)


def test_a_change_that_is_rolled_back_tells_nobody(idp: Idp) -> None:
    connection = idp.engine.connect()
    connection.begin()
    notify_change(
        connection,
        idp.seals,
        account_id=idp.alice,
        factor="password",
        change="reset",
        now=NOW,
        random=secrets.token_bytes,
    )
    connection.close()
    assert waiting(idp) == 0
    with pytest.raises(UnknownAccount):
        change(idp, account_id="nobody")


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        (None, "a way to sign in"),
        ("en-GB", "a way to sign in"),
        ("es", "método de acceso"),
        ("de_AT", "Anmeldemethode"),
        ("fr", "moyen de connexion"),
        ("tlh", "a way to sign in"),
    ],
)
def test_every_change_of_every_factor_is_told_in_the_persons_language(idp: Idp, locale: str | None, words: str) -> None:
    with idp.engine.begin() as connection:
        accounts.create(connection, "account-bob", NewAccount("bob", "Bob Example", locale=locale), NOW)
        for kind, address in (("sms_otp", "+34600000002"), ("email_otp", "bob@example.org")):
            authenticators.add(
                connection,
                idp.seals,
                authenticator_id=kind,
                account_id="account-bob",
                kind=kind,
                now=NOW,
                address=address,
            )
    # Nobody signs in with a device that approves signatures: it has words of its own.
    cases = [(factor, what) for factor in FACTOR_CATEGORIES for what in get_args(Change) if what != "device"]
    for factor, what in cases:
        change(idp, factor, what, "account-bob")
        assert Notifier(idp.app).deliver()
        idp.clock.advance(600)
    mails = [message for message in idp.inbox.messages if isinstance(message, MailMessage)]
    texts = [message for message in idp.inbox.messages if isinstance(message, SmsMessage)]
    assert len({mail.text for mail in mails}) == len({sms.text for sms in texts}) == len(cases) == len(texts)
    for message in idp.inbox.messages:
        assert words in message.text
        assert "Privy Seal" in message.text
        assert not any(factor in message.text for factor in ("sms_otp", "recovery_code", "http"))
    assert all("2026-03-02 10:00 UTC" in mail.text and "\n" not in mail.subject for mail in mails)


def test_OTP_07_changes_without_end_send_no_text_messages_without_end(idp: Idp) -> None:
    """Somebody makes new recovery codes over and over, each of which is told to a number that they earn on."""
    for _ in range(15):
        change(idp, "recovery_code", "replaced")
        Notifier(idp.app).deliver()
    assert (told(idp).count(PHONE), told(idp).count(EMAIL)) == (10, 15)
    assert events(idp).count(("notice.dropped", "too_many")) == 5
    idp.clock.advance(3600 + 120)
    change(idp)
    assert Notifier(idp.app).deliver()
    assert told(idp).count(PHONE) == 11


def test_OTP_07_everybodys_notices_have_a_budget_and_wait_for_room_in_it(tmp_path: Path) -> None:
    """However many people somebody makes changes for: it costs so much an hour, and none of the notices is lost."""
    idp = make_idp(tmp_path, otp=OtpSettings(budget_an_hour=3, budget_a_day=5000))
    for _ in range(3):
        change(idp)
    assert Notifier(idp.app).deliver()
    change(idp)
    # A text message waits, and mail does not; a code still goes out, whose budget is another one.
    assert not Notifier(idp.app).deliver()
    assert (told(idp).count(PHONE), told(idp).count(EMAIL)) == (3, 4)
    assert ("notice.dropped", "notice_budget") not in events(idp)
    browser = idp.client()
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    assert idp.post(browser, path, "/factor", factor="sms_otp").status_code == 303
    sent = told(idp).count(PHONE)
    for _ in range(8):
        idp.clock.advance(900)
        Notifier(idp.app).deliver()
    assert told(idp).count(PHONE) == sent + 1
    idp.engine.dispose()


def test_OTP_07_a_notice_that_no_gateway_took_gives_its_place_back(tmp_path: Path) -> None:
    idp = make_idp(tmp_path, otp=OtpSettings(budget_an_hour=1, budget_a_day=5000))
    change(idp)
    idp.inbox.fail = GatewayUnavailable("down")
    assert not Notifier(idp.app).deliver()
    idp.inbox.fail = None
    idp.clock.advance(600)
    assert Notifier(idp.app).deliver()
    assert told(idp).count(PHONE) == 1
    idp.engine.dispose()


@pytest.mark.parametrize(
    ("error", "cause"),
    [(RecipientRefused("no"), "recipient_refused"), (None, "no_gateway")],
    ids=["refused", "no gateway"],
)
def test_what_can_never_be_sent_is_dropped_on_the_record(idp: Idp, error: MessagingError | None, cause: str) -> None:
    if error is None:
        made = composition.of(idp.app)
        idp.app.extensions[composition.EXTENSION] = dataclasses.replace(made, messaging=Messaging(None, idp.inbox))
    idp.inbox.fail = error
    change(idp)
    assert Notifier(idp.app).deliver()
    assert len(told(idp)) == 1
    assert sorted(events(idp)) == [("notice.dropped", cause), ("notice.sent", None)]


@pytest.mark.parametrize(
    ("error", "most"),
    [
        (GatewayUnavailable("later"), MOST_ATTEMPTS),
        (GatewayMisconfigured("mend it"), MOST_ATTEMPTS),
        (OutcomeUnknown("sent, or not"), MOST_UNKNOWN),
    ],
)
def test_OTP_09_a_gateway_that_fails_is_asked_again_later_and_not_for_ever(
    idp: Idp, error: MessagingError, most: int
) -> None:
    with idp.engine.begin() as connection:
        connection.execute(
            update(authenticator_rows).where(authenticator_rows.c.kind == "email_otp")
            .values(disabled_at=1)
        )  # fmt: skip
    change(idp)
    for attempt in range(most):
        idp.inbox.fail = error
        assert not Notifier(idp.app).deliver()
        assert Notifier(idp.app).deliver(), "nothing is due yet"
        idp.clock.advance(notices.wait_seconds(attempt + 1))
    assert (told(idp), waiting(idp), events(idp)) == ([], 0, [("notice.dropped", error.code)])


def test_an_attempt_is_made_by_one_process(idp: Idp) -> None:
    change(idp)
    with idp.engine.begin() as connection:
        (first, _) = notices.due(connection, idp.seals, NOW, 10)
        assert [notices.claim(connection, first, NOW) for _ in range(2)] == [True, False]
    assert Notifier(idp.app).deliver()
    assert len(told(idp)) == 1


def test_KEY_03_a_notice_that_somebody_else_wrote_or_changed_is_not_sent(idp: Idp) -> None:
    change(idp)
    with idp.engine.begin() as connection:
        connection.execute(update(notices.notices).values(address="+34600000666"))
    assert Notifier(idp.app).deliver()
    assert told(idp) == []


def test_a_process_sends_them_in_the_background_and_health_tells_what_waits(idp: Idp) -> None:
    change(idp)
    assert json.loads(idp.client().get("/health/ready").text)["notices"] == 2
    thread = start(idp.app)
    thread.wake()
    thread.stop()
    with idp.engine.connect() as connection:
        left = connection.execute(select(notices.notices)).all()
    assert left == [] or len(told(idp)) < 2
    Notifier(idp.app).deliver()
    assert "notices" not in json.loads(idp.client().get("/health/ready").text)
