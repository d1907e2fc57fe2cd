"""The authorization server from outside: a person, a browser, relying parties."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from werkzeug.wrappers import Response

from auditlog.errors import ChainNotReady
from contract import sad
from foundation.clock import epoch
from foundation.jose import import_verification_key, sign_compact, verify_compact
from idp.errors import KeyUnavailable, NotActivatable
from idp.oidc.client import ASSERTION_TYPE
from idp.oidc.tokens import half_hash
from idp.storage import accounts, audit, clients, grants, models, sessions
from idp.storage.keys import KeyStore, rotate_token_keys
from idp.web import oidc, oidc_tokens
from idp.web.interaction import Finished
from tests.integration.oidc_world import (
    BYE,
    ISSUER,
    NOW,
    REDIRECT_URI,
    RESOURCE,
    SAM,
    SHA256,
    RelyingParty,
    Seed,
    World,
    answer,
    seed_sqlite,
    start_copy,
    with_query,
)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seed:
    return seed_sqlite(tmp_path_factory.mktemp("seed"))


@pytest.fixture
def world(seeded: Seed, tmp_path: Path) -> Iterator[World]:
    made = start_copy(seeded, tmp_path)
    yield made
    made.engine.dispose()


def error_of(response: Any) -> str:
    """The error of a JSON answer, which nobody may store."""
    assert response.status_code in {400, 401, 413, 429}, response.text
    assert response.headers["Cache-Control"] == "no-store"
    return str(response.get_json()["error"])


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
    session_id = csc.introspect(tokens["access_token"])["sid"]
    with world.engine.begin() as connection:
        sessions.revoke(connection, session_id, world.clock.now())
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


# Client authentication


def _assertion(world: World, **changes: Any) -> dict[str, str]:
    at = epoch(world.clock.now())
    claims = {"iss": "keyed", "sub": "keyed", "aud": ISSUER, "jti": "an-id", "iat": at, "exp": at + 60, **changes}
    return {
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": sign_compact(claims, world.client_key, "JWT"),
    }


def _service(rp: RelyingParty, **data: str) -> Any:
    values = {"grant_type": "client_credentials", "scope": "service", **data}
    return rp.http.post("/oauth2/token", data=values, base_url=ISSUER)


def test_OAU_07_an_assertion_is_good_once(world: World) -> None:
    rp = world.rp("keyed")
    assertion = _assertion(world)
    assert _service(rp, **assertion).status_code == 200
    assert error_of(_service(rp, **assertion)) == "invalid_client"
    assert _service(rp, **_assertion(world, jti="another")).status_code == 200
    for seconds in (60, 60):
        world.clock.advance(seconds)
        with world.engine.begin() as connection:
            grants.purge(connection, world.clock.now())
        assert error_of(_service(rp, **assertion)) == "invalid_client", "expired, and in the end forgotten too"
    with world.engine.connect() as connection:
        assert connection.execute(grants.oidc_assertions.select()).all() == []


@pytest.mark.parametrize(
    "changes", [{"aud": [ISSUER]}, {"aud": ISSUER + "/oauth2/introspect"}, {"iss": "other", "sub": "other"}, {"exp": 1}]
)
def test_OAU_07_an_assertion_that_is_wrong_authenticates_nobody(world: World, changes: dict[str, Any]) -> None:
    assert error_of(_service(world.rp("keyed"), **_assertion(world, **changes))) == "invalid_client"


def test_OAU_07_an_assertion_and_a_client_id_must_agree(world: World) -> None:
    assert error_of(_service(world.rp("keyed"), client_id="other", **_assertion(world))) == "invalid_client"
    assert _service(world.rp("keyed"), client_id="keyed", **_assertion(world)).status_code == 200


def test_every_failure_to_authenticate_looks_the_same(world: World) -> None:
    rp = world.rp()
    tried = [
        rp.http.post(
            "/oauth2/token", data={"grant_type": "client_credentials", **data}, headers=headers, base_url=ISSUER
        )
        for data, headers in (
            ({"client_id": "example-contracts", "client_secret": world.secrets["example-contracts"]}, {}),
            ({"client_id": "example-contracts", "client_secret": "wrong"}, {}),
            ({"client_id": "nobody", "client_secret": "wrong"}, {}),
            ({"client_id": "example-contracts"}, {}),
            ({"client_id": "poster"}, {}),
            ({}, {"Authorization": "Basic " + base64.b64encode(b"example-contracts:wrong").decode()}),
            ({}, {"Authorization": "Basic " + base64.b64encode(b"nobody:wrong").decode()}),
            ({}, {"Authorization": "Basic " + base64.b64encode(b"csc\0:wrong").decode()}),
            ({}, {"Authorization": "Bearer abc"}),
            ({}, {}),
        )
    ]
    assert {response.status_code for response in tried} == {401}
    assert len({response.text for response in tried}) == 1
    assert all("Basic" in response.headers["WWW-Authenticate"] for response in tried)
    assert world.events("token.refused") == [], "strangers do not fill the chain"


def test_a_secret_in_the_form_serves_the_client_that_registered_that(world: World) -> None:
    rp = world.rp("poster")
    own = {"client_id": "poster", "client_secret": world.secrets["poster"]}
    assert _service(rp, **own).status_code == 200
    assert error_of(rp.token(grant_type="client_credentials")) == "invalid_client", "Basic is another method"


def test_parameters_in_the_query_or_in_json_are_refused(world: World) -> None:
    rp = world.rp()
    response = rp.http.post(
        f"/oauth2/token?client_secret={world.secrets['poster']}",
        data={"grant_type": "client_credentials", "client_id": "poster"},
        base_url=ISSUER,
    )
    assert error_of(response) == "invalid_request"
    response = rp.http.post(
        "/oauth2/token", json={"grant_type": "client_credentials"}, headers=rp.basic, base_url=ISSUER
    )
    assert error_of(response) == "invalid_request"


def test_client_credentials_give_a_service_token_of_the_client_itself(world: World) -> None:
    rp = world.rp()
    token = rp.token(grant_type="client_credentials").get_json()
    assert "refresh_token" not in token
    assert token["scope"] == "service"
    seen = world.rp("csc").introspect(token["access_token"])
    assert (seen["sub"], seen["client_id"], seen["aud"]) == ("example-contracts", "example-contracts", RESOURCE)
    assert "sid" not in seen
    for scope in ("openid", "service openid"):
        assert error_of(rp.token(grant_type="client_credentials", scope=scope)) == "invalid_scope"


@pytest.mark.parametrize(
    "grant_type",
    [
        "password",
        "implicit",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "<script>",
    ],
)
def test_OAU_16_other_grants_are_off(world: World, grant_type: str) -> None:
    response = world.rp().token(grant_type=grant_type, username="alice", password="x")
    assert error_of(response) == "unsupported_grant_type"
    assert "<script" not in response.text


def test_a_token_request_that_lacks_something_says_what(world: World) -> None:
    rp = world.rp()
    for data, missing in (
        ({"scope": "service"}, "grant_type"),
        ({"grant_type": "authorization_code"}, "code"),
        ({"grant_type": "refresh_token"}, "refresh_token"),
    ):
        response = rp.token(**data)
        assert error_of(response) == "invalid_request"
        assert response.get_json()["error_description"] == f"Missing parameter {missing}"


def test_a_client_is_held_to_its_grants(world: World) -> None:
    assert error_of(world.rp("csc").token(grant_type="client_credentials")) == "unauthorized_client"
    assert error_of(world.rp("csc").push(world.rp("csc").parameters())) in {"invalid_request", "unauthorized_client"}


# Pushed requests


def test_OAU_08_a_pushed_request_is_good_once(world: World) -> None:
    rp = world.rp()
    url = rp.pushed_url(rp.parameters())
    browser = world.browser()
    assert answer(browser.sign_in(browser.get(url)))["code"]
    again = world.browser().get(url)
    assert again.status_code == 400
    assert "Location" not in again.headers


def test_OAU_08_looking_at_the_address_uses_nothing_up(world: World) -> None:
    rp = world.rp()
    url = rp.pushed_url(rp.parameters())
    response = world.app.test_client().head(url, base_url=ISSUER)
    assert (response.status_code, "Set-Cookie" in response.headers) == (200, False)
    assert world.browser().get(url).status_code == 200


def test_OAU_08_a_pushed_request_expires(world: World) -> None:
    rp = world.rp()
    early, late = rp.pushed_url(rp.parameters()), rp.pushed_url(rp.parameters())
    world.clock.advance(89)
    assert world.browser().get(early).status_code == 200
    world.clock.advance(1)
    assert world.browser().get(late).status_code == 400


def test_OAU_08_a_pushed_request_is_its_clients_alone(world: World) -> None:
    rp = world.rp()
    url = rp.pushed_url(rp.parameters())
    assert world.browser().get(url.replace("client_id=example-contracts", "client_id=other")).status_code == 400
    assert world.browser().get(url).status_code == 200, "another's try does not use it up"
    response = rp.push({**rp.parameters(), "client_id": "other"})
    assert error_of(response) == "invalid_client"


def test_OAU_08_a_request_uri_may_not_be_pushed(world: World) -> None:
    rp = world.rp()
    handle = rp.push(rp.parameters()).get_json()["request_uri"]
    assert error_of(rp.push({**rp.parameters(), "request_uri": handle})) == "invalid_request"
    assert error_of(rp.push({"request_uri": handle})) == "invalid_request"


def test_OAU_08_a_pushed_request_is_posted_by_an_authenticated_client(world: World) -> None:
    rp = world.rp()
    response = rp.http.get(with_query("/oauth2/pushed_authorize", rp.parameters()), headers=rp.basic, base_url=ISSUER)
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    response = rp.http.post("/oauth2/pushed_authorize", data=rp.parameters(), base_url=ISSUER)
    assert error_of(response) == "invalid_client"


def test_OAU_08_a_handle_is_long_and_cannot_be_chosen(world: World) -> None:
    rp = world.rp()
    response = rp.push(rp.parameters())
    assert response.get_json()["expires_in"] == 90
    assert len(response.get_json()["request_uri"]) >= len(oidc.REQUEST_URI_PREFIX) + 43
    guess = with_query("/oauth2/authorize", {"client_id": rp.client_id, "request_uri": oidc.REQUEST_URI_PREFIX + "a"})
    assert world.browser().get(guess).status_code == 400


def test_DOS_04_open_pushed_requests_are_capped_per_client(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "MAX_PUSHED_REQUESTS", 2)
    rp = world.rp()
    for _ in range(2):
        assert rp.push(rp.parameters()).status_code == 201
    response = rp.push(rp.parameters())
    assert response.status_code == 429
    assert world.rp("other").push(world.rp("other").parameters()).status_code == 201
    world.clock.advance(90)
    assert rp.push(rp.parameters()).status_code == 201


# Signatures


def _keys(world: World) -> list[Any]:
    return [world.app.extensions["privyseal"].keys.activation_key().verification_key()]


def test_a_person_approves_a_signature_and_the_relying_party_gets_the_sad(world: World) -> None:
    rp = world.rp()
    response = rp.redeem(rp.signing_code(b"one", b"two"))
    assert response.status_code == 200, response.text
    assert response.headers["Cache-Control"] == "no-store"
    got = response.get_json()
    assert (got["token_type"], got["expires_in"], got["scope"]) == ("Bearer", 300, "credential")
    assert got["credentialID"] == "a-credential"
    assert "refresh_token" not in got
    assert "id_token" not in got
    (details,) = got["authorization_details"]
    digests = [hashlib.sha256(item).digest() for item in (b"one", b"two")]
    assert (details["type"], details["credentialID"], details["numSignatures"]) == ("credential", "a-credential", 2)
    assert details["hashAlgorithmOID"] == SHA256
    assert [item["hash"] for item in details["documentDigests"]] == [
        base64.b64encode(item).decode() for item in digests
    ]
    content = sad.decode(got["access_token"], _keys(world))
    assert (content.iss, content.aud, content.client_id) == (ISSUER, SAM, "example-contracts")
    assert (content.sub, content.credential_id, content.dtbsr) == (world.account_id, "a-credential", tuple(digests))
    assert (content.loa, content.sign_count, content.exp - content.iat) == ("substantial", 2, 300)
    (event,) = world.events("sad.issued")
    assert (event["jti"], event["txn"], event["digests"]) == (
        content.jti,
        content.txn,
        [item.hex() for item in digests],
    )


def test_the_form_of_2_2_is_answered_in_the_form_of_2_2(world: World) -> None:
    rp = world.rp()
    kind = "https://cloudsignatureconsortium.org/2025/credential"
    digest = base64.b64encode(hashlib.sha256(b"a document").digest()).decode()
    documents = [{"hash": digest, "label": "contract.pdf", "hashType": "sdr"}]
    code = rp.signing_code(type=kind, documentDigests=documents, numSignatures=1)
    got = rp.redeem(code).get_json()
    assert got["authorization_details"][0]["type"] == kind
    assert got["authorization_details"][0]["documentDigests"] == documents
    assert sad.decode(got["access_token"], _keys(world)).hash_type == "sdr"


def test_the_query_form_of_csc_is_answered_with_a_sad(world: World) -> None:
    rp = world.rp("other")
    asked = rp.parameters(
        scope="credential",
        nonce=None,
        credentialID="a-credential",
        numSignatures="1",
        hashes=base64.urlsafe_b64encode(hashlib.sha256(b"x").digest()).decode().rstrip("="),
        hashAlgorithmOID=SHA256,
    )
    browser = world.browser()
    page = browser.sign_in(browser.get(with_query("/oauth2/authorize", asked)))
    got = rp.redeem(answer(browser.approve(browser.step_up(page)))["code"]).get_json()
    assert sad.decode(got["access_token"], _keys(world)).dtbsr == (hashlib.sha256(b"x").digest(),)


def test_OAU_10_what_was_pushed_cannot_be_changed_in_the_browser(world: World) -> None:
    rp = world.rp()
    url = rp.pushed_url(rp.signing())
    for addition in (
        "&authorization_details=%5B%5D",
        "&hashes=AAAA",
        "&numSignatures=2",
        "&credentialID=another",
        "&hashAlgorithmOID=2.16.840.1.101.3.4.2.3",
        "&scope=service",
        "&state=x",
        "&request_uri=x",
    ):
        assert world.browser().get(url + addition).status_code == 400, addition
    page = world.browser().get(url)
    assert page.status_code == 200, "none of these used it up"


def test_OAU_10_what_is_shown_is_what_is_signed(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    page = browser.step_up(browser.sign_in(browser.get(rp.pushed_url(rp.signing(b"the document")))))
    digest = hashlib.sha256(b"the document").hexdigest()
    assert f'data-digest="{digest}"' in page.text
    assert "Example Contracts" in page.text
    assert "contract.pdf" in page.text
    got = rp.redeem(answer(browser.approve(page))["code"]).get_json()
    assert [item.hex() for item in sad.decode(got["access_token"], _keys(world)).dtbsr] == [digest]


def test_OAU_10_a_signature_that_was_not_pushed_is_refused(world: World) -> None:
    rp = world.rp()
    got = answer(world.browser().get(with_query("/oauth2/authorize", rp.signing())))
    assert (got["error"], got["state"]) == ("invalid_request", "some-state")


def test_OAU_10_details_repeated_with_the_code_must_be_those_approved(world: World) -> None:
    rp = world.rp()
    asked = rp.signing()
    changed = json.loads(asked["authorization_details"])
    changed[0]["credentialID"] = "another"
    code = rp.signing_code()
    assert error_of(rp.redeem(code, authorization_details=json.dumps(changed))) == "invalid_authorization_details"
    code = rp.signing_code()
    assert rp.redeem(code, authorization_details=asked["authorization_details"]).status_code == 200


def test_a_person_who_does_not_approve_is_access_denied(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    page = browser.step_up(browser.sign_in(browser.get(rp.pushed_url(rp.signing()))))
    got = answer(browser.submit(page, "consent", decision="deny"))
    assert (got["error"], got["iss"]) == ("access_denied", ISSUER)


def test_OAU_11_a_sad_is_no_service_token_and_a_service_token_no_sad(world: World) -> None:
    rp = world.rp()
    for scope in ("credential service", "openid credential", "service openid"):
        assert error_of(rp.push({**rp.signing(), "scope": scope})) == "invalid_scope"
    assert error_of(rp.push(rp.parameters(scope="credential"))) == "invalid_scope"
    value = rp.signing()
    del value["scope"]
    assert rp.push(value).status_code == 201, "details of a credential type imply the scope"
    token = rp.redeem(rp.signing_code()).get_json()["access_token"]
    seen = world.rp("csc").introspect(token)
    assert (seen["scope"], seen["aud"]) == ("credential", SAM)
    response = rp.http.get("/oauth2/userinfo", headers={"Authorization": f"Bearer {token}"}, base_url=ISSUER)
    assert error_of(response) == "invalid_token"
    assert error_of(rp.refresh(token)) in {"invalid_grant", "invalid_request"}


def test_OAU_11_a_token_for_another_audience_is_not_given_out(world: World) -> None:
    got = answer(world.browser().get(world.rp().url(resource="https://another.example.org")))
    assert got["error"] == "invalid_target"


def test_OAU_02_a_signatures_code_used_again_gives_no_second_sad(world: World) -> None:
    rp = world.rp()
    code = rp.signing_code()
    token = rp.redeem(code).get_json()["access_token"]
    assert error_of(rp.redeem(code)) == "invalid_grant"
    assert world.rp("csc").introspect(token) == {"active": False}
    assert len(world.events("sad.issued")) == 1


def test_SAD_11_a_session_that_ends_while_the_sad_is_made_gives_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rp = world.rp()
    code = rp.signing_code()
    encode = sad.encode

    def sign_out_first(content: sad.Sad, key: Any) -> str:
        with world.engine.begin() as connection:
            connection.execute(models.sessions.update().values(revoked_at=1))
        return encode(content, key)

    monkeypatch.setattr(sad, "encode", sign_out_first)
    assert error_of(rp.redeem(code)) == "invalid_grant"
    assert world.events("sad.issued") == []


def test_SAD_11_a_session_that_ended_before_the_code_came_gives_no_sad(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    page = browser.sign_in(browser.get(rp.pushed_url(rp.signing())))
    code = answer(browser.approve(browser.step_up(page)))["code"]
    page = browser.get("/oauth2/logout")
    browser.submit(page, "sign-out")
    assert error_of(rp.redeem(code)) == "invalid_grant"
    assert world.events("sad.issued") == []


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
    for data in ({"token": token}, {"token": token, "client_id": "app"}):
        assert error_of(rp.http.post("/oauth2/introspect", data=data, base_url=ISSUER)) == "invalid_client"
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
    world.clock.advance(601)
    with world.engine.begin() as connection:
        assert grants.purge(connection, world.clock.now()) == 2, "the pushed request and the access token"
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
    monkeypatch.setattr(oidc_tokens, "_TIDY_BELOW", 256)
    assert world.rp().tokens()["access_token"]


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


def test_an_approval_for_another_client_gives_no_code(world: World) -> None:
    captured: list[Finished] = []
    rp = world.rp()

    finishers = world.app.extensions["privyseal.finishers"].finishers

    def capture(outcome: Finished) -> Response:
        captured.append(outcome)
        return oidc.finish(outcome)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(finishers, oidc.KIND, capture)
        rp.code()
    approval = captured[0].approval
    assert approval is not None
    swapped = replace(captured[0], approval=replace(approval, client_id="other"))
    with world.app.test_request_context("/interaction/x", method="POST", base_url=ISSUER):
        response = oidc.finish(swapped)
    assert parse_qs(urlsplit(response.headers["Location"]).query)["error"] == ["server_error"]


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
    monkeypatch.setattr(grants, "issue", lambda *_args: False)
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
