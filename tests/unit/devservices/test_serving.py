"""Development services stay on loopback."""

from __future__ import annotations

import argparse

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from devservices.errors import NotLoopback, RequestMalformed
from devservices.serving import (
    MAX_BODY_BYTES,
    LoopbackApplication,
    bind,
    is_loopback_host,
    loopback_address,
    port_number,
)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "10.0.0.1", "example.org", "", "127.0.0.1.example.org"])
def test_nothing_but_loopback_can_be_listened_on(host: str) -> None:
    with pytest.raises(NotLoopback):
        loopback_address(host)
    with pytest.raises(NotLoopback):
        bind(host, 0)


@pytest.mark.parametrize(("host", "address"), [("localhost", "127.0.0.1"), ("127.0.0.2", "127.0.0.2"), ("::1", "::1")])
def test_loopback_can_be_listened_on(host: str, address: str) -> None:
    assert loopback_address(host) == address


@pytest.mark.parametrize("host", ["127.0.0.1:8403", "localhost", "LOCALHOST:1", "[::1]:8403", "[::1]", "rp.localhost"])
def test_the_host_header_may_name_loopback(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize("host", ["", "example.org", "attacker.example:8404", "10.0.0.1:8404", "localhost.example.org"])
def test_the_host_header_may_name_nothing_else(host: str) -> None:
    assert not is_loopback_host(host)


def echo(request: Request) -> Response:
    return Response(str(len(request.get_data())))


def refuse(_request: Request) -> Response:
    raise RequestMalformed("not <b>this</b> way")


def test_dns_rebinding_is_refused() -> None:
    answer = Client(LoopbackApplication(echo)).get("/", headers={"Host": "attacker.example:8404"})
    assert answer.status_code == 421


def test_a_body_above_the_cap_is_refused() -> None:
    client = Client(LoopbackApplication(echo))
    assert client.post("/", data=b"x" * MAX_BODY_BYTES).status_code == 200
    assert client.post("/", data=b"x" * (MAX_BODY_BYTES + 1)).status_code == 413


def test_a_refusal_is_json_with_a_code_and_safe_headers() -> None:
    answer = Client(LoopbackApplication(refuse)).get("/")
    assert answer.status_code == 400
    assert answer.json == {"error": "malformed_request", "error_description": "not <b>this</b> way"}
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_a_port_is_a_port() -> None:
    assert port_number("0") == 0
    with pytest.raises(argparse.ArgumentTypeError):
        port_number("65536")
