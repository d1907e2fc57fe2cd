"""Messaging settings: what must not be configured cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connectors.messaging.smtp import SmtpMailer
from connectors.messaging.twilio_sms import TwilioSms
from connectors.ports.messaging import MailMessage, RecipientRefused, SmsMessage
from foundation.errors import SecretFileError, SettingsError
from foundation.files import write_secret

SMTP: dict[str, Any] = {"host": "mail.example.org", "sender": "sign@example.org"}


@pytest.fixture
def token(tmp_path: Path) -> str:
    write_secret(tmp_path / "token", b"twilio-token")
    return str(tmp_path / "token")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"security": "none"}, "security"),
        ({"security": "ssl"}, "security"),
        ({"username": "u"}, "username and password_file"),
        ({"sender": "nobody"}, "sender"),
        ({"sender": "a@b\nBcc: c@d"}, "sender"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"password": "hunter2"}, "password is not a setting"),
    ],
)
def test_smtp_settings_that_are_refused(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault) as caught:
        SmtpMailer({**SMTP, **change})
    assert "hunter2" not in str(caught.value)


def test_a_password_is_never_sent_in_clear(token: str) -> None:
    clear = {**SMTP, "host": "127.0.0.1", "security": "none", "username": "u", "password_file": token}
    with pytest.raises(SettingsError, match="without TLS"):
        SmtpMailer(clear)


def test_a_password_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2")
    path.chmod(0o644)
    with pytest.raises(SecretFileError):
        SmtpMailer({**SMTP, "username": "u", "password_file": str(path)})


@pytest.mark.parametrize("to", ["nobody", "a@b c@d", "a@b\r\nRCPT TO:<x@y>", "<a@b>", "", "a@b,c@d"])
def test_an_address_that_would_break_the_dialogue_is_refused_before_it(to: str) -> None:
    with pytest.raises(RecipientRefused) as caught:
        SmtpMailer(SMTP).send_mail(MailMessage(to, "s", "t"))
    assert not to or to not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"account_sid": "AC1"}, "account_sid"),
        ({"base_url": "http://sms.example.org"}, "base_url"),
        ({"timeout_seconds": 61}, "timeout_seconds"),
    ],
)
def test_twilio_settings_that_are_refused(token: str, change: dict[str, Any], fault: str) -> None:
    good = {"account_sid": "AC" + "0" * 32, "auth_token_file": token, "sender": "+15005550006"}
    with pytest.raises(SettingsError, match=fault):
        TwilioSms({**good, **change})


@pytest.mark.parametrize("to", ["", "0470000000", "+0470000000", "+1", "+1500555000a", "+15005550006\n"])
def test_a_number_that_is_not_e164_is_refused(token: str, to: str) -> None:
    gateway = TwilioSms({"account_sid": "AC" + "0" * 32, "auth_token_file": token, "sender": "+15005550006"})
    with pytest.raises(RecipientRefused) as caught:
        gateway.send_sms(SmsMessage(to, "Your code is 123456"))
    assert "123456" not in str(caught.value)


def test_OTP_06_a_message_shows_neither_address_nor_text() -> None:
    assert "123456" not in repr(SmsMessage("+15005550006", "Your code is 123456"))
    assert "+15005550006" not in repr(SmsMessage("+15005550006", "Your code is 123456"))
    assert "123456" not in repr(MailMessage("alice@example.org", "Code", "Your code is 123456"))
