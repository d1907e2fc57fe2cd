"""Who a client is, and what it may ask for before a person is there: authentication, pushed requests."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from foundation.clock import epoch
from foundation.jose import sign_compact
from idp.oidc.client import ASSERTION_TYPE
from idp.storage import single_use
from idp.web import oidc
from tests.integration.oidc_world import (
    ISSUER,
    RESOURCE,
    RelyingParty,
    World,
    answer,
    error_of,
    with_query,
)

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
    for seconds in (60, single_use.KEPT_SECONDS):
        world.clock.advance(seconds)
        with world.engine.begin() as connection:
            single_use.purge(connection, world.clock.now())
        assert error_of(_service(rp, **assertion)) == "invalid_client", "expired, and in the end forgotten too"
    with world.engine.connect() as connection:
        assert connection.execute(single_use.oidc_assertions.select()).all() == []


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


def test_parameters_in_the_query_are_refused(world: World) -> None:
    rp = world.rp()
    response = rp.http.post(
        f"/oauth2/token?client_secret={world.secrets['poster']}",
        data={"grant_type": "client_credentials", "client_id": "poster"},
        base_url=ISSUER,
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
