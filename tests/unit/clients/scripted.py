"""A server that answers what a test wrote down, path by path, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), strict_parsing=True))


@dataclass(slots=True)
class Scripted:
    """The answers by path: the first of a list is used up, the last one stays."""

    answers: dict[str, list[tuple[int, Any, dict[str, str]]]] = field(default_factory=dict)
    live: dict[str, Callable[[dict[str, Any]], tuple[int, Any, dict[str, str]]]] = field(default_factory=dict)
    """Paths that are answered by what was asked."""
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def on(self, path: str, body: Any, status: int = 200, **headers: str) -> None:
        """Answer the next request of a path so."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.setdefault(path, []).append((status, body, named))

    def last(self, path: str) -> Asked:
        return [each for each in self.asked if each.path == path][-1]

    def count(self, path: str) -> int:
        return len([each for each in self.asked if each.path == path])


@contextmanager
def running() -> Iterator[Scripted]:
    """A server on a free port."""
    script = Scripted()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            path = self.path.partition("?")[0]
            length = int(self.headers.get("Content-Length") or 0)
            script.asked.append(Asked(self.command, path, dict(self.headers), self.rfile.read(length)))
            planned = script.answers.get(path)
            if path in script.live:
                planned = [script.live[path](script.asked[-1].json)]
            status, body, headers = (404, {"error": "not_found"}, {}) if not planned else planned[0]
            if planned and len(planned) > 1:
                planned.pop(0)
            content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if status != 204:
                self.wfile.write(content)

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    script.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
