"""The authorization server from outside: a person, a browser, relying parties."""

from __future__ import annotations

import base64
import json
from urllib.parse import urlsplit

import pytest

from foundation.clock import epoch
from foundation.jose import import_verification_key, sign_compact, verify_compact
from idp.oidc.tokens import half_hash
from idp.storage import accounts, clients, sessions
from tests.integration.oidc_world import (
    BYE,
    ISSUER,
    NOW,
    REDIRECT_URI,
    RESOURCE,
    World,
    answer,
    error_of,
)

# What is published


def test_both_metadata_documents_are_the_same_and_lead_to_the_keys(world: World) -> None:
    http = world.app.test_client()
    first = http.get("/.well-known/openid-configuration", base_url=ISSUER).get_json()
    assert http.get("/.well-known/oauth-authorization-server", base_url=ISSUER).get_json() == first
    assert first["issuer"] == ISSUER
    assert "http://eidas.europa.eu/NotNotified/LoA/substantial" in first["acr_values_supported"]
    keys = http.get(urlsplit(first["jwks_uri"]).path, base_url=ISSUER).get_json()["keys"]
    assert len(keys) == 2, "the current key and the next"
    assert "no-store" not in http.get("/oauth2/jwks", base_url=ISSUER).headers["Cache-Control"]
    assert all("d" not in key for key in keys)


def test_SES_10_a_spoofed_host_changes_nothing_that_is_published(world: World) -> None:
    headers = {"Host": "evil.example.org", "X-Forwarded-Host": "evil.example.org", "X-Forwarded-Proto": "https"}
    response = world.app.test_client().get("/.well-known/openid-configuration", headers=headers)
    assert "evil" not in response.text


# Signing in


def test_a_person_signs_in_and_the_relying_party_gets_its_tokens(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    response = browser.sign_in(browser.get(rp.url()))
    got = answer(response)
    assert (got["state"], got["iss"]) == ("some-state", ISSUER)
    tokens = rp.redeem(got["code"]).get_json()
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 600, "openid service")
    keys = [import_verification_key(key) for key in rp.http.get("/oauth2/jwks", base_url=ISSUER).get_json()["keys"]]
    access = verify_compact(tokens["access_token"], keys, {"at+jwt"})
    assert (access["iss"], access["aud"], access["client_id"]) == (ISSUER, RESOURCE, "example-contracts")
    assert (access["sub"], access["scope"]) == (world.account_id, "openid service")
    assert access["exp"] - access["iat"] == 600
    id_token = verify_compact(tokens["id_token"], keys, {"JWT"})
    assert (id_token["aud"], id_token["nonce"], id_token["sub"]) == ("example-contracts", "some-nonce", access["sub"])
    assert id_token["acr"] == "http://eidas.europa.eu/NotNotified/LoA/low"
    assert id_token["amr"] == ["pwd"]
    assert id_token["auth_time"] == epoch(NOW)
    assert id_token["sid"] == access["sid"]
    assert id_token["at_hash"] == half_hash(tokens["access_token"], "ES256")
    (event,) = world.events("token.issued")
    assert (event["client_id"], event["grant_type"], event["jti"]) == (
        "example-contracts",
        "authorization_code",
        access["jti"],
    )


def test_a_second_application_signs_the_person_in_without_asking_again(world: World) -> None:
    browser = world.browser()
    world.rp().code(browser)
    assert answer(browser.get(world.rp("other").url()))["code"]


def test_prompt_none_without_a_session_is_login_required(world: World) -> None:
    got = answer(world.browser().get(world.rp().url(prompt="none")))
    assert (got["error"], got["state"], got["iss"]) == ("login_required", "some-state", ISSUER)


def test_a_posted_request_goes_on_as_a_query(world: World) -> None:
    browser = world.browser()
    response = browser.http.post("/oauth2/authorize", data=world.rp().parameters(), base_url=ISSUER)
    assert response.status_code == 303
    assert answer(browser.sign_in(browser.get(response.headers["Location"])))["code"]
    long = world.rp().parameters(state="a" * 2000, claims=" " * 4000, login_hint="a" * 1000, nonce="%" * 1000)
    assert browser.http.post("/oauth2/authorize", data=long, base_url=ISSUER).status_code == 400


def test_OAU_12_an_essential_acr_that_cannot_be_reached_is_an_error_and_no_lower_level(world: World) -> None:
    claims = json.dumps({"id_token": {"acr": {"essential": True, "value": "urn:example:unheard-of"}}})
    browser = world.browser()
    page = browser.get(world.rp().url(claims=claims))
    if page.status_code == 200:
        page = browser.sign_in(page)
    assert answer(page)["error"] == "unmet_authentication_requirements"


def test_OAU_12_an_essential_acr_is_stepped_up_to(world: World) -> None:
    wanted = "http://eidas.europa.eu/NotNotified/LoA/substantial"
    claims = json.dumps({"id_token": {"acr": {"essential": True, "value": wanted}}})
    rp, browser = world.rp(), world.browser()
    got = answer(browser.step_up(browser.sign_in(browser.get(rp.url(claims=claims)))))
    payload = rp.redeem(got["code"]).get_json()["id_token"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "=="))["acr"] == wanted


def test_OAU_13_a_hint_for_another_person_is_login_required(world: World) -> None:
    key = world.app.extensions["privyseal"].keys.token_key()
    claims = {"iss": ISSUER, "aud": "example-contracts", "sub": "somebody-else", "sid": "x", "exp": 1}
    browser = world.browser()
    world.rp().code(browser)
    got = answer(browser.get(world.rp().url(id_token_hint=sign_compact(claims, key, "JWT"))))
    assert got["error"] == "login_required"
    own = {**claims, "sub": world.account_id}
    assert answer(browser.get(world.rp().url(id_token_hint=sign_compact(own, key, "JWT"))))["code"]
    foreign = sign_compact(own, world.client_key, "JWT")
    assert answer(browser.get(world.rp().url(id_token_hint=foreign)))["error"] == "invalid_request"


# Refusals at the authorization endpoint


@pytest.mark.parametrize(
    "redirect_uri",
    [REDIRECT_URI + "/", REDIRECT_URI + "?a=b", "http://evil.example.org/callback", "//evil.example.org"],
)
def test_OAU_01_nobody_is_sent_to_an_address_that_is_not_registered(world: World, redirect_uri: str) -> None:
    response = world.browser().get(world.rp().url(redirect_uri=redirect_uri))
    assert response.status_code == 400
    assert "Location" not in response.headers
    assert "evil" not in response.text


def test_OAU_01_two_redirect_uris_in_one_request_are_refused(world: World) -> None:
    response = world.browser().get(world.rp().url() + "&redirect_uri=http%3A%2F%2Fevil.example.org%2F")
    assert response.status_code == 400
    assert "Location" not in response.headers


@pytest.mark.parametrize("response_type", ["token", "id_token", "code id_token token"])
def test_OAU_16_the_implicit_and_hybrid_flows_are_off(world: World, response_type: str) -> None:
    got = answer(world.browser().get(world.rp().url(response_type=response_type)))
    assert got["error"] == "unsupported_response_type"


def test_OAU_13_huge_parameters_are_a_clean_error(world: World) -> None:
    response = world.browser().get(world.rp().url(state="a" * 10_000))
    assert response.status_code == 400
    response = world.rp().push(world.rp().parameters(state="a" * 10_000))
    assert error_of(response) == "invalid_request"
    response = world.rp().push(world.rp().parameters(state="a" * 600_000))
    assert response.status_code == 413
    response = world.rp().token(grant_type="authorization_code", code="a" * 10_000, code_verifier="a" * 43)
    assert error_of(response) == "invalid_request"


def test_OAU_13_a_request_object_is_refused_by_name(world: World) -> None:
    assert answer(world.browser().get(world.rp().url(request="a.b.c")))["error"] == "request_not_supported"
    outside = "https://evil.example.org/request.jwt"
    assert answer(world.browser().get(world.rp().url(request_uri=outside)))["error"] == "request_uri_not_supported"


# Codes


def test_OAU_02_a_code_used_again_is_refused_and_kills_the_first_tokens(world: World) -> None:
    rp = world.rp()
    code = rp.code()
    tokens = rp.redeem(code).get_json()
    csc = world.rp("csc")
    assert csc.introspect(tokens["access_token"])["active"] is True
    assert error_of(rp.redeem(code)) == "invalid_grant"
    assert csc.introspect(tokens["access_token"]) == {"active": False}
    assert error_of(rp.refresh(tokens["refresh_token"])) == "invalid_grant"
    assert world.events("grant.revoked")[0]["cause"] == "code_used"
    assert world.events("token.refused")[0]["client_id"] == "example-contracts"


def test_OAU_02_a_code_lives_for_a_minute(world: World) -> None:
    rp = world.rp()
    code = rp.code()
    world.clock.advance(60)
    assert error_of(rp.redeem(code)) == "invalid_grant"
    code = rp.code()
    world.clock.advance(59)
    assert rp.redeem(code).status_code == 200


def test_OAU_03_a_code_of_one_client_is_worth_nothing_to_another(world: World) -> None:
    rp, thief = world.rp(), world.rp("other")
    code = rp.code()
    thief.verifier = rp.verifier
    assert error_of(thief.redeem(code)) == "invalid_grant"
    assert error_of(rp.redeem(code)) == "invalid_grant", "it has leaked, so nobody gets anything for it"


@pytest.mark.parametrize("redirect_uri", [None, REDIRECT_URI + "/", BYE])
def test_OAU_03_a_code_goes_with_the_redirect_uri_it_was_sent_to(world: World, redirect_uri: str | None) -> None:
    rp = world.rp()
    code = rp.code()
    assert error_of(rp.redeem(code, redirect_uri=redirect_uri)) == "invalid_grant"
    assert error_of(rp.redeem(code)) == "invalid_grant", "there is no second try"


@pytest.mark.parametrize(
    ("verifier", "error"),
    [
        (None, "invalid_request"),
        ("a" * 42, "invalid_request"),
        ("a" * 129, "invalid_request"),
        ("a" * 43, "invalid_grant"),
    ],
)
def test_OAU_04_a_code_without_its_verifier_is_refused(world: World, verifier: str | None, error: str) -> None:
    rp = world.rp()
    code = rp.code()
    assert error_of(rp.redeem(code, code_verifier=verifier)) == error
    assert error_of(rp.redeem(code)) == "invalid_grant", "the verifier cannot be guessed at"


@pytest.mark.parametrize(
    "changes", [{"code_challenge": None}, {"code_challenge_method": "plain"}, {"code_challenge_method": None}]
)
def test_OAU_04_no_client_does_without_pkce(world: World, changes: dict[str, str | None]) -> None:
    for client_id in ("example-contracts", "keyed", "app"):
        got = answer(world.browser().get(world.rp(client_id).url(**changes)))
        assert got["error"] == "invalid_request"


def test_a_public_client_redeems_with_pkce_alone(world: World) -> None:
    rp = world.rp("app")
    response = rp.http.post(
        "/oauth2/token",
        data={
            "grant_type": "authorization_code",
            "client_id": "app",
            "code": rp.code(),
            "redirect_uri": REDIRECT_URI,
            "code_verifier": rp.verifier,
        },
        base_url=ISSUER,
    )
    assert response.status_code == 200, response.text


# Refresh tokens


def test_OAU_06_refresh_rotates_and_reuse_kills_the_family(world: World) -> None:
    rp, csc = world.rp(), world.rp("csc")
    first = rp.tokens()
    second = rp.refresh(first["refresh_token"]).get_json()
    assert second["refresh_token"] != first["refresh_token"]
    assert "id_token" not in second
    third = rp.refresh(second["refresh_token"]).get_json()
    assert csc.introspect(third["access_token"])["active"] is True
    assert error_of(rp.refresh(first["refresh_token"])) == "invalid_grant"
    for token in (first, second, third):
        assert csc.introspect(token["access_token"]) == {"active": False}
    assert error_of(rp.refresh(third["refresh_token"])) == "invalid_grant"
    assert world.events("grant.revoked")[0]["cause"] == "refresh_token_used"


def test_OAU_06_a_refresh_token_of_one_client_is_worth_nothing_to_another(world: World) -> None:
    rp = world.rp()
    token = rp.tokens()["refresh_token"]
    assert error_of(world.rp("other").refresh(token)) == "invalid_grant"
    assert error_of(rp.refresh(token)) == "invalid_grant", "it has leaked"


def test_OAU_06_scope_may_narrow_and_not_widen(world: World) -> None:
    rp = world.rp()
    token = rp.tokens(scope="service")["refresh_token"]
    assert error_of(rp.refresh(token, scope="openid service")) == "invalid_scope"
    assert error_of(rp.refresh(token, scope="credential")) == "invalid_scope"
    assert rp.refresh(token, scope="service").status_code == 200, "a refused request does not use it up"
    both = rp.tokens()["refresh_token"]
    assert rp.refresh(both, scope="openid").get_json()["scope"] == "openid"


def test_OAU_06_a_family_does_not_outlive_its_term(world: World) -> None:
    rp = world.rp()
    token = rp.tokens()["refresh_token"]
    for _ in range(5):
        world.clock.advance(2 * 3600)
        token = rp.refresh(token).get_json()["refresh_token"]
    world.clock.advance(2 * 3600 + 60)
    assert error_of(rp.refresh(token)) == "invalid_grant"


def test_SES_03_what_a_session_granted_ends_with_it(world: World) -> None:
    rp, csc = world.rp(), world.rp("csc")
    tokens = rp.tokens()
    [issued] = world.events("token.issued")
    with world.engine.begin() as connection:
        sessions.revoke(connection, issued["session_id"], world.clock.now())
    assert csc.introspect(tokens["access_token"]) == {"active": False}
    assert error_of(rp.refresh(tokens["refresh_token"])) == "invalid_grant"


def test_what_was_granted_to_a_client_ends_when_it_is_disabled(world: World) -> None:
    rp, csc = world.rp(), world.rp("csc")
    tokens = rp.tokens()
    code = rp.code()
    with world.engine.begin() as connection:
        clients.set_active(connection, "example-contracts", active=False)
    assert csc.introspect(tokens["access_token"]) == {"active": False}
    assert error_of(rp.redeem(code)) == "invalid_client"
    assert world.browser().get(rp.url()).status_code == 400


def test_what_was_granted_by_a_person_ends_when_the_account_is_disabled(world: World) -> None:
    rp, csc = world.rp(), world.rp("csc")
    tokens = rp.tokens()
    with world.engine.begin() as connection:
        accounts.set_status(connection, world.account_id, "disabled")
    assert csc.introspect(tokens["access_token"]) == {"active": False}
    assert error_of(rp.refresh(tokens["refresh_token"])) == "invalid_grant"
