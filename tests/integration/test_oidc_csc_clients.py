"""The OAuth endpoints as clients of the CSC API build and use them (CSC API 1.0.4.0, 2.0.0.2 clause 8.4, 2.2)."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import Any

import pytest

from foundation.clock import epoch
from foundation.jose import encode_base64url
from tests.integration.oidc_world import ACCOUNT, ISSUER, NOW, REDIRECT_URI, SHA256, World, answer, error_of, with_query

DIGEST = encode_base64url(bytes(range(32)))


@pytest.mark.parametrize("base", [ISSUER, f"{ISSUER}/"])
def test_every_path_below_oauth2_of_info_is_served(world: World, base: str) -> None:
    rp = world.rp("other")
    paths = {
        name: base.rstrip("/").removeprefix(ISSUER) + f"/{name}"
        for name in ("oauth2/authorize", "oauth2/pushed_authorize", "oauth2/token", "oauth2/revoke", "revoke")
    }
    pushed = rp.post(paths["oauth2/pushed_authorize"], rp.parameters())
    assert pushed.status_code == 201
    handle = pushed.get_json()["request_uri"]
    browser = world.browser()
    page = browser.get(with_query(paths["oauth2/authorize"], {"client_id": "other", "request_uri": handle}))
    code = answer(browser.sign_in(page))["code"]
    data = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
    tokens = rp.post(paths["oauth2/token"], {**data, "code_verifier": rp.verifier}).get_json()
    for name, token in (("revoke", tokens["access_token"]), ("oauth2/revoke", tokens["refresh_token"])):
        gone = rp.post(paths[name], {"token": token, "clientData": "12345678"})
        assert (gone.status_code, gone.data) == (204, b"")
        assert rp.introspect(token) == {"active": False}


def test_a_client_without_rich_requests_signs_with_pushed_hashes(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    asked = rp.parameters(
        scope="credential",
        nonce=None,
        credentialID="a-credential",
        numSignatures="1",
        hashes=DIGEST,
        hashAlgorithmOID=SHA256,
        prompt="login",
        lang="de-AT",
        clientData="12345678",
        description="x" * 500,
    )
    page = browser.get(rp.pushed_url(asked))
    assert 'lang="de"' in page.text
    code = answer(browser.approve(browser.step_up(browser.sign_in(page))))["code"]
    given = rp.redeem(code, clientData="12345678").get_json()
    assert given["credentialID"] == "a-credential"
    details = given["authorization_details"][0]
    assert details["credentialID"] == "a-credential"
    assert details["numSignatures"] == 1
    assert details["hashAlgorithmOID"] == SHA256
    assert len(details["documentDigests"]) == 1
    refused = rp.push({**asked, "description": "x" * 501})
    assert error_of(refused) == "invalid_request"


def test_token_and_revocation_take_a_json_object_of_strings(world: World) -> None:
    rp = world.rp()
    data: dict[str, object] = {
        "grant_type": "authorization_code",
        "code": rp.code(),
        "redirect_uri": REDIRECT_URI,
        "code_verifier": rp.verifier,
        "clientData": None,
    }
    given = rp.http.post("/oauth2/token", json=data, headers=rp.basic, base_url=ISSUER)
    assert given.status_code == 200, given.text
    token = given.get_json()["access_token"]
    assert rp.introspect(token)["active"] is True
    for path in ("/oauth2/revoke", "/revoke"):
        gone = rp.http.post(path, json={"token": token}, headers=rp.basic, base_url=ISSUER)
        assert gone.status_code == 204
    assert rp.introspect(token) == {"active": False}


def test_OAU_13_any_other_json_is_refused(world: World) -> None:
    rp = world.rp()
    for body in (
        b"[]",
        b"{",
        b'{"grant_type": "client_credentials", "grant_type": "client_credentials"}',
        b'{"grant_type": ["client_credentials"]}',
        b'{"grant_type": "client_credentials", "scope": 1}',
        b'{"grant_type": "client_credentials", "scope": {"service": "x"}}',
        b'{"grant_type": "client_credentials", "scope": "service\\u0000"}',
        json.dumps({"grant_type": "client_credentials", "scope": "s" * 2000}).encode(),
        json.dumps({"grant_type": "client_credentials", **{f"p{n}": "x" for n in range(70)}}).encode(),
    ):
        refused = rp.http.post(
            "/oauth2/token", data=body, content_type="application/json", headers=rp.basic, base_url=ISSUER
        )
        assert error_of(refused) == "invalid_request"


@pytest.mark.parametrize("path", ["/oauth2/pushed_authorize", "/oauth2/introspect"])
def test_no_other_endpoint_takes_json(world: World, path: str) -> None:
    rp = world.rp()
    refused = rp.http.post(path, json={"token": "x", **rp.parameters()}, headers=rp.basic, base_url=ISSUER)
    assert (error_of(refused), refused.get_json()["error_description"]) == (
        "invalid_request",
        "the body must be application/x-www-form-urlencoded",
    )


def test_a_client_of_version_1_is_told_of_a_sad(world: World) -> None:
    rp, browser = world.rp("old"), world.browser()
    page = browser.sign_in(browser.get(rp.pushed_url(rp.signing())))
    given = rp.redeem(answer(browser.approve(browser.step_up(page)))["code"]).get_json()
    assert (given["token_type"], given["scope"]) == ("SAD", "credential")
    assert rp.introspect(given["access_token"])["token_type"] == "Bearer"
    assert rp.tokens()["token_type"] == "Bearer"


def test_every_refusal_of_the_token_endpoint_has_the_specifications_words(world: World) -> None:
    rp = world.rp()
    code = {"grant_type": "authorization_code", "redirect_uri": REDIRECT_URI, "code_verifier": rp.verifier}
    for data, status, error, description in (
        ({"clientData": "x"}, 400, "invalid_request", "Missing parameter grant_type"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", "Invalid parameter grant_type"),
        ({"grant_type": "authorization_code"}, 400, "invalid_request", "Missing parameter code"),
        ({"grant_type": "refresh_token"}, 400, "invalid_request", "Missing parameter refresh_token"),
        ({**code, "code": "nobodys"}, 400, "invalid_grant", "Invalid parameter code"),
        (
            {"grant_type": "refresh_token", "refresh_token": "nobodys"},
            400,
            "invalid_grant",
            "Invalid parameter refresh_token",
        ),
    ):
        refused = rp.token(**data)
        found = refused.get_json()
        assert (refused.status_code, found["error"], found["error_description"]) == (status, error, description)
    for data, status, error, description in (
        ({}, 400, "invalid_request", "Missing parameter client_id"),
        ({"client_id": "example-contracts"}, 401, "invalid_client", "Client authorization required"),
        ({"client_id": "nobody", "client_secret": "x"}, 401, "invalid_client", "Client authorization required"),
        ({"client_id": "poster", "client_secret": "x"}, 401, "invalid_client", "Client authorization required"),
    ):
        given = {"grant_type": "client_credentials", **data}
        refused = rp.http.post("/oauth2/token", data=given, base_url=ISSUER)
        found = refused.get_json()
        assert (refused.status_code, found["error"], found["error_description"]) == (status, error, description)
    elsewhere = rp.redeem(rp.code(), redirect_uri="http://rp.localhost:8405/elsewhere").get_json()
    assert elsewhere["error"] == "invalid_grant"


def account_token(world: World, client_id: str = "example-contracts", **changes: Any) -> str:
    """As the specification has an application make it."""
    header = changes.pop("header", {"typ": "JWT", "alg": "HS256"})
    secret = str(changes.pop("secret", world.secrets[client_id]))
    claims = {"sub": ACCOUNT, "iat": epoch(world.clock.now()), "jti": secrets.token_hex(8), "azp": client_id, **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    signed = ".".join(encode_base64url(json.dumps(part).encode()) for part in (header, claims))
    mac = hmac.digest(hashlib.sha256(secret.encode()).digest(), signed.encode(), "sha256")
    return f"{signed}.{encode_base64url(mac)}"


def test_an_application_says_who_is_to_sign_in(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    page = browser.get(rp.pushed_url(rp.parameters(account_token=account_token(world, iss="An application"))))
    assert "code" in answer(browser.sign_in(page))
    page = browser.get(rp.pushed_url(rp.parameters(account_token=account_token(world, sub="somebody-else"))))
    assert answer(page)["error"] == "login_required"


WRONG: tuple[dict[str, Any], ...] = (
    {"secret": "another"},
    {"header": {"typ": "JWT", "alg": "none"}},
    {"header": {"alg": "HS256"}},
    {"header": {"typ": "JWT", "alg": "HS256", "kid": "x"}},
    {"azp": "other"},
    {"azp": None},
    {"sub": None},
    {"sub": 1},
    {"jti": None},
    {"iat": None},
    {"iat": 0},
    {"iat": "now"},
    {"iat": epoch(NOW) - 301},
    {"iat": epoch(NOW) + 61},
    {"exp": epoch(NOW) + 60},
)


def test_an_account_token_that_is_wrong_is_refused(world: World) -> None:
    rp = world.rp()
    tokens = [account_token(world, **changes) for changes in WRONG]
    for token in (*tokens, "x", "a.b", "a.b.c.d", "é.é.é", "..", "e30.e30.e30"):
        refused = rp.push(rp.parameters(account_token=token))
        assert (error_of(refused), refused.get_json()["error_description"]) == (
            "invalid_request",
            "Invalid parameter account_token",
        )


def test_OAU_07_an_account_token_is_good_once(world: World) -> None:
    rp = world.rp()
    token = account_token(world)
    assert rp.push(rp.parameters(account_token=token)).status_code == 201
    assert error_of(rp.push(rp.parameters(account_token=token))) == "invalid_request"


def test_an_account_token_that_nobody_can_verify_is_refused(world: World) -> None:
    rp = world.rp("other")
    refused = world.browser().get(rp.url(account_token=account_token(world, "other")))
    said = answer(refused)
    assert (said["error"], said["error_description"]) == (
        "invalid_request",
        "account_token goes with a pushed request of a client that authenticates with its secret",
    )
