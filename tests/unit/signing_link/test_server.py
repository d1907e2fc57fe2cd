"""Client and server over a real socket: who may speak, what is answered, what breaks."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from signing.link import codes, server
from signing.link.client import SamClient
from signing.link.doors import SocketSettings
from signing.link.errors import LinkError, LinkRefused, LinkUnavailable, MessageInvalid, SocketInUse
from signing.link.frames import MAX_FRAME_OCTETS, receive_frame, send_frame
from signing.link.messages import OfferedKey
from signing.link.server import Handed, LinkServer
from signing.sam.errors import SadSpent, StateRefused
from tests.unit.signing_link.test_messages import CREATED, REQUEST, VIEW


class Handlers:
    """Operations to test with."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.became: queue.Queue[bool] = queue.Queue()

    def handed(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self.entered.set()
        self.gate.wait(5)
        return Handed({"x": "x" * body["octets"]}, self.became.put)

    def table(self) -> dict[str, Any]:
        return {
            "ping": lambda body: {},
            "echo": lambda body: body,
            "spent": self.spent,
            "internal": self.internal,
            "crash": lambda body: body["not there"],
            "slow": self.slow,
            "sign": lambda body: {"signatures": body["digests"]},
            "offered_keys": lambda body: {"keys": body.get("keys", [{"key_bits": 256, "schemes": ["ecdsa"]}])},
            "credential": lambda body: VIEW.to_json(),
            "list_credentials": self.list_credentials,
            "large": lambda body: {"x": "x" * MAX_FRAME_OCTETS},
            "handed": self.handed,
            "create_credential": lambda body: CREATED.to_json(),
            "link_certificate": lambda body: VIEW.to_json(),
            "execute_order": lambda body: VIEW.to_json(),
        }

    def spent(self, _body: Mapping[str, Any]) -> Mapping[str, Any]:
        raise SadSpent("an operator's text, with a name in it: alice")

    def internal(self, _body: Mapping[str, Any]) -> Mapping[str, Any]:
        raise StateRefused("an internal matter")

    def list_credentials(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        after = int(body.get("after", "0"))
        page = replace(VIEW, credential_id=f"credential-{after}").to_json()
        return {"credentials": [page], "next": str(after + 1) if after < 2 else None}

    def slow(self, _body: Mapping[str, Any]) -> Mapping[str, Any]:
        self.entered.set()
        self.gate.wait(5)
        return {"done": "yes"}


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
def settings(tmp_path: Path) -> SocketSettings:
    return SocketSettings(tmp_path / "s", frozenset({os.geteuid()}), 0o600, 4, frame_seconds=0.5, idle_seconds=30)


@pytest.fixture
def running(settings: SocketSettings, handlers: Handlers) -> Iterator[LinkServer]:
    running = LinkServer(settings, handlers.table())
    running.start()
    yield running
    handlers.gate.set()
    running.stop(2)


@pytest.fixture
def client(settings: SocketSettings, running: LinkServer) -> Iterator[SamClient]:
    with SamClient(settings.path, timeout_seconds=5, pool_size=4) as client:
        yield client


def connected(settings: SocketSettings) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(5)
    link.connect(str(settings.path))
    return link


def soon() -> float:
    return time.monotonic() + 5


def test_every_method_of_the_client_has_its_answer(client: SamClient) -> None:
    client.ping()
    assert client.credential("x") == VIEW
    assert [view.credential_id for view in client.list_credentials("alice")] == [f"credential-{n}" for n in range(3)]
    assert client.sign(REQUEST) == REQUEST.digests
    assert client.create_credential("order") == CREATED
    assert client.link_certificate("x", (b"\1",)) == VIEW
    assert client.execute_order("order") == VIEW
    assert client.offered_keys() == (OfferedKey(256, ("ecdsa",)),)


def test_a_refusal_has_its_code_and_constant_sentence(client: SamClient) -> None:
    with pytest.raises(LinkRefused) as refusal:
        client.call("spent", {})
    assert (refusal.value.refusal, refusal.value.detail) == (codes.SAD_USED, codes.DETAILS[codes.SAD_USED])
    assert "alice" not in str(refusal.value)


def test_an_error_without_a_code_of_the_link_tells_nothing(client: SamClient) -> None:
    with pytest.raises(LinkRefused) as refusal:
        client.call("internal", {})
    assert refusal.value.refusal == codes.INDETERMINATE
    assert "internal" not in str(refusal.value)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_ours_closes_that_connection_only(client: SamClient, running: LinkServer) -> None:
    with pytest.raises(LinkUnavailable):
        client.call("crash", {})
    client.ping()
    client.close()
    for thread in threading.enumerate():
        if thread.name == "link-connection":
            thread.join(5)


@pytest.mark.parametrize(
    "message",
    [
        {"op": "unknown", "body": {}},
        {"op": "ping"},
        {"op": "ping", "body": []},
        {"op": 1, "body": {}},
        {"op": "ping", "body": {}, "more": 1},
        {},
    ],
)
def test_what_is_no_request_is_a_bad_request(settings: SocketSettings, running: LinkServer, message: Any) -> None:
    with connected(settings) as link:
        send_frame(link, message, soon())
        answer = receive_frame(link, soon())
        assert answer is not None
        assert answer["error"]["code"] == codes.BAD_REQUEST
        send_frame(link, {"op": "ping", "body": {}}, soon())
        assert receive_frame(link, soon()) == {"ok": {}}


def test_after_a_frame_that_cannot_be_read_the_connection_ends(settings: SocketSettings, running: LinkServer) -> None:
    with connected(settings) as link:
        link.sendall(struct.pack(">I", 2**31))
        answer = receive_frame(link, soon())
        assert answer is not None
        assert answer["error"]["code"] == codes.BAD_REQUEST
        assert receive_frame(link, soon()) is None


def test_DOS_02_a_peer_that_drips_is_cut_off(settings: SocketSettings, running: LinkServer) -> None:
    with connected(settings) as link:
        link.sendall(b"\0")
        assert link.recv(1) == b""


def test_an_idle_connection_is_closed(settings: SocketSettings, handlers: Handlers) -> None:
    running = LinkServer(replace(settings, idle_seconds=0.05), handlers.table())
    running.start()
    with connected(settings) as link:
        assert link.recv(1) == b""
    running.stop()


def test_another_users_process_is_turned_away(settings: SocketSettings, handlers: Handlers) -> None:
    running = LinkServer(replace(settings, uids=frozenset({os.geteuid() + 1})), handlers.table())
    running.start()
    with connected(settings) as link:
        answer = receive_frame(link, soon())
        assert answer is not None
        assert answer["error"]["code"] == codes.NOT_PERMITTED
        assert receive_frame(link, soon()) is None
    running.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_SAD_13_the_kernel_says_who_is_there(settings: SocketSettings, running: LinkServer) -> None:
    settings.path.parent.chmod(0o777)
    settings.path.chmod(0o777)
    for folder in settings.path.parents:
        if folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        with connected(settings) as link:
            answer = receive_frame(link, soon())
            os._exit(0 if answer and answer["error"]["code"] == codes.NOT_PERMITTED else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def pinged(link: socket.socket) -> bool:
    send_frame(link, {"op": "ping", "body": {}}, soon())
    return receive_frame(link, soon()) == {"ok": {}}


def test_no_more_requests_at_a_time_than_the_cap(
    settings: SocketSettings, running: LinkServer, handlers: Handlers
) -> None:
    open_ones = [connected(settings) for _ in range(4)]
    for link in open_ones:
        send_frame(link, {"op": "slow", "body": {}}, soon())
    until(lambda: all(served.idle_since is None for served in running._connections.values()))
    with connected(settings) as fifth:
        answer = receive_frame(fifth, soon())
        assert answer is not None
        assert answer["error"]["code"] == codes.BUSY
    handlers.gate.set()
    for link in open_ones:
        assert receive_frame(link, soon()) == {"ok": {"done": "yes"}}
    with connected(settings) as sixth:
        assert pinged(sixth)
    for link in open_ones:
        link.close()


def test_DOS_08_a_newcomer_takes_the_place_of_the_connection_that_was_idle_for_longest(
    settings: SocketSettings, running: LinkServer
) -> None:
    open_ones = [connected(settings) for _ in range(4)]
    for link in (*open_ones, open_ones[0]):
        assert pinged(link)
    with connected(settings) as fifth:
        assert pinged(fifth)
        assert open_ones[1].recv(1) == b""
        for link in (open_ones[0], *open_ones[2:]):
            assert pinged(link)
    for link in open_ones:
        link.close()


def test_DOS_08_idle_pools_do_not_keep_another_web_process_out(
    settings: SocketSettings, running: LinkServer, handlers: Handlers
) -> None:
    """Each process had as many requests at one time as the module has places, and keeps its connections."""
    together = threading.Barrier(4)

    def meet(_body: Mapping[str, Any]) -> Mapping[str, Any]:
        together.wait(5)
        return {}

    running._handlers["meet"] = meet
    with SamClient(settings.path) as one, SamClient(settings.path) as two, ThreadPoolExecutor(4) as pool:
        for client in (one, two, one):
            list(pool.map(lambda _n, client=client: client.call("meet", {}), range(4)))
        two.ping()
        assert len(running._connections) <= 4


def test_a_request_that_was_sent_before_its_connection_was_ended_is_answered(
    settings: SocketSettings, running: LinkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(settings) as link:
        assert pinged(link)
        until(lambda: all(served.idle_since is not None for served in running._connections.values()))
        with running._lock:
            # The serving thread waits for the lock to say that it is busy: the request has arrived, unseen as yet.
            send_frame(link, {"op": "ping", "body": {}}, soon())
            assert running._end_longest_idle()
        assert receive_frame(link, soon()) == {"ok": {}}
        assert receive_frame(link, soon()) is None


def test_DOS_08_a_thread_that_cannot_be_started_costs_one_connection_and_not_the_acceptor(
    settings: SocketSettings, running: LinkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, failed = threading.Thread.start, threading.Event()

    def failing(thread: threading.Thread) -> None:
        if thread.name == "link-connection" and not failed.is_set():
            failed.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", failing)
    with connected(settings) as first, connected(settings) as second:
        answer = receive_frame(first, soon())
        assert answer is not None
        assert answer["error"]["code"] == codes.BUSY
        assert pinged(second)
    running.stop(2)
    assert not settings.path.exists()


def test_DOS_08_an_answer_larger_than_a_frame_is_an_error_and_not_the_end_of_the_connection(
    client: SamClient, running: LinkServer
) -> None:
    for _ in range(2):
        with pytest.raises(LinkRefused) as refusal:
            client.call("large", {})
        assert refusal.value.refusal == codes.BAD_REQUEST
        assert not client._idle
    client.ping()


def test_a_connection_that_was_turned_away_is_not_used_again(
    settings: SocketSettings, running: LinkServer, handlers: Handlers
) -> None:
    open_ones = [connected(settings) for _ in range(4)]
    for link in open_ones:
        send_frame(link, {"op": "slow", "body": {}}, soon())
    until(lambda: all(served.idle_since is None for served in running._connections.values()))
    with SamClient(settings.path) as client:
        with pytest.raises(LinkError):
            client.ping()
        assert not client._idle
        handlers.gate.set()
        for link in open_ones:
            assert receive_frame(link, soon()) == {"ok": {"done": "yes"}}
        client.ping()
        with pytest.raises(LinkRefused):
            client.call("spent", {})
        assert len(client._idle) == 1
    for link in open_ones:
        link.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_socket_is_not_for_everybody(settings: SocketSettings, running: LinkServer) -> None:
    assert stat.S_IMODE(settings.path.stat().st_mode) == 0o600


def test_the_socket_is_for_nobody_else_even_before_it_has_its_mode(
    settings: SocketSettings, handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    born: list[int] = []
    chmod = Path.chmod

    def watched(path: Path, mode: int) -> None:
        born.append(stat.S_IMODE(path.stat().st_mode))
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", watched)
    before = os.umask(0)
    try:
        running = LinkServer(replace(settings, mode=0o660), handlers.table())
        running.start()
        assert stat.S_IMODE(settings.path.stat().st_mode) == 0o660
        running.stop()
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert [mode & 0o077 for mode in born] == [0]


def test_a_socket_that_a_dead_process_left_is_replaced(settings: SocketSettings, handlers: Handlers) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(settings.path))
    running = LinkServer(settings, handlers.table())
    running.start()
    with SamClient(settings.path) as client:
        client.ping()
    running.stop()
    assert not settings.path.exists()


def test_a_socket_that_another_process_serves_is_left_alone(settings: SocketSettings, running: LinkServer) -> None:
    with pytest.raises(SocketInUse):
        LinkServer(settings, {}).start()
    assert settings.path.exists()


def test_a_path_that_is_something_else_is_left_alone(settings: SocketSettings) -> None:
    settings.path.write_text("precious")
    with pytest.raises(SocketInUse):
        LinkServer(settings, {}).start()
    assert settings.path.read_text() == "precious"
    for path in (settings.path / "below", settings.path.parent / "none" / "s", settings.path.parent / ("x" * 200)):
        with pytest.raises(SocketInUse):
            LinkServer(replace(settings, path=path), {}).start()


def test_stopping_a_server_that_was_never_started_does_nothing(settings: SocketSettings) -> None:
    LinkServer(settings, {}).stop()
    assert not settings.path.exists()


def test_a_request_that_is_being_answered_is_finished_before_the_end(
    settings: SocketSettings, handlers: Handlers, running: LinkServer
) -> None:
    with SamClient(settings.path) as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.call, "slow", {})
        handlers.entered.wait(5)
        ending = threading.Thread(target=running.stop)
        ending.start()
        time.sleep(0.1)
        handlers.gate.set()
        assert answer.result() == {"done": "yes"}
        ending.join()


# The client


def test_connections_are_kept_and_used_again(client: SamClient, running: LinkServer) -> None:
    for _ in range(20):
        client.ping()
    assert len(running._connections) == 1
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: client.ping(), range(40)))
    assert len(running._connections) <= 4


def test_after_a_restart_of_the_server_the_client_connects_again(
    client: SamClient, settings: SocketSettings, running: LinkServer, handlers: Handlers
) -> None:
    client.ping()
    running.stop()
    with pytest.raises(LinkUnavailable):
        client.ping()
    again = LinkServer(settings, handlers.table())
    again.start()
    client.ping()
    again.stop()


def test_the_deadline_is_for_the_whole_request(settings: SocketSettings, running: LinkServer) -> None:
    with SamClient(settings.path, timeout_seconds=0.2, pool_size=1) as client:
        began = time.monotonic()
        with pytest.raises(LinkUnavailable, match="in time"):
            client.call("slow", {})
        assert client._slots.acquire(timeout=1), "a request that has ended gives its place back"
        with pytest.raises(LinkUnavailable, match="became free"):
            client.ping()
        client._slots.release()
        assert time.monotonic() - began < 3
        client.ping()


def test_without_a_module_the_client_says_so(tmp_path: Path) -> None:
    with SamClient(tmp_path / "none") as client, pytest.raises(LinkUnavailable):
        client.ping()


@pytest.mark.parametrize(
    "answer",
    [
        {"ok": {}, "more": 1},
        {"ok": []},
        {"error": {"code": "x"}},
        {"error": {"code": "x", "detail": 1}},
        {"error": {}, "ok": {}},
        {"ok": {"signatures": []}},
        {"ok": {"credentials": [1], "next": None}},
        {"ok": {"credentials": []}},
        {"ok": {"credentials": {}, "next": None}},
        {"ok": {"credentials": [], "next": "1"}},
        {"ok": {"credentials": [VIEW.to_json()], "next": 1}},
        {"ok": {"credentials": [VIEW.to_json()], "next": None, "more": 1}},
        {},
    ],
)
def test_an_answer_of_another_form_is_refused(client: SamClient, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr(server.LinkServer, "_answer", lambda _self, _message, _following: answer)
    for ask in (lambda: client.sign(REQUEST), lambda: client.list_credentials("alice")):
        with pytest.raises(MessageInvalid):
            ask()


def test_whoever_made_an_answer_is_told_whether_it_went_out(
    settings: SocketSettings, client: SamClient, handlers: Handlers
) -> None:
    handlers.gate.set()
    assert client.call("handed", {"octets": 1}) == {"x": "x"}
    assert handlers.became.get(timeout=5) is True
    with pytest.raises(LinkRefused):
        client.call("handed", {"octets": MAX_FRAME_OCTETS})
    assert handlers.became.get(timeout=5) is False
    # One that does not read.
    with contextlib.closing(connected(settings)) as link:
        send_frame(link, {"op": "handed", "body": {"octets": MAX_FRAME_OCTETS // 2}}, soon())
        assert handlers.became.get(timeout=5) is False
    # And one that is not there any more, where the whole answer has room on its way.
    handlers.gate.clear()
    handlers.entered.clear()
    with contextlib.closing(connected(settings)) as link:
        send_frame(link, {"op": "handed", "body": {"octets": 1}}, soon())
        assert handlers.entered.wait(5)
    handlers.gate.set()
    assert handlers.became.get(timeout=5) is False


def test_a_server_that_ends_still_gives_an_answer_that_is_told_of(
    running: LinkServer, client: SamClient, handlers: Handlers
) -> None:
    with ThreadPoolExecutor(2) as pool:
        asking = pool.submit(client.call, "handed", {"octets": 1})
        assert handlers.entered.wait(5)
        stopping = pool.submit(running.stop, 5)
        until = soon()
        while not running._stopping.is_set() and time.monotonic() < until:
            time.sleep(0.01)
        handlers.gate.set()
        assert asking.result(5) == {"x": "x"}
        stopping.result(10)
    assert handlers.became.get(timeout=5) is True
