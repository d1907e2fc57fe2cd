"""Messaging settings: what must not be configured cannot be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from connectors.messaging.http_settings import filled
from connectors.messaging.http_sms import HttpSms
from connectors.messaging.smpp import SmppSms
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


HTTP: dict[str, Any] = {"url": "https://sms.example.org/send", "body": {"to": "{to}", "text": "{text}"}}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"url": "http://sms.example.org/send"}, "url is an https URL"),
        ({"url": "https://user:hunter2@sms.example.org/"}, "url is an https URL"),
        ({"url": "https://sms.example.org/?text={text}"}, "url has no fields"),
        ({"method": "GET"}, "method"),
        ({"body": {"to": "{to}"}}, "{text} is nowhere"),
        ({"headers": {"X-Text": "{text}"}}, "{text} is no field there"),
        ({"headers": {"X-Api-Key": "hunter2"}}, "looks like a secret"),
        ({"body": {"to": "{to}", "text": "{text}", "password": "hunter2"}}, "looks like a secret"),
        ({"headers": {"X-Api-Key": "{secret:key}"}}, "there is no secret 'key'"),
        ({"headers": {"X-Api-Key": "{secret}"}}, "{secret} is no field there"),
        ({"headers": {"Host": "elsewhere"}}, "not a header to set"),
        ({"headers": {"X-A\r\nB": "c"}}, "not a header to set"),
        ({"body": {"to": "{to}", "text": "{text}", "x": "{code}"}}, "{code} is no field there"),
        ({"form": "text"}, "body has no fields"),
        ({"username": "u"}, "username and password_file"),
        ({"answer_path": "status"}, "answer_path and success_values"),
        ({"status_url": "https://sms.example.org/status"}, "status_url holds {reference}"),
        ({"status_url": "https://sms.example.org/{reference}"}, "status_url, status_path and delivered_values"),
        ({"success_status": [200, 500]}, "success_status"),
        ({"recipient_status": [200]}, "recipient_status"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file"),
    ],
)
def test_http_settings_that_are_refused(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(fault)) as caught:
        HttpSms({**HTTP, **change})
    assert "hunter2" not in str(caught.value)


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(SecretFileError):
        HttpSms({**HTTP, "headers": {"X-Api-Key": "{secret:key}"}, "secrets": {"key": str(tmp_path / "key")}})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"security": "none"}, "security may be none only"),
        ({"host": "10.0.0.7", "security": "none"}, "security may be none only"),
        ({"host": "sms.example.org", "security": "none", "private_network": True}, "security may be none only"),
        ({"host": "8.8.8.8", "security": "none", "private_network": True}, "security may be none only"),
        ({"system_id": "sixteencharacter"}, "system_id"),
        ({"system_id": "a\0b"}, "system_id"),
        ({"sender": "Example Contracts"}, "sender"),
        ({"window": 0}, "window"),
        ({"validity_seconds": 3600}, "validity_seconds"),
        ({"enquire_link_seconds": 0}, "enquire_link_seconds"),
        ({"password": "hunter2"}, "password is not a setting"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file"),
    ],
)
def test_smpp_settings_that_are_refused(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    write_secret(tmp_path / "short", b"secret")
    good = {"host": "smsc.example.org", "system_id": "us", "password_file": str(tmp_path / "short"), "sender": "Us"}
    with pytest.raises(SettingsError, match=fault) as caught:
        SmppSms({**good, **change})
    assert "hunter2" not in str(caught.value)


def test_a_centre_behind_a_protected_private_network_may_be_spoken_to_in_clear(tmp_path: Path) -> None:
    write_secret(tmp_path / "short", b"secret")
    SmppSms(
        {
            "host": "10.0.0.7",
            "security": "none",
            "private_network": True,
            "system_id": "us",
            "password_file": str(tmp_path / "short"),
            "sender": "Example",
        }
    )


def test_OTP_10_a_text_cannot_ask_for_a_secret_or_another_field() -> None:
    given = {"to": "+34600000001", "text": "{secret:key} {to}"}
    made = filled({"a": "{text}", "b": ["{to}", 7]}, lambda name, _more: given[name])
    assert made == {"a": "{secret:key} {to}", "b": ["+34600000001", 7]}
