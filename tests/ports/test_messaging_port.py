"""The messaging port: the same of the fake and of the real gateways, over a real SMTP dialogue and real HTTP."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from werkzeug.wrappers import Request, Response

from connectors.messaging.http_sms import HttpSms
from connectors.messaging.smpp import SmppSms
from connectors.messaging.smtp import SmtpMailer
from connectors.messaging.twilio_sms import TwilioSms
from connectors.ports.messaging import (
    AsksDelivery,
    Delivery,
    DeliveryState,
    GatewayMisconfigured,
    GatewayUnavailable,
    Mailer,
    MailMessage,
    OutcomeUnknown,
    RecipientRefused,
    SmsGateway,
    SmsMessage,
)
from devservices.inbox import tls_context
from devservices.messages import UnsafeInbox
from devservices.serving import bind
from devservices.sms import TwilioMessages
from devservices.smtp import Login, SmtpPolicy, SmtpService
from foundation.clock import SystemClock
from foundation.files import write_secret
from tests.fakes.messaging import FakeMessaging
from tests.fakes.smsc import HANG, Smsc
from tests.integration.devservices import RunningCa, running_ca, served

SID = "AC" + "0" * 32
CODE = "Example Contracts: 123456 signs contract.pdf"
Seen = Callable[[], list[tuple[str, str]]]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCa]:
    with running_ca(tmp_path_factory.mktemp("ca") / "state") as running:
        yield running


@dataclass(frozen=True)
class Postbox:
    """A mail server on loopback, and what it took."""

    port: int
    inbox: UnsafeInbox
    root: Path

    def settings(self, **changes: Any) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "sender": "sign@example.org",
            "ca_file": str(self.root),
            "timeout_seconds": 5,
            **changes,
        }


@contextmanager
def postbox(ca: RunningCa, path: Path, login: Login | None = None, *, tls: bool = True) -> Iterator[Postbox]:
    inbox = UnsafeInbox()
    (path / "tls").mkdir(mode=0o700)
    context = tls_context(path / "tls", ca.state, SystemClock()) if tls else None
    service = SmtpService(bind("127.0.0.1", 0), inbox, SmtpPolicy(context, tls, login), SystemClock())
    service.start()
    root = path / "root.pem"
    root.write_bytes(_root(ca))
    try:
        yield Postbox(service.port, inbox, root)
    finally:
        service.stop()


def _root(ca: RunningCa) -> bytes:
    import requests
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    der = requests.get(f"{ca.url}/ca/root.crt", timeout=5).content
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


@contextmanager
def twilio(token: bytes = b"token") -> Iterator[tuple[str, UnsafeInbox]]:
    inbox = UnsafeInbox()
    messages = TwilioMessages(inbox, SID, token, SystemClock())
    with served(lambda request: messages(request, SID)) as url:
        yield url, inbox


@pytest.fixture(params=["fake", "smtp"])
def mailer(request: pytest.FixtureRequest, ca: RunningCa, tmp_path: Path) -> Iterator[tuple[Mailer, Seen]]:
    if request.param == "fake":
        fake = FakeMessaging()
        yield fake, lambda: [(item.to, item.text) for item in fake.mail]
        return
    with postbox(ca, tmp_path) as box:
        yield SmtpMailer(box.settings()), lambda: [(item.recipient, item.body.strip()) for item in box.inbox.find()]


@pytest.fixture(params=["fake", "twilio", "http_sms", "smpp"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[SmsGateway, Seen]]:
    if request.param == "fake":
        fake = FakeMessaging()
        yield fake, lambda: [(item.to, item.text) for item in fake.sms]
        return
    write_secret(tmp_path / "token", b"token")
    if request.param == "http_sms":
        taken: list[tuple[str, str]] = []
        with served(lambda asked: _take(asked, taken)) as url:
            yield HttpSms(http_settings(tmp_path, url)), lambda: taken
        return
    if request.param == "smpp":
        centre = Smsc(password=b"token")
        client = SmppSms(smpp_settings(tmp_path, centre.port))
        yield client, lambda: [("+" + item.to, item.text) for item in centre.taken]
        client.close()
        centre.stop()
        return
    with twilio() as (url, inbox):
        yield (
            TwilioSms(_twilio_settings(tmp_path, url)),
            lambda: [(item.recipient, item.body) for item in inbox.find()],
        )


def http_settings(path: Path, url: str, **changes: Any) -> dict[str, Any]:
    return {
        "url": f"{url}/messages",
        "sender": "Example",
        "headers": {"Authorization": "Bearer {secret:token}"},
        "body": {"from": "{sender}", "messages": [{"to": "{to}", "text": "{text}", "id": "{id}"}]},
        "secrets": {"token": str(path / "token")},
        "answer_path": "status",
        "success_values": ["queued"],
        "recipient_values": ["no such number"],
        "later_values": ["busy"],
        "reference_path": "messages.0.id",
        "timeout_seconds": 5,
        **changes,
    }


def _take(asked: Request, taken: list[tuple[str, str]]) -> Response:
    assert asked.headers["Authorization"] == "Bearer token"
    (message,) = asked.get_json()["messages"]
    taken.append((message["to"], message["text"]))
    return Response(json.dumps({"status": "queued", "messages": [{"id": message["id"]}]}), mimetype="application/json")


def smpp_settings(path: Path, port: int, **changes: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "system_id": "privyseal",
        "password_file": str(path / "token"),
        "sender": "+15005550006",
        "timeout_seconds": 5,
        **changes,
    }


def _twilio_settings(path: Path, url: str) -> dict[str, Any]:
    return {
        "account_sid": SID,
        "auth_token_file": str(path / "token"),
        "sender": "+15005550006",
        "base_url": url,
        "timeout_seconds": 5,
    }


def test_a_mail_arrives_as_it_was_written(mailer: tuple[Mailer, Seen]) -> None:
    port, seen = mailer
    assert port.send_mail(MailMessage("alice@example.org", "Your code", CODE)).reference
    assert seen() == [("alice@example.org", CODE)]


def test_a_mail_to_no_address_is_refused_and_not_sent(mailer: tuple[Mailer, Seen]) -> None:
    port, seen = mailer
    with pytest.raises(RecipientRefused) as caught:
        port.send_mail(MailMessage("alice at example.org", "Your code", CODE))
    assert "123456" not in str(caught.value)
    assert seen() == []


def test_a_text_message_arrives_as_it_was_written(gateway: tuple[SmsGateway, Seen]) -> None:
    port, seen = gateway
    assert port.send_sms(SmsMessage("+15005550006", CODE)).reference
    assert seen() == [("+15005550006", CODE)]


def test_a_text_message_to_no_number_is_refused_and_not_sent(gateway: tuple[SmsGateway, Seen]) -> None:
    port, seen = gateway
    with pytest.raises(RecipientRefused):
        port.send_sms(SmsMessage("0470", CODE))
    assert seen() == []


def test_a_subject_cannot_begin_another_header(ca: RunningCa, tmp_path: Path) -> None:
    with postbox(ca, tmp_path) as box:
        SmtpMailer(box.settings()).send_mail(MailMessage("alice@example.org", "Code\r\nBcc: eve@example.org", CODE))
        (message,) = box.inbox.find()
    assert message.recipient == "alice@example.org"
    assert message.subject == "Code Bcc: eve@example.org"


def test_mail_is_not_sent_where_starttls_is_missing_or_the_certificate_is_a_strangers(
    ca: RunningCa, tmp_path: Path
) -> None:
    (tmp_path / "clear").mkdir()
    with postbox(ca, tmp_path / "clear", tls=False) as box:
        with pytest.raises(GatewayMisconfigured):
            SmtpMailer(box.settings()).send_mail(MailMessage("alice@example.org", "Code", CODE))
        assert box.inbox.find() == []
    (tmp_path / "stranger").mkdir()
    with postbox(ca, tmp_path / "stranger") as box:
        settings = box.settings()
        del settings["ca_file"]  # the system's authorities do not know the development CA
        with pytest.raises(GatewayUnavailable):
            SmtpMailer(settings).send_mail(MailMessage("alice@example.org", "Code", CODE))
        assert box.inbox.find() == []


def test_the_mail_servers_login_is_used_and_a_wrong_one_is_ours_to_mend(ca: RunningCa, tmp_path: Path) -> None:
    write_secret(tmp_path / "right", b"right")
    write_secret(tmp_path / "wrong", b"wrong")
    with postbox(ca, tmp_path, Login("privyseal", b"right")) as box:
        login = {"username": "privyseal", "password_file": str(tmp_path / "right")}
        SmtpMailer(box.settings(**login)).send_mail(MailMessage("alice@example.org", "Code", CODE))
        assert len(box.inbox.find()) == 1
        login["password_file"] = str(tmp_path / "wrong")
        with pytest.raises(GatewayMisconfigured) as caught:
            SmtpMailer(box.settings(**login)).send_mail(MailMessage("alice@example.org", "Code", CODE))
        assert "wrong" not in str(caught.value)


def test_no_gateway_at_all_is_unavailable(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        port = taken.getsockname()[1]
        smtp = {"host": "127.0.0.1", "port": port, "sender": "a@example.org", "security": "none"}
        with pytest.raises(GatewayUnavailable):
            SmtpMailer(smtp).send_mail(MailMessage("alice@example.org", "Code", CODE))
        write_secret(tmp_path / "token", b"token")
        for gateway in (
            HttpSms(http_settings(tmp_path, f"http://127.0.0.1:{port}")),
            SmppSms(smpp_settings(tmp_path, port)),
            TwilioSms(_twilio_settings(tmp_path, f"http://127.0.0.1:{port}")),
        ):
            with pytest.raises(GatewayUnavailable) as caught:
                gateway.send_sms(SmsMessage("+15005550006", CODE))
            assert not isinstance(caught.value, OutcomeUnknown), "nothing was sent, for certain"


def test_a_wrong_twilio_token_is_ours_to_mend(tmp_path: Path) -> None:
    write_secret(tmp_path / "token", b"another")
    with twilio() as (url, inbox):
        with pytest.raises(GatewayMisconfigured) as caught:
            TwilioSms(_twilio_settings(tmp_path, url)).send_sms(SmsMessage("+15005550006", CODE))
        assert inbox.find() == []
    assert "another" not in str(caught.value)
    assert "123456" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [(429, 20429, GatewayUnavailable), (503, 0, GatewayUnavailable), (500, 0, OutcomeUnknown),
     (400, 21610, RecipientRefused), (400, 21606, GatewayMisconfigured)],
)  # fmt: skip
def test_what_twilio_answers_tells_whose_fault_it_is(
    tmp_path: Path, status: int, code: int, expected: type[Exception]
) -> None:
    def answer(_request: Request) -> Response:
        return Response(f'{{"code": {code}, "message": "no: {CODE}"}}', status, mimetype="application/json")

    write_secret(tmp_path / "token", b"token")
    with served(answer) as url, pytest.raises(expected) as caught:
        TwilioSms(_twilio_settings(tmp_path, url)).send_sms(SmsMessage("+15005550006", CODE))
    assert type(caught.value) is expected
    assert "123456" not in str(caught.value)


def test_OTP_06_no_library_logs_a_code_or_a_secret(
    gateway: tuple[SmsGateway, Seen], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    gateway[0].send_sms(SmsMessage("+15005550006", CODE))
    for text in ("123456", b"123456".hex(), "token", "+15005550006"):
        assert text not in caplog.text


def test_OTP_09_a_gateway_that_hangs_costs_the_timeout_and_may_have_taken_it(tmp_path: Path) -> None:
    hold = threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hold.wait(20)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    httpd = HTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    write_secret(tmp_path / "token", b"token")
    centre = Smsc(password=b"token", statuses=[HANG])
    url = f"http://127.0.0.1:{httpd.server_port}"
    hanging: tuple[SmsGateway, ...] = (
        TwilioSms({**_twilio_settings(tmp_path, url), "timeout_seconds": 0.3}),
        HttpSms(http_settings(tmp_path, url, timeout_seconds=0.3)),
        SmppSms(smpp_settings(tmp_path, centre.port, timeout_seconds=1.0)),
    )
    try:
        for gateway in hanging:
            begin = time.monotonic()
            with pytest.raises(OutcomeUnknown):
                gateway.send_sms(SmsMessage("+15005550006", CODE))
            assert time.monotonic() - begin < 3
    finally:
        hold.set()
        centre.stop()
        httpd.shutdown()
        thread.join()
        httpd.server_close()


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (200, "busy", GatewayUnavailable),
        (200, "no such number", RecipientRefused),
        (200, "something else", OutcomeUnknown),
        (200, None, OutcomeUnknown),
        (302, "queued", GatewayMisconfigured),
        (401, "queued", GatewayMisconfigured),
        (422, "no such number", RecipientRefused),
        (429, "queued", GatewayUnavailable),
        (500, "queued", OutcomeUnknown),
        (503, "queued", GatewayUnavailable),
    ],
)
def test_OTP_09_what_an_http_gateway_answers_is_success_only_where_it_says_so(
    tmp_path: Path, status: int, answer: str | None, expected: type[Exception]
) -> None:
    def reply(_request: Request) -> Response:
        text = "not JSON" if answer is None else json.dumps({"status": answer, "echo": CODE})
        return Response(text, status, headers={"Location": "http://127.0.0.1:1/"})

    write_secret(tmp_path / "token", b"token")
    with served(reply) as url, pytest.raises(expected) as caught:
        HttpSms(http_settings(tmp_path, url)).send_sms(SmsMessage("+15005550006", CODE))
    assert type(caught.value) is expected
    assert "123456" not in str(caught.value)


def test_a_mail_server_that_goes_away_with_the_message_may_have_taken_it(tmp_path: Path) -> None:
    said = [b"220 a\r\n", b"250 a\r\n", b"250 a\r\n", b"250 a\r\n", b"354 a\r\n"]
    for steps, expected in ((5, OutcomeUnknown), (3, GatewayUnavailable)):
        listener = socket.create_server(("127.0.0.1", 0))

        def serve(listener: socket.socket = listener, lines: list[bytes] = said[:steps]) -> None:
            connection, _ = listener.accept()
            for line in lines:
                connection.sendall(line)
                connection.recv(4096)
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        settings = {
            "host": "127.0.0.1",
            "port": listener.getsockname()[1],
            "sender": "a@example.org",
            "security": "none",
        }
        with pytest.raises(GatewayUnavailable) as caught:
            SmtpMailer(settings).send_mail(MailMessage("alice@example.org", "Code", CODE))
        thread.join()
        listener.close()
        assert type(caught.value) is expected


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("delivered", DeliveryState.DELIVERED),
        ("failed", DeliveryState.FAILED),
        ("undelivered", DeliveryState.FAILED),
        ("sent", DeliveryState.PENDING),
        ("gibberish", DeliveryState.PENDING),
    ],
)
def test_a_gateway_is_asked_what_became_of_a_message(tmp_path: Path, said: str, state: DeliveryState) -> None:
    asked: list[tuple[str, str]] = []

    def answer(request: Request) -> Response:
        asked.append((request.method, request.path))
        return Response(json.dumps({"status": said, "sid": "x"}), mimetype="application/json")

    write_secret(tmp_path / "token", b"token")
    sid = "SM" + "0" * 32
    with served(answer) as url:
        http = HttpSms(http_settings(
            tmp_path, url, status_url=f"{url}/messages/{{reference}}", status_path="status",
            delivered_values=["delivered"], failed_values=["failed", "undelivered"],
        ))  # fmt: skip
        gateways: tuple[AsksDelivery, ...] = (http, TwilioSms(_twilio_settings(tmp_path, url)))
        assert [gateway.delivery_of(Delivery(sid)) for gateway in gateways] == [state, state]
        assert http.delivery_of(Delivery("../a?b")) is state
        for gateway in gateways:
            with pytest.raises(GatewayMisconfigured):
                gateway.delivery_of(Delivery(""))
    assert asked[0] == ("GET", f"/messages/{sid}")
    assert asked[1] == ("GET", f"/2010-04-01/Accounts/{SID}/Messages/{sid}.json")
    with pytest.raises(GatewayUnavailable):
        http.delivery_of(Delivery(sid))
