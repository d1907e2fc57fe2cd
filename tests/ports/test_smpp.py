"""SMPP 3.4 over real sockets, against a centre that does as it is told: refusals, silence, receipts, TLS, rubbish."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from connectors.messaging.smpp import SmppSms
from connectors.ports.messaging import (
    DeliveryState,
    GatewayMisconfigured,
    GatewayUnavailable,
    GetsReceipts,
    MessagingError,
    OutcomeUnknown,
    Receipt,
    RecipientRefused,
    SmsMessage,
)
from devservices.inbox import tls_context
from foundation.clock import SystemClock
from foundation.errors import SettingsError
from foundation.files import write_secret
from tests.fakes.smsc import DROP, HANG, Smsc
from tests.integration.devservices import running_ca

NUMBER = "+34600000001"
CODE = "Example Contracts: 123456 signs contract.pdf"
Client = Callable[..., SmppSms]


@pytest.fixture
def centre() -> Iterator[Smsc]:
    made = Smsc()
    yield made
    made.stop()


@pytest.fixture
def client(tmp_path: Path, centre: Smsc) -> Iterator[Client]:
    made: list[SmppSms] = []

    def make(**changes: Any) -> SmppSms:
        made.append(SmppSms(settings(tmp_path, centre, **changes)))
        return made[-1]

    yield make
    for item in made:
        item.close()


def settings(path: Path, centre: Smsc, **changes: Any) -> dict[str, Any]:
    if not (path / "password").exists():
        write_secret(path / "password", b"secret")
    return {
        "host": "127.0.0.1",
        "port": centre.port,
        "security": "none",
        "system_id": "privyseal",
        "password_file": str(path / "password"),
        "sender": "+15005550006",
        "timeout_seconds": 2,
        **changes,
    }


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0x58, GatewayUnavailable),  # ESME_RTHROTTLED
        (0x14, GatewayUnavailable),  # ESME_RMSGQFUL
        (0x08, GatewayUnavailable),  # ESME_RSYSERR
        (0x0B, RecipientRefused),  # ESME_RINVDSTADR
        (0x0A, GatewayMisconfigured),  # ESME_RINVSRCADR
        (0x04FF, GatewayMisconfigured),  # of the vendor's own
        (HANG, OutcomeUnknown),
        (DROP, OutcomeUnknown),
    ],
)
def test_OTP_09_a_refusal_is_certain_and_silence_is_not(
    client: Client, centre: Smsc, status: int, expected: type[MessagingError]
) -> None:
    gateway = client(timeout_seconds=1.0)
    centre.statuses.append(status)
    with pytest.raises(MessagingError) as caught:
        gateway.send_sms(SmsMessage(NUMBER, CODE))
    assert type(caught.value) is expected
    assert "123456" not in str(caught.value)
    assert gateway.send_sms(SmsMessage(NUMBER, CODE)).reference == "m1", "the next one is sent all the same"


def test_a_wrong_password_is_ours_to_mend_and_one_that_is_too_long_is_refused_at_once(
    client: Client, centre: Smsc, tmp_path: Path
) -> None:
    centre.password = b"another"
    with pytest.raises(GatewayMisconfigured) as caught:
        client().send_sms(SmsMessage(NUMBER, CODE))
    assert "secret" not in str(caught.value)
    write_secret(tmp_path / "long", b"123456789")
    with pytest.raises(SettingsError, match="8 ASCII characters"):
        client(password_file=str(tmp_path / "long"))


@pytest.mark.parametrize(
    ("text", "changes", "coding", "parts"),
    [
        ("Código 123456: año", {}, 8, 1),
        ("Código 123456: año", {"alphabet": "latin1"}, 3, 1),
        ("x" * 160, {}, 0, 1),
        ("x" * 161, {}, 0, 2),
        ("x" * 161, {"long_messages": "payload"}, 0, 1),
        ("ó" * 71, {}, 8, 2),
        ("ó" * 141, {"alphabet": "latin1"}, 3, 2),
    ],
)
def test_a_text_arrives_whole_in_the_alphabet_and_parts_it_takes(
    client: Client, centre: Smsc, text: str, changes: dict[str, Any], coding: int, parts: int
) -> None:
    client(**changes).send_sms(SmsMessage(NUMBER, text))
    assert [item.data_coding for item in centre.taken] == [coding] * parts
    assert "".join(item.text for item in centre.taken) == text
    headers = [item.octets[:6] for item in centre.taken if item.esm_class & 0x40]
    assert len(headers) == (parts if parts > 1 else 0)
    assert [header[4:] for header in headers] == [bytes([parts, number + 1]) for number in range(len(headers))]
    assert len({header[:4] for header in headers}) <= 1
    assert {item.validity for item in centre.taken} == {"000000000500000R"}, "a late code is worth nothing"


def test_OTP_09_a_text_of_which_a_part_was_taken_may_arrive(client: Client, centre: Smsc) -> None:
    centre.statuses += [0, 0x58]
    with pytest.raises(OutcomeUnknown):
        client().send_sms(SmsMessage(NUMBER, "x" * 200))


@pytest.mark.parametrize(
    ("sender", "numbering"),
    [("+15005550006", (1, 1, 1, 1)), ("12345", (3, 0, 1, 1)), ("Example", (5, 0, 1, 1))],
)
def test_a_sender_is_a_number_a_short_code_or_a_name(
    client: Client, centre: Smsc, sender: str, numbering: tuple[int, ...]
) -> None:
    client(sender=sender).send_sms(SmsMessage(NUMBER, CODE))
    (message,) = centre.taken
    assert (message.sender, message.numbering) == (sender.removeprefix("+"), numbering)


@pytest.mark.parametrize(
    ("stat", "state"),
    [
        (b"DELIVRD", DeliveryState.DELIVERED),
        (b"UNDELIV", DeliveryState.FAILED),
        (b"EXPIRED", DeliveryState.FAILED),
        (b"ACCEPTD", DeliveryState.PENDING),
    ],
)
def test_receipts_are_answered_and_kept_for_whoever_asks(
    client: Client, centre: Smsc, stat: bytes, state: DeliveryState, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    centre.receipt = stat
    gateway = client()
    assert isinstance(gateway, GetsReceipts)
    reference = gateway.send_sms(SmsMessage(NUMBER, CODE)).reference
    assert centre.wait_for(lambda: centre.receipts_answered == 1)
    assert gateway.take_receipts() == (Receipt(reference, state),)
    assert gateway.take_receipts() == ()
    assert "123456" not in caplog.text, "a receipt quotes the message"


def test_one_connection_serves_everybody_and_is_made_anew_when_it_broke(client: Client, centre: Smsc) -> None:
    gateway = client(window=4)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: gateway.send_sms(SmsMessage(NUMBER, f"{number}")).reference, range(40)))
    assert sorted(found) == sorted(f"m{number + 1}" for number in range(40))
    assert centre.binds == 1
    centre.drop()
    for _ in range(50):
        # The broken connection is noticed within a moment; until then what is sent into it has no known outcome.
        try:
            gateway.send_sms(SmsMessage(NUMBER, CODE))
            break
        except OutcomeUnknown:
            continue
    assert centre.binds == 2


def test_the_centre_is_asked_whether_it_is_there_and_one_that_is_not_is_left(client: Client, centre: Smsc) -> None:
    gateway = client(enquire_link_seconds=1, timeout_seconds=2.0)
    gateway.send_sms(SmsMessage(NUMBER, CODE))
    assert centre.wait_for(lambda: centre.enquiries >= 1, 20)
    centre.answers_enquiries, answered = False, centre.enquiries
    assert centre.wait_for(lambda: centre.enquiries > answered, 20)
    session = gateway._session
    assert session is not None
    session._thread.join(20)
    assert not session.alive
    gateway.send_sms(SmsMessage(NUMBER, CODE))
    assert centre.binds == 2


@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\x10\x80\0\0\x99" + bytes(8),
        b"\0\0\0\x05\0",
        b"\xff" * 64,
        b"\0" * 3,
    ],
)
def test_what_is_no_sms_centre_costs_the_timeout_and_no_more(client: Client, centre: Smsc, greeting: bytes) -> None:
    centre.greeting = greeting
    with pytest.raises(GatewayUnavailable) as caught:
        client(timeout_seconds=0.3).send_sms(SmsMessage(NUMBER, CODE))
    assert not isinstance(caught.value, OutcomeUnknown)


def test_a_centre_that_drips_its_answer_does_not_outlast_the_deadline(tmp_path: Path, centre: Smsc) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):  # who was dripped upon has left, and this does not know it yet
            for octet in b"\0\0\0\x20" + bytes(28):
                connection.sendall(bytes([octet]))
                if stop.wait(0.2):
                    break

    thread = threading.Thread(target=drip)
    thread.start()
    gateway = SmppSms({**settings(tmp_path, centre), "port": listener.getsockname()[1], "timeout_seconds": 0.5})
    with pytest.raises(GatewayUnavailable):
        gateway.send_sms(SmsMessage(NUMBER, CODE))
    stop.set()
    thread.join(2)
    listener.close()


def test_tls_is_used_and_a_strangers_certificate_is_refused(tmp_path: Path) -> None:
    with running_ca(tmp_path / "state") as ca:
        (tmp_path / "tls").mkdir(mode=0o700)
        centre = Smsc(tls=tls_context(tmp_path / "tls", ca.state, SystemClock()))
        der = requests.get(f"{ca.url}/ca/root.crt", timeout=5).content
        (tmp_path / "root.pem").write_text(ssl.DER_cert_to_PEM_cert(der))
        known = {**settings(tmp_path, centre), "security": "tls"}
        gateway = SmppSms({**known, "ca_file": str(tmp_path / "root.pem")})
        assert gateway.send_sms(SmsMessage(NUMBER, CODE)).reference == "m1"
        assert gateway.send_sms(SmsMessage(NUMBER, CODE)).reference == "m2"
        with pytest.raises(GatewayUnavailable):
            SmppSms(known).send_sms(SmsMessage(NUMBER, CODE))
        gateway.close()
        centre.stop()
