"""An identity provider with one person and a few clients, and what a relying party and a browser do with it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, select
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from connectors.ports.messaging import Delivery, MailMessage, SmsMessage
from foundation.clock import Clock, FixedClock, SystemClock
from foundation.jose import SigningKey, encode_base64url, generate_signing_key
from idp.app import create_app
from idp.approval_settings import DeviceApprovalSettings
from idp.authn.password import KEY, Passwords
from idp.oidc.client import BACKCHANNEL_GRANT, EXPLICIT_GRANT, EXTENSION_GRANT, LOGIN_GRANT, Registration
from idp.oidc.rar import TYPE_CSC_2_2
from idp.settings import IdpSettings, OtpSettings, PasswordSettings, SigningSettings
from idp.storage import accounts, audit, authenticators, clients
from idp.storage.engine import create_tables, open_engine
from idp.storage.keys import KeyStore, create_keys
from idp.storage.seal import Sealer
from idp.web.services import CredentialView, Messaging

ISSUER = "http://idp.localhost:8401"
RESOURCE = "http://sign.localhost:8402/csc/v2"
SAM = "urn:privyseal:sam:test"
REDIRECT_URI = "http://rp.localhost:8405/callback"
BYE = "http://rp.localhost:8405/bye"
SHA256 = "2.16.840.1.101.3.4.2.1"
ACCOUNT = "account-of-alice"
PASSWORD = "correct horse battery staple"
NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
POLICY = Path(__file__).parents[2] / "policies" / "default.yaml"


class Phone:
    """The person's phone: keeps the messages."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def send_sms(self, message: SmsMessage) -> Delivery:
        """Receive a text message."""
        self.texts.append(message.text)
        return Delivery("a-reference")

    def send_mail(self, message: MailMessage) -> Delivery:
        """Receive a mail."""
        self.texts.append(message.text)
        return Delivery("a-reference")

    def code(self) -> str:
        """The one-time code of the latest message."""
        found = re.search(r"\b\d{3} ?\d{3}\b", self.texts[-1])
        assert found is not None, "the message has a code"
        return found[0].replace(" ", "")


class Credentials:
    """The signing service's answer to ``credentials/info``."""

    def read(self, account_id: str, client_id: str, credential_id: str) -> CredentialView:
        """The credential, which is fine."""
        return CredentialView(
            credential_id=credential_id,
            subject="CN=Alice Example",
            issuer="CN=Example CA",
            valid_from="2026-01-01T00:00:00Z",
            valid_to="2028-01-01T00:00:00Z",
            scal="2",
            qualifier="eu_eidas_aes",
            status="enabled",
        )

    def of_account(self, account_id: str, client_id: str) -> tuple[CredentialView, ...]:
        """One."""
        return (self.read(account_id, client_id, "credential-1"),)


@dataclass
class World:
    """The identity provider under test."""

    app: Flask
    engine: Engine
    clock: FixedClock
    phone: Phone
    account_id: str
    secrets: dict[str, str]
    client_key: SigningKey

    def browser(self) -> Browser:
        """A new browser."""
        return Browser(self, self.app.test_client())

    def rp(self, client_id: str = "example-contracts") -> RelyingParty:
        """A relying party."""
        return RelyingParty(self, client_id, self.app.test_client())

    def events(self, name: str) -> list[dict[str, Any]]:
        """Records of the audit chain, by event."""
        table = audit.TABLES.entries
        with self.engine.connect() as connection:
            rows = connection.execute(select(table.c.fields).where(table.c.event == name).order_by(table.c.sequence))
            return [json.loads(text) for text in rows.scalars()]


@dataclass
class Browser:
    """A person's browser; it follows redirects of the identity provider and stops at the relying party."""

    world: World
    http: FlaskClient

    def get(self, url: str) -> TestResponse:
        """Open a page."""
        return self._follow(self.http.get(url, base_url=ISSUER))

    def post(self, url: str, data: Mapping[str, str]) -> TestResponse:
        """Submit a form."""
        return self._follow(self.http.post(url, data=data, base_url=ISSUER))

    def _follow(self, response: TestResponse) -> TestResponse:
        while response.status_code in {301, 302, 303, 307, 308}:
            location = response.headers["Location"]
            if location.startswith("http") and not location.startswith(ISSUER + "/"):
                return response
            response = self.http.get(location, base_url=ISSUER)
        return response

    def submit(self, page: TestResponse, form: str, **values: str) -> TestResponse:
        """Fill in and submit the page's form of that name."""
        html = page.get_data(as_text=True)
        found = re.search(rf'<form data-form="{form}"[^>]*action="([^"]+)".*?</form>', html, re.DOTALL)
        assert found is not None, f"no form {form} in {html[:2000]}"
        inputs = re.findall(r'<input[^>]*type="hidden"[^>]*>', found[0])
        hidden = {}
        for item in inputs:
            name = re.search(r'name="([^"]*)"', item)
            value = re.search(r'value="([^"]*)"', item)
            assert name is not None
            hidden[name[1]] = "" if value is None else value[1].replace("&amp;", "&")
        return self.post(found[1], {**hidden, **values})

    def sign_in(self, page: TestResponse) -> TestResponse:
        """Type user name and password."""
        return self.submit(page, "sign-in", username="alice", password=PASSWORD)

    def step_up(self, page: TestResponse) -> TestResponse:
        """Ask for a code by text message and type it."""
        page = self.submit(page, "choose", factor="sms_otp")
        return self.submit(page, "otp", code=self.world.phone.code())

    def approve(self, page: TestResponse) -> TestResponse:
        """Approve what the page shows."""
        return self.submit(page, "consent", decision="approve")


def answer(response: TestResponse) -> dict[str, str]:
    """The parameters with which the browser was sent to the relying party."""
    assert response.status_code in {302, 303}, response.get_data(as_text=True)[:2000]
    location = urlsplit(response.headers["Location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == REDIRECT_URI
    values = parse_qs(location.query, strict_parsing=True)
    assert all(len(items) == 1 for items in values.values())
    return {name: items[0] for name, items in values.items()}


def error_of(response: Any) -> str:
    """The error of a JSON answer, which nobody may store."""
    assert response.status_code in {400, 401, 413, 429}, response.text
    assert response.headers["Cache-Control"] == "no-store"
    return str(response.get_json()["error"])


@dataclass
class RelyingParty:
    """A client of the identity provider."""

    world: World
    client_id: str
    http: FlaskClient
    verifier: str = field(default_factory=lambda: encode_base64url(secrets.token_bytes(32)))

    @property
    def basic(self) -> dict[str, str]:
        """HTTP Basic credentials."""
        text = f"{self.client_id}:{self.world.secrets[self.client_id]}"
        return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}

    def parameters(self, **changes: str | None) -> dict[str, str]:
        """A sign-in; None removes a parameter."""
        challenge = encode_base64url(hashlib.sha256(self.verifier.encode()).digest())
        values: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "openid service",
            "state": "some-state",
            "nonce": "some-nonce",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **changes,
        }
        return {name: value for name, value in values.items() if value is not None}

    def document_signing(self, *documents: bytes, **changes: Any) -> dict[str, str]:
        """A request for signatures around documents: their own digests are approved (CSC API 2.2)."""
        digests = [base64.b64encode(hashlib.sha256(item).digest()).decode() for item in documents]
        items = [{"hash": item, "hashType": "sdr", "label": "contract.pdf"} for item in digests]
        return self.signing(type=TYPE_CSC_2_2, documentDigests=items, **changes)

    def signing(self, *documents: bytes, **changes: Any) -> dict[str, str]:
        """A request for signatures of documents."""
        digests = [hashlib.sha256(item).digest() for item in documents or (b"a document",)]
        details = {
            "type": "credential",
            "credentialID": "a-credential",
            "documentDigests": [{"hash": base64.b64encode(item).decode(), "label": "contract.pdf"} for item in digests],
            "hashAlgorithmOID": SHA256,
            **changes,
        }
        return self.parameters(scope="credential", nonce=None, authorization_details=json.dumps([details]))

    def url(self, **changes: str | None) -> str:
        """The address of a plain authorization request."""
        return with_query("/oauth2/authorize", self.parameters(**changes))

    def post(self, path: str, data: Mapping[str, str], **headers: str) -> TestResponse:
        """A request to an endpoint for clients, authenticated with Basic."""
        return self.http.post(path, data=data, headers=headers or self.basic, base_url=ISSUER)

    def push(self, parameters: Mapping[str, str]) -> TestResponse:
        """Push an authorization request."""
        return self.post("/oauth2/pushed_authorize", parameters)

    def pushed_url(self, parameters: Mapping[str, str]) -> str:
        """Push a request; the address that the browser is sent to."""
        response = self.push(parameters)
        assert response.status_code == 201, response.text
        handle = response.get_json()["request_uri"]
        return with_query("/oauth2/authorize", {"client_id": self.client_id, "request_uri": handle})

    def token(self, **data: str) -> TestResponse:
        """A token request."""
        return self.post("/oauth2/token", data)

    def redeem(self, code: str, **changes: str | None) -> TestResponse:
        """Redeem a code; None removes a parameter."""
        values: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "code_verifier": self.verifier,
            **changes,
        }
        return self.token(**{name: value for name, value in values.items() if value is not None})

    def refresh(self, token: str, **data: str) -> TestResponse:
        """Refresh."""
        return self.token(grant_type="refresh_token", refresh_token=token, **data)

    def code(self, browser: Browser | None = None, **changes: str | None) -> str:
        """Have the person sign in; the code."""
        browser = browser or self.world.browser()
        page = browser.get(self.url(**changes))
        if page.status_code == 200:
            page = browser.sign_in(page)
        return answer(page)["code"]

    def tokens(self, browser: Browser | None = None, **changes: str | None) -> dict[str, Any]:
        """Have the person sign in; the token response."""
        response = self.redeem(self.code(browser, **changes))
        assert response.status_code == 200, response.text
        value = response.get_json()
        assert isinstance(value, dict)
        return value

    def signing_code(self, *documents: bytes, **changes: Any) -> str:
        """Have the person sign in, step up and approve a signature; the code."""
        browser = self.world.browser()
        page = browser.sign_in(browser.get(self.pushed_url(self.signing(*documents, **changes))))
        return answer(browser.approve(browser.step_up(page)))["code"]

    def introspect(self, token: str, **data: str) -> dict[str, Any]:
        """What the identity provider says of a token."""
        response = self.post("/oauth2/introspect", {"token": token, **data})
        assert response.status_code == 200, response.text
        value = response.get_json()
        assert isinstance(value, dict)
        return value


def with_query(path: str, parameters: Mapping[str, str]) -> str:
    """A path with a query."""
    return f"{path}?{urlencode(parameters)}"


def registrations(client_key: SigningKey) -> Iterator[Registration]:
    """The clients there are."""
    everything = {
        "redirect_uris": (REDIRECT_URI,),
        "post_logout_redirect_uris": (BYE,),
        "scopes": ("openid", "service", "credential"),
        "grant_types": ("authorization_code", "refresh_token", "client_credentials"),
    }
    yield Registration(
        "example-contracts",
        "Example Contracts",
        "client_secret_basic",
        **{**everything, "grant_types": (*everything["grant_types"], EXTENSION_GRANT)},  # type: ignore[arg-type] # of mixed types
    )
    yield Registration("other", "Another Party", "client_secret_basic", **everything, plain_intents=True)  # type: ignore[arg-type] # of mixed types
    yield Registration("poster", "Posting Party", "client_secret_post", **everything)  # type: ignore[arg-type] # of mixed types
    yield Registration(
        "keyed",
        "Keyed Party",
        "private_key_jwt",
        jwks=(client_key.verification_key().as_jwk(),),
        **everything,  # type: ignore[arg-type] # of mixed types
    )
    yield Registration("app", "An App", "none", redirect_uris=(REDIRECT_URI,))
    yield Registration(
        "bound",
        "Bound Party",
        "client_secret_basic",
        dpop_bound_access_tokens=True,
        **everything,  # type: ignore[arg-type] # of mixed types
    )
    yield Registration(
        "extender",
        "Patient Party",
        "client_secret_basic",
        redirect_uris=(REDIRECT_URI,),
        scopes=("openid", "service", "credential"),
        grant_types=("authorization_code", EXTENSION_GRANT),
    )
    yield Registration("old", "Older Party", "client_secret_basic", **everything, sad_token_type=True)  # type: ignore[arg-type] # of mixed types
    yield Registration(
        "unsighted",
        "Party without Digests",
        "client_secret_basic",
        redirect_uris=(REDIRECT_URI,),
        scopes=("openid", "service", "credential"),
        without_digests=True,
    )
    yield Registration(
        "orderer",
        "Ordering Party",
        "client_secret_basic",
        redirect_uris=(REDIRECT_URI,),
        scopes=("openid", "service", "credential", "credential-creation", "credential-deletion"),
    )
    yield Registration(
        "csc",
        "Signing service",
        "client_secret_basic",
        grant_types=(EXTENSION_GRANT, BACKCHANNEL_GRANT),
        introspects=(RESOURCE,),
    )
    yield Registration(
        "caller",
        "Calling Party",
        "client_secret_basic",
        redirect_uris=(REDIRECT_URI,),
        scopes=("openid", "service", "credential"),
        grant_types=("authorization_code", "refresh_token", EXTENSION_GRANT, BACKCHANNEL_GRANT),
    )
    yield Registration(
        "rssp",
        "Signing service with a key",
        "private_key_jwt",
        jwks=(client_key.verification_key().as_jwk(),),
        grant_types=(EXTENSION_GRANT, BACKCHANNEL_GRANT, EXPLICIT_GRANT, LOGIN_GRANT),
        introspects=(RESOURCE,),
    )
    yield Registration(
        "typed",
        "Typing Party",
        "client_secret_basic",
        **{**everything, "grant_types": (*everything["grant_types"], EXTENSION_GRANT)},  # type: ignore[arg-type] # of mixed types
        without_digests=True,
        in_band_signatures=True,
        in_band_login=True,
    )


def settings_for(directory: Path, database_url: str) -> IdpSettings:
    """Settings for an identity provider whose keys are in a directory."""
    return IdpSettings(
        mode="development",
        issuer=ISSUER,
        key_dir=directory / "keys",
        policy_file=POLICY,
        signing=SigningSettings(RESOURCE, SAM, ("standard", "pss"), {"standard": "eu_eidas_aes"}),
        database_url=database_url,
        otp=OtpSettings(max_messages_an_hour=1000, max_per_address=1000, max_per_account=1000, max_per_network=1000),
    )


@dataclass(frozen=True)
class Seed:
    """What was put into a database, and what is not in it."""

    directory: Path
    secrets: dict[str, str]
    client_key: SigningKey


def seed(directory: Path, database_url: str) -> Seed:
    """Tables, keys, one person, the clients."""
    client_key = generate_signing_key()
    engine = open_engine(database_url)
    create_tables(engine)
    create_keys(engine, directory / "keys", now=NOW, random=secrets.token_bytes(32))
    made: dict[str, str] = {}
    secret = KeyStore(engine, directory / "keys").secret
    seals = Sealer(secret)
    with engine.begin() as connection:
        audit.DatabaseAudit(FixedClock(NOW)).initialise(connection)
        new = accounts.NewAccount("alice", "Alice Example", proofing="high")
        account = accounts.create(connection, ACCOUNT, new, NOW)
        for kind, address, hashed in (
            ("password", None, Passwords(PasswordSettings(), key=secret(KEY)).hash(PASSWORD)),
            ("sms_otp", "+43660123456", None),
        ):
            authenticators.add(
                connection,
                seals,
                authenticator_id=f"{kind}-of-alice",
                account_id=account.id,
                kind=kind,
                now=NOW,
                address=address,
                secret_hash=hashed,
            )
        for registration in registrations(client_key):
            _, client_secret = clients.create(connection, registration, NOW, secrets.token_bytes)
            if client_secret is not None:
                made[registration.client_id] = client_secret
    engine.dispose()
    return Seed(directory, made, client_key)


def start(
    seeded: Seed, directory: Path, database_url: str, clock: Clock | None = None, issuer: str = ISSUER, **settings: Any
) -> World:
    """An identity provider on a database that :func:`seed` filled, with changed settings."""
    fixed, phone = clock if isinstance(clock, FixedClock) else FixedClock(NOW), Phone()
    wanted = replace(settings_for(directory, database_url), issuer=issuer, **settings)
    engine = open_engine(database_url)
    app = create_app(
        wanted,
        clock=clock or fixed,
        engine=engine,
        messaging=Messaging(sms=phone, mail=phone),
        credentials=Credentials(),
    )
    app.testing = True
    return World(app, engine, fixed, phone, ACCOUNT, seeded.secrets, seeded.client_key)


def seed_sqlite(directory: Path) -> Seed:
    """A seeded SQLite database in a directory, to be copied."""
    return seed(directory, f"sqlite:///{directory / 'idp.sqlite'}")


def start_copy(seeded: Seed, directory: Path, **settings: Any) -> World:
    """An identity provider on a copy of a seeded SQLite database, with changed settings."""
    shutil.copytree(seeded.directory, directory, dirs_exist_ok=True)
    return start(seeded, directory, f"sqlite:///{directory / 'idp.sqlite'}", **settings)


@contextmanager
def serve(directory: Path, *, devices: bool = False, **settings: Any) -> Iterator[tuple[World, str]]:
    """An identity provider on a port of this machine, by the system's clock; with its issuer identifier.

    :param devices: whether people's own devices approve there, at ``approve.localhost``.
    """
    seeded = seed_sqlite(directory)
    server = make_server("127.0.0.1", 0, Flask("not yet"), threaded=True)
    issuer = f"http://127.0.0.1:{server.server_port}"
    if devices:
        settings["approval"] = DeviceApprovalSettings(f"http://approve.localhost:{server.server_port}")
    url = f"sqlite:///{directory / 'idp.sqlite'}"
    world = start(seeded, directory, url, clock=SystemClock(), issuer=issuer, **settings)
    server.app = world.app
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield world, issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        world.engine.dispose()
