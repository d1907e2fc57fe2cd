"""The loopback receiver: one browser, the one that knows the state."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

import pytest
import requests

from clients.csc import LoopbackReceiver, Pending, TimedOutError, UsageError
from tests.sockets import free_port

pytestmark = pytest.mark.loopback


def pending(state: str = "the-state") -> Pending:
    return Pending("https://idp.example/authorize", "service", state, "verifier")


class Browser:
    """Visits addresses, one after the other, when it is opened."""

    def __init__(self, *urls: str) -> None:
        self._thread = threading.Thread(target=self._walk)
        self._urls = urls
        self.seen: list[requests.Response] = []

    def __call__(self, _url: str) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _walk(self) -> None:
        for url in self._urls:
            self.seen.append(requests.get(url, timeout=5))


def test_the_browser_that_knows_the_state_is_taken_and_no_other() -> None:
    uri = f"http://127.0.0.1:{free_port()}/callback"
    browser = Browser(
        f"{uri}?state=forged&code=evil",
        f"{uri}?code=evil",
        f"{uri}?state=the-state&code=a&code=b",
        f"{uri.removesuffix('/callback')}/?state=the-state&code=evil",
        f"{uri}?state=the-state&code=good&iss=x",
        f"{uri}?state=the-state&code=again",
    )
    with LoopbackReceiver(uri, open_browser=browser, seconds=20) as receiver:
        assert receiver(pending()) == {"state": "the-state", "code": "good", "iss": "x"}
        browser.join()
    assert [each.status_code for each in browser.seen] == [404, 404, 404, 404, 200, 404]
    done = browser.seen[4]
    assert "You can close this window" in done.text
    assert done.headers["Cache-Control"] == "no-store"
    assert done.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "good" not in done.text


def test_a_receiver_serves_one_visit_after_the_other() -> None:
    uri = f"http://127.0.0.1:{free_port()}/callback"

    def browse(url: str) -> None:
        threading.Thread(target=lambda: requests.get(url, timeout=5)).start()

    with LoopbackReceiver(uri, open_browser=browse, seconds=20) as receiver:
        for state in ("one", "two"):
            asked = Pending(f"{uri}?state={state}&code={state}", "service", state, "verifier")
            assert receiver(asked)["code"] == state


def test_the_browser_has_its_page_before_the_program_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    port, sent, begin = free_port(), BaseHTTPRequestHandler.send_response, threading.Event()
    came: list[socket.socket] = []

    def late(handler: BaseHTTPRequestHandler, status: int) -> None:
        begin.wait(0.5)
        sent(handler, status)

    def browse(url: str) -> None:
        came.append(socket.create_connection(("127.0.0.1", port), 5))
        came[0].sendall(f"GET {urlsplit(url).path}?{urlsplit(url).query} HTTP/1.0\r\n\r\n".encode())

    monkeypatch.setattr(BaseHTTPRequestHandler, "send_response", late)
    asked = Pending(f"http://127.0.0.1:{port}/callback?state=s&code=c", "service", "s", "verifier")
    with LoopbackReceiver(f"http://127.0.0.1:{port}/callback", open_browser=browse, seconds=20) as receiver:
        assert receiver(asked)["code"] == "c"
        with came[0] as browser:
            browser.setblocking(False)
            assert b"You can close this window" in browser.recv(65536)


def test_nobody_coming_is_a_timeout() -> None:
    uri = f"http://127.0.0.1:{free_port()}/callback"
    with LoopbackReceiver(uri, open_browser=lambda _: None, seconds=0.05) as receiver, pytest.raises(TimedOutError):
        receiver(pending())


@pytest.mark.parametrize(
    "uri",
    ["https://127.0.0.1:8407/callback", "http://example.org:8407/callback", "http://127.0.0.1/callback", "custom:/x"],
)
def test_only_an_address_of_this_machine_can_be_listened_at(uri: str) -> None:
    with pytest.raises(UsageError):
        LoopbackReceiver(uri)


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}/callback"
        with pytest.raises(UsageError, match="taken"):
            LoopbackReceiver(uri)
