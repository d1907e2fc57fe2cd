"""A TLS listener that asks browsers for certificates, for installations without a proxy in front.

It serves one thing, the page where certificates are presented, by the same application.  granian verifies certificates
of clients and does not show them, so this is its own small server on the standard library's: one request a connection,
HTTP/1.0 semantics, a thread each, few at one time, and little time.  A connection that was closed has nothing left in
which a second request could hide.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import IO, TYPE_CHECKING, Any, Final, cast
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from foundation import log
from idp.web.certificates.transport import LISTENER

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

MAX_CONNECTIONS: Final = 64
"""At one time; who comes when all are taken is hung up on (DOS-03)."""
CONNECTION_SECONDS: Final = 15.0
"""For each step of a handshake and a request; nobody holds a thread for long by sending slowly."""
MAX_BODY_OCTETS: Final = 16 * 1024
"""A ticket has less than one KiB."""
_X509_V_FLAG_NO_CHECK_TIME: Final = 0x200000
"""openssl/x509_vfy.h: an expired certificate gets through the handshake, so that a page can say what is wrong."""
_LENGTH: Final = re.compile(r"[0-9]{1,8}\Z", re.ASCII)
_logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where it listens and what it shows."""

    host: str
    port: int
    certificate: Path
    """The server's own chain, PEM."""
    key: Path


def context_for(listening: Listening, issuers: tuple[x509.Certificate, ...]) -> ssl.SSLContext:
    """TLS 1.2 or 1.3 that asks for a certificate of these issuers, and goes on without one.

    No tickets are given out: with TLS 1.3 every presentation is a handshake in which the key is used.

    :raises OSError: :raises ssl.SSLError: the server's own files cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_IGNORE_UNEXPECTED_EOF
    context.num_tickets = 0
    context.load_cert_chain(listening.certificate, listening.key)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= _X509_V_FLAG_NO_CHECK_TIME
    context.load_verify_locations(cadata=b"".join(item.public_bytes(Encoding.DER) for item in issuers))
    return context


class _Handler(WSGIRequestHandler):
    timeout = CONNECTION_SECONDS
    server_version = "privyseal"
    sys_version = ""

    def get_environ(self) -> dict[str, Any]:
        """With the certificate of the handshake, DER; what a browser writes into headers cannot get there."""
        connection = self.connection
        der = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
        return {**super().get_environ(), LISTENER: der or b"", "HTTPS": "on"}

    def handle(self) -> None:
        """One request, and only one that a form of ours could have sent."""
        with suppress(OSError):
            self.raw_requestline = self.rfile.readline(65537)
            if len(self.raw_requestline) > 65536:
                self.send_error(414)
                return
            if not self.parse_request():
                return
            if self._too_much():
                self.send_error(400)
                return
            given = cast("IO[bytes]", self.rfile), cast("IO[bytes]", self.wfile)
            handler = _Answer(*given, self.get_stderr(), self.get_environ(), multithread=True)
            handler.request_handler = self  # type: ignore[attr-defined] # how wsgiref tells its handler
            handler.run(self.server.get_app())  # type: ignore[attr-defined] # of WSGIServer

    def _too_much(self) -> bool:
        lengths = self.headers.get_all("Content-Length") or []
        if self.headers.get_all("Transfer-Encoding") or len(lengths) > 1:
            return True
        return bool(lengths) and not (_LENGTH.match(lengths[0]) and int(lengths[0]) <= MAX_BODY_OCTETS)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: what matters is in the audit chain."""


class _Answer(ServerHandler):
    http_version = "1.0"
    os_environ: dict[str, str] = {}  # noqa: RUF012 - the base class copies the whole environment of the process

    def log_exception(self, exc_info: Any) -> None:
        """Into our own log."""
        _logger.error("a presentation failed", exc_info=exc_info)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext) -> None:
        self._context = context
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Without asking a name server what this machine is called."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, if there is a place."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The handshake too: a slow one holds up nobody else."""
        try:
            request.settimeout(CONNECTION_SECONDS)
            try:
                secured = self._context.wrap_socket(request, server_side=True)
            except OSError:
                self.shutdown_request(request)
                return
            super().process_request_thread(secured, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Into our own log."""
        _logger.error("a presentation failed", exc_info=True)


@contextmanager
def serving(app: WSGIApplication, listening: Listening, issuers: tuple[x509.Certificate, ...]) -> Iterator[int]:
    """Serve in the background; yields the port.

    :raises OSError: it cannot listen there, or the server's own files cannot be used.
    """
    server = _Server((listening.host, listening.port), context_for(listening, issuers))
    server.set_app(app)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
