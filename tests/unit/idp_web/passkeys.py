"""A browser with a software authenticator at the pages of passkeys."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field
from typing import Any

from flask.testing import FlaskClient
from webauthn.helpers import parse_attestation_object
from werkzeug.test import TestResponse

from auditlog.sql import read_entries
from foundation.jose import encode_base64url
from idp.authn.passkey import answer
from idp.authn.passkey.record import Passkey
from idp.storage import authenticators
from idp.storage.audit import TABLES
from idp.storage.authenticators import Authenticator as Stored
from idp.storage.engine import reading
from idp.web.passkeys import user_handle
from tests.fakes.authenticator import Authenticator
from tests.fakes.idp import Idp
from tests.unit.idp_web.factors import enrolment

ORIGIN = "http://idp.localhost:8401"


@dataclass
class Asked:
    """What a page asks a browser for."""

    options: dict[str, Any]
    ticket: str
    csrf: str


def asked(browser: FlaskClient, path: str) -> Asked:
    """What the page at this path asks for."""
    return asked_by(browser.get(path).text)


def asked_by(page: str) -> Asked:
    """The same, of a page that is at hand."""
    form = re.search(r'<form[^>]*data-passkey="[^"]*" data-options="([^"]*)".*?</form>', page, re.DOTALL)
    assert form is not None, page
    ticket = re.search(r'name="ticket" value="([^"]+)"', form.group())
    csrf = re.search(r'name="csrf_token" value="([^"]+)"', form.group())
    assert ticket is not None
    assert csrf is not None
    return Asked(json.loads(html.unescape(form.group(1))), ticket.group(1), csrf.group(1))


@dataclass
class Person:
    """Somebody with a browser and an authenticator."""

    idp: Idp
    browser: FlaskClient
    username: str = "alice"
    device: Authenticator = field(default_factory=lambda: Authenticator(origin=ORIGIN))

    def send(self, path: str, action: str, found: Asked, answer: str, **more: str) -> TestResponse:
        """Send an answer."""
        data = {"csrf_token": found.csrf, "ticket": found.ticket, "answer": answer, **more}
        return self.browser.post(f"{path}{action}", data=data)

    def bind(self, label: str = "", **lies: Any) -> TestResponse:
        """Bind a passkey on the account's pages."""
        path = enrolment(self.idp, self.browser, "passkey")
        found = asked(self.browser, path)
        return self.send(path, "", found, self.device.create(found.options, **lies), label=label)

    def hold(self, **traits: Any) -> Person:
        """Bind a passkey behind the pages, and sign in with a password.

        :param traits: of the authenticator.
        """
        for name, value in traits.items():
            setattr(self.device, name, value)
        handle = encode_base64url(self._handle())
        options = {"user": {"id": handle}, "challenge": "AAAA"}
        given = answer.read_registration(self.device.create(options))
        held = parse_attestation_object(given.attestation_object).auth_data
        assert held.attested_credential_data is not None
        passkey = Passkey(
            given.credential_id,
            held.attested_credential_data.credential_public_key,
            self._handle(),
            self.device.aaguid,
            given.transports,
            "none",
            held.flags.uv,
            held.flags.be,
            attested=False,
        )
        new = authenticators.NewAuthenticator(
            f"{self.username}-passkey",
            f"account-{self.username}",
            "passkey",
            data=passkey.to_json(),
            lookup=answer.lookup(given.credential_id),
            counter=held.sign_count,
        )
        with self.idp.engine.begin() as connection:
            authenticators.bind(connection, self.idp.seals, new, self.idp.clock.now())
        self.idp.sign_in(self.browser, self.browser.get("/account/").location, self.username)
        return self

    def _handle(self) -> bytes:
        with self.idp.app.app_context():
            return user_handle(f"account-{self.username}")

    def prove(self, path: str, **lies: Any) -> TestResponse:
        """Use a passkey as a further factor."""
        found = asked(self.browser, f"{path}?factor=passkey")
        return self.send(path, "/passkey", found, self.device.get(found.options, **lies))

    def sign_in(self, path: str, **lies: Any) -> TestResponse:
        """Sign in with a passkey."""
        found = asked(self.browser, path)
        return self.send(path, "/passkey/sign-in", found, self.device.get(found.options, **lies))


def stored(idp: Idp, account_id: str = "account-alice") -> list[Stored]:
    """The account's passkeys."""
    with reading(idp.engine) as connection:
        owned = authenticators.of_account(connection, idp.seals, account_id)
    return [item for item in owned if item.kind == "passkey" and not item.disabled]


def audited(idp: Idp) -> list[tuple[str, dict[str, Any]]]:
    """The audit chain: names and fields."""
    with reading(idp.engine) as connection:
        return [(entry.event, json.loads(entry.fields)) for entry in read_entries(connection, TABLES.entries)]
