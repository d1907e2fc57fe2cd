"""Bound tokens over the API: under their own scheme, with a proof for the very method, once."""

from __future__ import annotations

import base64
import secrets
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from contract import sad as sads
from contract.confirmation import Confirmation
from foundation.clock import epoch
from foundation.dpop import DpopProof, make_proof
from foundation.jose import generate_signing_key
from signing.csc import errors
from signing.csc.binding import UsedProofs
from signing.link import codes
from signing.link.errors import LinkRefused
from tests.unit.signing_csc.conftest import NOW, SAD_KEY, Bench
from tests.vectors.sad import make

pytestmark = pytest.mark.loopback
KEY = generate_signing_key()
BOUND = {"jkt": KEY.kid}
PUBLIC = "http://sign.localhost:8402/csc"
DIGEST = base64.b64encode(bytes(32)).decode()
SIGN = {"credentialID": "cred-alice", "hashes": [DIGEST], "signAlgo": "1.2.840.10045.4.3.2"}


def ask(bench: Bench, name: str, bearer: str, body: Any = None, **changes: Any) -> Any:
    """A request with a proof that is right, until changed; ``proof`` is another header, or none."""
    scheme, proof = changes.pop("scheme", "DPoP"), changes.pop("proof", "")
    if proof == "":
        wanted: dict[str, Any] = {"method": "POST", "uri": f"{PUBLIC}/v2/{name}", "jti": secrets.token_hex(8)}
        wanted |= {"now": bench.clock.now(), "token": bearer, **changes}
        proof = make_proof(wanted.pop("key", KEY), **wanted)
    headers = [("Authorization", f"{scheme} {bearer}"), *([] if proof is None else [("DPoP", proof)])]
    return bench.client.post(f"/csc/v2/{name}", json=body or {}, headers=headers)


def test_a_bound_service_token_serves_whoever_shows_the_key(bench: Bench) -> None:
    answer = ask(bench, "credentials/list", bench.service_token(cnf=BOUND))
    assert answer.status_code == 200
    assert answer.json["credentialIDs"] == ["cred-alice"]


@pytest.mark.parametrize(
    "changes",
    [
        {"proof": None},
        {"proof": "x"},
        {"method": "GET"},
        {"uri": f"{PUBLIC}/v2/credentials/info"},
        {"uri": f"{PUBLIC}/v1/credentials/list"},
        {"token": "another"},
        {"token": None},
        {"key": generate_signing_key()},
        {"now": NOW - timedelta(seconds=61)},
        {"now": NOW + timedelta(seconds=6)},
    ],
    ids=" ".join,
)
def test_OAU_09_whoever_does_not_show_the_key_is_refused(bench: Bench, changes: dict[str, Any]) -> None:
    token = bench.service_token(cnf=BOUND)
    answer = ask(bench, "credentials/list", token, **changes)
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_dpop_proof")
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith('DPoP error="invalid_dpop_proof"')
    assert 'algs="ES256 PS256 Ed25519"' in challenge


def test_OAU_09_two_proofs_are_none(bench: Bench) -> None:
    token = bench.service_token(cnf=BOUND)
    proofs = [
        make_proof(KEY, method="POST", uri=f"{PUBLIC}/v2/credentials/list", jti=jti, now=NOW, token=token)
        for jti in ("a", "b")
    ]
    headers = [("Authorization", f"DPoP {token}"), *(("DPoP", proof) for proof in proofs)]
    answer: Any = bench.client.post("/csc/v2/credentials/list", json={}, headers=headers)
    assert answer.json["error"] == "invalid_dpop_proof"


def test_OAU_09_a_proof_serves_once(bench: Bench) -> None:
    token = bench.service_token(cnf=BOUND)
    assert ask(bench, "credentials/list", token, jti="same").status_code == 200
    assert ask(bench, "credentials/list", token, jti="same").json["error"] == "invalid_dpop_proof"
    assert ask(bench, "credentials/list", token, jti="other").status_code == 200


def test_OAU_09_a_bound_token_is_no_bearer_token_and_a_bearer_token_no_bound_one(bench: Bench) -> None:
    for token, scheme in ((bench.service_token(cnf=BOUND), "Bearer"), (bench.service_token(), "DPoP")):
        answer = ask(bench, "credentials/list", token, scheme=scheme)
        assert (answer.status_code, answer.json["error"]) == (401, "invalid_token")


@pytest.mark.parametrize("cnf", ["x", {}, {"jkt": "short"}, {"jkt": KEY.kid, "x5t#S256": KEY.kid}, {"kid": KEY.kid}])
def test_a_binding_that_cannot_be_read_is_not_passed_over(bench: Bench, cnf: Any) -> None:
    assert ask(bench, "credentials/list", bench.service_token(cnf=cnf)).json["error"] == "invalid_token"
    answer = ask(bench, "signatures/signHash", bench.sad(cnf=cnf), SIGN)
    assert answer.json == {"error": "invalid_request", "error_description": "Invalid parameter SAD"}
    assert bench.sam.asked == []


def test_SAD_14_a_bound_sad_goes_to_the_module_with_its_proof(bench: Bench) -> None:
    sad = bench.sad(cnf=BOUND)
    assert ask(bench, "signatures/signHash", sad, SIGN, jti="one").status_code == 200
    (asked,) = bench.sam.asked
    assert asked.dpop is not None
    assert asked.client_id is None
    # Whether it is one for this request is the module's to say, also whether it is new.
    assert ask(bench, "signatures/signHash", sad, SIGN, jti="one").status_code == 200


def test_SAD_14_a_bound_sad_as_a_plain_bearer_is_refused(bench: Bench) -> None:
    for sad, scheme in ((bench.sad(cnf=BOUND), "Bearer"), (bench.sad(), "DPoP")):
        answer = ask(bench, "signatures/signHash", sad, SIGN, scheme=scheme)
        assert (answer.status_code, answer.json["error"]) == (401, "invalid_token")
    assert bench.sam.asked == []


def test_SAD_14_a_sad_beside_a_service_token_has_the_proof_unless_that_is_the_tokens_own(bench: Bench) -> None:
    body = {**SIGN, "SAD": bench.sad(cnf=BOUND)}
    ask(bench, "signatures/signHash", bench.service_token(), body, scheme="Bearer")
    ask(bench, "signatures/signHash", bench.service_token(cnf=BOUND), body)
    assert [asked.dpop is None for asked in bench.sam.asked] == [False, True]


def test_SAD_14_the_modules_refusal_is_told_in_the_protocols_words(bench: Bench) -> None:
    bench.sam.refusal = LinkRefused(codes.BINDING_REFUSED)
    answer = ask(bench, "signatures/signHash", bench.sad(cnf=BOUND), SIGN, proof=None)
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_dpop_proof")
    assert "DPoP" in answer.headers["WWW-Authenticate"]


def test_SAD_14_a_bound_sad_reads_about_its_credential_with_a_proof_only(bench: Bench) -> None:
    now = epoch(NOW)
    content = replace(
        make.SAD, iss=bench.issuer, sub="alice", credential_id="cred-alice", iat=now, exp=now + 60, auth_time=now - 9,
        evidence=tuple(replace(item, at=now - 9) for item in make.SAD.evidence), cnf=Confirmation("jkt", KEY.kid),
    )  # fmt: skip
    sad = sads.encode(content, SAD_KEY)
    body = {"credentialID": "cred-alice"}
    assert ask(bench, "credentials/info", sad, body).status_code == 200
    assert ask(bench, "credentials/info", sad, body, proof=None).json["error"] == "invalid_dpop_proof"
    assert ask(bench, "credentials/info", sad, body, scheme="Bearer").json["error"] == "invalid_token"


def test_both_schemes_are_offered_to_whoever_brings_no_token(bench: Bench) -> None:
    answer = bench.post("credentials/list", {})
    assert answer.headers.getlist("WWW-Authenticate") == ["Bearer", 'DPoP algs="ES256 PS256 Ed25519"']


def test_DOS_04_used_proofs_are_forgotten_and_never_more_than_there_is_room_for() -> None:
    used = UsedProofs(most=2)
    proofs = [DpopProof("key", str(number), epoch(NOW)) for number in range(4)]
    assert used.add(proofs[0], NOW)
    assert not used.add(proofs[0], NOW)
    assert used.add(proofs[1], NOW)
    with pytest.raises(errors.TemporarilyUnavailable):
        used.add(proofs[2], NOW)
    later = NOW + timedelta(seconds=61)
    assert used.add(replace(proofs[2], iat=epoch(later)), later)
