"""What all development services share: loopback sockets, HTTP serving in threads, an orderly end, exit status 2."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import json
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from devservices.errors import HostRefused, NotLoopback, PortTaken, RequestRefused, RequestTooLarge
from foundation.errors import PrivySealError
from foundation.termination import Termination

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024
"""A PKCS#10, an OCSP or time-stamp request and a text message are all far smaller."""

CLIENT_TIMEOUT_SECONDS = 10
"""How long a client may keep silent in the middle of a request."""

Handler = Callable[[Request], Response]


def loopback_address(host: str) -> str:
    """The numeric loopback address meant by ``host``.

    :raises NotLoopback: for every other address and every name but ``localhost``.
    """
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        raise NotLoopback(f"{host!r} is not an address of this machine's loopback") from error
    if not address.is_loopback:
        raise NotLoopback(f"{address} is not loopback; development services are never reachable from elsewhere")
    return str(address)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket on loopback; port 0 lets the system choose.

    :raises NotLoopback: see :func:`loopback_address`.
    :raises PortTaken: somebody listens there already, or the port may not be used by this user.
    """
    address = loopback_address(host)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {port} on {address} is taken by another process") from error
        raise PortTaken(f"port {port} on {address} cannot be used ({error})") from error
    return listener


def url_of(listener: socket.socket) -> str:
    """The http URL of a bound socket, without a trailing slash."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class QuietRequestHandler(WSGIRequestHandler):
    """Logs method and status only: paths and queries here carry telephone numbers."""

    timeout = CLIENT_TIMEOUT_SECONDS

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """One debug line a request."""
        log.debug("%s answered %s", self.command, code)

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the overridden method's own name
        """The base class writes to standard error by itself; hand over to logging, without the arguments."""
        log.debug("http server: %s", message)

    def version_string(self) -> str:
        """Says no more than it must."""
        return "privyseal-development"


def is_loopback_host(host: str) -> bool:
    """Whether a Host header means this machine: a loopback address, ``localhost`` or a name below it."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def json_response(status: int, body: object, **headers: str) -> Response:
    """A JSON answer that no cache keeps."""
    response = Response(json.dumps(body), status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    for name, value in headers.items():
        response.headers[name.replace("_", "-")] = value
    return response


class LoopbackApplication:
    """WSGI around one handler: Host checked, body capped, refusals turned into JSON, safe headers on everything."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request = Request(environ)
        request.max_content_length = MAX_BODY_BYTES
        request.max_form_memory_size = MAX_BODY_BYTES
        response = self._answer(request)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "no-referrer")
        response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        try:
            if not is_loopback_host(request.headers.get("Host", "")):
                raise HostRefused("this service answers to loopback names only")
            return self._handler(request)
        except RequestRefused as refusal:
            return refusal_response(refusal)
        except RequestEntityTooLarge:
            return refusal_response(RequestTooLarge(f"more than {MAX_BODY_BYTES} octets"))
        except HTTPException as error:
            return json_response(error.code or 400, {"error": "malformed_request", "error_description": error.name})


def refusal_response(refusal: RequestRefused) -> Response:
    """The JSON form of a refusal: ``error`` is the code, ``error_description`` is for people."""
    return json_response(refusal.status, {"error": refusal.code, "error_description": str(refusal)})


class HttpService:
    """One WSGI application served in threads on an already bound socket."""

    def __init__(self, listener: socket.socket, handler: Handler) -> None:
        self.url = url_of(listener)
        host, port = listener.getsockname()[:2]
        self._server = make_server(
            host, port, LoopbackApplication(handler), threaded=True, request_handler=QuietRequestHandler,
            fd=listener.fileno(),
        )  # fmt: skip
        listener.close()  # the server duplicated the descriptor
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="http", daemon=True)

    def start(self) -> None:
        """Begin to answer; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; requests that are being answered are not waited for."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def wait_for_termination(ready_line: str) -> None:
    """Announce readiness on standard output, then block until SIGTERM or SIGINT."""
    ended = Termination()
    sys.stdout.write(ready_line + "\n")
    sys.stdout.flush()
    ended.wait()


def serve(listener: socket.socket, handler: Handler) -> None:
    """Serve one handler until the process is told to end; prints ``ready <url>`` once it listens."""
    service = HttpService(listener, handler)
    service.start()
    try:
        wait_for_termination(f"ready {service.url}")
    finally:
        service.stop()


def port_number(text: str) -> int:
    """A TCP port for argparse; 0 lets the system choose."""
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return value


def run(main: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None) -> int:
    """Run a command: 0 when it ended as told, 2 with one line on standard error when it could not start."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        main(argv)
    except PrivySealError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0
