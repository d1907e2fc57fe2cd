"""The browser's way there and back: opens it, and waits on loopback for its return (RFC 8252 section 7.3)."""

from __future__ import annotations

import http.server
import threading
import webbrowser
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from .errors import TimedOutError, UsageError
from .localhost import is_loopback
from .oauth import Pending

_PAGE: Final = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    "<title>{title}</title><style>:root{{color-scheme:light dark;font:1.1rem/1.5 system-ui,sans-serif}}"
    "body{{max-width:34rem;margin:15vh auto;padding:0 1rem}}</style><main><h1>{title}</h1><p>{text}</p></main></html>"
)
_DONE: Final = _PAGE.format(title="Back in the application", text="You can close this window and go back to it.")
_NOT_OURS: Final = _PAGE.format(title="Nothing to do here", text="This address belongs to a program that is signing.")


class LoopbackReceiver:
    """Listens at the redirect URI while somebody signs in or approves.  Use it as context manager, and as `Approve`."""

    def __init__(
        self,
        redirect_uri: str,
        *,
        open_browser: Callable[[str], object] = webbrowser.open,
        seconds: float = 300.0,
    ) -> None:
        """
        :param redirect_uri: as registered: http, on this machine, with a port.
        :param open_browser: told where to go; print the address where there is no browser.
        :param seconds: how long to wait for the person each time.
        :raises UsageError: not such an address, or something else listens there.
        """
        parts = urlsplit(redirect_uri)
        host = parts.hostname or ""
        if parts.scheme != "http" or not is_loopback(host) or not parts.port:
            raise UsageError("the redirect URI must be http://127.0.0.1:PORT/… to receive the browser here")
        self._path = parts.path or "/"
        self._open = open_browser
        self._seconds = seconds
        self._found: list[dict[str, str]] = []
        self._state: str | None = None
        self._arrived = threading.Condition()
        address = host if host[0].isdigit() else "127.0.0.1"
        try:
            self._server = http.server.ThreadingHTTPServer((address, parts.port), self._handler())
        except OSError as e:
            raise UsageError(f"port {parts.port} of {address} is taken: nothing can be received there") from e
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> LoopbackReceiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __call__(self, pending: Pending) -> Mapping[str, str]:
        """Send the browser off, and wait for it.

        :raises TimedOutError: it did not come back in time.
        """
        with self._arrived:
            self._state, self._found = pending.state, []
        self._open(pending.url)
        with self._arrived:
            self._arrived.wait_for(lambda: bool(self._found), self._seconds)
            self._state = None
            if not self._found:
                raise TimedOutError("the browser did not come back in time")
            return self._found[0]

    def _take(self, query: str) -> dict[str, str] | None:
        pairs = parse_qsl(query, keep_blank_values=True)
        parameters = dict(pairs)
        with self._arrived:
            # Whoever can make a browser call this address does not know the state, and ends nothing here.
            if len(parameters) != len(pairs) or self._state is None or parameters.get("state") != self._state:
                return None
            self._state = None
        return parameters

    def _arrive(self, parameters: dict[str, str]) -> None:
        """Go on: not before the page is out, for who goes on may be at the end, and the process with it."""
        with self._arrived:
            self._found.append(parameters)
            self._arrived.notify_all()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 10
            server_version = "receiver"
            sys_version = ""

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                taken = receiver._take(parts.query) if parts.path == receiver._path else None
                try:
                    self._answer(taken=taken is not None)
                finally:
                    if taken is not None:
                        receiver._arrive(taken)

            def _answer(self, *, taken: bool) -> None:
                page = (_DONE if taken else _NOT_OURS).encode()
                self.send_response(200 if taken else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
                self.send_header("Cache-Control", "no-store")
                self.send_header("Referrer-Policy", "no-referrer")
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: object) -> None:
                """Nothing: the request line has the code."""

        return Handler
