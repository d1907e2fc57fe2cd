"""A web tier that dies at a named point of ``signatures/signHash``: the real one, over HTTP, on a real module.

``python -m tests.integration.web_node DIRECTORY``: says the port on which it listens.  A line of standard input names
a point; the next request is then served by a node that ends itself by SIGKILL there.  That exists here only.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from werkzeug.serving import make_server

from signing.app import create_app
from signing.link.client import SamClient
from signing.link.messages import SignRequest
from signing.settings import IssuerSettings, WebSettings
from tests.integration.test_sam_kills import leave

POINTS = ("before_it_is_sent", "while_it_is_signed", "after_the_answer")


def settings_in(directory: Path) -> WebSettings:
    """Of a web tier whose files are in a folder, as is its module's socket."""
    return WebSettings(
        mode="development",
        public_url="http://sign.localhost:8402",
        sam_socket=directory / "a.sock",
        issuer=IssuerSettings(
            "http://idp.localhost:8401", "csc", directory / "client-secret", sad_keys=(directory / "idp.pem",)
        ),
    )


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()
    raise AssertionError


class DyingClient(SamClient):
    """The link's client, dying."""

    point = ""

    def __init__(self, socket: Path) -> None:
        super().__init__(socket)
        self._socket = socket

    def sign(self, request: SignRequest) -> tuple[bytes, ...]:
        """Sign, up to the point."""
        if self.point == "while_it_is_signed":
            leave(self._socket, request)
        if self.point == "after_the_answer":
            super().sign(request)
        _die()


def main(directory: Path) -> None:
    """Fork a node for each line."""
    app = create_app(settings_in(directory), sam=DyingClient(directory / "a.sock"))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    say(str(server.server_port))
    for line in sys.stdin:
        DyingClient.point = line.strip()
        node = os.fork()
        if node == 0:
            try:
                server.serve_forever(0.05)
            finally:
                os._exit(0)
        say(str(os.waitstatus_to_exitcode(os.waitpid(node, 0)[1])))


def say(line: str) -> None:
    """To whoever started this."""
    os.write(1, line.encode() + b"\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
