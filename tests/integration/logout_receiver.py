"""A relying party's back-channel logout endpoint, over HTTP: it verifies as one would, with joserfc alone.

It remembers what came, valid or not, and answers what the test says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, request
from joserfc import jwt
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

EVENT = "http://schemas.openid.net/event/backchannel-logout"


def verified(token: str, keys: Mapping[str, Any], *, issuer: str, client_id: str, now: int) -> dict[str, Any]:
    """The claims of a Logout Token that passes OpenID Connect Back-Channel Logout 1.0, 2.6."""
    decoded = jwt.decode(token, KeySet.import_key_set(dict(keys)), algorithms=["ES256", "Ed25519", "PS256"])  # type: ignore[arg-type] # a key set is a dict
    assert decoded.header["typ"] == "logout+jwt"
    claims = dict(decoded.claims)
    JWTClaimsRegistry(
        now=now,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        iat={"essential": True},
        exp={"essential": True},
        jti={"essential": True},
    ).validate(claims)
    assert claims.get("sub") or claims.get("sid")
    assert claims["events"] == {EVENT: {}}
    assert "nonce" not in claims
    return claims


@dataclass
class Receiver:
    """The endpoint."""

    origin: str = ""
    tokens: list[str] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and media type of each."""
    answer: Callable[[], Response] = lambda: Response("", 200)

    @property
    def uri(self) -> str:
        """To be registered."""
        return f"{self.origin}/backchannel-logout"

    @property
    def allowed(self) -> tuple[str, ...]:
        """For the egress guard."""
        return (self.origin.removeprefix("http://"),)

    def receive(self) -> Response:
        """A Logout Token."""
        self.requests.append((request.path, request.content_type))
        assert request.form.keys() == {"logout_token"}
        self.tokens.append(request.form["logout_token"])
        return self.answer()

    def elsewhere(self) -> Response:
        """Where a redirect would lead."""
        self.requests.append((request.path, request.content_type))
        return Response("", 200)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a port of this machine."""
    receiver, app = Receiver(), Flask("receiver")
    app.add_url_rule("/backchannel-logout", "receive", receiver.receive, methods=["POST"])
    app.add_url_rule("/elsewhere", "elsewhere", receiver.elsewhere, methods=["GET", "POST"])
    server = make_server("127.0.0.1", 0, app, threaded=True)
    receiver.origin = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
