"""The closed loop over a server of the test's own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.driver import Outcome, Poster, Prepared, closed_loop

pytestmark = pytest.mark.loopback


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503 if body == b"bad" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        with contextlib.suppress(ValueError):  # the test's own unreadable request: drop the connection
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@contextmanager
def _server() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _prepared(*bodies: bytes) -> list[Prepared]:
    return [Prepared(body, {}, units=2) for body in bodies]


def _post(port: int, prepared: list[Prepared], *, workers: int, seconds: float) -> Outcome:
    def make(_turn: int) -> Poster:
        return Poster(port, "x.localhost", "/", prepared)

    return closed_loop(make, len(prepared), workers=workers, seconds=seconds)


def test_every_request_is_sent_once_and_a_window_that_runs_dry_says_so() -> None:
    with _server() as port:
        outcome = _post(port, _prepared(b"0", b"1", b"2"), workers=2, seconds=5)
    assert outcome.exhausted
    assert outcome.answers == {0: b"0", 1: b"1", 2: b"2"}
    assert [sample.units for sample in outcome.samples] == [2, 2, 2]
    assert all(0 < sample.seconds <= sample.ended <= outcome.window for sample in outcome.samples)


def test_a_refusal_is_an_error_and_no_sample() -> None:
    with _server() as port:
        outcome = _post(port, _prepared(b"bad", b"good"), workers=1, seconds=5)
    assert len(outcome.samples) == 1
    assert outcome.errors == {"503: bad": 1}


def test_the_window_ends_in_time_although_requests_are_left() -> None:
    many = _prepared(*(b"%d" % number for number in range(20_000)))
    with _server() as port:
        outcome = _post(port, many, workers=2, seconds=0.2)
    assert not outcome.exhausted
    assert 0 < len(outcome.samples) < len(many)


def test_a_connection_that_the_server_drops_is_an_error_and_is_opened_anew() -> None:
    with _server() as port:
        prepared = [Prepared(b"x", {"Content-Length": "no number"}, 1), *_prepared(b"good")]
        outcome = _post(port, prepared, workers=1, seconds=5)
    assert outcome.errors == {"no answer: RemoteDisconnected": 1}
    assert list(outcome.answers) == [1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_cannot_begin_breaks_the_run_instead_of_holding_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.driver._TIMEOUT_SECONDS", 0.2)
    with _server() as port:
        pass
    with pytest.raises(threading.BrokenBarrierError):
        _post(port, _prepared(b"x"), workers=1, seconds=5)
