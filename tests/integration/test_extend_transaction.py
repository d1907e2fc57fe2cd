"""``credentials/extendTransaction`` from the client to the module and back, with everything real but the device."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from foundation.dpop import make_proof
from foundation.jose import generate_signing_key, peek_claims
from tests.fakes.device import FakeDevice
from tests.integration.oidc_world import ISSUER, REDIRECT_URI, RESOURCE, answer
from tests.integration.whole_world import Whole, sign_hash, whole

METHOD = "credentials/extendTransaction"
ONE, TWO = b"one document", b"another document"
EXTENDER = "extender"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(tmp_path_factory.mktemp("extend"), FakeDevice()) as running:
        yield running


def sign(everything: Whole, sad: str, *documents: bytes) -> Any:
    own = everything.people["alice"].credential_id
    return everything.call("signatures/signHash", sign_hash(own, *documents), sad)


def extend(everything: Whole, sad: str, bearer: str | None = None, version: str = "v2", **members: Any) -> Any:
    body = {"credentialID": everything.people["alice"].credential_id, "SAD": sad, **members}
    return everything.call(METHOD, body, bearer or sad, version)


def described(response: Any) -> str:
    return str(response.get_json()["error_description"])


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_client_goes_on_signing_with_the_successor(everything: Whole, version: str) -> None:
    first = everything.sad("alice", ONE, TWO, client_id=EXTENDER)
    assert sign(everything, first, ONE).status_code == 200
    everything.idp.clock.advance(250)
    given = extend(everything, first, version=version)
    assert given.status_code == 200, given.text
    assert given.get_json().keys() == {"SAD", "expiresIn"}
    assert given.get_json()["expiresIn"] == 300
    # The old one is dead at the module, before the new one was ever used.
    assert described(sign(everything, first, TWO)) == "Invalid parameter SAD"
    everything.idp.clock.advance(250)
    second = given.get_json()["SAD"]
    assert described(sign(everything, second, ONE)) == "Invalid parameter SAD"
    assert sign(everything, second, TWO).status_code == 200
    assert "credentials/extendTransaction" in everything.call("info", {}, version=version).get_json()["methods"]


def test_a_service_token_brings_its_clients_sad(everything: Whole) -> None:
    sad = everything.sad("alice", ONE, client_id=EXTENDER)
    others = (everything.service_token("alice"), everything.service_token("bob", client_id=EXTENDER))
    for bearer in others:
        assert described(extend(everything, sad, bearer)) == "Invalid parameter SAD"
    assert extend(everything, sad, everything.service_token("alice", client_id=EXTENDER)).status_code == 200


def test_the_specifications_words(everything: Whole) -> None:
    sad, service = everything.sad("alice", ONE, client_id=EXTENDER), everything.service_token("alice", EXTENDER)
    right = base64.b64encode(hashlib.sha256(ONE).digest()).decode()
    wrong = base64.b64encode(hashlib.sha256(TWO).digest()).decode()
    for members, description in (
        ({"credentialID": None}, "Missing (or invalid type) string parameter credentialID"),
        ({"credentialID": "another"}, "Invalid parameter credentialID"),
        ({"SAD": None}, "Missing (or invalid type) string parameter SAD"),
        ({"SAD": "x"}, "Invalid parameter SAD"),
        ({"hashes": [wrong]}, "Hash is not authorized by the SAD"),
        ({"hashes": [right, right]}, "Hash is not authorized by the SAD"),
        ({"hashes": [right], "hashAlgorithmOID": "2.16.840.1.101.3.4.2.2"}, "Hash is not authorized by the SAD"),
        ({"hashAlgorithmOID": "1.2.3"}, "Invalid parameter hashAlgorithmOID"),
        ({"hashes": []}, "Empty hash array"),
    ):
        response = extend(everything, sad, service, **members)
        assert (response.status_code, described(response)) == (400, description)
    assert extend(everything, sad, service, hashes=[right]).status_code == 200
    assert described(extend(everything, sad, service)) == "Invalid parameter SAD"


def test_an_expired_sad_is_not_extended(everything: Whole) -> None:
    sad, service = everything.sad("alice", ONE, client_id=EXTENDER), everything.service_token("alice", EXTENDER)
    everything.idp.clock.advance(300)
    assert described(extend(everything, sad, service)) == "SAD expired"
    assert extend(everything, sad).status_code == 401


def test_a_client_that_is_not_registered_for_it_extends_nothing(everything: Whole) -> None:
    sad = everything.sad("alice", ONE, client_id="other")
    assert described(extend(everything, sad)) == "Invalid parameter SAD"
    assert sign(everything, sad, ONE).status_code == 200


def test_SAD_14_a_bound_sad_is_extended_with_its_clients_proof(everything: Whole) -> None:
    key, clock = generate_signing_key(), everything.idp.clock

    def proof(uri: str, token: str | None = None) -> str:
        return make_proof(key, method="POST", uri=uri, jti=secrets.token_hex(8), now=clock.now(), token=token)

    rp, browser = everything.idp.rp(EXTENDER), everything.idp.browser()
    asked = rp.signing(ONE, credentialID=everything.people["alice"].credential_id)
    page = everything.sign_in(browser, browser.get(rp.pushed_url(asked)), "alice")
    code = answer(browser.approve(browser.step_up(page)))["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
    headers = {**rp.basic, "DPoP": proof(f"{ISSUER}/oauth2/token")}
    sad = rp.post("/oauth2/token", {**form, "code_verifier": rp.verifier}, **headers).get_json()["access_token"]

    def call(method: str, token: str, body: dict[str, Any], dpop: str | None) -> Any:
        more = {} if dpop is None else {"DPoP": dpop}
        headers = {"Authorization": f"DPoP {token}", **more}
        return everything.web.test_client().post(f"/csc/v2/{method}", json=body, headers=headers)

    own = everything.people["alice"].credential_id
    assert call(METHOD, sad, {"credentialID": own}, None).get_json()["error"] == "invalid_dpop_proof"
    given = call(METHOD, sad, {"credentialID": own}, proof(f"{RESOURCE}/{METHOD}", sad)).get_json()["SAD"]
    assert peek_claims(given)["cnf"] == {"jkt": key.kid}
    sign_uri = f"{RESOURCE}/signatures/signHash"
    body = sign_hash(own, ONE)
    assert call("signatures/signHash", given, body, proof(sign_uri, sad)).get_json()["error"] == "invalid_dpop_proof"
    assert call("signatures/signHash", given, body, proof(sign_uri, given)).status_code == 200
