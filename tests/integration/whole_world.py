"""The whole line in one process, on real parts: identity provider, API and module over their link, SQLite, SoftHSM2.

Three people, a credential each, carol's at SCAL1; one clock for all.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.test import TestResponse

from connectors.ports.pki import CertificateRequest, IssuedCertificate, PkiRefused, PkiUnavailable
from contract.order import CreateParameters
from foundation.clock import FixedClock
from foundation.egress import Egress
from foundation.files import write_secret
from foundation.jose import export_signing_key
from idp.authn.password import KEY, Passwords
from idp.settings import PasswordSettings
from idp.storage import accounts, authenticators
from idp.web import oidc
from idp.web.credential_info import CscCredentialReader
from signing.app import create_app
from signing.csc.dialect import dialects
from signing.link.client import SamClient
from signing.link.doors import SocketSettings, TlsSettings
from signing.link.endpoint import open_client
from signing.link.server import LinkServer
from signing.sam.ports import SignatureDevice
from signing.sam_app.handlers import public_handlers, stream_handlers
from signing.sam_app.parts import Sam
from signing.sam_settings import DeviceTable, SamSettings
from signing.settings import IssuerSettings, PkiSettings, WebSettings
from tests.answers import Described
from tests.fakes.sam import ALICE as SUBJECT
from tests.fakes.sam import ECDSA_SHA256, Authority, make_world
from tests.integration import oidc_world
from tests.integration.oidc_world import (
    ACCOUNT,
    ISSUER,
    NOW,
    PASSWORD,
    RESOURCE,
    SAM,
    SHA256,
    Browser,
    RelyingParty,
    World,
    answer,
    seed_sqlite,
)

HOST = RESOURCE.removesuffix("/csc/v2")
BASES = {dialect.name: dialect.path for dialect in dialects()}


@dataclass(frozen=True)
class Person:
    """Somebody with an account and a credential."""

    username: str
    account_id: str
    credential_id: str


@dataclass(frozen=True)
class Cast:
    """Who has which credential, from whom, and when everything plays."""

    profiles: Mapping[str, str] = field(
        default_factory=lambda: {"alice": "standard", "bob": "standard", "carol": "scal1"}
    )
    """By user name; alice is one of them."""
    authority: Authority | None = None
    clock: FixedClock | None = None
    """None: it stands at :data:`NOW`."""


@dataclass
class Whole:
    """What a relying party meets."""

    idp: World
    web: Flask
    people: dict[str, Person]
    web_url: str
    """Where the signing service really listens."""
    authority: IssuingAuthority
    sam: SamClient
    """Of the web tier."""
    idp_url: str = ""
    """Where the identity provider does."""
    restart: Callable[[], None] = lambda: None
    """Start identity provider and API anew, on what is in their databases."""

    def call(self, method: str, body: object, token: str | None = None, version: str = "v2") -> TestResponse:
        """Call the signing service."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        http: FlaskClient = self.web.test_client()
        answer = http.post(f"{BASES[version]}/{method}", json=body, headers=headers)
        Described(self.web).check(BASES[version], method, answer)
        return answer

    def sign_in(self, browser: Browser, page: TestResponse, username: str) -> TestResponse:
        """Type a user name and the password, which everybody has the same."""
        return browser.submit(page, "sign-in", username=username, password=PASSWORD)

    def service_token(self, username: str, client_id: str = "example-contracts", **changes: str | None) -> str:
        """Have a person sign in; the service token."""
        rp, browser = self.idp.rp(client_id), self.idp.browser()
        page = self.sign_in(browser, browser.get(rp.url(**changes)), username)
        return str(rp.redeem(answer(page)["code"]).get_json()["access_token"])

    def sad(self, username: str, *documents: bytes, client_id: str = "example-contracts") -> str:
        """Have a person approve signatures of documents with their credential; the SAD."""
        rp, credential_id = self.idp.rp(client_id), self.people[username].credential_id
        return self.approved(rp, rp.signing(*documents, credentialID=credential_id), username)

    def document_sad(self, username: str, *documents: bytes, client_id: str = "example-contracts") -> str:
        """Have a person approve that signatures are made around documents; the SAD."""
        rp, credential_id = self.idp.rp(client_id), self.people[username].credential_id
        return self.approved(rp, rp.document_signing(*documents, credentialID=credential_id), username)

    def approved(self, rp: RelyingParty, asked: Mapping[str, str], username: str) -> str:
        """Have a person approve what a relying party asks for; the SAD."""
        browser = self.idp.browser()
        page = self.sign_in(browser, browser.get(rp.pushed_url(asked)), username)
        return str(rp.redeem(answer(browser.approve(browser.step_up(page)))["code"]).get_json()["access_token"])

    def order_token(self, username: str, scope: str, **more: str) -> str:
        """Have a person approve the making or the deletion of a credential; the token of that scope."""
        rp, browser = self.idp.rp("orderer"), self.idp.browser()
        asked = rp.parameters(scope=scope, nonce=None, **more)
        page = self.sign_in(browser, browser.get(rp.pushed_url(asked)), username)
        response = rp.redeem(answer(browser.approve(browser.step_up(page)))["code"])
        assert response.status_code == 200, response.text
        return str(response.get_json()["access_token"])


@dataclass
class IssuingAuthority:
    """The certification authority, behind its port: the one that the module has pinned."""

    root: Authority
    failing: str | None = None
    """``unavailable`` or ``refused``: what it does instead."""
    issued: dict[str, bytes] = field(default_factory=dict)
    """By idempotency key."""
    revoked: list[bytes] = field(default_factory=list)

    def issue(self, request: CertificateRequest) -> IssuedCertificate:
        """A certificate for the request; the same one for the same key."""
        self._fail()
        if request.idempotency_key not in self.issued:
            self.issued[request.idempotency_key] = self.root.issue(request.pkcs10)
        return IssuedCertificate((self.issued[request.idempotency_key],))

    def revoke(self, certificate: bytes, reason: str) -> None:
        """Note it."""
        self._fail()
        self.revoked.append(certificate)

    def _fail(self) -> None:
        if self.failing == "unavailable":
            raise PkiUnavailable("it does not answer")
        if self.failing == "refused":
            raise PkiRefused("it will not")


def sign_hash(credential_id: str, *documents: bytes, **changes: Any) -> dict[str, Any]:
    """The body of ``signatures/signHash``, in the names of the API's version 2."""
    hashes = [base64.b64encode(hashlib.sha256(item).digest()).decode() for item in documents]
    return {
        "credentialID": credential_id,
        "hashes": hashes,
        "hashAlgorithmOID": SHA256,
        "signAlgo": ECDSA_SHA256,
        **changes,
    }


@contextmanager
def whole(
    directory: Path,
    device: SignatureDevice,
    door: SocketSettings | TlsSettings | None = None,
    identity: Mapping[str, Any] | None = None,
    cast: Cast | None = None,
    **web: Any,
) -> Iterator[Whole]:
    """Start everything.

    :param door: where the module listens, if not at the socket.
    :param cast: other people's keys, authority and time.
    :param identity: changed settings of the identity provider.
    :param web: changed settings of the signing web tier.
    """
    (directory / "idp").mkdir()
    seeded = seed_sqlite(directory / "idp")
    url = f"sqlite:///{directory / 'idp' / 'idp.sqlite'}"
    cast = cast or Cast()
    idp = oidc_world.start(seeded, directory / "idp", url, **{"clock": cast.clock, **(identity or {})})
    for username in cast.profiles:
        if username != "alice":
            _add_person(idp, username)
    with ExitStack() as stack:
        stack.callback(idp.engine.dispose)
        idp_server = stack.enter_context(serving(idp.app))
        idp_port = idp_server.server_port
        door = door or SocketSettings(directory / "sam.sock", frozenset({os.getuid()}), 0o600)
        link, people, root = _module(directory, device, idp, door, cast)
        stack.enter_context(_linked(link))
        settings = _web_settings(directory, idp, idp_port, web)
        authority = IssuingAuthority(root)
        sam = stack.enter_context(open_client(settings))
        app = create_app(settings, clock=idp.clock, sam=sam, authority=authority)
        web_server = stack.enter_context(serving(app))
        web_port = web_server.server_port
        _read_from(idp.app, web_port)
        made = Whole(idp, app, people, f"http://127.0.0.1:{web_port}", authority, sam, f"http://127.0.0.1:{idp_port}")

        def restart() -> None:
            again = oidc_world.start(seeded, directory / "idp", url, **{"clock": idp.clock, **(identity or {})})
            stack.callback(again.engine.dispose)
            _read_from(again.app, web_port)
            idp.app, idp.phone = again.app, again.phone
            idp_server.app = again.app
            made.web = web_server.app = create_app(settings, clock=idp.clock, sam=sam, authority=authority)

        made.restart = restart
        yield made


def _read_from(app: Flask, web_port: int) -> None:
    """Have an identity provider read credentials from where the API listens."""
    services = app.extensions["privyseal"]
    reader = CscCredentialReader(
        Egress((f"127.0.0.1:{web_port}",)),
        f"http://127.0.0.1:{web_port}/csc/v2",
        10,
        lambda account_id, client_id: oidc.self_service_token(services, account_id, client_id),
    )
    app.extensions["privyseal"] = replace(services, credentials=reader)


@contextmanager
def serving(app: Flask) -> Iterator[BaseWSGIServer]:
    """The application on a free port."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _linked(link: LinkServer) -> Iterator[None]:
    link.start()
    try:
        yield
    finally:
        link.stop()


def _module(
    directory: Path, device: SignatureDevice, idp: World, door: SocketSettings | TlsSettings, cast: Cast
) -> tuple[LinkServer, dict[str, Person], Authority]:
    """The module behind its door, with a credential for each of them, and whose certificates it takes."""
    world = make_world(f"sqlite:///{directory / 'sam.sqlite'}", device)
    world.clock, world.authority = idp.clock, cast.authority or Authority(NOW)
    world.idp_key = idp.app.extensions["privyseal"].keys.activation_key()
    world.policy = replace(
        world.policy,
        sam_id=SAM,
        issuers={ISSUER: (world.idp_key.verification_key(),)},
        dpop_htu=tuple(f"{HOST}{base}/signatures/signHash" for base in BASES.values()),
    )
    people = {}
    for username, profile in cast.profiles.items():
        account_id = ACCOUNT if username == "alice" else f"account-of-{username}"
        order = world.order_token(iss=ISSUER, aud=SAM, sub=account_id, parameters=CreateParameters(profile, SUBJECT))
        made = world.lifecycle().create(order)
        world.lifecycle().link(made.id, world.authority.chain(made.request))
        people[username] = Person(username, account_id, made.id)
    table = DeviceTable(Path("module"), "label", Path("pin"))
    settings = SamSettings("development", "test", SAM, Path("s"), Path("a"), {}, table, {}, ())
    sam = Sam(
        settings=settings,
        store=world.store,  # type: ignore[arg-type] # make_world's is a SqlStore where nothing wraps it
        device=world.device,
        policy=world.policy,
        activator=world.activator(),
        lifecycle=world.lifecycle(),
        revocations=world.revocations(),
        operators=world.operators(),
        rewrapping=world.rewrapping(),
        orphans=world.orphans(),
        anchor=world.anchor,
        checkpoints=world.checkpoints(),
        clock=world.clock,
        device_available=lambda: True,
    )
    # An approval counts from the second after the credential was made.
    idp.clock.advance(2)
    return LinkServer(door, public_handlers(sam), stream_handlers(sam)), people, world.authority


def _web_settings(directory: Path, idp: World, idp_port: int, changes: dict[str, Any]) -> WebSettings:
    write_secret(directory / "client.pem", export_signing_key(idp.client_key))
    key = idp.app.extensions["privyseal"].keys.activation_key().verification_key()
    (directory / "activation.pem").write_bytes(key.key.as_pem(private=False))
    settings = WebSettings(
        mode="development",
        public_url=HOST,
        sam_socket=directory / "sam.sock",
        issuer=IssuerSettings(
            ISSUER,
            "rssp",
            client_key_file=directory / "client.pem",
            jwks_uri=f"http://127.0.0.1:{idp_port}/oauth2/jwks",
            introspection_endpoint=f"http://127.0.0.1:{idp_port}/oauth2/introspect",
            token_endpoint=f"http://127.0.0.1:{idp_port}/oauth2/token",
            backchannel_endpoint=f"http://127.0.0.1:{idp_port}/oauth2/bc-authorize",
            sad_keys=(directory / "activation.pem",),
        ),
        egress_allow=(f"127.0.0.1:{idp_port}",),
        pki=PkiSettings("played"),
    )
    return replace(settings, **changes)


def _add_person(idp: World, username: str) -> None:
    """Another person, with a password and a telephone of their own."""
    seals, key = idp.app.extensions["privyseal"].seals, idp.app.extensions["privyseal"].keys.secret(KEY)
    with idp.engine.begin() as connection:
        account = accounts.create(
            connection, f"account-of-{username}", accounts.NewAccount(username, "Bob Example", proofing="high"), NOW
        )
        for kind, address, secret in (
            ("password", None, Passwords(PasswordSettings(), key=key).hash(PASSWORD)),
            ("sms_otp", "+43660999999", None),
        ):
            authenticators.add(
                connection,
                seals,
                authenticator_id=f"{kind}-of-{username}",
                account_id=account.id,
                kind=kind,
                now=NOW,
                address=address,
                secret_hash=secret,
            )


__all__ = ["Person", "RelyingParty", "Whole", "sign_hash", "whole"]
