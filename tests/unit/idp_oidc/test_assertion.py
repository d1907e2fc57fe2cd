"""private_key_jwt: what an assertion must be."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import RSAKey

from foundation.clock import epoch
from foundation.jose import decode_base64url, encode_base64url, generate_signing_key, sign_compact
from idp.oidc.assertion import AssertionUse, stated_client_id, verify_assertion
from idp.oidc.errors import ClientAuthenticationFailed
from tests.unit.idp_oidc.samples import CONFIG, ISSUER, KEY, NOW, OTHER_KEY, client, key_client

AUDIENCES = {ISSUER, CONFIG.token_endpoint}
AT = epoch(NOW)


def claims(**changes: Any) -> dict[str, Any]:
    """Claims that are right; None removes one."""
    values = {
        "iss": "example-contracts",
        "sub": "example-contracts",
        "aud": ISSUER,
        "jti": "an-id",
        "iat": AT,
        "exp": AT + 60,
        **changes,
    }
    return {name: value for name, value in values.items() if value is not None}


def assertion(**changes: Any) -> str:
    """An assertion signed with the registered key."""
    return sign_compact(claims(**changes), KEY, "JWT")


@pytest.mark.parametrize("aud", [ISSUER, CONFIG.token_endpoint])
@pytest.mark.parametrize("typ", ["JWT", "client-authentication+jwt"])
def test_an_assertion_for_issuer_or_token_endpoint_is_accepted(aud: str, typ: str) -> None:
    token = sign_compact(claims(aud=aud), KEY, typ)
    assert stated_client_id(token) == "example-contracts"
    assert verify_assertion(token, key_client(), AUDIENCES, NOW) == AssertionUse("example-contracts", "an-id", AT + 60)


def test_the_edges_of_time_are_where_they_should_be() -> None:
    for changes in ({"exp": AT + 1}, {"exp": AT + 300}, {"iat": AT + 10}, {"nbf": AT + 10}):
        assert verify_assertion(assertion(**changes), key_client(), AUDIENCES, NOW).jti == "an-id"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [ISSUER]},
        {"aud": [ISSUER, "https://other.example.org"]},
        {"aud": ISSUER + "/"},
        {"aud": CONFIG.token_endpoint + "/"},
        {"aud": "https://other.example.org"},
        {"aud": None},
        {"jti": None},
        {"jti": ""},
        {"jti": "\ud800"},
        {"jti": "a" * 257},
        {"exp": None},
        {"exp": AT},
        {"exp": AT - 1},
        {"exp": AT + 301},
        {"exp": "soon"},
        {"iat": None},
        {"iat": AT + 11},
        {"nbf": AT + 11},
        {"iss": "another"},
        {"sub": "another"},
        {"iss": None},
    ],
)
def test_OAU_07_an_assertion_with_a_claim_that_is_wrong_is_refused(changes: dict[str, Any]) -> None:
    token = jws.serialize_compact(
        {"alg": "ES256", "typ": "JWT", "kid": KEY.kid}, json.dumps(claims(**changes)), KEY.key, algorithms=["ES256"]
    )
    with pytest.raises(ClientAuthenticationFailed):
        verify_assertion(token, key_client(), AUDIENCES, NOW)


def test_OAU_07_an_assertion_by_another_clients_key_is_refused() -> None:
    token = sign_compact(claims(), OTHER_KEY, "JWT")
    with pytest.raises(ClientAuthenticationFailed):
        verify_assertion(token, key_client(), AUDIENCES, NOW)


def test_OAU_07_an_assertion_that_claims_the_registered_kid_with_another_key_is_refused() -> None:
    header = {"alg": "ES256", "typ": "JWT", "kid": KEY.kid}
    token = jws.serialize_compact(header, json.dumps(claims()), OTHER_KEY.key, algorithms=["ES256"])
    with pytest.raises(ClientAuthenticationFailed):
        verify_assertion(token, key_client(), AUDIENCES, NOW)


def test_OAU_07_alg_none_is_refused() -> None:
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    payload = assertion().split(".")[1]
    for signature in ("", "AA"):
        with pytest.raises(ClientAuthenticationFailed):
            verify_assertion(f"{header}.{payload}.{signature}", key_client(), AUDIENCES, NOW)


def test_OAU_07_an_hmac_with_the_public_key_is_refused() -> None:
    public = KEY.verification_key().key.as_pem(private=False)
    header = encode_base64url(json.dumps({"alg": "HS256", "typ": "JWT", "kid": KEY.kid}).encode())
    signed = f"{header}.{encode_base64url(json.dumps(claims()).encode())}"
    mac = encode_base64url(hmac.digest(public, signed.encode(), "sha256"))
    with pytest.raises(ClientAuthenticationFailed):
        verify_assertion(f"{signed}.{mac}", key_client(), AUDIENCES, NOW)


def test_OAU_07_rs256_is_refused_where_the_registered_key_is_for_ps256() -> None:
    key = RSAKey.generate_key(2048)
    registered = client(auth_method="private_key_jwt", jwks=(key.as_dict(private=False),))
    header = {"alg": "RS256", "typ": "JWT"}
    token = jws.serialize_compact(header, json.dumps(claims()), key, algorithms=["RS256"])
    with pytest.raises(ClientAuthenticationFailed):
        verify_assertion(token, registered, AUDIENCES, NOW)
    token = jws.serialize_compact({"alg": "PS256"}, json.dumps(claims()), key, algorithms=["PS256"])
    assert verify_assertion(token, registered, AUDIENCES, NOW).jti == "an-id"


@pytest.mark.parametrize("typ", ["sad+jwt", "at+jwt", "order+jwt"])
def test_OAU_07_another_kind_of_token_is_refused(typ: str) -> None:
    with pytest.raises(ClientAuthenticationFailed):
        verify_assertion(sign_compact(claims(), KEY, typ), key_client(), AUDIENCES, NOW)


def test_OAU_07_a_client_with_a_secret_cannot_be_impersonated_by_an_assertion() -> None:
    with pytest.raises(ClientAuthenticationFailed):
        verify_assertion(assertion(), client(), AUDIENCES, NOW)


def test_OAU_07_a_tampered_assertion_is_refused() -> None:
    header, payload, signature = assertion().split(".")
    forged = json.loads(decode_base64url(payload.encode()))
    forged["jti"] = "another"
    body = base64.urlsafe_b64encode(json.dumps(forged).encode()).rstrip(b"=").decode()
    with pytest.raises(ClientAuthenticationFailed):
        verify_assertion(f"{header}.{body}.{signature}", key_client(), AUDIENCES, NOW)


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.b.c", "é.b.c", "a" * 5000, "e30.e30.e30"])
def test_JOS_02_what_is_no_assertion_is_refused_before_it_is_parsed(token: str) -> None:
    with pytest.raises(ClientAuthenticationFailed):
        stated_client_id(token)


@pytest.mark.parametrize("kid", ["../../etc/passwd", "' OR 1=1 --", "https://evil.example.org/key", "a\x00b"])
def test_JOS_03_a_kid_that_is_a_path_sql_or_url_reaches_nothing(kid: str) -> None:
    token = jws.serialize_compact(
        {"alg": "ES256", "typ": "JWT", "kid": kid}, json.dumps(claims()), KEY.key, algorithms=["ES256"]
    )
    with pytest.raises(ClientAuthenticationFailed):
        verify_assertion(token, key_client(), AUDIENCES, NOW)


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c"])
def test_JOS_03_a_key_that_the_assertion_brings_along_is_refused(member: str) -> None:
    own = generate_signing_key()
    value: Any = own.verification_key().as_jwk() if member == "jwk" else "https://evil.example.org/key"
    header = {"alg": "ES256", "typ": "JWT", "kid": KEY.kid, member: [value] if member == "x5c" else value}
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    _, payload, signature = sign_compact(claims(), own, "JWT").split(".")
    with pytest.raises(ClientAuthenticationFailed):
        verify_assertion(f"{encoded}.{payload}.{signature}", key_client(), AUDIENCES, NOW)
