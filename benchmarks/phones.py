"""A Twilio of this process's own: takes messages to phones, and remembers each phone's last code."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs

from benchmarks.driver import HOST

ACCOUNT_SID: Final = "AC" + "0" * 31 + "1"
_PATH: Final = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
_CODE: Final = re.compile(r"(?<!\d)\d{6}(?!\d)")


class Phones:
    """What has arrived.  Thread-safe."""

    def __init__(self) -> None:
        self._codes: dict[str, str] = {}

    def deliver(self, phone: str, text: str) -> None:
        """A message arrives."""
        found = _CODE.search(text)
        if found is not None:
            self._codes[phone] = found.group()

    def take(self, phone: str) -> str | None:
        """The code in the phone's last message, once."""
        return self._codes.pop(phone, None)


class _Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    phones: Phones

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode())
        known = self.path == _PATH
        if known:
            self.phones.deliver(form["To"][0], form["Body"][0])
        body = json.dumps({"sid": "SM" + "0" * 32, "status": "queued"} if known else {"code": 20404}).encode()
        self.send_response(HTTPStatus.CREATED if known else HTTPStatus.NOT_FOUND)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: requests carry codes."""


@contextmanager
def phones(port: int) -> Iterator[Phones]:
    """Serve on a port of loopback."""
    found = Phones()

    class Bound(_Endpoint):
        phones = found

    with ThreadingHTTPServer((HOST, port), Bound) as server:
        thread = threading.Thread(target=server.serve_forever, name="phones")
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
