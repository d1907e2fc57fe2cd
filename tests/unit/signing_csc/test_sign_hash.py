"""``signatures/signHash``: whose token, which SAD, and the specification's words for every refusal."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from signing.link import codes
from signing.link.errors import LinkRefused, LinkUnavailable
from signing.link.messages import SignRequest
from tests.unit.signing_csc.conftest import NOW, VIEW, Bench, certificate

pytestmark = pytest.mark.loopback

SHA256 = "2.16.840.1.101.3.4.2.1"
DIGEST = base64.b64encode(hashlib.sha256(b"document").digest()).decode()


def body(**changes: Any) -> dict[str, Any]:
    whole = {
        "credentialID": "cred-alice",
        "hashes": [DIGEST],
        "hashAlgorithmOID": SHA256,
        "signAlgo": "1.2.840.10045.4.3.2",
        "operationMode": "S",
        "clientData": "x",
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def refused(answer: Any, status: int, description: str, error: str = "invalid_request") -> None:
    assert answer.status_code == status, answer.get_data(as_text=True)
    assert answer.get_json() == {"error": error, "error_description": description}


def test_a_sad_as_bearer_signs_and_order_is_kept(bench: Bench) -> None:
    second = base64.b64encode(hashlib.sha256(b"a").digest()).decode()
    answer = bench.post("signatures/signHash", body(hashes=[DIGEST, second, DIGEST]), bench.sad())
    assert answer.status_code == 200
    values = [base64.b64decode(value) for value in answer.get_json()["signatures"]]
    assert values == [b"value of " + base64.b64decode(item) for item in (DIGEST, second, DIGEST)]
    assert bench.sam.asked[0].client_id is None
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_service_token_with_the_sad_in_the_body_passes_its_client_on(bench: Bench) -> None:
    sad = bench.sad()
    answer = bench.post("signatures/signHash", body(SAD=sad), bench.service_token())
    assert answer.status_code == 200
    assert (bench.sam.asked[0].client_id, bench.sam.asked[0].sad) == ("example-contracts", sad)


def test_the_identical_sad_may_stand_in_both_places(bench: Bench) -> None:
    sad = bench.sad()
    assert bench.post("signatures/signHash", body(SAD=sad), sad).status_code == 200


def test_two_different_sads_are_refused(bench: Bench) -> None:
    answer = bench.post("signatures/signHash", body(SAD=bench.sad(jti="b")), bench.sad(jti="a"))
    refused(answer, 400, "Invalid parameter SAD")
    assert bench.sam.asked == []


def test_a_service_token_without_a_sad_is_refused(bench: Bench) -> None:
    answer = bench.post("signatures/signHash", body(), bench.service_token())
    refused(answer, 400, "Missing (or invalid type) string parameter SAD")
    assert bench.sam.asked == []


def test_OAU_17_another_persons_sad_beside_ones_own_token_is_refused(bench: Bench) -> None:
    answer = bench.post("signatures/signHash", body(SAD=bench.sad(sub="bob")), bench.service_token())
    refused(answer, 400, "Invalid parameter SAD")
    assert bench.sam.asked == []


def test_SAD_13_no_token_at_all_is_refused(bench: Bench) -> None:
    answer = bench.post("signatures/signHash", body())
    refused(answer, 401, "An access token is required", "invalid_token")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert bench.sam.asked == []


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer a b", "Bearer " + "x" * 30_000, "Bearer é"])
def test_a_malformed_authorization_header_is_refused(bench: Bench, header: str) -> None:
    answer = bench.client.post("/csc/v2/signatures/signHash", json=body(), headers={"Authorization": header})
    refused(answer, 400, "Malformed authorization header")


@pytest.mark.parametrize("token", ["opaque", "e30.e30.e30", "eyJ0eXAiOjF9.e30.e30"])
def test_what_is_no_token_of_ours_is_refused(bench: Bench, token: str) -> None:
    answer = bench.post("signatures/signHash", body(), token)
    refused(answer, 401, "The access token is not valid", "invalid_token")
    assert "invalid_token" in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("change", "description"),
    [
        ({"credentialID": None}, "Missing (or invalid type) string parameter credentialID"),
        ({"credentialID": 7}, "Missing (or invalid type) string parameter credentialID"),
        ({"credentialID": "x" * 129}, "Invalid parameter credentialID"),
        ({"credentialID": "a b"}, "Invalid parameter credentialID"),
        ({"credentialID": "cr\u00e9dential"}, "Invalid parameter credentialID"),
        ({"credentialID": "cred-alice\n"}, "Invalid parameter credentialID"),
        ({"credentialID": "\ud800"}, "The request is not a JSON object"),
        ({"credentialID": "a\x00b"}, "The request is not a JSON object"),
        ({"SAD": "e" * 24_577}, "Invalid parameter SAD"),
        ({"SAD": 7}, "Missing (or invalid type) string parameter SAD"),
        ({"hashes": None}, "Missing (or invalid type) array parameter hash"),
        ({"hashes": DIGEST}, "Missing (or invalid type) array parameter hash"),
        ({"hashes": []}, "Empty hash array"),
        ({"hashes": [DIGEST] * 101}, "Invalid parameter hash"),
        ({"hashes": [7]}, "Invalid Base64 hash string parameter"),
        ({"hashes": [DIGEST[:-1]]}, "Invalid Base64 hash string parameter"),
        ({"hashes": [DIGEST.replace("=", " =")]}, "Invalid Base64 hash string parameter"),
        ({"hashes": [base64.b64encode(b"x" * 20).decode()]}, "Invalid digest value length"),
        ({"hashAlgorithmOID": "1.3.14.3.2.26"}, "Invalid parameter hashAlgorithmOID"),
        ({"hashAlgorithmOID": "sha256"}, "Invalid parameter hashAlgorithmOID"),
        ({"hashAlgorithmOID": 7}, "Missing (or invalid type) string parameter hashAlgorithmOID"),
        ({"signAlgo": None}, "Missing (or invalid type) string parameter signAlgo"),
        ({"signAlgo": "ecdsa"}, "Invalid parameter signAlgo"),
        ({"signAlgo": "2" + ".1234567890123" * 24}, "Invalid parameter signAlgo"),
        ({"signAlgo": "1.2" + ".1" * 31}, "Invalid parameter signAlgo"),
        ({"hashAlgorithmOID": "2" + ".1234567890123" * 24}, "Invalid parameter hashAlgorithmOID"),
        ({"signAlgoParams": base64.b64encode(bytes(769)).decode()}, "Invalid parameter signAlgoParams"),
        ({"signAlgoParams": "%%%"}, "Invalid parameter signAlgoParams"),
        ({"signAlgoParams": 7}, "Missing (or invalid type) string parameter signAlgoParams"),
        ({"operationMode": "A"}, "Invalid parameter operationMode"),
        (
            {"signAlgo": "1.2.840.113549.1.1.1", "hashAlgorithmOID": None},
            "Missing (or invalid type) string parameter hashAlgorithmOID",
        ),
        ({"signAlgo": "1.2.840.113549.1.1.10"}, "Missing (or invalid type) string parameter signAlgoParams"),
        ({"operationMode": "X"}, "Invalid parameter operationMode"),
        ({"validity_period": 5}, "Invalid parameter validity_period"),
        ({"response_uri": "https://example.org/"}, "Invalid parameter response_uri"),
    ],
)
def test_SIG_08_bad_parameters_are_refused_in_the_specifications_words(
    bench: Bench, change: dict[str, Any], description: str
) -> None:
    refused(bench.post("signatures/signHash", body(**change), bench.sad()), 400, description)
    assert bench.sam.asked == []


@pytest.mark.parametrize(
    ("code", "status", "error", "description"),
    [
        (codes.INVALID_SAD, 400, "invalid_request", "Invalid parameter SAD"),
        (codes.SAD_USED, 400, "invalid_request", "Invalid parameter SAD"),
        (codes.WRONG_CLIENT, 400, "invalid_request", "Invalid parameter SAD"),
        (codes.WRONG_OWNER, 400, "invalid_request", "Invalid parameter SAD"),
        (codes.FLOOR_NOT_MET, 400, "invalid_request", "Invalid parameter SAD"),
        (codes.EXPIRED_SAD, 400, "invalid_request", "SAD expired"),
        (codes.HASH_NOT_AUTHORIZED, 400, "invalid_request", "Hash is not authorized by the SAD"),
        (codes.DAY_EXHAUSTED, 400, "invalid_request", "Hash is not authorized by the SAD"),
        (codes.TOO_MANY_SIGNATURES, 400, "invalid_request", "Hash is not authorized by the SAD"),
        (codes.INVALID_DIGEST_LENGTH, 400, "invalid_request", "Invalid digest value length"),
        (codes.UNKNOWN_CREDENTIAL, 400, "invalid_request", "Invalid parameter credentialID"),
        (codes.WRONG_CREDENTIAL, 400, "invalid_request", "Invalid parameter credentialID"),
        (codes.CREDENTIAL_DISABLED, 400, "invalid_request", "The credential identified by credentialID is disabled"),
        (codes.ALGORITHM_NOT_ALLOWED, 400, "invalid_request", "Invalid parameter signAlgo"),
        (codes.ROW_INTEGRITY, 500, "server_error", "The service could not handle the request"),
        (codes.BAD_REQUEST, 400, "invalid_request", "A parameter has a form or size that is not accepted"),
        ("a-code-of-tomorrow", 500, "server_error", "The service could not handle the request"),
        (codes.DEVICE_UNAVAILABLE, 503, "temporarily_unavailable", "The signature creation device is not available"),
        (codes.AUDIT_UNAVAILABLE, 503, "temporarily_unavailable", "The audit record cannot be written"),
        (codes.BUSY, 503, "temporarily_unavailable", "The service is busy"),
        (codes.INDETERMINATE, 503, "temporarily_unavailable", "The outcome is not known; the authorization is spent"),
    ],
)
def test_the_modules_refusals_become_the_specifications_words(
    bench: Bench, code: str, status: int, error: str, description: str
) -> None:
    bench.sam.refusal = LinkRefused(code)
    refused(bench.post("signatures/signHash", body(), bench.sad()), status, description, error)


def test_the_largest_parameters_that_are_accepted_here_pass_the_link(bench: Bench) -> None:
    largest = {
        "credentialID": "~" * 128,
        "signAlgo": "1.2.3" + ".1234567890123" * 4,
        "signAlgoParams": base64.b64encode(bytes(768)).decode(),
    }
    assert bench.post("signatures/signHash", body(**largest), bench.sad()).status_code == 200
    (asked,) = bench.sam.asked
    assert SignRequest.from_json(asked.to_json()) == asked


def test_an_expired_certificate_is_named(bench: Bench) -> None:
    from dataclasses import replace

    bench.sam.views["cred-alice"] = replace(VIEW, certificates=(certificate(expired=True),))
    bench.sam.refusal = LinkRefused(codes.CERTIFICATE_EXPIRED)
    answer = bench.post("signatures/signHash", body(), bench.sad())
    refused(answer, 400, "Signing certificate 'O=Example,CN=Alice Example' is expired")


def test_no_module_is_503_and_not_a_success(bench: Bench) -> None:
    bench.sam.refusal = LinkUnavailable("gone")
    answer = bench.post("signatures/signHash", body(), bench.sad())
    refused(answer, 503, "The signature activation module cannot be reached", "temporarily_unavailable")
    assert bench.client.get("/health/ready").status_code == 503
    assert bench.client.get("/health/live").status_code == 200


def test_v1_names_are_the_same_method(bench: Bench) -> None:
    old = body(hashes=None, hashAlgorithmOID=None, hash=[DIGEST], hashAlgo=SHA256, SAD=bench.sad())
    for version in ("v1", "v2"):  # pyHanko sends v1 names on any path
        assert bench.post("signatures/signHash", old, bench.service_token(), version).status_code == 200
    assert {asked.hash_alg for asked in bench.sam.asked} == {SHA256}


def test_errors_name_parameters_as_the_dialect_does(bench: Bench) -> None:
    old = body(hashes=None, hashAlgorithmOID=None, hash=[DIGEST], hashAlgo="1.3.14.3.2.26", SAD=bench.sad())
    for version, name in (("v1", "hashAlgo"), ("v2", "hashAlgorithmOID")):
        answer = bench.post("signatures/signHash", old, bench.service_token(), version)
        refused(answer, 400, f"Invalid parameter {name}")


@pytest.mark.parametrize("version", ["v1", "v2", "v2_2"])
def test_any_versions_names_are_taken_on_any_base_and_the_first_fault_is_told_in_the_bases_own(
    bench: Bench, version: str
) -> None:
    named = {"v1": ("hash", "hashAlgo")}.get(version, ("hashes", "hashAlgorithmOID"))
    for hashes, algorithm in (("hash", "hashAlgo"), ("hashes", "hashAlgorithmOID")):
        whole = {"credentialID": "cred-alice", hashes: [DIGEST], algorithm: SHA256, "signAlgo": "1.2.840.10045.4.3.2"}
        assert bench.post("signatures/signHash", whole, bench.sad(), version).status_code == 200
        wrong = {**whole, algorithm: 7, "signAlgo": 7}
        answer = bench.post("signatures/signHash", wrong, bench.sad(), version)
        refused(answer, 400, f"Missing (or invalid type) string parameter {named[1]}")
    both = {**whole, "hash": [DIGEST], "hashes": [DIGEST], {"hash": "hashes", "hashes": "hash"}[named[0]]: []}
    assert bench.post("signatures/signHash", both, bench.sad(), version).status_code == 200


def test_a_body_that_is_not_a_json_object_is_refused(bench: Bench) -> None:
    headers = {"Authorization": f"Bearer {bench.sad()}"}
    for data, kind in ((b"[1]", "application/json"), (b'{"a":1,"a":2}', "application/json"), (b"a=1", "text/plain")):
        answer = bench.client.post("/csc/v2/signatures/signHash", data=data, content_type=kind, headers=headers)
        assert answer.status_code == 400
        assert answer.get_json()["error"] == "invalid_request"


def test_a_large_body_another_verb_and_an_unknown_method_are_errors_of_the_api(bench: Bench) -> None:
    large = bench.post("signatures/signHash", {"x": "y" * 300_000}, bench.sad())
    assert (large.status_code, large.get_json()["error"]) == (413, "invalid_request")
    assert bench.client.get("/csc/v2/signatures/signHash").status_code == 405
    assert bench.post("signatures/nonsense", {}).status_code == 404
    assert bench.post("signatures/signDoc", {}, version="v1").status_code == 501


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "http://other.localhost"},
        {"aud": "http://sign.localhost:8402"},
        {"aud": ["http://sign.localhost:8402/csc/v2", "http://other"]},
        {"aud": None},
        {"scope": "openid"},
        {"scope": "credential"},
        {"scope": None},
        {"sub": None},
        {"client_id": None},
        {"jti": None},
        {"exp": None},
        {"iat": int(NOW.timestamp()) + 60},
    ],
)
def test_OAU_11_a_token_of_another_service_scope_or_form_is_refused(bench: Bench, change: dict[str, Any]) -> None:
    answer = bench.post("signatures/signHash", body(SAD=bench.sad()), bench.service_token(**change))
    refused(answer, 401, "The access token is not valid", "invalid_token")


def test_an_id_token_is_no_access_token(bench: Bench) -> None:
    answer = bench.post("signatures/signHash", body(SAD=bench.sad()), bench.service_token(typ="JWT"))
    refused(answer, 401, "The access token is not valid", "invalid_token")


def test_exp_is_the_first_second_refused(bench: Bench) -> None:
    token = bench.service_token()
    bench.clock.advance(299)
    assert bench.post("signatures/signHash", body(SAD=bench.sad()), token).status_code == 200
    bench.clock.advance(1)
    answer = bench.post("signatures/signHash", body(SAD=bench.sad()), token)
    refused(answer, 401, "The access token is expired or has been revoked", "expired_token")


def test_a_revoked_token_is_refused_and_a_live_one_is_asked_about_once_in_five_seconds(bench: Bench) -> None:
    revoked = bench.service_token(jti="revoked")
    bench.played.revoked.add(revoked)
    answer = bench.post("credentials/list", {}, revoked)
    assert answer.get_json()["error"] == "expired_token"
    before = bench.played.introspections
    for _ in range(5):
        assert bench.post("credentials/list", {}, bench.service_token()).status_code in {200, 401}
    # ES256 signatures differ each time, so each of these is another token: no verdict is shared between tokens.
    assert bench.played.introspections == before + 5
    token = bench.service_token()
    for _ in range(5):
        assert bench.post("credentials/list", {}, token).status_code == 200
    assert bench.played.introspections == before + 6


def test_an_identity_provider_that_fails_is_503_and_not_a_yes(bench: Bench) -> None:
    bench.played.status = 500
    answer = bench.post("credentials/list", {}, bench.service_token())
    refused(answer, 503, "The authorization server cannot be reached", "temporarily_unavailable")
