"""Real Kannel: our HTTP connector sends through it, its SMPP client binds to our centre, its server takes ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.messaging.http_sms import HttpSms
from connectors.messaging.smpp import SmppSms
from connectors.ports.messaging import GatewayMisconfigured, OutcomeUnknown, SmsMessage
from foundation.files import write_secret
from tests.integration.kannel import PASSWORD, USER, Kannel, kannel, smpp_driver, until

CODE = "Example Contracts: 123456 signs contract.pdf"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kannel]:
    with kannel(tmp_path_factory.mktemp("kannel")) as running:
        yield running


def settings(tmp_path: Path, url: str, password: str = PASSWORD, **changes: Any) -> dict[str, Any]:
    write_secret(tmp_path / "password", password.encode())
    return {
        "url": url,
        "sender": "15005550006",
        "form": "text",
        "headers": {
            "X-Kannel-Username": USER,
            "X-Kannel-Password": "{secret:password}",
            "X-Kannel-From": "{sender}",
            "X-Kannel-To": "{to}",
        },
        "secrets": {"password": str(tmp_path / "password")},
        "success_status": [202],
        "timeout_seconds": 10,
        **changes,
    }


def test_a_message_goes_over_http_through_kannel_to_the_sms_centre(gateway: Kannel, tmp_path: Path) -> None:
    HttpSms(settings(tmp_path, gateway.url)).send_sms(SmsMessage("+34600000001", CODE))
    until(lambda: len(gateway.centre.taken) == 1)
    (message,) = gateway.centre.taken
    assert (message.to, message.text) == ("34600000001", CODE)


def test_a_wrong_password_is_ours_to_mend(gateway: Kannel, tmp_path: Path) -> None:
    before = len(gateway.centre.taken)
    with pytest.raises(GatewayMisconfigured) as caught:
        HttpSms(settings(tmp_path, gateway.url, "another")).send_sms(SmsMessage("+34600000001", CODE))
    assert "another" not in str(caught.value)
    assert len(gateway.centre.taken) == before


def test_OTP_09_an_answer_that_does_not_say_success_is_no_success(gateway: Kannel, tmp_path: Path) -> None:
    wanted = settings(tmp_path, gateway.url, answer_path="status", success_values=["queued"])
    with pytest.raises(OutcomeUnknown):
        HttpSms(wanted).send_sms(SmsMessage("+34600000001", CODE))


def test_kannels_smpp_server_reads_what_our_smpp_client_writes(tmp_path: Path) -> None:
    write_secret(tmp_path / "password", b"secret")
    with smpp_driver(tmp_path) as (port, log):
        client = SmppSms(
            {
                "host": "127.0.0.1",
                "port": port,
                "security": "none",
                "bind": "transmitter",
                "system_id": "privyseal",
                "password_file": str(tmp_path / "password"),
                "sender": "+15005550006",
                "timeout_seconds": 3,
            }
        )
        assert client.send_sms(SmsMessage("+34600000001", CODE)).reference == ""
        client.close()
        until(lambda: f"<{CODE}>" in log.read_text())
