"""Misuse of the authorization server that a review found, each way of it tried again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from foundation.clock import epoch
from idp.app import create_app
from idp.storage import audit, grants
from idp.storage.interactions import MAX_OPEN
from idp.storage.models import interactions
from idp.web import oidc_tokens
from tests.integration import oidc_world
from tests.integration.oidc_world import ISSUER, Seed, World, answer, start_copy

SUBSTANTIAL = "http://eidas.europa.eu/NotNotified/LoA/substantial"


@pytest.fixture
def world(seeded: Seed, tmp_path: Path) -> Iterator[World]:
    made = start_copy(seeded, tmp_path / "idp")
    yield made
    made.engine.dispose()


def records(world: World) -> int:
    """How long the audit chain is."""
    with world.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(audit.TABLES.entries)).scalar_one())


def test_L21_an_open_session_deletes_no_credential_without_a_code_for_that(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    answer(browser.step_up(browser.sign_in(browser.get(rp.url(acr_values=SUBSTANTIAL)))))
    assert len(world.phone.texts) == 1
    page = browser.submit(
        browser.get("/account/credentials"), "operate-credential", operation="delete", credential_id="a-credential"
    )
    assert 'data-form="consent"' not in page.text
    page = browser.step_up(page)
    assert len(world.phone.texts) == 2
    assert browser.approve(page).headers["Content-Type"] == "application/jose"


# Public clients, whose names anybody can say


def test_DOS_04_what_strangers_ask_in_a_public_clients_name_is_not_recorded(world: World) -> None:
    http = world.app.test_client()
    before = records(world)
    for path in ("token", "revoke", "introspect", "pushed_authorize"):
        data = {"client_id": "app", "grant_type": "authorization_code", "code": "x", "code_verifier": "y" * 43}
        response = http.post(f"/oauth2/{path}", data=data, base_url=ISSUER)
        assert response.status_code in {400, 401}
    assert records(world) == before
    assert world.rp().redeem("x").status_code == 400
    assert records(world) == before + 1, "a client that authenticated has its refusal recorded"
    assert [item["client_id"] for item in world.events("token.refused")] == ["example-contracts"]


def test_DOS_04_nobody_pushes_requests_in_a_public_clients_name(world: World) -> None:
    response = world.app.test_client().post(
        "/oauth2/pushed_authorize", data=world.rp("app").parameters(), base_url=ISSUER
    )
    assert (response.status_code, response.get_json()["error"]) == (401, "invalid_client")


# How long what was granted stands


@pytest.fixture
def strict(seeded: Seed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A policy by which a level stands for an hour."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(oidc_world.POLICY.read_text().replace("session_limit: 12h", "session_limit: 1h"))
    monkeypatch.setattr(oidc_world, "POLICY", policy)
    made = start_copy(seeded, tmp_path / "idp")
    yield made
    made.engine.dispose()


def test_the_policys_session_limit_binds_tokens_too(strict: World) -> None:
    rp, browser = strict.rp(), strict.browser()
    page = browser.sign_in(browser.get(rp.url(acr_values=SUBSTANTIAL)))
    strict.clock.advance(60)
    tokens = rp.redeem(answer(browser.step_up(page))["code"]).get_json()
    assert tokens["expires_in"] == 600
    strict.clock.advance(3500 - 60)
    tokens = rp.refresh(tokens["refresh_token"]).get_json()
    assert tokens["expires_in"] == 100, "an hour from the sign-in, not from the code or the refresh"
    strict.clock.advance(99)
    assert rp.introspect(tokens["access_token"])["active"]
    assert rp.introspect(tokens["refresh_token"])["active"]
    strict.clock.advance(1)
    for token in (tokens["access_token"], tokens["refresh_token"]):
        assert rp.introspect(token) == {"active": False}
    assert rp.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"


def test_a_sign_in_from_an_old_session_is_no_longer_granted_than_the_session_stands(strict: World) -> None:
    rp, browser = strict.rp(), strict.browser()
    rp.tokens(browser)
    for _ in range(3):
        strict.clock.advance(1190)
        browser.get("/account/")
    code = rp.code(browser)
    assert rp.redeem(code).get_json()["expires_in"] == 30
    late = rp.code(browser)
    strict.clock.advance(30)
    assert rp.redeem(late).get_json()["error"] == "invalid_grant", "the code lives; what it stands for does not"


def test_a_signature_given_just_before_the_limit_is_good_for_its_minutes(strict: World) -> None:
    rp, browser = strict.rp(), strict.browser()
    rp.tokens(browser)
    for _ in range(3):
        strict.clock.advance(1190)
        browser.get("/account/")
    page = browser.step_up(browser.get(rp.pushed_url(rp.signing(b"a document"))))
    assert rp.redeem(answer(browser.approve(page))["code"]).get_json()["expires_in"] == 300
    with strict.engine.connect() as connection:
        made = select(grants.oidc_grants.c.expires_at - grants.oidc_grants.c.created_at)
        query = made.where(grants.oidc_grants.c.created_at == epoch(strict.clock.now()))
        assert connection.execute(query).scalars().all() == [960], "the minutes that it may be extended"


def test_reloading_a_page_whose_credential_cannot_be_read_gives_out_no_more_tokens(
    seeded: Seed, tmp_path: Path
) -> None:
    world = start_copy(seeded, tmp_path / "idp")
    services = world.app.extensions["privyseal"]
    # The real reader; its signing service is on an address that was not allowed, and so does not answer.
    app = create_app(
        services.settings, clock=world.clock, engine=world.engine, messaging=services.messaging, policy=services.policy
    )
    world.app = app
    rp, browser = world.rp(), world.browser()
    page = browser.sign_in(browser.get(rp.pushed_url(rp.signing(b"a document"))))
    assert page.status_code == 503
    before = records(world)
    for _ in range(5):
        assert browser.get(page.request.path).status_code == 503
    assert records(world) == before
    assert [item["grant_type"] for item in world.events("token.issued")] == ["self_service"]
    world.engine.dispose()


# Refresh tokens


def test_OAU_06_a_used_refresh_token_is_not_said_to_be_active(world: World) -> None:
    rp = world.rp()
    first = rp.tokens()["refresh_token"]
    assert rp.introspect(first)["active"]
    second = rp.refresh(first).get_json()["refresh_token"]
    assert rp.introspect(first) == {"active": False}
    assert rp.introspect(second)["active"]


def test_a_client_that_gives_back_a_used_refresh_token_gives_back_the_family(world: World) -> None:
    rp = world.rp()
    first = rp.tokens()["refresh_token"]
    second = rp.refresh(first).get_json()
    assert rp.post("/oauth2/revoke", {"token": first}).status_code == 204
    for token in (second["access_token"], second["refresh_token"]):
        assert rp.introspect(token) == {"active": False}


def test_OAU_06_of_two_refreshes_that_were_both_found_good_neither_family_survives(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rp, thief = world.rp(), world.rp()
    token = rp.tokens()["refresh_token"]
    ahead: list[TestResponse] = []
    real = oidc_tokens.for_refresh

    def overtaken(*arguments: Any) -> dict[str, Any]:
        # The token was found good and is about to be used up; another request does that first.
        monkeypatch.undo()
        ahead.append(thief.refresh(token))
        return real(*arguments)

    monkeypatch.setattr(oidc_tokens, "for_refresh", overtaken)
    behind = rp.refresh(token)
    assert [item.status_code for item in ahead] == [200]
    assert (behind.status_code, behind.get_json()["error"]) == (400, "invalid_grant")
    got = ahead[0].get_json()
    for each in (got["access_token"], got["refresh_token"]):
        assert rp.introspect(each) == {"active": False}
    assert thief.refresh(got["refresh_token"]).get_json()["error"] == "invalid_grant"
    assert [item["cause"] for item in world.events("grant.revoked")] == ["refresh_token_used"]
    assert len(world.events("token.issued")) == 2, "what was refused is recorded as given to nobody"


# What may be open


def _open(world: World) -> list[str]:
    query = select(interactions.c.id).where(interactions.c.state == "open").order_by(interactions.c.created_at)
    with world.engine.connect() as connection:
        return list(connection.execute(query).scalars())


def test_DOS_04_a_browser_has_no_more_than_so_many_interactions_and_the_latest_stay(world: World) -> None:
    rp, browser, bystander = world.rp(), world.browser(), world.browser()
    elsewhere = bystander.get(rp.url())
    first = browser.get(rp.url())
    for _ in range(MAX_OPEN - 1):
        world.clock.advance(1)
        browser.get(rp.url())
    assert len(_open(world)) == MAX_OPEN + 1
    assert browser.get(first.request.path).status_code == 200
    world.clock.advance(1)
    latest = browser.get(rp.url())
    assert len(_open(world)) == MAX_OPEN + 1
    assert browser.get(first.request.path).status_code == 400, "the oldest made room"
    assert bystander.get(elsewhere.request.path).status_code == 200, "another browser's stay"
    assert answer(browser.sign_in(latest))["code"]


def test_DOS_04_what_has_ended_does_not_pile_up_in_a_session(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    page = browser.get(rp.url())
    for _ in range(3 * MAX_OPEN):
        world.clock.advance(1)
        assert answer(browser.get(rp.url(prompt="none")))["error"] == "login_required"
    with world.engine.connect() as connection:
        count = connection.execute(select(func.count()).select_from(interactions)).scalar_one()
    assert count <= MAX_OPEN
    assert browser.get(page.request.path).status_code == 200, "what is open is not pushed out by what has ended"
