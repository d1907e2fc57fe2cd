"""An authority that answers over HTTP, as a test says: OCSP, its revocation list, its own certificate."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from tests.pki import Leaf

Answer = Callable[[bytes], bytes | int]


@dataclass
class Responder:
    """An authority's two addresses; each answers with octets, or with a status."""

    address: str = ""
    ocsp: Answer = lambda _request: 503
    crl: Answer = lambda _request: 503
    issuer: Answer = lambda _request: 503
    asked: list[str] = field(default_factory=list)
    drip: float = 0.0

    def leaf(self, **other: Any) -> Leaf:
        """A certificate that points here."""
        url = f"http://{self.address}"
        return Leaf(**{"ocsp": (f"{url}/ocsp",), "crl": (f"{url}/crl",), **other})


@contextmanager
def answering() -> Iterator[Responder]:
    """An authority on a free port."""
    responder = Responder()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.answer("ocsp", responder.ocsp)

        def do_GET(self) -> None:
            before, asked, encoded = self.path.partition("/ocsp/")
            if asked and not before:
                self.answer("ocsp by get", lambda _body: responder.ocsp(base64.b64decode(unquote(encoded))))
            elif self.path == "/issuer":
                self.answer("issuer", responder.issuer)
            else:
                self.answer("crl", responder.crl)

        def answer(self, kind: str, answer: Answer) -> None:
            responder.asked.append(kind)
            made = answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
            self.send_response(made if isinstance(made, int) else 200)
            if made == 302:
                self.send_header("Location", "http://169.254.169.254/latest/meta-data/")
            self.send_header("Content-Length", str(0 if isinstance(made, int) else len(made)))
            self.end_headers()
            body = b"" if isinstance(made, int) else made
            if not responder.drip:
                self.wfile.write(body)
                return
            with suppress(OSError):  # they hang up
                for octet in body:
                    self.wfile.write(bytes([octet]))
                    time.sleep(responder.drip)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    responder.address = f"pki.localhost:{httpd.server_port}"
    try:
        yield responder
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()
