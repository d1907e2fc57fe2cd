"""Every version of the API on real parts: the documents' examples are carried out, and no SAD does more than it may.

Each attack on a SAD is tried in each version; each time the SAD still serves for what it is for, or was spent by it.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from contract import order as orders
from contract import sad as sads
from contract.order import CredentialParameters, Operation, Order
from foundation.clock import epoch
from foundation.jose import encode_base64url, generate_signing_key, peek_claims, sign_compact
from signing.csc.dialect import dialects
from signing.csc.openapi import document
from signing.sam.verify import LEEWAY_SECONDS
from signing.scdev.device import Pkcs11Device
from tests.fakes.sam import ECDSA_SHA256
from tests.fakes.softhsm import make_token
from tests.integration.bola_requests import readable, sad_for, shape, to_dialect, unknown_credential
from tests.integration.bola_tables import IDENTIFIERS, VALUES
from tests.integration.oidc_world import ISSUER, SAM
from tests.integration.whole_world import Whole, sign_hash, whole

pytestmark = pytest.mark.hsm

DIALECTS = {dialect.name: dialect for dialect in dialects()}
ABC = b"abc"
"""What the documents' examples sign."""
NAMED = {"credentialID", "userID", "SAD"}
"""Identifiers that the sweep gives other people's values to."""


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    directory = tmp_path_factory.mktemp("dialects")
    with Pkcs11Device(make_token(directory / "token")) as device, whole(directory, device, approval=True) as running:
        yield running


def served(everything: Whole, version: str) -> Any:
    """The document of a version."""
    return everything.web.test_client().get(f"{DIALECTS[version].path}/openapi.json").get_json()


def call(everything: Whole, version: str, body: dict[str, Any], token: str) -> Any:
    """``signatures/signHash`` with v2 names."""
    return everything.call("signatures/signHash", to_dialect(DIALECTS[version], body), token, version)


def description(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json().get("error_description", "")


# The documents


@pytest.mark.parametrize("version", DIALECTS)
def test_every_example_of_a_request_is_answered_as_the_document_says(everything: Whole, version: str) -> None:
    made = served(everything, version)
    alice, tried = everything.people["alice"], 0
    for path, item in made["paths"].items():
        method = path.removeprefix("/")
        content = item["post"]["requestBody"]["content"]["application/json"]
        for example in content.get("examples", {}).values():
            body = dict(example["value"])
            if "credentialID" in body:
                assert body["credentialID"] == "cred-alice"
                body["credentialID"] = alice.credential_id
            token = everything.service_token("alice")
            if method.startswith("signatures/sign"):
                token = sad_for(everything, method, "alice", ABC)
            if method == "credentials/authorize":
                token = everything.service_token("alice", "caller")
            answer = everything.call(method, body, token, version)  # and held against the document
            assert answer.status_code in {200, 202}, f"{method}: {answer.get_data(as_text=True)}"
            tried += 1
    assert tried >= 6


@pytest.mark.parametrize("version", DIALECTS)
def test_OAU_17_every_identifier_of_every_described_method_names_ones_own_things_only(
    everything: Whole, version: str
) -> None:
    made, swept = served(everything, version), 0
    alice = everything.people["alice"]
    hers = {
        "credentialID": alice.credential_id,
        "userID": alice.account_id,
        "SAD": everything.sad("alice", b"a document"),
    }
    nobodys = {
        "credentialID": unknown_credential(),
        "userID": "account-of-nobody",
        "SAD": sign_compact(peek_claims(hers["SAD"]), generate_signing_key(), sads.SAD_TYPE),
    }
    own = everything.idp.rp().token(grant_type="client_credentials").get_json()["access_token"]
    tokens = [
        everything.service_token("bob"),
        everything.service_token("bob", "caller"),
        everything.sad("bob", b"a document"),
        own,
        None,
    ]
    for path in made["paths"]:
        method = path.removeprefix("/")
        schema = document.request_schema(made, method)
        assert schema is not None
        members = set(schema["properties"])
        unknown = members - IDENTIFIERS[method] - VALUES - {"hash", "hashAlgo"}
        assert unknown == set(), f"{method} has {unknown}; say in test_bola.py whose that is"
        body = to_dialect(DIALECTS[version], readable(everything, "bob")[method])
        for name in members & NAMED:
            for token in tokens:
                answers = [
                    shape(everything.call(method, {**body, name: values[name]}, token, version))
                    for values in (hers, nobodys)
                ]
                # The client itself has her SAD, from her: told in its own name, it is no other's.
                if (name, token) != ("SAD", own):
                    assert answers[0] == answers[1], f"{method}: another's {name} and nobody's are told apart"
                assert answers[0][0] in {400, 401, 403}, f"{method} takes another's {name}"
                swept += 1
    assert swept >= 25
    # None of it spent what she had approved.
    body = sign_hash(alice.credential_id, b"a document")
    assert call(everything, version, body, hers["SAD"]).status_code == 200


# What a SAD is not good for


@pytest.mark.parametrize("version", DIALECTS)
def test_SAD_01_a_sad_that_was_used_is_refused(everything: Whole, version: str) -> None:
    once = f"once {version}".encode()
    sad, body = everything.sad("alice", once), sign_hash(everything.people["alice"].credential_id, once)
    assert call(everything, version, body, sad).status_code == 200
    for other in DIALECTS:
        answer = call(everything, other, body, sad)
        assert description(answer) == (400, "Invalid parameter SAD")


@pytest.mark.parametrize("version", DIALECTS)
def test_SAD_02_of_eight_at_once_one_signs(everything: Whole, version: str) -> None:
    documents = [f"race {version} {number}".encode() for number in range(2)]
    sad = everything.sad("alice", documents[0])
    body = sign_hash(everything.people["alice"].credential_id, documents[0])
    barrier, answers = threading.Barrier(8), []

    def ask() -> None:
        barrier.wait()
        answers.append(call(everything, version, body, sad))

    threads = [threading.Thread(target=ask) for _number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    values = {answer.get_json()["signatures"][0] for answer in answers if answer.status_code == 200}
    assert len(values) == 1, "one signature, whoever was given it"
    assert {answer.status_code for answer in answers} <= {200, 400, 503}


@pytest.mark.parametrize("version", DIALECTS)
@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ("one bit", "Hash is not authorized by the SAD"),
        ("one more", "Hash is not authorized by the SAD"),
        ("twice", "Hash is not authorized by the SAD"),
        ("another hash function", "Invalid digest value length"),
        ("another padding", "Invalid parameter signAlgo"),
    ],
)
def test_SAD_04_what_was_not_approved_is_not_signed(everything: Whole, version: str, change: str, refusal: str) -> None:
    approved = f"{change} {version}".encode()
    sad, body = everything.sad("alice", approved), sign_hash(everything.people["alice"].credential_id, approved)
    digest = hashlib.sha256(approved).digest()
    changed: dict[str, dict[str, Any]] = {
        "one bit": {"hashes": [base64.b64encode(bytes([digest[0] ^ 1, *digest[1:]])).decode()]},
        "one more": {"hashes": [*body["hashes"], base64.b64encode(bytes(32)).decode()]},
        "twice": {"hashes": body["hashes"] * 2},
        "another hash function": {
            "hashes": [base64.b64encode(hashlib.sha384(approved).digest()).decode()],
            "hashAlgorithmOID": "2.16.840.1.101.3.4.2.2",
            "signAlgo": "1.2.840.10045.4.3.3",
        },
        "another padding": {"signAlgo": "1.2.840.113549.1.1.11"},
    }
    assert description(call(everything, version, {**body, **changed[change]}, sad)) == (400, refusal)
    assert call(everything, version, body, sad).status_code == 200


@pytest.mark.parametrize("version", DIALECTS)
def test_SAD_05_another_credential_is_not_signed_with(everything: Whole, version: str) -> None:
    approved = f"another credential {version}".encode()
    sad, body = everything.sad("alice", approved), sign_hash(everything.people["alice"].credential_id, approved)
    for person in ("bob", "carol"):
        other = {**body, "credentialID": everything.people[person].credential_id}
        assert description(call(everything, version, other, sad)) == (400, "Invalid parameter credentialID")
    assert call(everything, version, body, sad).status_code == 200


@pytest.mark.parametrize("version", DIALECTS)
def test_SAD_07_what_is_no_sad_of_the_identity_provider_signs_nothing(everything: Whole, version: str) -> None:
    approved = f"forged {version}".encode()
    sad, body = everything.sad("alice", approved), sign_hash(everything.people["alice"].credential_id, approved)
    header, payload, signature = sad.split(".")
    claims = peek_claims(sad)
    none = encode_base64url(b'{"alg":"none","typ":"sad+jwt"}')
    token = everything.service_token("alice")
    for forged in (
        f"{none}.{payload}.",
        f"{none}.{payload}.{signature}",
        f"{header}.{encode_base64url(b'{}')}.{signature}",
        f"{header}.{payload}.{signature[:-4]}AAAA",
        sign_compact(claims, generate_signing_key(), sads.SAD_TYPE),
        token,  # a token of ours, and no SAD
    ):
        answer = call(everything, version, {**body, "SAD": forged}, token)
        assert description(answer) == (400, "Invalid parameter SAD"), forged
    assert call(everything, version, {**body, "SAD": sad}, token).status_code == 200


@pytest.mark.parametrize("version", DIALECTS)
def test_SAD_08_what_the_credential_demands_holds_whatever_the_identity_provider_signed(
    everything: Whole, version: str
) -> None:
    approved = f"below {version}".encode()
    sad, body = everything.sad("alice", approved), sign_hash(everything.people["alice"].credential_id, approved)
    key = everything.idp.app.extensions["privyseal"].keys.activation_key()
    claims = peek_claims(sad)
    earlier = [{**each, "at": each["at"] - 3600} for each in claims["evidence"]]
    for weaker in (
        {"loa": "low"},
        {"evidence": claims["evidence"][:1]},
        {"auth_time": claims["auth_time"] - 3600, "evidence": earlier},
        {"exp": claims["iat"] + 86_400},
    ):
        forged = sign_compact({**claims, **weaker, "jti": "weaker", "txn": "weaker"}, key, sads.SAD_TYPE)
        assert description(call(everything, version, body, forged)) == (400, "Invalid parameter SAD"), weaker
    assert call(everything, version, body, sad).status_code == 200


def order(everything: Whole, username: str, operation: Operation) -> None:
    """Have an order carried out, as the identity provider gives it."""
    person, now = everything.people[username], epoch(everything.idp.clock.now())
    made = Order(
        ISSUER, SAM, person.account_id, secrets.token_hex(8), now, now + 600, operation,
        CredentialParameters(person.credential_id), "decision-1",
    )  # fmt: skip
    key = everything.idp.app.extensions["privyseal"].keys.activation_key()
    everything.sam.execute_order(orders.encode(made, key))


def test_SAD_06_a_sad_from_before_its_credential_was_suspended_is_refused_in_every_version(
    everything: Whole,
) -> None:
    """While it is suspended, and once it serves again."""
    bob, approved = everything.people["bob"].credential_id, b"before it was suspended"
    refusals = {"suspended": (400, "The credential identified by credentialID is disabled")}
    refusals["resumed"] = (400, "Invalid parameter SAD")
    sads_of = {version: everything.sad("bob", approved) for version in DIALECTS}
    around = {version: everything.document_sad("bob", approved) for version in DIALECTS if version != "v1"}
    document = {"document": base64.b64encode(approved).decode(), "signature_format": "C", "signAlgo": ECDSA_SHA256}
    order(everything, "bob", "credential.suspend")
    for state, refusal in refusals.items():
        if state == "resumed":
            order(everything, "bob", "credential.resume")
            # What is approved within the leeway of a change passes for being from before it.
            everything.idp.clock.advance(LEEWAY_SECONDS + 2)
        for version, sad in sads_of.items():
            assert description(call(everything, version, sign_hash(bob, approved), sad)) == refusal, (state, version)
        for version, sad in around.items():
            body = {"credentialID": bob, "documents": [document]}
            answer = everything.call("signatures/signDoc", body, sad, version)
            assert description(answer) == refusal, (state, version)
    for version in DIALECTS:
        after = everything.sad("bob", approved)
        assert call(everything, version, sign_hash(bob, approved), after).status_code == 200, version


def test_SAD_06_an_expired_sad_is_refused_in_every_version(everything: Whole) -> None:
    approved = b"too late"
    sad, body = everything.sad("alice", approved), sign_hash(everything.people["alice"].credential_id, approved)
    everything.idp.clock.advance(peek_claims(sad)["exp"] - peek_claims(sad)["iat"])
    for version in DIALECTS:
        assert description(call(everything, version, body, sad)) == (400, "SAD expired")
    token = everything.service_token("alice")
    for version in DIALECTS:
        assert description(call(everything, version, {**body, "SAD": sad}, token)) == (400, "SAD expired")
