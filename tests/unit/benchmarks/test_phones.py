"""The endpoint that stands in for Twilio while logins are measured."""

from __future__ import annotations

import http.client
from urllib.parse import urlencode

import pytest

from benchmarks.phones import ACCOUNT_SID, Phones, phones
from tests.sockets import free_port


def test_a_code_is_taken_once_and_only_by_its_phone() -> None:
    arrived = Phones()
    arrived.deliver("+15550100", "123456 is your code. Reference AB12.")
    arrived.deliver("+15550101", "no code, only 1234567 digits")
    assert arrived.take("+15550101") is None
    assert arrived.take("+15550100") == "123456"
    assert arrived.take("+15550100") is None


@pytest.mark.loopback
@pytest.mark.parametrize(("account", "status"), [(ACCOUNT_SID, 201), ("AC" + "f" * 32, 404)])
def test_messages_of_one_account_arrive_and_those_of_another_do_not(account: str, status: int) -> None:
    port = free_port()
    with phones(port) as arrived:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        form = urlencode({"To": "+15550100", "From": "+15550199", "Body": "654321 is your code"})
        client.request("POST", f"/2010-04-01/Accounts/{account}/Messages.json", form)
        assert client.getresponse().status == status
        client.close()
    assert arrived.take("+15550100") == ("654321" if status == 201 else None)
