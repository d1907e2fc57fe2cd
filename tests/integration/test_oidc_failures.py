"""What is kept and what is told; what changes while somebody is busy, and what breaks."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import Connection, update
from sqlalchemy.exc import OperationalError

from auditlog.errors import ChainNotReady
from auditlog.sql import read_entries
from idp.errors import KeyUnavailable, NotActivatable
from idp.storage import audit, clients, grant_tokens, grants, pushed_requests
from idp.storage.keys import KeyStore
from idp.web import oidc, oidc_tokens, tidying
from idp.web.interaction import Finished
from tests.integration.oidc_world import (
    BYE,
    World,
    error_of,
    with_query,
)

# What is kept, and what is told


def test_AUD_08_neither_database_nor_log_has_a_code_token_or_secret(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    rp = world.rp()
    code, url = rp.code(), rp.pushed_url(rp.signing())
    tokens = rp.redeem(code).get_json()
    refreshed = rp.refresh(tokens["refresh_token"]).get_json()
    activation = rp.redeem(rp.signing_code()).get_json()["access_token"]
    rp.redeem(code)
    rp.token(grant_type="refresh_token", refresh_token="a-canary-of-a-token")
    secret_texts = [
        code,
        tokens["access_token"],
        tokens["refresh_token"],
        tokens["id_token"],
        refreshed["refresh_token"],
        activation,
        rp.verifier,
        world.secrets["example-contracts"],
        parse_qs(urlsplit(url).query)["request_uri"][0].removeprefix(oidc.REQUEST_URI_PREFIX),
        "a-canary-of-a-token",
    ]
    world.engine.dispose()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("idp.sqlite*"))
    logged = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    for text in secret_texts:
        assert text.encode() not in stored
        assert text not in logged


def test_housekeeping_forgets_what_has_ended_and_nothing_else(world: World) -> None:
    rp = world.rp()
    tokens = rp.tokens()
    rp.pushed_url(rp.parameters())
    with world.engine.begin() as connection:
        assert grants.purge(connection, world.clock.now()) == 0
        assert pushed_requests.purge(connection, world.clock.now()) == 0
    world.clock.advance(601)
    with world.engine.begin() as connection:
        assert grants.purge(connection, world.clock.now()) == 1, "the access token"
        assert pushed_requests.purge(connection, world.clock.now()) == 1
    assert rp.refresh(tokens["refresh_token"]).status_code == 200
    world.clock.advance(3 * 24 * 3600)
    with world.engine.begin() as connection:
        grants.purge(connection, world.clock.now())
        for table in (grants.oidc_grants, grants.oidc_codes, grants.oidc_refresh_tokens, grants.oidc_access_tokens):
            assert connection.execute(table.select()).all() == []


def test_housekeeping_that_gets_in_its_own_way_harms_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def deadlock(*_args: object) -> int:
        raise OperationalError("DELETE", {}, Exception("deadlock detected"))

    monkeypatch.setattr(grants, "purge", deadlock)
    monkeypatch.setattr(tidying, "EVERY", timedelta())
    assert world.rp().tokens()["access_token"]


def test_what_has_ended_is_forgotten_once_a_minute_and_not_with_every_sign_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[datetime] = []

    def purge(_connection: Connection, now: datetime) -> int:
        times.append(now)
        return 0

    monkeypatch.setattr(pushed_requests, "purge", purge)
    for seconds in (0, 30, 29, 1, -120):
        world.clock.advance(seconds)
        assert world.rp().tokens()["access_token"]
    # A clock that was set back makes nobody wait for it.
    assert [int((later - times[0]).total_seconds()) for later in times] == [0, 60, -60]


# What changes while somebody is busy, and what breaks


def test_a_client_that_is_disabled_meanwhile_gets_no_code(world: World) -> None:
    browser = world.browser()
    page = browser.get(world.rp().url())
    with world.engine.begin() as connection:
        clients.set_active(connection, "example-contracts", active=False)
    response = browser.sign_in(page)
    assert response.status_code == 400
    assert "Location" not in response.headers


def test_a_redirect_uri_that_is_withdrawn_meanwhile_is_not_redirected_to(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    page, pushed = browser.get(rp.url()), rp.pushed_url(rp.parameters())
    with world.engine.begin() as connection:
        client = clients.find(connection, "example-contracts")
        assert client is not None
        withdrawn = asdict(replace(client.registration, redirect_uris=(BYE,)))
        table = clients.oidc_clients
        connection.execute(update(table).where(table.c.client_id == client.client_id).values(registration=withdrawn))
    for response in (browser.sign_in(page), browser.get(pushed)):
        assert response.status_code == 400
        assert "Location" not in response.headers


def test_an_approval_for_another_client_gives_no_code(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped(connection: Connection, outcome: Finished) -> object:
        assert outcome.approval is not None
        another = replace(outcome.approval, client_id="other")
        return oidc.granted(connection, replace(outcome, approval=another))

    monkeypatch.setitem(world.app.extensions["privyseal.finishers"].granters, oidc.KIND, swapped)
    browser = world.browser()
    response = browser.sign_in(browser.get(world.rp().url()))
    assert parse_qs(urlsplit(response.headers["Location"]).query)["error"] == ["server_error"]


def test_an_approval_whose_code_cannot_be_kept_is_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_values: object) -> None:
        raise KeyUnavailable("not now")

    rp, browser = world.rp(), world.browser()
    page = browser.get(rp.url())
    with monkeypatch.context() as broken:
        broken.setattr(grant_tokens, "add_code", fail)
        assert browser.sign_in(page).status_code == 500
    with world.engine.begin() as connection:
        events = [entry.event for entry in read_entries(connection, audit.TABLES.entries)]
    assert "login.succeeded" in events
    assert "transaction.approved" not in events
    # The person is signed in and goes on with what is still open.
    assert rp.code(browser)


def test_an_approval_that_permits_no_signature_gives_no_sad(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_values: object) -> None:
        raise NotActivatable("the level that was reached claims no eIDAS level")

    rp = world.rp()
    code = rp.signing_code()
    monkeypatch.setattr(oidc_tokens, "sad_for", refuse)
    assert error_of(rp.redeem(code)) == "invalid_grant"


def test_OAU_02_a_grant_that_is_revoked_while_its_tokens_are_made_gives_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rp = world.rp()
    codes = [rp.code(), rp.signing_code()]
    monkeypatch.setattr(grant_tokens, "issue", lambda *_args: False)
    for code in codes:
        assert error_of(rp.redeem(code)) == "invalid_grant"
    assert world.events("token.issued") == world.events("sad.issued") == []


def test_AUD_07_without_a_record_nothing_is_given_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rp = world.rp()
    codes = [rp.code(), rp.signing_code()]

    def fail(*_args: object, **_values: object) -> None:
        raise ChainNotReady("the chain cannot be written")

    world.app.testing = False
    monkeypatch.setattr(audit.DatabaseAudit, "record", fail)
    for code in codes:
        response = rp.redeem(code)
        assert response.status_code == 500
        assert "access_token" not in response.text
    monkeypatch.undo()
    with world.engine.connect() as connection:
        assert connection.execute(grants.oidc_access_tokens.select()).all() == []


def test_a_key_that_cannot_be_used_is_a_server_error_without_detail(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rp = world.rp()
    code = rp.code()

    def missing(_self: object) -> None:
        raise KeyUnavailable("key file token-x.pem cannot be used")

    monkeypatch.setattr(KeyStore, "token_key", missing)
    response = rp.redeem(code)
    assert (response.status_code, response.get_json()) == (500, {"error": "server_error"})


def test_a_logout_confirmation_that_was_tampered_with_redirects_nowhere(world: World) -> None:
    browser = world.browser()
    world.rp().code(browser)
    page = browser.get(with_query("/oauth2/logout", {"client_id": "example-contracts"}))
    response = browser.submit(page, "sign-out", post_logout_redirect_uri="http://evil.example.org/")
    assert response.status_code == 400
    assert "Location" not in response.headers
