"""DPoP at the authorization server: codes, tokens and SADs bound to a key of the client's (RFC 9449)."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from foundation.dpop import make_proof
from foundation.jose import SigningKey, generate_signing_key, peek_claims
from idp.storage.grants import oidc_grants
from idp.storage.single_use import oidc_dpop_proofs
from idp.web import tidying
from tests.integration.oidc_world import ISSUER, NOW, REDIRECT_URI, RelyingParty, World, answer, error_of, with_query

KEY = generate_signing_key()
TOKEN_ENDPOINT = f"{ISSUER}/oauth2/token"


def proof(key: SigningKey = KEY, **changes: Any) -> str:
    """A proof for the token endpoint, until changed."""
    wanted: dict[str, Any] = {"method": "POST", "uri": TOKEN_ENDPOINT, "jti": secrets.token_hex(8), "now": NOW}
    return make_proof(key, **{**wanted, **changes})


def redeem(rp: RelyingParty, code: str, dpop: str | None, **changes: Any) -> Any:
    headers = dict(rp.basic) | ({} if dpop is None else {"DPoP": dpop})
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI, **changes}
    return rp.post("/oauth2/token", {**form, "code_verifier": rp.verifier}, **headers)


def redeem_publicly(rp: RelyingParty, dpop: str | None, **form: str) -> Any:
    values = {"client_id": rp.client_id, "redirect_uri": REDIRECT_URI, "code_verifier": rp.verifier, **form}
    return rp.http.post("/oauth2/token", data=values, headers={} if dpop is None else {"DPoP": dpop}, base_url=ISSUER)


def test_a_token_is_bound_to_the_key_that_was_shown(world: World) -> None:
    rp = world.rp()
    given = redeem(rp, rp.code(), proof()).get_json()
    assert given["token_type"] == "DPoP"
    assert peek_claims(given["access_token"])["cnf"] == {"jkt": KEY.kid}
    told = world.rp("csc").introspect(given["access_token"])
    assert (told["token_type"], told["cnf"]) == ("DPoP", {"jkt": KEY.kid})
    assert world.events("token.issued")[-1]["bound_to"] == KEY.kid


def test_without_a_proof_a_token_is_a_bearers(world: World) -> None:
    rp = world.rp()
    given = redeem(rp, rp.code(), None).get_json()
    assert given["token_type"] == "Bearer"
    assert "cnf" not in peek_claims(given["access_token"])
    assert "cnf" not in world.rp("csc").introspect(given["access_token"])


def test_a_sad_is_bound_to_the_key_that_was_shown(world: World) -> None:
    rp = world.rp()
    given = redeem(rp, rp.signing_code(), proof()).get_json()
    assert given["token_type"] == "DPoP"
    assert peek_claims(given["access_token"])["cnf"] == {"jkt": KEY.kid}
    assert world.events("sad.issued")[-1]["bound_to"] == KEY.kid


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "GET"},
        {"uri": f"{ISSUER}/oauth2/pushed_authorize"},
        {"uri": "http://evil.localhost:8401/oauth2/token"},
        {"now": NOW - timedelta(seconds=61)},
        {"now": NOW + timedelta(seconds=6)},
    ],
    ids=str,
)
def test_OAU_09_a_proof_for_another_request_obtains_nothing(world: World, wrong: dict[str, Any]) -> None:
    rp = world.rp()
    assert error_of(redeem(rp, rp.code(), proof(**wrong))) == "invalid_dpop_proof"
    assert world.events("token.issued") == []


def test_OAU_09_two_headers_are_refused(world: World) -> None:
    rp = world.rp()
    headers = [*rp.basic.items(), ("DPoP", proof()), ("DPoP", proof())]
    form = {"grant_type": "client_credentials"}
    response = rp.http.post("/oauth2/token", data=form, headers=headers, base_url=ISSUER)
    assert error_of(response) == "invalid_dpop_proof"


def test_OAU_09_a_proof_is_good_once(world: World) -> None:
    rp, same = world.rp(), proof(jti="same")
    assert redeem(rp, rp.code(), same).status_code == 200
    assert error_of(redeem(rp, rp.code(), same)) == "invalid_dpop_proof"
    # Another key's of the same name is another proof.
    assert redeem(rp, rp.code(), proof(generate_signing_key(), jti="same")).status_code == 200
    assert len(world.events("token.issued")) == 2


def test_OAU_09_DOS_04_what_obtains_nothing_is_not_remembered(world: World) -> None:
    app = world.rp("app")
    for _ in range(3):
        guessed = redeem_publicly(app, proof(), grant_type="authorization_code", code="guessed")
        assert error_of(guessed) == "invalid_grant"
    with world.engine.connect() as connection:
        assert connection.execute(select(oidc_dpop_proofs)).all() == []


def test_OAU_09_a_code_that_is_bound_is_worth_nothing_without_its_key(world: World) -> None:
    rp = world.rp()
    for dpop, error in ((None, "invalid_dpop_proof"), (proof(generate_signing_key()), "invalid_dpop_proof")):
        assert error_of(redeem(rp, rp.code(dpop_jkt=KEY.kid), dpop)) == error
    assert redeem(rp, rp.code(dpop_jkt=KEY.kid), proof()).status_code == 200


def test_OAU_09_a_pushed_requests_proof_binds_its_code(world: World) -> None:
    rp = world.rp()
    pushed = proof(uri=f"{ISSUER}/oauth2/pushed_authorize")

    def push(dpop: str, **changes: str) -> Any:
        return rp.post("/oauth2/pushed_authorize", rp.parameters(**changes), **rp.basic, DPoP=dpop)

    handle = push(pushed).get_json()["request_uri"]
    browser = world.browser()
    page = browser.get(with_query("/oauth2/authorize", {"client_id": rp.client_id, "request_uri": handle}))
    code = answer(browser.sign_in(page))["code"]
    assert error_of(redeem(rp, code, proof(generate_signing_key()))) == "invalid_dpop_proof"
    assert error_of(push(pushed)) == "invalid_dpop_proof"
    assert error_of(push(proof())) == "invalid_dpop_proof"
    other = push(proof(uri=f"{ISSUER}/oauth2/pushed_authorize"), dpop_jkt=generate_signing_key().kid)
    assert error_of(other) == "invalid_request"


def test_OAU_09_dpop_jkt_is_a_thumbprint(world: World) -> None:
    rp = world.rp()
    response = rp.push(rp.parameters(dpop_jkt="x"))
    assert error_of(response) == "invalid_request"


def test_OAU_09_a_public_clients_refresh_token_is_bound(world: World) -> None:
    app = world.rp("app")
    first = redeem_publicly(app, proof(), grant_type="authorization_code", code=app.code()).get_json()
    for dpop in (None, proof(generate_signing_key())):
        refused = redeem_publicly(app, dpop, grant_type="refresh_token", refresh_token=first["refresh_token"])
        assert error_of(refused) == "invalid_dpop_proof"
    second = redeem_publicly(app, proof(), grant_type="refresh_token", refresh_token=first["refresh_token"]).get_json()
    assert peek_claims(second["access_token"])["cnf"] == {"jkt": KEY.kid}
    unbound = redeem_publicly(app, None, grant_type="refresh_token", refresh_token=second["refresh_token"])
    assert error_of(unbound) == "invalid_dpop_proof"


def test_a_client_that_authenticates_may_change_its_key(world: World) -> None:
    rp, other = world.rp(), generate_signing_key()
    first = redeem(rp, rp.code(), proof()).get_json()
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = rp.post("/oauth2/token", form, **rp.basic, DPoP=proof(other)).get_json()
    assert peek_claims(second["access_token"])["cnf"] == {"jkt": other.kid}


@pytest.mark.parametrize("form", [{"grant_type": "client_credentials"}, {"grant_type": "authorization_code"}], ids=str)
def test_OAU_09_a_client_registered_for_bound_tokens_gets_no_others(world: World, form: dict[str, str]) -> None:
    rp = world.rp("bound")
    changes = {"grant_type": form["grant_type"]}

    def ask(dpop: str | None) -> Any:
        return redeem(rp, rp.code(), dpop, **changes)

    assert error_of(ask(None)) == "invalid_dpop_proof"
    given = ask(proof())
    assert given.get_json()["token_type"] == "DPoP"


def test_OAU_09_userinfo_answers_whoever_shows_the_key(world: World) -> None:
    rp = world.rp()
    token = redeem(rp, rp.code(), proof()).get_json()["access_token"]
    plain = redeem(rp, rp.code(), None).get_json()["access_token"]

    def ask(token: str, scheme: str = "DPoP", dpop: str | None = None) -> Any:
        headers = {"Authorization": f"{scheme} {token}"} | ({} if dpop is None else {"DPoP": dpop})
        return rp.http.get("/oauth2/userinfo", headers=headers, base_url=ISSUER)

    def right(**changes: Any) -> str:
        return proof(**{"method": "GET", "uri": f"{ISSUER}/oauth2/userinfo", "token": token, **changes})

    used = right()
    assert ask(token, dpop=used).get_json()["sub"] == world.account_id
    for refused in (
        ask(token, dpop=used),
        ask(token),
        ask(token, "Bearer"),
        ask(token, "Bearer", right()),
        ask(token, dpop=right(token=plain)),
        ask(token, dpop=right(key=generate_signing_key())),
        ask(plain, dpop=right(token=plain)),
    ):
        assert error_of(refused) == "invalid_token"
        assert refused.headers["WWW-Authenticate"].startswith(("DPoP ", "Bearer "))
    assert ask(plain, "Bearer").status_code == 200


def test_OAU_09_DOS_04_a_key_that_is_not_the_tokens_leaves_nothing_behind(world: World) -> None:
    rp = world.rp()
    token = redeem(rp, rp.code(), proof()).get_json()["access_token"]
    for _ in range(3):
        shown = proof(generate_signing_key(), method="GET", uri=f"{ISSUER}/oauth2/userinfo", token=token)
        headers = {"Authorization": f"DPoP {token}", "DPoP": shown}
        assert error_of(rp.http.get("/oauth2/userinfo", headers=headers, base_url=ISSUER)) == "invalid_token"
    with world.engine.connect() as connection:
        # The one with which the token was obtained.
        assert len(connection.execute(select(oidc_dpop_proofs)).all()) == 1


def test_OAU_09_DOS_04_what_machines_obtain_is_forgotten_where_nobody_signs_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidying, "EVERY", timedelta())
    rp = world.rp()

    def obtain() -> None:
        headers = {**rp.basic, "DPoP": proof(now=world.clock.now())}
        given = rp.post("/oauth2/token", {"grant_type": "client_credentials", "scope": "service"}, **headers)
        assert given.status_code == 200

    for _ in range(3):
        obtain()
    world.clock.advance(2 * 24 * 60 * 60)
    obtain()
    with world.engine.connect() as connection:
        assert len(connection.execute(select(oidc_dpop_proofs)).all()) == 1
        assert len(connection.execute(select(oidc_grants)).all()) == 1


def test_the_metadata_say_which_proofs_are_taken(world: World) -> None:
    document = world.rp().http.get("/.well-known/openid-configuration", base_url=ISSUER).get_json()
    assert document["dpop_signing_alg_values_supported"] == ["ES256", "PS256", "Ed25519"]
