"""The link over TLS on a real port: who comes in, who does not, and what a stranger costs."""

from __future__ import annotations

import hashlib
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import SettingsError
from signing.link.client import SamClient
from signing.link.documents import SignedDocument
from signing.link.doors import TlsSettings
from signing.link.errors import LinkRefused, LinkUnavailable, PeerRefused, SocketInUse
from signing.link.frames import MAX_FRAME_OCTETS, receive_frame, send_frame
from signing.link.server import LinkServer
from signing.link.tls import Tls, TlsEndpoint, TlsFiles
from signing.sam.errors import SadSpent
from tests.fakes.link_tls import End
from tests.sockets import free_port
from tests.unit.signing_link.test_messages import PDFS, REQUEST
from tests.unit.signing_link.test_server import Handlers

pytestmark = pytest.mark.loopback


@dataclass
class Ends:
    directory: Path
    module: End
    web: End

    def end(self, name: str, **changes: Any) -> End:
        return End(self.directory, name, **changes)


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Ends:
    directory = tmp_path_factory.mktemp("ends")
    return Ends(directory, End(directory, "module"), End(directory, "web"))


@pytest.fixture
def handlers() -> Iterator[Handlers]:
    made = Handlers()
    yield made
    made.gate.set()


@contextmanager
def serving(files: TlsFiles, handlers: Handlers, **changes: Any) -> Iterator[TlsSettings]:
    made = TlsSettings("127.0.0.1", free_port(), files, max_connections=4, frame_seconds=0.5)
    settings = replace(made, **changes)
    server = LinkServer(settings, handlers.table())
    server.start()
    try:
        yield settings
    finally:
        handlers.gate.set()
        server.stop(2)


@pytest.fixture
def settings(ends: Ends, handlers: Handlers) -> Iterator[TlsSettings]:
    with serving(ends.module.knows(ends.web), handlers) as made:
        yield made


def client(settings: TlsSettings, files: TlsFiles, **changes: Any) -> SamClient:
    return SamClient(TlsEndpoint(settings.host, settings.port, files), **{"timeout_seconds": 5, **changes})


def tcp(settings: TlsSettings) -> socket.socket:
    return socket.create_connection((settings.host, settings.port), 5)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.005)


def test_the_right_pair_speaks_over_tls_1_3_and_keeps_its_connections(ends: Ends, settings: TlsSettings) -> None:
    with client(settings, ends.web.knows(ends.module)) as sam:
        for _ in range(3):
            assert sam.sign(REQUEST) == REQUEST.digests
            (link,) = sam._idle
            assert isinstance(link, ssl.SSLSocket)
            assert link.version() == "TLSv1.3"
        assert sam.call("echo", {"x": "y" * (MAX_FRAME_OCTETS - 1000)}) == {"x": "y" * (MAX_FRAME_OCTETS - 1000)}
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda number: sam.call("echo", {"n": number}), range(40))) == [
                {"n": number} for number in range(40)
            ]
        with pytest.raises(LinkRefused, match="bad_request"):
            sam.call("no such operation", {})
        assert len(sam._idle) <= 4


def test_a_file_follows_over_tls_and_what_is_refused_half_way_is_read_to_its_end(ends: Ends) -> None:
    octets = bytes(range(256)) * 10_000
    got: list[int] = []

    def take(_body: Mapping[str, Any], chunks: Iterable[bytes]) -> Mapping[str, Any]:
        digest = hashlib.sha256()
        for chunk in chunks:
            got.append(len(chunk))
            digest.update(chunk)
            if len(got) == refuse_after:
                raise SadSpent("enough")
        return {"signatures": [SignedDocument(b"\1", digest.digest(), None).to_json()]}

    settings = TlsSettings("127.0.0.1", free_port(), ends.module.knows(ends.web), max_connections=4)
    server = LinkServer(settings, {"ping": lambda _body: {}}, {"sign_pdfs": take})
    server.start()
    try:
        with client(settings, ends.web.knows(ends.module)) as sam:
            refuse_after = 2
            with pytest.raises(LinkRefused, match="sad_used"):
                sam.sign_pdfs(PDFS, [octets], len(octets))
            sam.ping()
            refuse_after = 0
            (signed,) = sam.sign_pdfs(PDFS, (octets[at : at + 999] for at in range(0, len(octets), 999)), len(octets))
            assert signed.tbs == hashlib.sha256(octets).digest()
            assert len(sam._idle) == 1
    finally:
        server.stop(2)


def test_two_certificates_are_pinned_while_one_replaces_the_other(ends: Ends, handlers: Handlers) -> None:
    next_web, next_module = ends.end("next-web"), ends.end("next-module")
    with serving(ends.module.knows(ends.web, next_web), handlers) as settings:
        for end in (ends.web, next_web):
            with client(settings, end.knows(ends.module, next_module)) as sam:
                sam.ping()
    with serving(next_module.knows(next_web), handlers) as settings:
        with client(settings, next_web.knows(ends.module, next_module)) as sam:
            sam.ping()
        with client(settings, ends.web.knows(ends.module, next_module)) as sam, pytest.raises(LinkUnavailable):
            sam.ping()


def stranger(ends: Ends) -> TlsFiles:
    return ends.end("stranger").knows(ends.module)


def same_name(ends: Ends) -> TlsFiles:
    (ends.directory / "other").mkdir()
    return End(ends.directory / "other", "web").knows(ends.module)


def issued_by_the_pinned_one(ends: Ends) -> TlsFiles:
    return ends.end("child", issuer=ends.web).knows(ends.module)


@pytest.mark.parametrize("other", [stranger, same_name, issued_by_the_pinned_one])
def test_SAD_13_a_certificate_that_is_not_pinned_comes_to_no_handler(
    ends: Ends, settings: TlsSettings, other: Callable[[Ends], TlsFiles], caplog: pytest.LogCaptureFixture
) -> None:
    with client(settings, other(ends)) as sam, pytest.raises(LinkUnavailable):
        sam.ping()
    until(lambda: "somebody was turned away" in caplog.text)
    with client(settings, ends.web.knows(ends.module)) as sam:
        sam.ping()


def test_SAD_13_a_pinned_certificate_that_has_expired_or_is_not_valid_yet_is_refused(
    ends: Ends, handlers: Handlers
) -> None:
    old, early = ends.end("old", days=(-30, -1)), ends.end("early", days=(1, 30))
    for end in (old, early):
        with (
            serving(ends.module.knows(end, ends.web), handlers) as settings,
            client(settings, end.knows(ends.module)) as sam,
            pytest.raises(LinkUnavailable),
        ):
            sam.ping()
        with (
            serving(end.knows(ends.web), handlers) as settings,
            client(settings, ends.web.knows(end)) as sam,
            pytest.raises(PeerRefused),
        ):
            sam.ping()


def test_SAD_13_without_a_certificate_nothing_is_asked(ends: Ends, settings: TlsSettings) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(tcp(settings)) as link:
        with pytest.raises(OSError, match=r"(?i)certificate required|reset|EOF"):
            send_and_receive(link)
        assert link.version() in {"TLSv1.3", None}


def send_and_receive(link: socket.socket) -> None:
    link.settimeout(5)
    link.sendall(b"\0\0\0\x1b" + b'{"op":"ping","body":{}}    ')
    if not link.recv(1):
        raise OSError("EOF")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_earlier_versions_of_tls_are_refused_by_both_ends(
    ends: Ends, settings: TlsSettings, version: ssl.TLSVersion
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version, context.maximum_version = version, version
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(ends.web.certificate_file, ends.web.key_file)
    with tcp(settings) as plain, pytest.raises(OSError, match=r"(?i)version|protocol|reset|EOF"):
        context.wrap_socket(plain)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.minimum_version, old.maximum_version = version, version
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.load_cert_chain(ends.module.certificate_file, ends.module.key_file)
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, pytest.raises(OSError, match=r"(?i)version|protocol|reset|EOF|alert"):
                old.wrap_socket(connection, server_side=True)

        served = pool.submit(serve)
        endpoint = TlsEndpoint("127.0.0.1", listener.getsockname()[1], ends.web.knows(ends.module))
        with SamClient(endpoint, 5) as sam, pytest.raises(PeerRefused):
            sam.ping()
        served.result(10)


def test_SAD_13_a_request_in_the_clear_is_not_answered(settings: TlsSettings) -> None:
    with tcp(settings) as link:
        send_frame(link, {"op": "ping", "body": {}}, time.monotonic() + 5)
        answer = b""
        try:
            while chunk := link.recv(1024):
                answer += chunk
        except ConnectionResetError:
            pass
    # At most an alert (RFC 8446 6).
    assert not answer or (answer[0] == 0x15 and len(answer) < 16)


def test_a_module_with_another_certificate_is_sent_nothing(ends: Ends, handlers: Handlers) -> None:
    with (
        serving(ends.end("impostor").knows(ends.web), handlers) as settings,
        client(settings, ends.web.knows(ends.module)) as sam,
        pytest.raises(PeerRefused),
    ):
        sam.ping()


def test_DOS_02_a_handshake_that_drips_is_cut_off(ends: Ends, settings: TlsSettings) -> None:
    began = time.monotonic()
    with tcp(settings) as link:
        link.settimeout(0.1)
        while time.monotonic() < began + 8:
            try:
                link.sendall(b"\x16")
                if link.recv(64) in {b""}:
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    assert time.monotonic() - began < 5
    with client(settings, ends.web.knows(ends.module)) as sam:
        sam.ping()


def test_DOS_08_connections_that_say_nothing_do_not_keep_the_web_tier_out(ends: Ends, handlers: Handlers) -> None:
    with serving(ends.module.knows(ends.web), handlers, frame_seconds=20.0) as settings, ExitStack() as open_ones:
        sam = open_ones.enter_context(client(settings, ends.web.knows(ends.module)))
        sam.ping()
        (kept,) = sam._idle
        for _ in range(12):
            open_ones.enter_context(tcp(settings))
        time.sleep(0.2)
        # The connection that is known outlives strangers, who make room for one another.
        sam.ping()
        assert list(sam._idle) == [kept]
        with client(settings, ends.web.knows(ends.module)) as another:
            another.ping()


def test_DOS_08_no_more_connections_than_the_settings_allow(
    ends: Ends, settings: TlsSettings, handlers: Handlers
) -> None:
    with client(settings, ends.web.knows(ends.module), pool_size=8) as sam, ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(sam.call, "slow", {}) for _ in range(4)]
        assert handlers.entered.wait(5)
        until(lambda: sam._slots._value == 4)
        time.sleep(0.3)
        with pytest.raises(LinkUnavailable):
            sam.ping()
        handlers.gate.set()
        assert [call.result(5) for call in calls] == [{"done": "yes"}] * 4
        sam.ping()


def test_an_answer_under_way_is_finished_over_tls_when_the_module_stops(ends: Ends, handlers: Handlers) -> None:
    made = TlsSettings("127.0.0.1", free_port(), ends.module.knows(ends.web))
    server = LinkServer(made, handlers.table())
    server.start()
    with client(made, ends.web.knows(ends.module)) as sam, ThreadPoolExecutor(2) as pool:
        call = pool.submit(sam.call, "slow", {})
        assert handlers.entered.wait(5)
        stopped = pool.submit(server.stop, 5.0)
        time.sleep(0.1)
        handlers.gate.set()
        assert call.result(5) == {"done": "yes"}
        stopped.result(10)
        with pytest.raises(LinkUnavailable):
            sam.ping()


def test_a_frame_above_the_limit_is_refused_over_tls_too(ends: Ends, settings: TlsSettings) -> None:
    tls = Tls(ends.web.knows(ends.module), server=False)
    with tls.wrap(tcp(settings)) as link:
        tls.shake_hands(link, time.monotonic() + 5)
        link.sendall((MAX_FRAME_OCTETS + 1).to_bytes(4, "big"))
        answer = receive_frame(link, time.monotonic() + 5)
        assert answer is not None
        assert answer["error"]["code"] == "bad_request"
        assert receive_frame(link, time.monotonic() + 5) is None


def test_DOS_05_a_flood_of_strangers_is_a_line_a_second(
    ends: Ends, settings: TlsSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(30):
        with tcp(settings) as link:
            link.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with suppress(ConnectionError):
                while link.recv(100):
                    pass
    lines = [record for record in caplog.records if record.getMessage() == "somebody was turned away"]
    assert 1 <= len(lines) < 10


def test_files_that_cannot_be_used_are_said_so_at_the_start(ends: Ends, tmp_path: Path) -> None:
    open_key = tmp_path / "open.key"
    open_key.write_bytes(ends.web.key_file.read_bytes())
    open_key.chmod(0o640)
    locked = End(tmp_path, "locked", password=b"a password")
    two = tmp_path / "two.pem"
    two.write_bytes(ends.web.certificate_file.read_bytes() + ends.module.certificate_file.read_bytes())
    good = ends.web.knows(ends.module)
    for files, told in (
        (replace(good, key=open_key), "0640"),
        (replace(good, key=ends.module.key_file), "not a certificate and its key"),
        (replace(good, key=locked.key_file, certificate=locked.certificate_file), "encrypted"),
        (replace(good, peers=()), "names no certificate"),
        (replace(good, peers=(two,)), "not one certificate"),
        (replace(good, peers=(tmp_path / "none.pem",)), "cannot be read"),
        (replace(good, peers=(ends.web.key_file,)), "not one certificate"),
    ):
        with pytest.raises(SettingsError, match=told) as refused:
            SamClient(TlsEndpoint("127.0.0.1", 1, files))
        assert "a password" not in str(refused.value)


def test_a_port_that_is_taken_and_a_module_that_is_away_are_told(ends: Ends, settings: TlsSettings) -> None:
    second = LinkServer(settings, {})
    with pytest.raises(SocketInUse):
        second.start()
    nowhere = TlsEndpoint("127.0.0.1", free_port(), ends.web.knows(ends.module))
    with SamClient(nowhere, 5) as sam, pytest.raises(LinkUnavailable):
        sam.ping()
