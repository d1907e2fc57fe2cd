"""Approval out of band over the CSC API, on real parts: an application asks, the person approves on their own pages.

Identity provider, API and module over their link, SQLite and SoftHSM2; what is signed is verified.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from foundation.jose import peek_claims
from idp.oidc.client import BACKCHANNEL_GRANT
from idp.storage import clients
from signing.scdev.device import Pkcs11Device
from tests.fakes.softhsm import make_token
from tests.integration.bola_requests import asked_for
from tests.integration.oidc_world import Browser
from tests.integration.test_oidc_ciba import waiting
from tests.integration.whole_world import Whole, sign_hash, whole

pytestmark = pytest.mark.hsm

AUTHORIZE, CHECK = "credentials/authorize", "credentials/authorizeCheck"
DENIED = "The user or Remote Service denied the request."
VERSIONS = ["v1", "v2", "v2_2"]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    directory = tmp_path_factory.mktemp("approval")
    with Pkcs11Device(make_token(directory / "token")) as device, whole(directory, device, approval=True) as running:
        yield running


@contextmanager
def registered(everything: Whole, **changes: Any) -> Iterator[None]:
    """The calling party, registered otherwise for a while."""
    column, its = clients.oidc_clients.c.registration, clients.oidc_clients.c.client_id == "caller"

    def write(registration: dict[str, Any]) -> None:
        with everything.idp.engine.begin() as connection:
            connection.execute(update(clients.oidc_clients).where(its).values(registration=registration))

    with everything.idp.engine.begin() as connection:
        before = connection.execute(select(column).where(its)).scalar_one()
    write({**before, **changes})
    try:
        yield
    finally:
        write(before)


def own(everything: Whole, username: str = "alice") -> str:
    return everything.people[username].credential_id


def request(everything: Whole, *documents: bytes, version: str = "v2", **changes: Any) -> dict[str, Any]:
    body = {**asked_for(own(everything), *documents), "description": "Order 4711", **changes}
    if version == "v1":
        body["hash"] = body.pop("hashes")
        del body["hashAlgorithmOID"]
    return {name: value for name, value in body.items() if value is not None}


def handle_of(response: TestResponse) -> str:
    assert response.status_code == 202, response.text
    body = response.get_json()
    assert body.keys() == {"handle"}
    return str(body["handle"])


def at_home(everything: Whole, username: str = "alice") -> Browser:
    browser = everything.idp.browser()
    everything.sign_in(browser, browser.get("/account/"), username)
    return browser


def decide(everything: Whole, decision: str = "approve", browser: Browser | None = None) -> str:
    """The person decides on the latest request; the consent page that they saw."""
    browser = browser or at_home(everything)
    page = browser.submit(browser.get(waiting(browser)[0]), "open")
    shown = browser.step_up(page)
    browser.submit(shown, "consent", decision=decision)
    return shown.text


def error(response: TestResponse) -> tuple[int, str, str]:
    body = response.get_json()
    return response.status_code, body["error"], body["error_description"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_person_approves_two_digests_out_of_band_and_they_are_signed_at_scal2(
    everything: Whole, version: str
) -> None:
    documents = (b"a contract " + version.encode(), b"its annex " + version.encode())
    token = everything.service_token("alice", "caller")
    shown_info = everything.call("credentials/info", {"credentialID": own(everything)}, token).get_json()
    assert shown_info["SCAL"] == "2"
    handle = handle_of(everything.call(AUTHORIZE, request(everything, *documents, version=version), token, version))
    assert handle_of(everything.call(CHECK, {"handle": handle}, token, version)) == handle
    everything.restart()
    assert handle_of(everything.call(CHECK, {"handle": handle}, token, version)) == handle, "asked too soon: waits"
    shown = decide(everything)
    assert "Order 4711" in shown
    assert "<bdi>Calling Party</bdi> asks for your signature" in shown
    everything.restart()
    answer = everything.call(CHECK, {"handle": handle}, token, version)
    assert answer.status_code == 200, answer.text
    sad = answer.get_json()["SAD"]
    assert answer.get_json()["expiresIn"] == 300
    assert (peek_claims(sad)["client_id"], peek_claims(sad)["sign_count"]) == ("caller", 2)
    signed = everything.call("signatures/signHash", {**sign_hash(own(everything), *documents), "SAD": sad}, token)
    assert signed.status_code == 200, signed.text
    info = everything.call("credentials/info", {"credentialID": own(everything), "certificates": "single"}, token)
    certificate = x509.load_der_x509_certificate(base64.b64decode(info.get_json()["cert"]["certificates"][0]))
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    for document, value in zip(documents, signed.get_json()["signatures"], strict=True):
        key.verify(base64.b64decode(value), document, ec.ECDSA(hashes.SHA256()))
    again = everything.call(CHECK, {"handle": handle}, token, version)
    assert error(again) == (400, "invalid_request", "Invalid parameter handle")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_without_a_browser_is_told_of_it_and_chooses_it(everything: Whole, version: str) -> None:
    token, asked = everything.service_token("alice", "caller"), {"credentialID": own(everything), "authInfo": True}
    told = everything.call("credentials/info", asked, token, version).get_json()
    assert (told["authMode"] if version == "v1" else told["auth"]["mode"]) == "oauth2code"
    with registered(everything, grant_types=[BACKCHANNEL_GRANT]):
        told = everything.call("credentials/info", asked, token, version).get_json()
        wanted = request(everything, f"chosen {version}".encode(), version=version)
        if version == "v1":
            assert (told["authMode"], "PIN" in told, "OTP" in told) == ("implicit", False, False)
        else:
            assert (told["auth"]["mode"], told["auth"]["expression"]) == ("explicit", "approval")
            [chosen] = told["auth"]["objects"]
            assert chosen["type"] == "ChallengeResponseOOB"
            wanted["authData"] = [{"id": chosen["id"]}]
        handle = handle_of(everything.call(AUTHORIZE, wanted, token, version))
        decide(everything)
        assert everything.call(CHECK, {"handle": handle}, token, version).status_code == 200


@pytest.mark.parametrize("answers", [[{"id": "approval"}, {"id": "approval"}], [{"id": "password"}], [{"value": "x"}]])
def test_nothing_else_is_chosen_without_a_value(everything: Whole, answers: list[dict[str, str]]) -> None:
    token = everything.service_token("alice", "caller")
    response = everything.call(AUTHORIZE, request(everything, b"x", authData=answers), token)
    assert error(response) == (400, "invalid_request", "Invalid parameter authData")


def test_SAD_04_what_was_not_approved_is_not_signed(everything: Whole) -> None:
    token = everything.service_token("alice", "caller")
    handle = handle_of(everything.call(AUTHORIZE, request(everything, b"this"), token))
    decide(everything)
    sad = everything.call(CHECK, {"handle": handle}, token).get_json()["SAD"]
    other = everything.call("signatures/signHash", {**sign_hash(own(everything), b"that"), "SAD": sad}, token)
    assert error(other) == (400, "invalid_request", "Hash is not authorized by the SAD")


def test_SAD_02_of_four_that_check_at_once_one_gets_the_sad(everything: Whole) -> None:
    token, answers = everything.service_token("alice", "caller"), []
    handle = handle_of(everything.call(AUTHORIZE, request(everything, b"raced for"), token))
    decide(everything)
    barrier = threading.Barrier(4)

    def run() -> None:
        barrier.wait()
        answers.append(everything.call(CHECK, {"handle": handle}, token).status_code)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 400, 400, 400]


def test_PSH_03_a_refusal_and_a_time_that_is_over_are_told_apart(everything: Whole) -> None:
    token = everything.service_token("alice", "caller")
    handle = handle_of(everything.call(AUTHORIZE, request(everything, b"refused"), token))
    decide(everything, "deny")
    assert error(everything.call(CHECK, {"handle": handle}, token)) == (403, "access_denied", DENIED)
    left = handle_of(everything.call(AUTHORIZE, request(everything, b"left alone"), token))
    everything.idp.clock.advance(300)
    over = everything.call(CHECK, {"handle": left}, token)
    assert error(over) == (400, "invalid_request", "The handle has expired")


def test_OAU_17_nobody_collects_with_another_persons_or_clients_token(everything: Whole) -> None:
    token = everything.service_token("alice", "caller")
    handle = handle_of(everything.call(AUTHORIZE, request(everything, b"mine"), token))
    decide(everything)
    unregistered = everything.service_token("alice")
    bob, sad = everything.service_token("bob", "caller"), everything.sad("bob", b"x")
    nobodys = "A" * len(handle)
    for bearer in (bob, unregistered, sad, everything.idp.rp("csc").client_id, None):
        answers = [everything.call(CHECK, {"handle": each}, bearer) for each in (handle, nobodys)]
        assert error(answers[0]) == error(answers[1])
        assert answers[0].status_code in {400, 401}
    assert everything.call(CHECK, {"handle": handle}, token).status_code == 200


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"credentialID": None}, "Missing (or invalid type) string parameter credentialID"),
        ({"credentialID": "0" * 32}, "Invalid parameter credentialID"),
        ({"numSignatures": None}, "Missing (or invalid type) integer parameter numSignatures"),
        ({"numSignatures": "1"}, "Missing (or invalid type) integer parameter numSignatures"),
        ({"numSignatures": 0}, "Invalid value for parameter numSignatures"),
        ({"numSignatures": 2}, "Invalid value for parameter numSignatures"),
        ({"numSignatures": 10_000}, "Numbers of signatures is too high"),
        ({"hashes": None}, "Missing (or invalid type) array parameter hash"),
        ({"hashes": []}, "Empty hash array"),
        ({"hashes": ["!!!!"]}, "Invalid Base64 hash string parameter"),
        ({"hashes": ["AAAA"]}, "Invalid digest value length"),
        ({"hashAlgorithmOID": "1.2.3"}, "Invalid parameter hashAlgorithmOID"),
        ({"description": "x" * 501}, "Invalid parameter description"),
        ({"description": "two\nlines"}, "Invalid parameter description"),
    ],
)
def test_what_is_wrong_is_said_in_the_specifications_words(
    everything: Whole, changes: dict[str, Any], text: str
) -> None:
    token = everything.service_token("alice", "caller")
    answer = everything.call(AUTHORIZE, request(everything, b"wrong", **changes), token)
    assert error(answer) == (400, "invalid_request", text)


def test_who_may_not_ask_is_told_so(everything: Whole) -> None:
    unregistered = everything.call(AUTHORIZE, request(everything, b"x"), everything.service_token("alice"))
    assert error(unregistered)[:2] == (403, "unauthorized_client")
    own_token = everything.idp.rp().token(grant_type="client_credentials").get_json()["access_token"]
    assert error(everything.call(AUTHORIZE, request(everything, b"x"), own_token))[:2] == (401, "invalid_token")
    token = everything.service_token("alice", "caller")
    for wrong in ("", "x", "A" * 200, 7, None):
        answer = everything.call(CHECK, {"handle": wrong}, token)
        assert answer.status_code == 400
        assert error(answer)[2].endswith("parameter handle")
    assert AUTHORIZE in everything.call("info", {}).get_json()["methods"]
