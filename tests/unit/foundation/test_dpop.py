"""OAU-09: a proof of possession is for one request, made a moment ago, by a public key, once."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey

from foundation import jose
from foundation.dpop import MAX_PROOF_OCTETS, PROOF_SECONDS, DpopProof, make_proof, token_hash, verify_proof
from foundation.errors import JoseError, TokenClaimsInvalid, TokenExpired, TokenMalformed, TokenUntrusted
from foundation.jose import SigningKey, encode_base64url, generate_signing_key, sign_embedded

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
URI = "https://sign.example.org/csc/v2/signatures/signHash"
TOKEN = "the token"
KEY = generate_signing_key()
JWK: dict[str, Any] = dict(KEY.key.as_dict(private=False))


def claims(**changes: Any) -> dict[str, Any]:
    made = {"jti": "jti-1", "htm": "POST", "htu": URI, "iat": int(NOW.timestamp()), "ath": token_hash(TOKEN)}
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


def proof(key: SigningKey = KEY, typ: str = "dpop+jwt", **changes: Any) -> str:
    return sign_embedded(claims(**changes), key, typ)


def headed(header: dict[str, Any], key: Any = KEY.key, algorithms: tuple[str, ...] = ("ES256", "HS256")) -> str:
    """Signed as our own encoder would not."""
    registry = jws.JWSRegistry(algorithms=list(algorithms), strict_check_header=False)
    made = {"alg": "ES256", "typ": "dpop+jwt", "jwk": JWK, **header}
    return jws.serialize_compact(
        {name: value for name, value in made.items() if value is not None},
        json.dumps(claims()).encode(),
        key,
        registry=registry,
    )


def unsigned(header: dict[str, Any]) -> str:
    """Under a signature that is none: refused before anybody looks at it."""
    head = {"alg": "ES256", "typ": "dpop+jwt", "jwk": JWK, **header}
    return ".".join(encode_base64url(json.dumps(part).encode()) for part in (head, claims(), "signature"))


def verify(presented: str, **changes: Any) -> DpopProof:
    wanted: dict[str, Any] = {"method": "POST", "uris": [URI], "now": NOW, "token": TOKEN, **changes}
    return verify_proof(presented, **wanted)


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "Ed25519"])
def test_a_proof_that_is_right_says_whose_it_is(algorithm: Any) -> None:
    key = generate_signing_key(algorithm)
    found = verify(make_proof(key, method="POST", uri=URI, jti="jti-1", now=NOW, token=TOKEN))
    assert found == DpopProof(key.kid, "jti-1", int(NOW.timestamp()))


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    """The key and thumbprint of RFC 9449, figures 3 and 12."""
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
    }
    assert jose.import_verification_key(jwk).kid == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


@pytest.mark.parametrize(
    ("reason", "token", "error"),
    [
        ("wrong htm", proof(htm="GET"), TokenClaimsInvalid),
        ("htm in small letters: methods are compared as they are", proof(htm="post"), TokenClaimsInvalid),
        ("no htm", proof(htm=None), TokenClaimsInvalid),
        ("wrong htu", proof(htu="https://sign.example.org/csc/v2/credentials/info"), TokenClaimsInvalid),
        ("another host", proof(htu=URI.replace("sign.", "evil.")), TokenClaimsInvalid),
        ("another port", proof(htu=URI.replace(".org", ".org:8443")), TokenClaimsInvalid),
        ("without TLS", proof(htu=URI.replace("https", "http")), TokenClaimsInvalid),
        ("a slash more", proof(htu=URI + "/"), TokenClaimsInvalid),
        ("a query", proof(htu=URI + "?a=b"), TokenClaimsInvalid),
        ("a fragment", proof(htu=URI + "#a"), TokenClaimsInvalid),
        ("a user", proof(htu=URI.replace("sign.", "sign@sign.")), TokenClaimsInvalid),
        ("no URI", proof(htu="signHash"), TokenClaimsInvalid),
        ("an impossible port", proof(htu="https://sign.example.org:99999/"), TokenClaimsInvalid),
        ("no htu", proof(htu=None), TokenClaimsInvalid),
        ("wrong ath", proof(ath=token_hash("another")), TokenClaimsInvalid),
        ("no ath", proof(ath=None), TokenClaimsInvalid),
        ("no iat", proof(iat=None), TokenClaimsInvalid),
        ("no jti", proof(jti=None), TokenClaimsInvalid),
        ("a jti that is too long", proof(jti="x" * 257), TokenClaimsInvalid),
        ("another type of token", proof(typ="at+jwt"), TokenUntrusted),
        ("too long", proof(more="x" * MAX_PROOF_OCTETS), TokenMalformed),
        ("a key that did not sign", headed({"jwk": generate_signing_key().key.as_dict(private=False)}), TokenUntrusted),
        ("private key in header", headed({"jwk": KEY.key.as_dict(private=True)}), TokenMalformed),
        ("no key in header", headed({"jwk": None}), TokenMalformed),
        ("a key that is a text", unsigned({"jwk": "x"}), TokenMalformed),
        ("a key of no kind", unsigned({"jwk": {}}), TokenMalformed),
        ("a kind that nobody knows", unsigned({"jwk": {"kty": "AKP"}}), TokenMalformed),
        ("a coordinate that is a number", unsigned({"jwk": {**JWK, "x": 1}}), TokenMalformed),
        ("a coordinate with padding", headed({"jwk": {**JWK, "x": JWK["x"] + "="}}), TokenMalformed),
        ("a point that is not on the curve", headed({"jwk": {**JWK, "x": "A" * 43}}), TokenUntrusted),
        ("a key found elsewhere", headed({"jwk": {**JWK, "x5u": "https://evil.example.org"}}), TokenMalformed),
        ("a header member nobody checks", headed({"kid": KEY.kid}), TokenMalformed),
        ("crit", unsigned({"crit": ["exp"]}), TokenMalformed),
        ("a type that is a number", unsigned({"typ": 1}), TokenUntrusted),
        ("no type", headed({"typ": None}), TokenMalformed),
        ("nothing", "", TokenMalformed),
    ],
)
def test_OAU_09_what_is_not_a_proof_for_this_request_is_refused(
    reason: str, token: str, error: type[JoseError]
) -> None:
    with pytest.raises(error):
        verify(token)


def test_OAU_09_alg_none_and_hmac_are_refused() -> None:
    segments = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "dpop+jwt", "jwk": JWK}, claims())]
    with pytest.raises((TokenUntrusted, TokenMalformed)):
        verify(".".join([*map(encode_base64url, segments), ""]))
    secret = b"0123456789abcdef0123456789abcdef"
    symmetric: dict[str, Any] = {"kty": "oct", "k": encode_base64url(secret)}
    with pytest.raises(TokenMalformed):
        verify(headed({"alg": "HS256", "jwk": symmetric}, OctKey.import_key(symmetric)))
    # HMAC with the octets of the public key, under that key.
    head = json.dumps({"alg": "HS256", "typ": "dpop+jwt", "jwk": JWK}).encode()
    signed = ".".join(map(encode_base64url, (head, json.dumps(claims()).encode())))
    mac = hmac.digest(json.dumps(JWK).encode(), signed.encode(), hashlib.sha256)
    with pytest.raises(TokenUntrusted):
        verify(f"{signed}.{encode_base64url(mac)}")


def test_OAU_09_weak_and_endless_keys_are_refused() -> None:
    for bits in (1024, 6144):
        modulus = encode_base64url((2**bits - 1).to_bytes(bits // 8, "big"))
        with pytest.raises(TokenUntrusted, match="bits"):
            verify(unsigned({"alg": "PS256", "jwk": {"kty": "RSA", "n": modulus, "e": "AQAB"}}))
    curve = ECKey.generate_key("P-384")
    with pytest.raises(TokenUntrusted):
        verify(headed({"alg": "ES384", "jwk": curve.as_dict(private=False)}, curve, ("ES384",)))


def test_OAU_09_DOS_03_an_exponent_that_makes_verifying_dear_is_refused() -> None:
    """With one as long as the modulus, a stranger's proof costs as much as a private operation and more."""
    modulus = encode_base64url((2**3072 - 1).to_bytes(384, "big"))
    for bits in (65, 3071):
        exponent = encode_base64url((2**bits - 1).to_bytes((bits + 7) // 8, "big"))
        with pytest.raises(TokenUntrusted, match="exponents"):
            verify(unsigned({"alg": "PS256", "jwk": {"kty": "RSA", "n": modulus, "e": exponent}}))


def test_OAU_09_a_stale_proof_is_refused_and_one_from_a_clock_that_is_a_little_ahead_is_not() -> None:
    at = int(NOW.timestamp())
    for iat in (at - PROOF_SECONDS, at + 5):
        assert verify(proof(iat=iat)).iat == iat
    with pytest.raises(TokenExpired):
        verify(proof(iat=at - PROOF_SECONDS - 1))
    with pytest.raises(TokenClaimsInvalid):
        verify(proof(iat=at + 6))


def test_OAU_09_it_is_remembered_for_as_long_as_it_is_taken() -> None:
    found = verify(proof())
    last = NOW + timedelta(seconds=found.memorable_until - found.iat - 1)
    assert verify(proof(), now=last) == found
    with pytest.raises(TokenExpired):
        verify(proof(), now=last + timedelta(seconds=1))


def test_OAU_09_a_use_is_of_a_key_and_an_identifier_not_of_octets() -> None:
    first, again = verify(proof()), verify(proof())
    assert first.use == again.use
    assert verify(proof(jti="jti-2")).use != first.use
    assert verify(proof(key=generate_signing_key())).use != first.use


def test_a_uri_may_be_written_in_other_ways_that_say_the_same() -> None:
    assert verify(proof(htu="HTTPS://Sign.Example.ORG:443/csc/v2/signatures/signHash")).jti == "jti-1"
    assert verify(proof(htu="https://sign.example.org"), uris=["https://sign.example.org/"]).jti == "jti-1"
    six = "http://[::1]:8401/csc/v2/signatures/signHash"
    assert verify(proof(htu=six), uris=["https://other.example.org/", six]).jti == "jti-1"


def test_without_a_token_no_hash_of_one_is_wanted_and_a_nonce_says_nothing() -> None:
    assert verify(proof(ath=None, nonce="whatever"), token=None).jti == "jti-1"


def test_a_browsers_key_may_say_what_it_is_for() -> None:
    jwk = {**JWK, "ext": True, "key_ops": ["verify"], "use": "sig", "alg": "ES256", "kid": "mine"}
    assert verify(headed({"jwk": jwk})).jkt == KEY.kid
