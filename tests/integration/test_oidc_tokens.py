"""What becomes of tokens: revocation, introspection, UserInfo, logout."""

from __future__ import annotations

from typing import Any

import pytest

from foundation.clock import epoch
from foundation.jose import import_verification_key, verify_compact
from idp.storage.keys import rotate_token_keys
from idp.web import oidc
from tests.integration.oidc_world import (
    BYE,
    ISSUER,
    NOW,
    RESOURCE,
    World,
    answer,
    error_of,
    with_query,
)

# Revocation, introspection, UserInfo


def test_revoking_a_refresh_token_kills_its_access_tokens(world: World) -> None:
    rp, csc = world.rp(), world.rp("csc")
    tokens = rp.tokens()
    response = rp.post("/oauth2/revoke", {"token": tokens["refresh_token"], "token_type_hint": "refresh_token"})
    assert (response.status_code, response.text) == (204, "")
    assert csc.introspect(tokens["access_token"]) == {"active": False}
    assert error_of(rp.refresh(tokens["refresh_token"])) == "invalid_grant"


def test_revoking_an_access_token_leaves_the_refresh_token(world: World) -> None:
    rp, csc = world.rp(), world.rp("csc")
    tokens = rp.tokens()
    response = rp.post("/oauth2/revoke", {"token": tokens["access_token"], "token_type_hint": "something"})
    assert response.status_code == 204
    assert csc.introspect(tokens["access_token"]) == {"active": False}
    assert rp.refresh(tokens["refresh_token"]).status_code == 200
    assert world.events("token.revoked")[0]["client_id"] == "example-contracts"


def test_OAU_14_a_foreign_token_is_neither_revoked_nor_introspected(world: World) -> None:
    rp, other = world.rp(), world.rp("other")
    tokens = rp.tokens()
    for token in (tokens["access_token"], tokens["refresh_token"]):
        assert error_of(other.post("/oauth2/revoke", {"token": token})) == "invalid_grant"
        assert other.introspect(token) == {"active": False}
    assert world.rp("csc").introspect(tokens["access_token"])["active"] is True
    assert world.rp("csc").introspect(tokens["refresh_token"]) == {"active": False}, "it is no resource server's"
    assert rp.introspect(tokens["refresh_token"])["active"] is True


def test_OAU_14_only_an_authenticated_client_introspects(world: World) -> None:
    rp = world.rp()
    token = rp.tokens()["access_token"]
    for data, error in (
        ({"token": token}, "invalid_request"),
        ({"token": token, "client_id": "app"}, "invalid_client"),
        ({"token": token, "client_id": "csc"}, "invalid_client"),
    ):
        assert error_of(rp.http.post("/oauth2/introspect", data=data, base_url=ISSUER)) == error
    assert error_of(rp.post("/oauth2/introspect", {"hint": "x"})) == "invalid_request"
    assert error_of(rp.post("/oauth2/revoke", {"hint": "x"})) == "invalid_request"


def test_introspection_says_what_a_resource_server_needs(world: World) -> None:
    seen = world.rp("csc").introspect(world.rp().tokens()["access_token"])
    assert seen["active"] is True
    assert (seen["iss"], seen["aud"], seen["sub"]) == (ISSUER, RESOURCE, world.account_id)
    assert (seen["client_id"], seen["scope"], seen["token_type"]) == ("example-contracts", "openid service", "Bearer")
    assert (seen["iat"], seen["exp"]) == (epoch(NOW), epoch(NOW) + 600)
    assert {"jti", "sid", "acr", "auth_time"} <= seen.keys()


def test_introspection_of_an_expired_or_unknown_token_is_inactive_and_no_more(world: World) -> None:
    csc = world.rp("csc")
    token = world.rp().tokens()["access_token"]
    world.clock.advance(599)
    assert csc.introspect(token)["active"] is True
    world.clock.advance(1)
    for text in (token, "unknown", token[:-2] + "AA", "\u00e9"):
        assert csc.introspect(text) == {"active": False}


def test_userinfo_says_whose_the_token_is(world: World) -> None:
    rp = world.rp()

    def ask(token: str) -> Any:
        return rp.http.get("/oauth2/userinfo", headers={"Authorization": f"Bearer {token}"}, base_url=ISSUER)

    tokens = rp.tokens()
    assert ask(tokens["access_token"]).get_json() == {"sub": world.account_id}
    assert error_of(ask(tokens["refresh_token"])) == "invalid_token"
    assert error_of(ask(rp.tokens(scope="service")["access_token"])) == "invalid_token"
    assert error_of(rp.http.get("/oauth2/userinfo", base_url=ISSUER)) == "invalid_token"
    world.clock.advance(600)
    response = ask(tokens["access_token"])
    assert error_of(response) == "invalid_token"
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")


def test_JOS_04_tokens_of_a_retired_key_verify_until_it_is_removed(world: World) -> None:
    rp = world.rp()
    before = rp.tokens()["access_token"]

    def published() -> list[Any]:
        keys = rp.http.get("/oauth2/jwks", base_url=ISSUER).get_json()["keys"]
        return [import_verification_key(key) for key in keys]

    directory = world.app.extensions["privyseal"].settings.key_dir
    rotate_token_keys(world.engine, directory, now=world.clock.now())
    after = rp.tokens()["access_token"]
    assert len(published()) == 3
    for token in (before, after):
        assert verify_compact(token, published(), {"at+jwt"})["iss"] == ISSUER


def test_the_servers_own_service_token_is_a_persons_and_short(world: World) -> None:
    services = world.app.extensions["privyseal"]
    token = oidc.self_service_token(services, world.account_id, "example-contracts")
    seen = world.rp("csc").introspect(token)
    assert (seen["active"], seen["sub"], seen["scope"], seen["aud"]) == (True, world.account_id, "service", RESOURCE)
    world.clock.advance(60)
    assert world.rp("csc").introspect(token) == {"active": False}


# Logout


def test_a_relying_partys_logout_asks_the_person_and_ends_everything(world: World) -> None:
    rp, csc, browser = world.rp(), world.rp("csc"), world.browser()
    tokens = rp.tokens(browser)
    asked = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": BYE, "state": "x y"}
    page = browser.get(with_query("/oauth2/logout", asked))
    assert page.status_code == 200
    assert "Example Contracts" in page.text
    assert csc.introspect(tokens["access_token"])["active"] is True, "a GET changes nothing"
    response = browser.submit(page, "sign-out")
    assert response.headers["Location"] == f"{BYE}?state=x+y"
    assert csc.introspect(tokens["access_token"]) == {"active": False}
    assert error_of(rp.refresh(tokens["refresh_token"])) == "invalid_grant"
    assert answer(browser.get(rp.url(prompt="none")))["error"] == "login_required"
    again = browser.get(with_query("/oauth2/logout", asked))
    assert again.headers["Location"] == f"{BYE}?state=x+y", "nobody is signed in: there is nothing to ask"


def test_a_posted_logout_asks_too_and_keeps_the_id_token_out_of_the_address(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    tokens = rp.tokens(browser)
    asked = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": BYE, "state": "x"}
    # From another site: without the browser's cookies.
    response = world.app.test_client().post("/oauth2/logout", data=asked, base_url=ISSUER)
    assert response.status_code == 303
    assert "eyJ" not in response.headers["Location"]
    page = browser.get(response.headers["Location"])
    assert "Example Contracts" in page.text
    assert "eyJ" not in page.text
    assert browser.submit(page, "sign-out").headers["Location"] == f"{BYE}?state=x"
    assert world.rp("csc").introspect(tokens["access_token"]) == {"active": False}


def test_a_logout_without_a_client_ends_on_a_page_of_ours(world: World) -> None:
    browser = world.browser()
    world.rp().code(browser)
    page = browser.submit(browser.get("/oauth2/logout"), "sign-out")
    assert page.status_code == 200
    assert "signed out" in page.text


def test_SES_04_a_logout_form_without_its_token_ends_nothing(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    tokens = rp.tokens(browser)
    for data in ({}, {"csrf_token": "x"}):
        assert browser.http.post("/oauth2/logout/confirm", data=data, base_url=ISSUER).status_code == 400
    assert world.rp("csc").introspect(tokens["access_token"])["active"] is True
    assert browser.post("/oauth2/logout", {}).status_code == 200, "only asks"
    assert world.rp("csc").introspect(tokens["access_token"])["active"] is True


@pytest.mark.parametrize("uri", ["//evil.example.org", "\\\\evil.example.org", "https:evil.example.org", BYE + "/x"])
def test_SES_08_a_logout_does_not_redirect_elsewhere(world: World, uri: str) -> None:
    browser = world.browser()
    world.rp().code(browser)
    for named in ({"client_id": "example-contracts"}, {}):
        response = browser.get(with_query("/oauth2/logout", {**named, "post_logout_redirect_uri": uri}))
        assert response.status_code == 400
        assert "Location" not in response.headers
