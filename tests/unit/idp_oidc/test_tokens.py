"""Tokens, hints, metadata and logout requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from foundation.clock import epoch
from foundation.jose import generate_signing_key, sign_compact
from idp.authn.approval import Approval
from idp.oidc.backchannel_logout import sid_of
from idp.oidc.client import BACKCHANNEL_GRANT, EXTENSION_GRANT, Client
from idp.oidc.errors import ClientUnknown, OidcError, RedirectUriRefused, RequestInvalid
from idp.oidc.logout import parse_logout_request
from idp.oidc.metadata import discovery, jwks
from idp.oidc.tokens import access_token_claims, half_hash, id_token_claims, read_id_token_hint
from tests.unit.idp_oidc.samples import ISSUER, KEY, NOW, OTHER_KEY, RESOURCE, client

APPROVAL = Approval(
    txn="a-txn",
    account_id="alice",
    session_id="a-session",
    client_id="example-contracts",
    action="sign_in",
    binding="00" * 32,
    decision_id="a-decision",
    policy_name="default",
    policy_sha256="00" * 32,
    acr="urn:example:substantial",
    loa="substantial",
    amr=("pwd", "otp", "mfa"),
    auth_time=NOW - timedelta(seconds=30),
    evidence=(),
    approved_at=NOW,
)


def id_token(**changes: Any) -> dict[str, Any]:
    """Claims of an ID token; None removes one."""
    claims = id_token_claims(
        APPROVAL, issuer=ISSUER, nonce="n", access_token="at", algorithm="ES256", now=NOW, lifetime_seconds=300
    )
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


def test_an_id_token_says_who_how_and_in_which_session() -> None:
    assert id_token() == {
        "iss": ISSUER,
        "sub": "alice",
        "aud": "example-contracts",
        "iat": epoch(NOW),
        "exp": epoch(NOW) + 300,
        "auth_time": epoch(NOW) - 30,
        "acr": "urn:example:substantial",
        "amr": ["pwd", "otp", "mfa"],
        "sid": sid_of("a-session", "example-contracts"),
        "nonce": "n",
        "at_hash": half_hash("at", "ES256"),
    }
    assert "nonce" not in id_token_claims(
        APPROVAL, issuer=ISSUER, nonce=None, access_token="at", algorithm="Ed25519", now=NOW, lifetime_seconds=300
    )


def test_at_hash_is_half_of_the_algorithms_hash() -> None:
    # OIDC Core A.3 uses this access token with a 256-bit algorithm.
    assert half_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "ES256") == "77QmUPtjPfzWtF2AnpK9RQ"
    assert len(half_hash("x", "Ed25519")) == 43


def test_an_access_token_is_of_rfc_9068() -> None:
    common: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": RESOURCE,
        "client_id": "example-contracts",
        "jti": "j",
        "scopes": ("openid", "service"),
        "now": NOW,
        "lifetime_seconds": 600,
    }
    claims = access_token_claims(**common, subject="alice", approval=APPROVAL)
    assert claims["aud"] == RESOURCE
    assert claims["scope"] == "openid service"
    assert (claims["sub"], claims["acr"]) == ("alice", APPROVAL.acr)
    assert claims["sid"] == sid_of("a-session", "example-contracts")
    assert claims["exp"] - claims["iat"] == 600
    own = access_token_claims(**common, subject="example-contracts", approval=None)
    assert own["sub"] == own["client_id"]
    assert not {"sid", "acr", "amr", "auth_time"} & own.keys()


def test_a_hint_may_have_expired_but_must_be_an_id_token_of_ours() -> None:
    keys = [KEY.verification_key()]
    token = sign_compact(id_token(exp=1), KEY, "JWT")
    assert read_id_token_hint(token, keys, issuer=ISSUER, client_id="example-contracts")["sub"] == "alice"
    sid = sid_of("a-session", "example-contracts")
    assert read_id_token_hint(token, keys, issuer=ISSUER, client_id=None)["sid"] == sid
    for bad in (
        sign_compact(id_token(), OTHER_KEY, "JWT"),
        sign_compact(id_token(), KEY, "at+jwt"),
        sign_compact(id_token(), KEY, "sad+jwt"),
        sign_compact(id_token(iss="https://other.example.org"), KEY, "JWT"),
        sign_compact(id_token(aud="another"), KEY, "JWT"),
        sign_compact(id_token(aud=["example-contracts"]), KEY, "JWT"),
        sign_compact(id_token(sid=None), KEY, "JWT"),
        "not.a.token",
        "a" * 9000,
    ):
        with pytest.raises(RequestInvalid):
            read_id_token_hint(bad, keys, issuer=ISSUER, client_id="example-contracts")


def test_JOS_04_a_hint_by_a_key_that_was_removed_is_refused() -> None:
    retired, current = generate_signing_key(), generate_signing_key()
    token = sign_compact(id_token(), retired, "JWT")
    both = [current.verification_key(), retired.verification_key()]
    assert read_id_token_hint(token, both, issuer=ISSUER, client_id=None)["sub"] == "alice"
    with pytest.raises(RequestInvalid):
        read_id_token_hint(token, both[:1], issuer=ISSUER, client_id=None)


def test_OAU_16_the_metadata_offers_nothing_that_is_off() -> None:
    document = discovery(ISSUER, keys=[KEY.verification_key()], acr_values=["high"], locales=["en"])
    assert document["issuer"] == ISSUER
    assert document["response_types_supported"] == ["code"]
    assert set(document["grant_types_supported"]) == {
        "authorization_code",
        "refresh_token",
        "client_credentials",
        EXTENSION_GRANT,
        BACKCHANNEL_GRANT,
    }
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["authorization_response_iss_parameter_supported"] is True
    assert document["id_token_signing_alg_values_supported"] == ["ES256"]
    assert "none" not in document["introspection_endpoint_auth_methods_supported"]
    assert "registration_endpoint" not in document, "OAU-15: nobody registers a client but the operator"
    assert "device_authorization_endpoint" not in document
    for name, value in document.items():
        if name.endswith("_endpoint"):
            assert value.startswith(ISSUER + "/oauth2/"), name


def test_a_jwks_has_public_halves_only() -> None:
    (jwk,) = jwks([KEY.verification_key()])["keys"]
    assert jwk["kid"] == KEY.kid
    assert (jwk["alg"], jwk["use"]) == ("ES256", "sig")
    assert "d" not in jwk


def _hint(token: str, client_id: str | None) -> dict[str, Any]:
    return dict(read_id_token_hint(token, [KEY.verification_key()], issuer=ISSUER, client_id=client_id))


def _find(client_id: str) -> Client | None:
    return client() if client_id == "example-contracts" else None


def test_a_logout_names_its_client_by_hint_or_id() -> None:
    hint = sign_compact(id_token(), KEY, "JWT")
    uri = "https://rp.example.org/bye"
    for named in ({"id_token_hint": hint}, {"client_id": "example-contracts"}):
        asked = {**named, "post_logout_redirect_uri": uri, "state": "s", "unknown": "x"}
        request = parse_logout_request(asked.items(), _find, _hint)
        assert (request.redirect_uri, request.state) == (uri, "s")
        assert request.client == client()
        assert request.fields == {"client_id": "example-contracts", "post_logout_redirect_uri": uri, "state": "s"}
    nobody = parse_logout_request([], _find, _hint)
    assert (nobody.client, nobody.fields) == (None, {})


@pytest.mark.parametrize(
    "uri",
    [
        "https://rp.example.org/bye/",
        "https://rp.example.org/bye?x",
        "//evil.example.org",
        "\\\\evil.example.org",
        "https:evil.example.org",
        "https://rp.example.org@evil.example.org/bye",
        "https://rp.example.org/bye%0d%0aLocation:x",
        "https://rp.example.org/bye\r\n",
        "https://rp.ехample.org/bye",
        "javascript:alert(1)",
    ],
)
def test_SES_08_a_way_back_that_is_not_registered_is_refused(uri: str) -> None:
    with pytest.raises(RedirectUriRefused) as caught:
        parse_logout_request({"client_id": "example-contracts", "post_logout_redirect_uri": uri}.items(), _find, _hint)
    assert not caught.value.may_redirect


def test_SES_08_a_way_back_without_a_client_is_refused() -> None:
    with pytest.raises(RedirectUriRefused):
        parse_logout_request([("post_logout_redirect_uri", "https://rp.example.org/bye")], _find, _hint)
    with pytest.raises(ClientUnknown):
        parse_logout_request([("client_id", "another")], _find, _hint)


@pytest.mark.parametrize(
    "asked",
    [
        [("id_token_hint", "x.y.z")],
        [("client_id", "another"), ("id_token_hint", sign_compact(id_token(), KEY, "JWT"))],
        [("client_id", "example-contracts"), ("state", "a\nb")],
        [("client_id", "example-contracts"), ("client_id", "example-contracts")],
        [("state", "a" * 3000)],
    ],
)
def test_a_logout_request_that_contradicts_itself_is_refused(asked: list[tuple[str, str]]) -> None:
    with pytest.raises(OidcError):
        parse_logout_request(asked, _find, _hint)
