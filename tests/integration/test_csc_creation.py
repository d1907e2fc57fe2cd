"""``credentials/create`` and ``credentials/delete`` over the whole line, from a person's approval to the authority."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from werkzeug.test import TestResponse

from foundation.dpop import make_proof
from foundation.jose import generate_signing_key, peek_claims, sign_compact
from signing.scdev.device import Pkcs11Device
from tests.fakes.softhsm import make_token
from tests.integration.oidc_world import ISSUER, REDIRECT_URI, RESOURCE, RelyingParty, answer
from tests.integration.whole_world import Whole, sign_hash, whole

pytestmark = pytest.mark.hsm

CREATION, DELETION = "credential-creation", "credential-deletion"
DIALECT = "v2_2"
BASE = "/2.2/csc/v2"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    directory = tmp_path_factory.mktemp("creation")
    with Pkcs11Device(make_token(directory / "token")) as device, whole(directory, device) as running:
        yield running


@pytest.fixture(autouse=True)
def recovered(everything: Whole) -> None:
    everything.authority.failing = None
    # One telephone gets 30 messages in an hour at most.
    everything.idp.clock.advance(900)


def asked(rp: RelyingParty, scope: str, **more: str | None) -> dict[str, str]:
    return rp.parameters(scope=scope, nonce=None, **more)


def approved(everything: Whole, parameters: dict[str, str], username: str = "alice") -> tuple[RelyingParty, str]:
    """Have a person approve an order; whose request it was, and the code."""
    rp, browser = everything.idp.rp("orderer"), everything.idp.browser()
    rp.verifier = VERIFIER
    page = everything.sign_in(browser, browser.get(rp.pushed_url(parameters)), username)
    return rp, answer(browser.approve(browser.step_up(page)))["code"]


def token(everything: Whole, scope: str, username: str = "alice", **more: str) -> str:
    return everything.order_token(username, scope, **more)


VERIFIER = "v" * 43


def requester(everything: Whole) -> RelyingParty:
    rp = everything.idp.rp("orderer")
    rp.verifier = VERIFIER
    return rp


def call(everything: Whole, method: str, body: dict[str, Any], bearer: str | None) -> TestResponse:
    return everything.call(f"credentials/{method}", body, bearer, DIALECT)


def described(response: TestResponse) -> str:
    return str(response.get_json()["error_description"])


def create(everything: Whole, username: str = "alice", **more: str) -> str:
    response = call(everything, "create", {}, token(everything, CREATION, username, **more))
    assert response.status_code == 200, response.text
    return str(response.get_json()["credentialID"])


def status_of(everything: Whole, credential_id: str) -> str:
    return everything.sam.credential(credential_id).status


def test_a_person_approves_and_the_client_has_a_credential_made_that_signs(everything: Whole) -> None:
    bearer = token(everything, CREATION)
    answered = call(everything, "create", {"certificates": "chain", "certInfo": True, "authInfo": True}, bearer)
    made = answered.get_json()
    assert answered.status_code == 200, answered.text
    told = everything.call(
        "credentials/info",
        {"credentialID": made["credentialID"], "certificates": "chain", "certInfo": True, "authInfo": True},
        everything.service_token("alice", "orderer"),
        DIALECT,
    ).get_json()
    assert {name: value for name, value in made.items() if name != "credentialID"} == told
    assert (made["key"]["status"], made["cert"]["status"]) == ("enabled", "valid")
    certificate = x509.load_der_x509_certificate(base64.b64decode(made["cert"]["certificates"][0]))
    assert certificate.subject.rfc4514_string() == "CN=Alice Example"
    everything.idp.clock.advance(2)
    rp, browser = everything.idp.rp("orderer"), everything.idp.browser()
    page = browser.get(rp.pushed_url(rp.signing(b"a contract", credentialID=made["credentialID"])))
    page = everything.sign_in(browser, page, "alice")
    sad = rp.redeem(answer(browser.approve(browser.step_up(page)))["code"]).get_json()["access_token"]
    signed = everything.call("signatures/signHash", sign_hash(made["credentialID"], b"a contract"), sad)
    assert signed.status_code == 200, signed.text


def test_KEY_10_a_creation_whose_answer_was_lost_gives_the_same_credential(everything: Whole) -> None:
    bearer = token(everything, CREATION)
    first, again = (call(everything, "create", {}, bearer) for _ in range(2))
    assert first.status_code == again.status_code == 200
    assert first.get_json() == again.get_json()
    count = len(everything.authority.issued)
    assert call(everything, "create", {}, bearer).status_code == 200
    assert len(everything.authority.issued) == count


def test_PKI_04_a_failed_authority_leaves_a_creation_that_can_be_finished(everything: Whole) -> None:
    bearer, listed = token(everything, CREATION), everything.service_token("alice")
    before = everything.call("credentials/list", {}, listed).get_json()["credentialIDs"]
    everything.authority.failing = "unavailable"
    refused = call(everything, "create", {}, bearer)
    assert (refused.status_code, described(refused)) == (503, "The certification authority cannot be reached")
    assert refused.headers["Retry-After"]
    assert everything.call("credentials/list", {}, listed).get_json()["credentialIDs"] == before
    everything.authority.failing = "refused"
    assert call(everything, "create", {}, bearer).status_code == 500
    everything.authority.failing = None
    made = call(everything, "create", {}, bearer)
    assert made.status_code == 200
    after = everything.call("credentials/list", {}, listed).get_json()["credentialIDs"]
    assert set(after) == {*before, made.get_json()["credentialID"]}


def test_a_client_chooses_among_what_the_operator_offers(everything: Whole) -> None:
    bearer = token(everything, CREATION, credentialProfile="pss")
    assert call(everything, "create", {}, bearer).get_json()["key"]["algo"] == ["1.2.840.113549.1.1.10"]
    bearer = token(everything, CREATION, signatureQualifier="eu_eidas_aes")
    made = call(everything, "create", {"signatureQualifier": "eu_eidas_aes", "credentialProfile": "standard"}, bearer)
    assert made.get_json()["signatureQualifier"] == "eu_eidas_aes"


OTHERWISE: tuple[tuple[dict[str, Any], str], ...] = (
    ({"signatureQualifier": "eu_eidas_qes"}, "Invalid parameter signatureQualifier"),
    ({"credentialProfile": "pss"}, "Invalid parameter credentialProfile"),
    ({"common_name": "Bob Example"}, "Invalid parameter common_name"),
    ({"given_name": "Bob"}, "Invalid parameter given_name"),
    ({"family_name": "Example"}, "Invalid parameter family_name"),
    ({"serial_number": "PNOAT-1"}, "Invalid parameter serial_number"),
    ({"country": "AT"}, "Invalid parameter country"),
    ({"country": "A" * 65}, "Invalid parameter country"),
    ({"country": 1}, "Missing (or invalid type) string parameter country"),
    ({"userID": "account-of-bob"}, "userID parameter MUST be null"),
    ({"certificates": "all"}, "Invalid parameter certificates"),
)
"""What a request may not say where the order is for the profile `standard` and for Alice Example."""


def test_nothing_in_a_request_differs_from_the_order(everything: Whole) -> None:
    bearer, listed = token(everything, CREATION), everything.service_token("alice")
    before = everything.call("credentials/list", {}, listed).get_json()
    for members, description in OTHERWISE:
        refused = call(everything, "create", members, bearer)
        assert (refused.status_code, refused.get_json()["error"]) == (400, "invalid_request")
        assert described(refused) == description
    assert everything.call("credentials/list", {}, listed).get_json() == before
    same = {"common_name": "Alice Example", "credentialProfile": "standard", "clientData": "mine"}
    assert call(everything, "create", same, bearer).status_code == 200


def test_a_person_approves_and_the_client_has_a_credential_deleted(everything: Whole) -> None:
    credential_id = create(everything)
    certificate = everything.authority.issued[credential_id]
    bearer = token(everything, DELETION, credentialID=credential_id)
    answered = call(everything, "delete", {"credentialID": credential_id}, bearer)
    assert (answered.status_code, answered.data) == (204, b"")
    assert everything.authority.revoked[-1] == certificate
    assert status_of(everything, credential_id) == "deleted"
    info = everything.call("credentials/info", {"credentialID": credential_id}, everything.service_token("alice"))
    assert (info.status_code, described(info)) == (400, "Invalid parameter credentialID")


def test_PKI_04_a_failed_authority_leaves_a_deletion_that_can_be_finished(everything: Whole) -> None:
    credential_id = create(everything)
    bearer = token(everything, DELETION, credentialID=credential_id)
    everything.authority.failing = "unavailable"
    refused = call(everything, "delete", {"credentialID": credential_id}, bearer)
    assert (refused.status_code, described(refused)) == (503, "The certification authority cannot be reached")
    assert status_of(everything, credential_id) == "deleted"
    assert everything.authority.issued[credential_id] not in everything.authority.revoked
    everything.authority.failing = None
    for _ in range(2):
        assert call(everything, "delete", {"credentialID": credential_id}, bearer).status_code == 204
    assert everything.authority.issued[credential_id] in everything.authority.revoked


def test_OAU_17_a_deletion_is_of_the_credential_that_was_approved(everything: Whole) -> None:
    mine, other = create(everything), create(everything)
    bearer = token(everything, DELETION, credentialID=mine)
    victims = (other, everything.people["bob"].credential_id, "0" * 32)
    answers = {call(everything, "delete", {"credentialID": named}, bearer).text for named in victims}
    assert len(answers) == 1
    assert "Invalid parameter credentialID" in answers.pop()
    assert {status_of(everything, named) for named in victims[:2]} == {"active"}
    missing = call(everything, "delete", {}, bearer)
    assert described(missing) == "Missing (or invalid type) string parameter credentialID"


def test_OAU_17_nobody_is_asked_to_delete_another_persons_credential(everything: Whole) -> None:
    pages = []
    for named in (everything.people["bob"].credential_id, "0" * 32):
        browser = everything.idp.browser()
        url = requester(everything).pushed_url(asked(requester(everything), DELETION, credentialID=named))
        page = everything.sign_in(browser, browser.get(url), "alice")
        assert 'data-form="choose"' not in page.text
        assert 'data-form="consent"' not in page.text
        pages.append(page.status_code)
    assert pages[0] == pages[1]


@pytest.mark.parametrize("method", ["create", "delete"])
def test_OAU_11_no_other_token_makes_or_deletes_a_credential(everything: Whole, method: str) -> None:
    credential_id = create(everything)
    others = (
        everything.service_token("alice", "orderer"),
        everything.sad("alice", b"a document"),
        everything.idp.rp().token(grant_type="client_credentials").get_json()["access_token"],
        token(everything, CREATION) if method == "delete" else token(everything, DELETION, credentialID=credential_id),
    )
    for bearer in others:
        response = call(everything, method, {"credentialID": credential_id}, bearer)
        assert (response.status_code, response.get_json()["error"]) == (401, "invalid_token"), response.text
    assert call(everything, method, {"credentialID": credential_id}, None).status_code == 401
    assert status_of(everything, credential_id) == "active"


def test_OAU_11_the_token_of_an_order_opens_nothing_else(everything: Whole) -> None:
    bearer, own = token(everything, CREATION), everything.people["alice"].credential_id
    for method, body in (
        ("credentials/list", {}),
        ("credentials/info", {"credentialID": own}),
        ("credentials/extendTransaction", {"credentialID": own}),
        ("signatures/signHash", sign_hash(own, b"a document", SAD=everything.sad("alice", b"a document"))),
    ):
        assert everything.call(method, body, bearer).status_code == 401, method
    userinfo = everything.idp.app.test_client().get(
        "/oauth2/userinfo", base_url=ISSUER, headers={"Authorization": f"Bearer {bearer}"}
    )
    assert userinfo.status_code == 401


def test_SAD_11_a_token_that_was_taken_back_makes_nothing(everything: Whole) -> None:
    bearer = token(everything, CREATION)
    assert requester(everything).post("/oauth2/revoke", {"token": bearer}).status_code == 204
    refused = call(everything, "create", {}, bearer)
    assert (refused.status_code, refused.get_json()["error"]) == (401, "expired_token")


def test_a_token_that_has_expired_makes_nothing(everything: Whole) -> None:
    bearer = token(everything, CREATION)
    everything.idp.clock.advance(600)
    refused = call(everything, "create", {}, bearer)
    assert (refused.status_code, refused.get_json()["error"]) == (401, "expired_token")


def test_OAU_02_a_code_gives_one_order(everything: Whole) -> None:
    rp, code = approved(everything, asked(requester(everything), CREATION))
    bearer = rp.redeem(code).get_json()["access_token"]
    assert rp.redeem(code).get_json()["error"] == "invalid_grant"
    # it has leaked, so nothing that it gave is good any more
    assert call(everything, "create", {}, bearer).status_code == 401


def test_SAD_14_a_bound_token_is_shown_by_its_client(everything: Whole) -> None:
    key, clock = generate_signing_key(), everything.idp.clock
    rp, code = approved(everything, asked(requester(everything), CREATION))

    def proof(uri: str, bound: str | None = None) -> str:
        return make_proof(key, method="POST", uri=uri, jti=secrets.token_hex(8), now=clock.now(), token=bound)

    data = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    headers = {**rp.basic, "DPoP": proof(f"{ISSUER}/oauth2/token")}
    given = rp.post("/oauth2/token", {**data, "redirect_uri": REDIRECT_URI}, **headers).get_json()
    assert given["token_type"] == "DPoP"
    bearer, client = given["access_token"], everything.web.test_client()
    refused = call(everything, "create", {}, bearer)
    assert refused.status_code == 401
    uri = f"{BASE}/credentials/create"
    shown = {"Authorization": f"DPoP {bearer}", "DPoP": proof(f"{RESOURCE.removesuffix('/csc/v2')}{uri}", bearer)}
    assert client.post(uri, json={}, headers=shown).status_code == 200


def test_a_token_that_somebody_else_made_is_not_one(everything: Whole) -> None:
    claims = peek_claims(token(everything, CREATION))
    forged = sign_compact(claims, generate_signing_key(), "at+jwt")
    assert call(everything, "create", {}, forged).get_json()["error"] == "invalid_token"


def test_who_approves_sees_whom_the_certificate_names_and_what_becomes_of_a_credential(everything: Whole) -> None:
    browser, rp = everything.idp.browser(), requester(everything)
    page = everything.sign_in(browser, browser.get(rp.pushed_url(asked(rp, CREATION))), "alice")
    page = browser.step_up(page)
    for text in ("<bdi>Ordering Party</bdi> asks for a signing credential in your name", "Alice Example", "standard"):
        assert text in page.text
    credential_id = everything.people["alice"].credential_id
    page = browser.get(rp.pushed_url(asked(rp, DELETION, credentialID=credential_id)))
    page = browser.step_up(page)
    for text in (
        "<bdi>Ordering Party</bdi> asks to delete this credential",
        credential_id,
        "Nothing can bring them back.",
    ):
        assert text in page.text
    answered = answer(browser.submit(page, "consent", decision="deny"))
    assert answered["error"] == "access_denied"
    assert status_of(everything, credential_id) == "active"


def test_what_was_ordered_over_the_api_is_on_the_record(everything: Whole) -> None:
    credential_id = create(everything)
    token(everything, DELETION, credentialID=credential_id)
    made, deleted = everything.idp.events("order.issued")[-2:]
    assert (made["operation"], made["profile"], made["client_id"]) == ("credential.create", "standard", "orderer")
    assert (deleted["operation"], deleted["credential_id"]) == ("credential.delete", credential_id)
    assert all(item["grant_id"] and item["decision_id"] and item["txn"] for item in (made, deleted))
    assert "Alice" not in str(made)
