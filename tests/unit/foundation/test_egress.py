"""The one way out (PKI-01)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests

from foundation.egress import Egress, read_limited, resolve
from foundation.errors import EgressRefused


def resolver(*addresses: str):  # type: ignore[no-untyped-def] # a stub of one line
    return lambda _host, _port: list(addresses)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "::1", "fe80::1", "fc00::1", "0.0.0.0",
     "100.64.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "224.0.0.1", "255.255.255.255", "64:ff9b::7f00:1",
     "64:ff9b::a00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::", "::127.0.0.1", "::", "2001:0::1",
     "ff02::1", "ff0e::1", "fec0::1", "4000::1"],
)  # fmt: skip
def test_PKI_01_a_name_that_leads_to_a_private_address_is_refused(address: str) -> None:
    with pytest.raises(EgressRefused):
        Egress(resolver=resolver(address)).address_for("https://ca.example.org/x")


def test_PKI_01_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(EgressRefused):
        Egress(resolver=resolver("93.184.216.34", "127.0.0.1")).address_for("https://ca.example.org/")


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "gopher://x/", "ftp://x/", "https://user:pw@example.org/", "https://", "http://example.org/",
     "https://example.org:x/", "//example.org/", ""],
)  # fmt: skip
def test_PKI_01_other_schemes_credentials_and_plain_http_are_refused(url: str) -> None:
    with pytest.raises(EgressRefused):
        Egress(resolver=resolver("93.184.216.34")).address_for(url)


def test_a_public_address_is_given_back_and_is_the_one_to_connect_to() -> None:
    assert Egress(resolver=resolver("93.184.216.34")).address_for("https://example.org/") == "93.184.216.34"


@pytest.mark.parametrize("address", ["2606:4700::1111", "64:ff9b::5db8:d822", "2002:5db8:d822::1"])
def test_an_address_of_ipv6_is_public_if_what_it_carries_is(address: str) -> None:
    assert Egress(resolver=resolver(address)).address_for("https://example.org/") == address


def test_what_the_operator_allowed_is_allowed_for_that_host_and_port_only() -> None:
    egress = Egress(("ca.internal:8443",), resolver=resolver("10.0.0.1"))
    assert egress.address_for("http://ca.internal:8443/") == "10.0.0.1"
    with pytest.raises(EgressRefused):
        egress.address_for("https://ca.internal/")


def test_localhost_names_are_loopback_without_asking_anybody() -> None:
    assert resolve("idp.localhost", 80) == ["127.0.0.1"]


MIB = 1024 * 1024
FLOOD = 64


class Handler(BaseHTTPRequestHandler):
    flooded = 0
    """MiB that went out behind a redirect."""

    def do_GET(self) -> None:
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/")
            self.end_headers()
            return
        if self.path == "/flood":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/")
            self.end_headers()
            with suppress(OSError):
                for _ in range(FLOOD):
                    self.wfile.write(b"x" * MIB)
                    type(self).flooded += 1
            return
        body = b"x" * 100_000 if self.path == "/large" else self.headers["Host"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def server() -> Iterator[str]:
    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"svc.localhost:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.mark.loopback
def test_the_host_of_the_url_is_named_to_the_server(server: str) -> None:
    with Egress((server,)).session(5) as session:
        assert session.get(f"http://{server}/").text == server


@pytest.mark.loopback
def test_PKI_01_a_redirect_is_not_followed(server: str) -> None:
    with Egress((server,)).session(5) as session, pytest.raises(requests.TooManyRedirects):
        session.get(f"http://{server}/redirect")


@pytest.mark.loopback
def test_PKI_03_what_comes_behind_a_redirect_is_not_read(server: str) -> None:
    Handler.flooded = 0
    for follow in (True, False):
        with Egress((server,)).session(5) as session, pytest.raises(requests.TooManyRedirects):
            session.get(f"http://{server}/flood", stream=True, allow_redirects=follow)
    # What the two sides' sockets hold, and no more.
    assert Handler.flooded < FLOOD


@pytest.mark.loopback
def test_PKI_03_a_long_answer_is_cut_off(server: str) -> None:
    with Egress((server,)).session(5) as session:
        answer = session.get(f"http://{server}/large", stream=True)
        with pytest.raises(EgressRefused):
            read_limited(answer, 1000)


@pytest.mark.loopback
def test_a_session_refuses_what_was_not_allowed(server: str) -> None:
    with Egress().session(5) as session, pytest.raises(EgressRefused):
        session.get(f"http://{server}/")


def test_PKI_01_what_is_signed_itself_may_come_without_tls_and_still_from_public_addresses_only() -> None:
    plain = Egress(resolver=lambda host, _port: [host], plain=True)
    assert plain.address_for("http://93.184.215.14/ca.crl") == "93.184.215.14"
    for url in ("http://10.0.0.1/ca.crl", "http://169.254.169.254/", "http://127.0.0.1/"):
        with pytest.raises(EgressRefused):
            plain.address_for(url)


@pytest.mark.loopback
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_DOS_02_PKI_03_a_head_or_handshake_that_drips_is_cut_off(scheme: str) -> None:
    """Each octet comes well within the timeout; all of them would take minutes."""
    listening, over = socket.create_server(("127.0.0.1", 0)), threading.Event()
    # A handshake's record that says how long it is, and a head's line: neither ever ends.
    begins = b"HTTP/1.1 200 OK\r\nX: " if scheme == "http" else b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03"

    def drip() -> None:
        connection, _ = listening.accept()
        with connection:
            try:
                connection.sendall(begins)
                while not over.wait(0.05):
                    connection.sendall(b"x")
            except OSError:
                return

    dripping = threading.Thread(target=drip, daemon=True)
    dripping.start()
    host = f"svc.localhost:{listening.getsockname()[1]}"
    gone, begun = None, time.monotonic()
    try:
        with Egress((host,)).brief_session(0.5) as session, session.get(f"{scheme}://{host}/", stream=True):
            pass
    except requests.RequestException as error:
        gone = error
    taken = time.monotonic() - begun
    over.set()
    dripping.join(5)
    listening.close()
    # The session's own timeout never strikes here: it would go on for as long as the other side does.
    assert taken < 10
    assert scheme == "http" or gone is not None


@pytest.mark.loopback
def test_a_brief_session_is_one_like_the_others_until_its_time_is_up(server: str) -> None:
    with Egress((server,)).brief_session(5) as session:
        assert session.get(f"http://{server}/").text == server
        with pytest.raises(requests.TooManyRedirects):
            session.get(f"http://{server}/redirect")
    with Egress().brief_session(5) as session, pytest.raises(EgressRefused):
        session.get(f"http://{server}/")
    with Egress((server,)).brief_session(0.01) as session:
        time.sleep(0.2)
        with pytest.raises(requests.ConnectionError):
            session.get(f"http://{server}/")
