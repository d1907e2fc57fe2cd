"""An identity provider for tests: real SQLite, real keys, a clock that stands still, messages that stay here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from flask import Flask, redirect
from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.test import TestResponse
from werkzeug.wrappers import Response

from connectors.ports.messaging import Delivery, MailMessage, MessagingError, SmsMessage
from foundation.clock import FixedClock
from idp.app import create_app
from idp.authn.password import KEY, Passwords
from idp.authn.roles import Role
from idp.errors import IdpError
from idp.policy.load import parse_policy
from idp.settings import IdpSettings, OtpSettings, PasswordSettings, PolicySettings, SigningSettings
from idp.storage import accounts, authenticators, roles
from idp.storage.accounts import NewAccount
from idp.storage.audit import DatabaseAudit
from idp.storage.engine import create_tables, open_engine
from idp.storage.keys import KeyStore, create_keys
from idp.storage.seal import Sealer
from idp.web import services as composition
from idp.web.interaction import BeginInteraction, Finished, begin, register_finisher
from idp.web.services import CredentialView, Messaging

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
PASSWORD = "correct horse battery staple"
PHONE = "+34600000001"
EMAIL = "alice@example.org"
HASHES: dict[tuple[int, int, str], str] = {}

POLICY = b"""\
policy: 1
name: tests
levels:
  - name: low
    claims: {eidas-2015-1502: low}
    acr: http://eidas.europa.eu/NotNotified/LoA/low
    proofing: low
    any_of:
      - all_of:
          - factor: password
  - name: substantial
    claims: {eidas-2015-1502: substantial}
    acr: http://eidas.europa.eu/NotNotified/LoA/substantial
    implies: low
    proofing: substantial
    session_limit: 1h
    any_of:
      - all_of:
          - factor: password
          - factor: sms_otp
        different_categories: 2
      - all_of:
          - factor: password
          - factor: email_otp
        different_categories: 2
rules:
  - id: sign-in
    action: sign_in
    require: low
  - id: strict-client
    action: sign_in
    when:
      client: strict
    require: substantial
  - id: sign
    action: signature.activate
    require: substantial
    evidence:
      - category: possession
        per_transaction: true
        max_age: 10m
    because: Sign with what you hold.
  - id: order
    action: [credential.create, credential.suspend, credential.resume, credential.delete]
    require: substantial
"""


MANY: Final = OtpSettings(max_per_address=1000, max_per_account=1000, max_per_network=1000)
"""Tests send more messages in ten minutes than anybody may; those of the caps set their own."""


class Inbox:
    """Both gateways; ``fail`` is raised instead of taking the next message."""

    def __init__(self) -> None:
        self.messages: list[SmsMessage | MailMessage] = []
        self.fail: MessagingError | None = None

    def _take(self, message: SmsMessage | MailMessage) -> Delivery:
        if self.fail is not None:
            error, self.fail = self.fail, None
            raise error
        self.messages.append(message)
        return Delivery(f"message-{len(self.messages)}")

    def send_sms(self, message: SmsMessage) -> Delivery:
        """Take a text message."""
        return self._take(message)

    def send_mail(self, message: MailMessage) -> Delivery:
        """Take a mail message."""
        return self._take(message)

    @property
    def code(self) -> str:
        """The code in the last message."""
        found = re.search(r"(?<!\d)\d{6}(?!\d)", self.messages[-1].text)
        assert found is not None, "the last message has no code"
        return found.group()


class Credentials:
    """What the signing service would say; ``error`` is raised instead."""

    def __init__(self) -> None:
        self.view = CredentialView(
            credential_id="cred-1",
            subject="C=ES,O=Example,CN=Alice Example",
            issuer="C=ES,CN=Example Issuing CA",
            valid_from="20260101000000Z",
            valid_to="20280101000000Z",
            scal="2",
            qualifier="eu_eidas_aes",
            status="enabled",
        )
        self.error: IdpError | None = None
        self.asked: list[tuple[str, str, str]] = []

    def read(self, account_id: str, client_id: str, credential_id: str) -> CredentialView:
        """The credential, or the error that was set."""
        self.asked.append((account_id, client_id, credential_id))
        if self.error is not None:
            raise self.error
        return self.view

    def of_account(self, account_id: str, client_id: str) -> tuple[CredentialView, ...]:
        """The one credential, whoever asks, or the error that was set."""
        return (self.read(account_id, client_id, self.view.credential_id),)


@dataclass
class Idp:
    """A running identity provider, with a door through which tests begin interactions."""

    app: Flask
    clock: FixedClock
    engine: Engine
    settings: IdpSettings
    inbox: Inbox
    credentials: Credentials
    alice: str
    finished: list[Finished] = field(default_factory=list)
    waiting: list[BeginInteraction] = field(default_factory=list)

    @property
    def seals(self) -> Sealer:
        """What its rows are sealed with."""
        return composition.of(self.app).seals

    def client(self) -> FlaskClient:
        """A browser without cookies."""
        return self.app.test_client()

    def begin(self, browser: FlaskClient, request: BeginInteraction) -> TestResponse:
        """What a protocol's endpoint would do."""
        self.waiting.append(request)
        return browser.get("/test/begin")

    def path(self, browser: FlaskClient, request: BeginInteraction) -> str:
        """Begin an interaction and give back the path of its page."""
        response = self.begin(browser, request)
        assert response.status_code == 303, response.status
        return response.location

    def post(self, browser: FlaskClient, path: str, action: str = "", **fields: str) -> TestResponse:
        """Submit a form of the page at ``path``, with its form token."""
        return browser.post(f"{path}{action}", data={"csrf_token": self.csrf(browser, path), **fields})

    def csrf(self, browser: FlaskClient, path: str) -> str:
        """The form token of the page at ``path``."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', browser.get(path).text)
        assert found is not None, "the page has no form"
        return found.group(1)

    def sign_in(
        self, browser: FlaskClient, path: str, username: str = "alice", password: str = PASSWORD
    ) -> TestResponse:
        """Type a user name and a password."""
        return self.post(browser, path, "/password", username=username, password=password)

    def pass_otp(self, browser: FlaskClient, path: str, factor: str = "sms_otp") -> TestResponse:
        """Ask for a code and type it."""
        assert self.post(browser, path, "/factor", factor=factor).status_code == 303
        return self.post(browser, path, "/code", code=self.inbox.code)

    def approve(self, browser: FlaskClient, path: str) -> TestResponse:
        """Approve what the consent page shows."""
        page = browser.get(path).text
        found, seen = (re.search(rf'name="{name}" value="([^"]+)"', page) for name in ("binding", "shown"))
        assert found is not None, "the page asks for no consent"
        more = {} if seen is None else {"shown": seen[1]}
        return self.post(browser, path, "/consent", decision="approve", binding=found[1], **more)

    def give_roles(self, account_id: str, *names: Role) -> None:
        """Make somebody an administrator, as the command line does."""
        with self.engine.begin() as connection:
            for name in names:
                roles.grant(
                    connection,
                    self.seals,
                    grant_id=f"{account_id}-{name}",
                    account_id=account_id,
                    role=name,
                    by=roles.COMMAND_LINE,
                    now=NOW,
                )

    def add_account(self, username: str, **values: Any) -> str:
        """Another person, with a password and a phone."""
        return _add_person(self.engine, self.settings, username, **values)


def make_idp(directory: Path, database_url: str | None = None, policy: bytes | None = POLICY, **settings: Any) -> Idp:
    """An identity provider with the account ``alice``; without a policy of its own it reads ``policy_file``."""
    made = IdpSettings(
        mode="development",
        issuer=settings.pop("issuer", "http://idp.localhost:8401"),
        key_dir=directory / "keys",
        policy_file=settings.pop("policy_file", directory / "unused.yaml"),
        signing=settings.pop(
            "signing", SigningSettings(csc_base="http://sign.localhost:8402/csc/v2", sam_id="urn:privyseal:sam:test")
        ),
        database_url=database_url or f"sqlite:///{directory / 'idp.sqlite'}",
        # Cheaper than settings from a file may be: hundreds of tests sign in.
        password=settings.pop("password", PasswordSettings(memory_kib=64, iterations=1)),
        otp=settings.pop("otp", MANY),
        policy=settings.pop("policy_settings", PolicySettings()),
        **settings,
    )
    clock = FixedClock(NOW)
    if database_url is None:
        _write_tables(directory / "idp.sqlite")
    engine = open_engine(made.database_url or "")
    create_tables(engine)
    with engine.begin() as connection:
        DatabaseAudit(clock).initialise(connection)
    create_keys(engine, made.key_dir, now=NOW, random=bytes(range(32)))
    alice = _add_person(engine, made, "alice", email=EMAIL)
    inbox, credentials = Inbox(), Credentials()
    app = create_app(
        made,
        clock=clock,
        engine=engine,
        messaging=Messaging(inbox, inbox, certificates=made.certificate is not None),
        credentials=credentials,
        policy=None if policy is None else parse_policy(policy, "tests.yaml"),
    )
    app.testing = True
    idp = Idp(app, clock, engine, made, inbox, credentials, alice)

    def test_begin() -> Response:
        return begin(idp.waiting.pop())

    def finisher(outcome: Finished) -> Response:
        idp.finished.append(outcome)
        return redirect("http://rp.localhost:8405/callback?" + (outcome.error or "ok"))

    app.add_url_rule("/test/begin", "test_begin", test_begin)
    register_finisher(app, "test", finisher)
    return idp


@cache
def _tables() -> bytes:
    """A SQLite database with all tables and no rows: making it takes longer than most tests."""
    with TemporaryDirectory() as made:
        file = Path(made) / "tables.sqlite"
        engine = open_engine(f"sqlite:///{file}")
        create_tables(engine)
        engine.dispose()
        return file.read_bytes()


def _write_tables(file: Path) -> None:
    if not file.exists():
        file.touch(0o600)
        file.write_bytes(_tables())


def _add_person(
    engine: Engine,
    settings: IdpSettings,
    username: str,
    *,
    phone: str | None = PHONE,
    email: str | None = None,
    proofing: Any = "substantial",
) -> str:
    costs = (settings.password.memory_kib, settings.password.iterations, PASSWORD)
    keys = KeyStore(engine, settings.key_dir)
    if costs not in HASHES:
        # Every identity provider for tests has the same master secret.
        HASHES[costs] = Passwords(settings.password, key=keys.secret(KEY)).hash(PASSWORD)
    seals = Sealer(keys.secret)
    new = NewAccount(username, "Alice Example", "Alice", "Example", "ES", proofing=proofing)
    with engine.begin() as connection:
        account = accounts.create(connection, f"account-{username}", new, NOW)
        for kind, address, secret in (
            ("password", None, HASHES[costs]),
            ("sms_otp", phone, None),
            ("email_otp", email, None),
        ):
            if address or secret:
                authenticators.add(
                    connection,
                    seals,
                    authenticator_id=f"{username}-{kind}",
                    account_id=account.id,
                    kind=kind,
                    now=NOW,
                    address=address,
                    secret_hash=secret,
                )
    return account.id
