"""An identity provider with administrators, for the tests of their pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from auditlog.sql import read_entries
from idp.authn.roles import Role
from idp.oidc.client import Registration
from idp.storage import clients
from idp.storage.audit import TABLES
from idp.storage.engine import reading
from tests.fakes.idp import NOW, POLICY, Idp, make_idp

ADMINISTRATION = b"""\
  - id: administration
    action: admin.*
    require: substantial
    evidence:
      - {category: possession, max_age: 1h}
  - id: administration-changes
    action:
      - admin.clients.change
      - admin.roles.propose
      - admin.roles.confirm
      - admin.roles.reject
      - admin.accounts.reset.propose
      - admin.accounts.reset.confirm
      - admin.accounts.reset.reject
    require: substantial
    evidence:
      - {category: possession, per_transaction: true, max_age: 10m}
"""


def make_admin_idp(directory: Path, policy: bytes = POLICY + ADMINISTRATION) -> Idp:
    """An identity provider whose policy has rules about its administration."""
    (directory / "unused.yaml").write_bytes(policy)
    return make_idp(directory, policy=policy)


def administrator(idp: Idp, username: str, *roles: Role) -> FlaskClient:
    """A browser in which an administrator is signed in, with a second factor."""
    account_id = idp.alice if username == "alice" else idp.add_account(username)
    idp.give_roles(account_id, *roles)
    browser = idp.client()
    enter(idp, browser, username)
    return browser


def enter(idp: Idp, browser: FlaskClient, username: str, path: str = "/admin/") -> TestResponse:
    """Sign in for a page, with a code by text message."""
    page = idp.sign_in(browser, browser.get(path).location, username).location
    return idp.pass_otp(browser, page)


def post(idp: Idp, browser: FlaskClient, page: str, path: str, **fields: str) -> TestResponse:
    """Send a form of an administration page."""
    return browser.post(path, data={"csrf_token": idp.csrf(browser, page), **fields})


def carry_out(idp: Idp, browser: FlaskClient, begun: TestResponse) -> TestResponse:
    """Go through a change's interaction: the second factor, then the approval of what is shown."""
    assert begun.status_code == 303, begun.text
    page = begun.location
    idp.pass_otp(browser, page)
    return idp.approve(browser, page)


def add_client(
    idp: Idp, client_id: str = "example-contracts", name: str = "Example Contracts", **more: Any
) -> None:
    """Register a relying party."""
    registration = Registration(
        client_id=client_id,
        name=name,
        auth_method="client_secret_basic",
        redirect_uris=("http://rp.localhost:8405/callback",),
        **more,
    )
    with idp.engine.begin() as connection:
        clients.create(connection, registration, NOW, lambda count: b"x" * count)


def chain(idp: Idp, event: str) -> list[dict[str, Any]]:
    """What the audit chain has of an event."""
    with reading(idp.engine) as connection:
        entries = list(read_entries(connection, TABLES.entries))
    return [json.loads(entry.fields) for entry in entries if entry.event == event]
