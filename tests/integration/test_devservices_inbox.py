"""The development inbox over real SMTP and HTTP."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from connectors.messaging.smtp import SmtpMailer
from connectors.messaging.twilio_sms import TwilioSms
from connectors.ports.messaging import MailMessage, SmsMessage
from devservices.inbox import DEFAULT_ACCOUNT_SID, tls_context
from devservices.messages import UnsafeInbox
from devservices.serving import bind
from devservices.smtp import MAX_MAIL_BYTES, MAX_RECIPIENTS, Login, SmtpPolicy, SmtpService
from foundation.clock import SystemClock
from tests.integration.devservices import Command, RunningCa, command, run, running_ca

LOGIN = Login("privyseal", b"a password of the tests")


def mail(subject: str = "Your code", text: str = "Your code is 123456\n") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "privyseal@example.org"
    message["To"] = "alice@example.org"
    message["Subject"] = subject
    message.set_content(text)
    return message


@contextmanager
def listening(policy: SmtpPolicy) -> Iterator[tuple[int, UnsafeInbox]]:
    inbox = UnsafeInbox()
    service = SmtpService(bind("127.0.0.1", 0), inbox, policy, SystemClock())
    service.start()
    try:
        yield service.port, inbox
    finally:
        service.stop()


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCa]:
    with running_ca(tmp_path_factory.mktemp("ca") / "state") as running:
        yield running


@pytest.fixture(scope="module")
def server_tls(ca: RunningCa, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return tls_context(tmp_path_factory.mktemp("tls"), ca.state, SystemClock())


@pytest.fixture
def client_tls(ca: RunningCa) -> ssl.SSLContext:
    """Trusts the development root alone and checks names."""
    return ssl.create_default_context(cafile=str(ca.state / "root.crt"))


def test_a_mail_arrives_with_subject_text_and_one_copy_a_recipient() -> None:
    with listening(SmtpPolicy()) as (port, inbox):
        with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
            assert not client.has_extn("starttls")
            client.send_message(mail("Žluť: your code"), to_addrs=["alice@example.org", "audit@example.org"])
        newest, oldest = inbox.find()
    assert (oldest.recipient, newest.recipient) == ("alice@example.org", "audit@example.org")
    assert newest.sender == "privyseal@example.org"
    assert newest.subject == "Žluť: your code"
    assert newest.body == "Your code is 123456\n"


def test_starttls_with_a_certificate_of_the_development_root(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    with listening(SmtpPolicy(server_tls)) as (port, inbox):
        for host in ("127.0.0.1", "localhost"):
            with smtplib.SMTP(host, port, timeout=5) as client:
                client.starttls(context=client_tls)
                client.send_message(mail())
        assert len(inbox.find("alice@example.org")) == 2


def test_a_client_that_does_not_know_the_development_root_ends_the_handshake(server_tls: ssl.SSLContext) -> None:
    with listening(SmtpPolicy(server_tls)) as (port, inbox), smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
        with pytest.raises(ssl.SSLCertVerificationError):
            client.starttls(context=ssl.create_default_context())
        client.close()
        assert inbox.find() == []


def test_mail_in_clear_is_refused_where_starttls_is_demanded(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    with listening(SmtpPolicy(server_tls, require_tls=True)) as (port, inbox):
        with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
            with pytest.raises(smtplib.SMTPResponseException) as refused:
                client.send_message(mail())
            assert refused.value.smtp_code == 530
        assert inbox.find() == []
        with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
            client.starttls(context=client_tls)
            client.send_message(mail())
        assert len(inbox.find()) == 1


def test_a_login_is_demanded_offered_only_behind_tls_and_checked(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    with listening(SmtpPolicy(server_tls, True, LOGIN)) as (port, inbox):
        with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
            client.ehlo()
            assert not client.has_extn("auth")
            client.starttls(context=client_tls)
            with pytest.raises(smtplib.SMTPResponseException) as unauthenticated:
                client.send_message(mail())
            assert unauthenticated.value.smtp_code == 530
        with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
            client.starttls(context=client_tls)
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login(LOGIN.user, "wrong")
        for mechanism in ("PLAIN", "LOGIN"):
            with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
                client.starttls(context=client_tls)
                client.ehlo()
                client.user, client.password = LOGIN.user, LOGIN.password.decode()
                client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
                client.send_message(mail())
        assert len(inbox.find()) == 2


def test_a_mail_too_large_and_too_many_recipients_are_refused() -> None:
    with listening(SmtpPolicy()) as (port, inbox):
        huge = mail(text=("y" * 70 + "\n") * (MAX_MAIL_BYTES // 70))
        with smtplib.SMTP("127.0.0.1", port, timeout=5) as client, pytest.raises(smtplib.SMTPResponseException) as big:
            client.send_message(huge)
        assert big.value.smtp_code == 552
        assert inbox.find() == []
        many = [f"alice+{number}@example.org" for number in range(MAX_RECIPIENTS + 1)]
        with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
            refused = client.send_message(mail(), to_addrs=many)
        assert list(refused) == many[-1:]
        assert len(inbox.find()) == MAX_RECIPIENTS


def test_a_silent_session_does_not_keep_the_listener_from_ending() -> None:
    with listening(SmtpPolicy()) as (port, _inbox), socket.create_connection(("127.0.0.1", port), 5) as silent:
        assert silent.recv(100).startswith(b"220 ")


class LoopbackTransport(TwilioHttpClient):  # type: ignore[misc] # twilio is untyped
    """The library's own transport with its host exchanged for the inbox."""

    def __init__(self, base_url: str) -> None:
        super().__init__(timeout=5)
        self._base_url = base_url

    def request(self, method: str, url: str, *arguments: Any, **named: Any) -> Any:
        return super().request(method, url.replace("https://api.twilio.com", self._base_url), *arguments, **named)


@pytest.fixture(scope="module")
def service(ca: RunningCa, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Command, Path]]:
    state = tmp_path_factory.mktemp("inbox") / "state"
    arguments = ("--state", str(state), "--port", "0", "--smtp-port", "0", "--ca-state", str(ca.state))
    with command("devservices.inbox", *arguments) as running:
        yield running, state


@pytest.fixture
def web(service: tuple[Command, Path]) -> str:
    return service[0].ready.split()[0]


def test_the_twilio_library_sends_and_reads_the_refusals(service: tuple[Command, Path], web: str) -> None:
    token = (service[1] / "twilio-token").read_text().strip()
    messages = Client(DEFAULT_ACCOUNT_SID, token, http_client=LoopbackTransport(web)).messages
    sent = messages.create(to="+32470000002", from_="+3225550100", body="Your code is 123456 & <b>more</b>")
    assert (sent.status, sent.to, sent.error_code) == ("queued", "+32470000002", None)

    found = requests.get(f"{web}/messages.json", params={"to": "+32470000002"}, timeout=5).json()["messages"]
    assert [(item["channel"], item["body"]) for item in found] == [("sms", "Your code is 123456 & <b>more</b>")]
    page = requests.get(web, timeout=5).text
    assert "123456 &amp; &lt;b&gt;more&lt;/b&gt;" in page

    with pytest.raises(TwilioRestException) as bad_number:
        messages.create(to="0470", from_="+3225550100", body="hello")
    assert (bad_number.value.status, bad_number.value.code) == (400, 21211)
    stranger = Client(DEFAULT_ACCOUNT_SID, "wrong", http_client=LoopbackTransport(web)).messages
    with pytest.raises(TwilioRestException) as unauthorised:
        stranger.create(to="+32470000002", from_="+3225550100", body="hello")
    assert (unauthorised.value.status, unauthorised.value.code) == (401, 20003)


def test_the_command_shows_mail_on_the_page_and_as_json(
    service: tuple[Command, Path], web: str, client_tls: ssl.SSLContext
) -> None:
    smtp = urlsplit(service[0].ready.split()[1])
    with smtplib.SMTP(smtp.hostname or "", smtp.port or 0, timeout=5) as client:
        client.starttls(context=client_tls)
        client.send_message(mail("<script>alert(1)</script>"))
    page = requests.get(web, params={"to": "alice@example.org"}, timeout=5)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "<script" not in page.text
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    found = requests.get(f"{web}/messages.json", params={"channel": "email"}, timeout=5).json()["messages"]
    assert found[0]["subject"] == "<script>alert(1)</script>"


def test_secrets_of_the_inbox_are_owner_only(service: tuple[Command, Path]) -> None:
    for name in ("twilio-token", "smtp.key"):
        assert (service[1] / name).stat().st_mode & 0o777 == 0o600


def test_OTP_06_the_process_ends_at_once_and_wrote_no_code_and_no_number(ca: RunningCa, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with command("devservices.inbox", "--state", str(state), "--port", "0", "--smtp-port", "0") as running:
        web, smtp = running.ready.split()
        with smtplib.SMTP("127.0.0.1", urlsplit(smtp).port or 0, timeout=5) as client:
            client.send_message(mail())
        token = (state / "twilio-token").read_text().strip()
        form = {"To": "+32470000003", "From": "+3225550100", "Body": "Your code is 918273"}
        path = f"/2010-04-01/Accounts/{DEFAULT_ACCOUNT_SID}/Messages.json"
        answer = requests.post(web + path, data=form, auth=(DEFAULT_ACCOUNT_SID, token), timeout=5)
        assert answer.status_code == 201
        requests.get(f"{web}/messages.json", params={"to": "+32470000003"}, timeout=5)
        status, err = running.end()
    assert status == 0
    assert "UnsafeInbox" in err
    for secret in ("123456", "918273", "32470000003", "alice@example.org", token):
        assert secret not in err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--require-starttls",), "need --ca-state"),
        (("--smtp-user", "privyseal"), "need --ca-state"),
        (("--smtp-user", "privyseal", "--ca-state", "nowhere"), "go together"),
        (("--ca-state", "nowhere"), "no development CA here yet"),
        (("--account-sid", "AC1"), "32 hexadecimal"),
        (("--host", "192.0.2.1"), "not loopback"),
    ],
)
def test_options_that_do_not_go_together_end_with_status_2(
    tmp_path: Path, options: tuple[str, ...], complaint: str
) -> None:
    ended = run("devservices.inbox", "--state", str(tmp_path / "inbox"), "--port", "0", "--smtp-port", "0", *options)
    assert ended.returncode == 2
    assert complaint in ended.stderr


def test_a_taken_smtp_port_ends_with_status_2(tmp_path: Path) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        ended = run("devservices.inbox", "--state", str(tmp_path / "inbox"), "--port", "0", "--smtp-port", port)
    assert ended.returncode == 2
    assert f"port {port} on 127.0.0.1 is taken" in ended.stderr


def test_the_products_own_connectors_deliver_here(service: tuple[Command, Path], web: str, ca: RunningCa) -> None:
    port = urlsplit(service[0].ready.split()[1]).port
    mailer = SmtpMailer(
        {"host": "localhost", "port": port, "sender": "privyseal@example.org", "ca_file": str(ca.state / "root.crt")}
    )
    mailer.send_mail(MailMessage(to="alice+connector@example.org", subject="Your code", text="Your code is 271828"))
    gateway = TwilioSms(
        {
            "account_sid": DEFAULT_ACCOUNT_SID,
            "auth_token_file": str(service[1] / "twilio-token"),
            "sender": "+3225550100",
            "base_url": web,
        }
    )
    gateway.send_sms(SmsMessage(to="+32470000009", text="Your code is 314159"))
    for recipient, code in (("alice+connector@example.org", "271828"), ("+32470000009", "314159")):
        found = requests.get(f"{web}/messages.json", params={"to": recipient}, timeout=5).json()["messages"]
        assert [code in item["body"] for item in found] == [True]
