"""The portal with a scripted identity provider and signing service, and people at browsers."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from documents.errors import DocumentRefused
from documents.findings import Examination, Finding, Page
from foundation.clock import FixedClock, SystemClock, epoch
from foundation.files import write_secret
from foundation.jose import SigningKey, export_signing_key, generate_signing_key, sign_compact
from portal.app import create_app
from portal.settings import KeepingSettings, LimitSettings, PortalSettings
from portal.store.database import create_tables, open_engine
from tests.documents import blank_pdf
from tests.unit.clients.conftest import credential_answer, info
from tests.unit.clients.scripted import Scripted, running
from tests.unit.examples.certificates import Signer, make_signer

CLIENT = "portal"
LEVELS = ["Ades-B-B", "Ades-B-T"]
CSRF = re.compile(r'name="csrf_token" value="([0-9a-f]+)"')
PDF = blank_pdf()


@dataclass
class Person:
    """Somebody at a browser of their own."""

    world: World
    subject: str
    http: FlaskClient
    form: str = ""
    """The form token of the page that was seen last."""

    def get(self, path: str) -> TestResponse:
        return self._seen(self.http.get(path))

    def post(self, path: str, **fields: Any) -> TestResponse:
        fields.setdefault("csrf_token", self.form)
        return self._seen(self.http.post(path, data=fields, content_type="multipart/form-data"))

    def _seen(self, page: TestResponse) -> TestResponse:
        found = CSRF.search(page.get_data(as_text=True)) if page.mimetype == "text/html" else None
        self.form = found[1] if found else self.form
        return page

    def sign_in(self) -> TestResponse:
        self.get("/")
        asked = self.world.pushed(self.post("/sign-in"))
        self.world.next_tokens(self.subject, asked["nonce"])
        arrived = self.come_back(asked["state"])
        self.get("/documents")
        return arrived

    def come_back(self, state: str, **more: str) -> TestResponse:
        query = {"code": "c", "state": state, "iss": self.world.issuer, **more}
        return self._seen(self.http.get("/callback", query_string=query))

    def bring(self, *files: tuple[str, bytes]) -> TestResponse:
        return self.post("/documents", file=[(BytesIO(content), name) for name, content in files])

    def brought(self, name: str = "lease.pdf", content: bytes = PDF) -> str:
        """The identifier of a document that was brought."""
        page = self.bring((name, content))
        assert page.status_code == 303, page.get_data(as_text=True)
        return parse_qs(urlsplit(page.location).query)["new"][0]

    def begin(self, *ids: str, **fields: Any) -> dict[str, str]:
        """On the way to the approval: what the portal pushed."""
        return self.world.pushed(self.post("/sign", document=list(ids), **fields))

    def approve(self, asked: dict[str, str]) -> TestResponse:
        self.world.server.answers["/as/token"] = []
        self.world.server.on("/as/token", {"access_token": f"sad of {self.subject}", "token_type": "Bearer"})
        return self.come_back(asked["state"])


@dataclass
class World:
    """The portal, and what it meets."""

    app: Flask
    server: Scripted
    settings: PortalSettings
    clock: FixedClock
    token_key: SigningKey
    client_key: SigningKey
    signer: Signer
    refusals: list[tuple[int, dict[str, str], dict[str, str]]] = field(default_factory=list)

    @property
    def issuer(self) -> str:
        return f"{self.server.url}/as"

    def person(self, subject: str) -> Person:
        return Person(self, subject, self.app.test_client())

    def pushed(self, answer: TestResponse) -> dict[str, str]:
        """What was pushed before a browser was sent off."""
        assert answer.status_code == 303, answer.get_data(as_text=True)
        query = parse_qs(urlsplit(answer.location).query)
        assert set(query) == {"client_id", "request_uri"}, "the browser carries nothing but the reference"
        return self.server.last("/as/par").form

    def next_tokens(self, subject: str, nonce: str, **changes: Any) -> None:
        now = epoch(self.clock.now())
        claims = {"iss": self.issuer, "aud": CLIENT, "sub": subject, "iat": now, "exp": now + 600, "nonce": nonce}
        id_token = sign_compact({**claims, **changes}, self.token_key, "JWT")
        answer = {"access_token": f"service of {subject}", "token_type": "Bearer", "id_token": id_token}
        self.server.answers["/as/token"] = []
        self.server.on("/as/token", answer)

    def sign(self, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        """``signatures/signDoc``, as far as the portal can tell."""
        if self.refusals:
            return self.refusals.pop(0)
        signed = [base64.b64decode(each["document"]) + b"% signed /ByteRange\n" for each in body["documents"]]
        return 200, {"DocumentWithSignature": [base64.b64encode(each).decode() for each in signed]}, {}


def examined(content: bytes) -> Examination:
    """What the confined processes say; of a document with a telling word in it something else."""
    if b"REFUSE" in content:
        raise DocumentRefused("encrypted")
    findings = (Finding("javascript"), Finding("form_fields", 1)) if b"ACTIVE" in content else ()
    return Examination(findings, (Page(595.28, 841.89, 0), Page(841.89, 595.28, 90)), (), 9, "1.7")


def drawn(_content: bytes, number: int) -> bytes:
    """A page's picture, as it were."""
    return f"picture of page {number}".encode()


@contextmanager
def world(
    directory: Path, database_url: str, *, trusted_proxies: tuple[str, ...] = (), **limits: int
) -> Iterator[World]:
    """:param limits: of the settings; by address there are none unless they are named: all come from one."""
    client_key = generate_signing_key()
    write_secret(directory / "client.pem", export_signing_key(client_key))
    write_secret(directory / "portal.key", b"k" * 43)
    with running() as server:
        settings = PortalSettings(
            public_url="http://portal.localhost",
            issuer=f"{server.url}/as",
            csc_base=f"{server.url}/csc/v2",
            client_id=CLIENT,
            client_key_file=directory / "client.pem",
            key_file=directory / "portal.key",
            mode="development",
            validate_url=f"{server.url}/validate",
            database_url=database_url,
            trusted_proxies=trusted_proxies,
            limits=LimitSettings(
                **{"file_octets": 4096, "request_octets": 16384, "octets": 65536, "address_burst": 10_000, **limits}
            ),
            keeping=KeepingSettings(),
        )
        clock = FixedClock(SystemClock().now())
        engine = open_engine(settings)
        assert create_tables(engine)
        try:
            made = World(
                create_app(settings, clock=clock, engine=engine, examine=examined, draw=drawn), server, settings, clock,
                generate_signing_key(), client_key, make_signer(),
            )  # fmt: skip
            _script(made)
            yield made
        finally:
            engine.dispose()


def _script(made: World) -> None:
    server, issuer = made.server, made.issuer
    methods = ["info", "credentials/list", "credentials/info", "signatures/signDoc"]
    server.on("/csc/v2/info", info(oauth2Issuer=issuer, methods=methods, conformance_levels=LEVELS))
    metadata = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "pushed_authorization_request_endpoint": f"{issuer}/par",
        "revocation_endpoint": f"{issuer}/revoke",
        "end_session_endpoint": f"{issuer}/logout",
        "jwks_uri": f"{issuer}/jwks",
        "authorization_response_iss_parameter_supported": True,
    }
    server.on("/as/.well-known/oauth-authorization-server", metadata)
    server.on("/as/par", {"request_uri": "urn:x"}, 201)
    server.on("/as/jwks", {"keys": [made.token_key.verification_key().as_jwk()]})
    server.on("/as/revoke", {})
    server.on("/csc/v2/credentials/list", {"credentialIDs": ["c1"]})
    server.on("/csc/v2/credentials/info", credential_answer(made.signer, multisign=3))
    server.live["/csc/v2/signatures/signDoc"] = made.sign
