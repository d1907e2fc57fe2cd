"""What follows a request: read as it comes, within its bounds, and never mistaken for the next request."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from signing.link import codes
from signing.link.client import SamClient
from signing.link.documents import SignedDocument
from signing.link.doors import SocketSettings
from signing.link.errors import LinkRefused, LinkUnavailable, MessageInvalid
from signing.link.frames import (
    CHUNK_OCTETS,
    MAX_FOLLOWING_OCTETS,
    Incoming,
    message_of,
    receive_frame,
    send_frame,
)
from signing.link.server import FollowingLimits, LinkServer
from signing.sam.errors import TemplateRefused
from tests.unit.signing_link.test_messages import PDFS

SIGNED = SignedDocument(b"\1", b"\2", None)


class Streams:
    """A handler that counts what it reads."""

    def __init__(self) -> None:
        self.read: list[int] = []
        self.stop_after: int | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.answers = 1

    def sign_pdfs(self, _body: Mapping[str, Any], chunks: Iterable[bytes]) -> Mapping[str, Any]:
        self.entered.set()
        self.gate.wait(5)
        for chunk in chunks:
            self.read.append(len(chunk))
            if self.stop_after is not None and sum(self.read) >= self.stop_after:
                raise TemplateRefused("enough")
        return {"signatures": [SIGNED.to_json()] * self.answers}


@pytest.fixture
def streams() -> Streams:
    return Streams()


@pytest.fixture
def settings(tmp_path: Path) -> SocketSettings:
    return SocketSettings(tmp_path / "s", frozenset({os.geteuid()}), 0o600, 4, frame_seconds=2)


@pytest.fixture
def running(settings: SocketSettings, streams: Streams) -> Iterator[LinkServer]:
    limits = FollowingLimits(seconds=2, at_once=1)
    running = LinkServer(settings, {"ping": lambda _body: {}}, {"sign_pdfs": streams.sign_pdfs}, limits)
    running.start()
    yield running
    streams.gate.set()
    running.stop(2)


@pytest.fixture
def client(settings: SocketSettings, running: LinkServer) -> Iterator[SamClient]:
    with SamClient(settings.path, timeout_seconds=5, pool_size=2) as client:
        yield client


def connected(settings: SocketSettings) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(5)
    link.connect(str(settings.path))
    return link


def soon() -> float:
    return time.monotonic() + 5


def pieces(octets: int, size: int = 100_000) -> Iterator[bytes]:
    """So many octets."""
    for start in range(0, octets, size):
        yield bytes(min(size, octets - start))


def test_a_file_comes_in_chunks_and_the_connection_serves_on(client: SamClient, streams: Streams) -> None:
    octets = 3 * 1024 * 1024 + 1
    assert client.sign_pdfs(PDFS, pieces(octets), octets) == (SIGNED,)
    assert sum(streams.read) == octets
    assert max(streams.read) <= CHUNK_OCTETS
    client.ping()
    assert client.sign_pdfs(PDFS, pieces(1), 1) == (SIGNED,)


def test_what_is_refused_half_way_is_read_to_its_end(client: SamClient, streams: Streams) -> None:
    streams.stop_after = 1000
    with pytest.raises(LinkRefused) as refusal:
        client.sign_pdfs(PDFS, pieces(2_000_000), 2_000_000)
    assert refusal.value.refusal == codes.INVALID_TEMPLATE
    assert sum(streams.read) < 2_000_000
    client.ping()


@pytest.mark.parametrize("sent", [0, 99, 101])
def test_a_file_of_another_length_is_an_error_of_the_caller(client: SamClient, sent: int) -> None:
    with pytest.raises(MessageInvalid):
        client.sign_pdfs(PDFS, pieces(sent), 100)
    client.ping()


@pytest.mark.parametrize("octets", [0, -1, MAX_FOLLOWING_OCTETS + 1, "1", True, None, 1.0])
def test_a_length_that_is_none_ends_the_connection(settings: SocketSettings, running: LinkServer, octets: Any) -> None:
    with connected(settings) as link:
        send_frame(link, {"op": "sign_pdfs", "body": {}, "octets": octets}, soon())
        answer = receive_frame(link, soon())
        assert answer is not None
        assert answer["error"]["code"] == codes.BAD_REQUEST
        assert receive_frame(link, soon()) is None


@pytest.mark.parametrize(
    "message", [{"op": "ping", "body": {}}, {"op": "sign_pdfs"}, {"op": "sign_pdfs", "body": {}, "more": 1}]
)
def test_what_follows_a_request_that_is_none_is_no_request(
    settings: SocketSettings, running: LinkServer, streams: Streams, message: dict[str, Any]
) -> None:
    hidden = b"\0\0\0\x17" + b'{"op":"ping","body":{}}'
    with connected(settings) as link:
        send_frame(link, {**message, "octets": len(hidden)}, soon())
        link.sendall(hidden)
        send_frame(link, {"op": "nothing", "body": {}}, soon())
        incoming = Incoming(link)
        answers = [message_of(incoming.frame(soon()) or b"") for _ in range(2)]
    assert [answer["error"]["code"] for answer in answers] == [codes.BAD_REQUEST] * 2
    assert streams.read == []


def test_without_a_length_there_is_no_file(client: SamClient) -> None:
    with pytest.raises(LinkRefused) as refusal:
        client.call("sign_pdfs", PDFS.to_json())
    assert refusal.value.refusal == codes.BAD_REQUEST


def test_DOS_08_no_more_files_are_read_at_once_than_may(
    client: SamClient, settings: SocketSettings, streams: Streams
) -> None:
    streams.gate.clear()
    first = threading.Thread(target=client.sign_pdfs, args=(PDFS, pieces(10), 10))
    first.start()
    assert streams.entered.wait(5)
    with SamClient(settings.path, timeout_seconds=5) as other, pytest.raises(LinkRefused) as refusal:
        other.sign_pdfs(PDFS, pieces(10), 10)
    assert refusal.value.refusal == codes.BUSY
    streams.gate.set()
    first.join(5)
    assert client.sign_pdfs(PDFS, pieces(10), 10) == (SIGNED,)


def test_DOS_02_a_file_that_stops_coming_holds_nothing_for_long(settings: SocketSettings, streams: Streams) -> None:
    short = LinkServer(settings, {}, {"sign_pdfs": streams.sign_pdfs}, FollowingLimits(seconds=0.2))
    short.start()
    try:
        with connected(settings) as link:
            send_frame(link, {"op": "sign_pdfs", "body": {}, "octets": 10}, soon())
            link.sendall(b"12345")
            assert receive_frame(link, soon()) is None
    finally:
        short.stop(2)


def served_in_time(client: SamClient) -> tuple[SignedDocument, ...]:
    """The answer once there is a place again: the module sees only when it reads that a peer has left."""
    end = soon()
    while True:
        try:
            return client.sign_pdfs(PDFS, pieces(10), 10)
        except LinkRefused as refusal:
            if refusal.refusal != codes.BUSY or time.monotonic() > end:
                raise
        time.sleep(0.01)


def test_a_peer_that_leaves_in_the_middle_is_no_alarm(
    client: SamClient, settings: SocketSettings, streams: Streams
) -> None:
    with connected(settings) as link:
        send_frame(link, {"op": "sign_pdfs", "body": {}, "octets": 10}, soon())
        assert streams.entered.wait(5)
    assert served_in_time(client) == (SIGNED,)


def test_an_answer_with_another_number_of_signatures_is_refused(client: SamClient, streams: Streams) -> None:
    streams.answers = 2
    with pytest.raises(MessageInvalid):
        client.sign_pdfs(PDFS, pieces(10), 10)


def test_without_a_module_the_caller_is_told(tmp_path: Path) -> None:
    with SamClient(tmp_path / "nothing", timeout_seconds=1) as client, pytest.raises(LinkUnavailable):
        client.sign_pdfs(PDFS, pieces(1), 1)
