"""DOS-02: clients of the CSC API that send slowly, at granian itself and with the shipped nginx before it."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from foundation.files import write_secret
from foundation.jose import generate_signing_key
from launcher.toml import dumps
from signing.csc.dialect import dialects
from tests import pki
from tests.integration.answering_authority import answering
from tests.integration.granian import ACCESS_LOG, granian
from tests.integration.nginx_site import SIGN, Site, nginx, write_nginx
from tests.sockets import free_port

THREADS = 4
"""Of granian: as many requests can be read at a time."""
SECONDS = 2
"""What the shipped nginx allows between two pieces, and granian for a head, is more: a test would take long."""
PATIENCE = 60.0
"""Seconds until a test gives up."""
BASES = [dialect.path for dialect in dialects()]


@pytest.fixture(scope="module")
def front() -> Iterator[Site]:
    now = datetime.now(UTC)  # noqa: TID251 - real servers have real clocks
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slow-")))
        people, servers = pki.authority("People", at=now), pki.authority("Servers", at=now)
        responder = stack.enter_context(answering())
        made = Site(directory, free_port(), 9, people, servers, responder, now, free_port())
        (directory / "nginx").mkdir()
        write_nginx(made, directory / "nginx")
        shorter = {"common": ("15s", SECONDS), "http": ("15s", SECONDS), "sign": ("5s", 1)}
        for name, (shipped, here) in shorter.items():
            file = directory / "nginx" / f"privyseal-{name}.conf"
            text = file.read_text()
            assert text.count(f"_timeout {shipped};") == 1, "of a body, of a head, of an idle connection to granian"
            file.write_text(text.replace(f"_timeout {shipped};", f"_timeout {here}s;"))
        stack.enter_context(serving(made))
        stack.enter_context(nginx(made, directory / "nginx", SIGN))
        yield made


@contextmanager
def serving(made: Site) -> Iterator[None]:
    """The web tier under granian, as in production; it writes a line for each request that it is given."""
    write_secret(made.directory / "client-secret", b"s")
    settings = {
        "mode": "development",
        "public_url": f"http://{SIGN}:{made.sign}",
        "sam_socket": str(made.directory / "nobody.sock"),
        "issuer": {
            "url": "http://idp.localhost:1",
            "client_id": "csc",
            "client_secret_file": "client-secret",
            "sad_keys": ["activation.pem"],
        },
    }
    key = generate_signing_key().verification_key().key
    (made.directory / "activation.pem").write_bytes(key.as_pem(private=False))
    (made.directory / "web.toml").write_text(dumps(settings))
    options = ("--http1-header-read-timeout", str(SECONDS * 1000), *ACCESS_LOG)
    config, log = made.directory / "web.toml", made.directory / "behind.log"
    with granian("signing", made.sign, config, log=log, health="live", threads=THREADS, options=options):
        yield


def cut(connection: socket.socket, drip: bytes = b"", meanwhile: socket.socket | None = None) -> bytes:
    """What comes back until the other side hangs up, while pieces go on being sent, on another connection too."""
    got, end = bytearray(), time.monotonic() + PATIENCE
    connection.settimeout(0.2)
    while time.monotonic() < end:
        if meanwhile is not None:
            with suppress(OSError):  # on a slow machine it may have been cut, too
                meanwhile.sendall(b" ")
        try:
            connection.sendall(drip)
            piece = connection.recv(4096)
        except TimeoutError:
            continue
        except OSError:
            return bytes(got)  # it hung up while something was on its way
        if not piece:
            return bytes(got)
        got += piece
    pytest.fail("it was never cut off")


def head(host: str, path: str, length: int) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize("where", ["granian", "nginx"])
def test_DOS_02_a_head_that_drips_is_cut_off_in_every_version(front: Site, where: str) -> None:
    def connected() -> AbstractContextManager[socket.socket]:
        return front.tls(SIGN) if where == "nginx" else socket.create_connection(("127.0.0.1", front.sign), PATIENCE)

    with ExitStack() as stack:
        slow = {base: stack.enter_context(connected()) for base in BASES}
        for base, connection in slow.items():
            connection.sendall(f"POST {base}/info HTTP/1.1\r\nX-Slow: ".encode())
        for connection in slow.values():
            assert b"HTTP/1.1 2" not in cut(connection, b"x")
    assert "/info" not in front.served()


def test_DOS_02_bodies_that_drip_or_stop_take_no_thread_and_nobody_waits_for_them_in_any_version(front: Site) -> None:
    with ExitStack() as stack:
        slow = [
            (stack.enter_context(front.tls(SIGN)), f"{base}/signatures/signHash")
            for _number in range(THREADS)
            for base in BASES
        ]
        for connection, path in slow:
            connection.sendall(head(SIGN, path, 10_000) + b"{")
        (dripping, _path), *stopped = reversed(slow)
        prompt = [f"https://{SIGN}:{front.port}{base}/credentials/list" for base in BASES]
        assert [front.ask("POST", url, posted={}).status for url in prompt] == [401] * len(BASES)
        for connection, path in stopped:
            # Either is nginx's way to say that it took too long.
            assert cut(connection, meanwhile=dripping)[:12] in {b"", b"HTTP/1.1 408"}, path
        assert [front.ask("POST", url, posted={}).status for url in prompt] == [401] * len(BASES)
    assert "signHash" not in front.served()


@pytest.mark.parametrize("base", [base for base in BASES if "v1" not in base])
def test_DOS_01_only_where_documents_are_signed_a_request_may_be_long(front: Site, base: str) -> None:
    url, long = f"https://{SIGN}:{front.port}{base}/signatures", {"x": "y" * 3_000_000}
    # To the web tier, which keeps nothing of it without a token, and is heard by a proxy that is still sending.
    assert front.ask("POST", f"{url}/signDoc", posted=long).status == 401
    assert front.ask("POST", f"{url}/signHash", posted=long).status == 413
    assert f"{base}/signatures/signHash" not in front.served()
