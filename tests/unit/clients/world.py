"""A signing service and its authorization server, scripted, that sign what was approved; and a person who approves."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from clients.csc import Pending
from tests.unit.clients.conftest import credential_answer, info
from tests.unit.clients.scripted import Scripted
from tests.unit.examples.certificates import Signer


class World:
    """Everything obedient; a test puts other answers in front."""

    def __init__(self, server: Scripted, key: Signer, *, multisign: int = 100, **credential: Any) -> None:
        self.server = server
        self.key = key
        issuer = f"{server.url}/as"
        server.on("/csc/v2/info", info(oauth2Issuer=issuer))
        server.on(
            "/as/.well-known/oauth-authorization-server",
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                "pushed_authorization_request_endpoint": f"{issuer}/par",
                "authorization_details_types_supported": ["credential"],
            },
        )
        server.on("/as/par", {"request_uri": "urn:x"}, 201)
        server.on("/as/token", {"access_token": "token", "token_type": "Bearer"})
        server.on("/csc/v2/credentials/list", {"credentialIDs": ["c1"]})
        server.on("/csc/v2/credentials/info", credential_answer(key, multisign=multisign, **credential))
        self.refusals: list[tuple[int, dict[str, str], dict[str, str]]] = []
        self.sign_with: Callable[[bytes], bytes] = key.sign_digest
        server.live["/csc/v2/signatures/signHash"] = self._sign
        self.visits: list[Pending] = []

    def approve(self, pending: Pending) -> Mapping[str, str]:
        """A person who says yes."""
        self.visits.append(pending)
        return {"code": "c", "state": pending.state, "iss": f"{self.server.url}/as"}

    def approved(self) -> list[list[dict[str, str]]]:
        """The documents of each request for approval."""
        forms = [each.form for each in self.server.asked if each.path == "/as/par"]
        return [
            json.loads(form["authorization_details"])[0]["documentDigests"]
            for form in forms
            if "authorization_details" in form
        ]

    def _sign(self, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        if self.refusals:
            return self.refusals.pop(0)
        values = [base64.b64encode(self.sign_with(base64.b64decode(each))).decode() for each in body["hashes"]]
        return 200, {"signatures": values}, {}
