"""Requests for signatures, from what is pushed to the SAD."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from contract import sad
from idp.storage import models
from tests.integration.oidc_world import (
    ISSUER,
    SAM,
    SHA256,
    World,
    answer,
    error_of,
    with_query,
)

# Signatures


def _keys(world: World) -> list[Any]:
    return [world.app.extensions["privyseal"].keys.activation_key().verification_key()]


def test_a_person_approves_a_signature_and_the_relying_party_gets_the_sad(world: World) -> None:
    rp = world.rp()
    response = rp.redeem(rp.signing_code(b"one", b"two"))
    assert response.status_code == 200, response.text
    assert response.headers["Cache-Control"] == "no-store"
    got = response.get_json()
    assert (got["token_type"], got["expires_in"], got["scope"]) == ("Bearer", 300, "credential")
    assert got["credentialID"] == "a-credential"
    assert "refresh_token" not in got
    assert "id_token" not in got
    (details,) = got["authorization_details"]
    digests = [hashlib.sha256(item).digest() for item in (b"one", b"two")]
    assert (details["type"], details["credentialID"], details["numSignatures"]) == ("credential", "a-credential", 2)
    assert details["hashAlgorithmOID"] == SHA256
    assert [item["hash"] for item in details["documentDigests"]] == [
        base64.b64encode(item).decode() for item in digests
    ]
    content = sad.decode(got["access_token"], _keys(world))
    assert (content.iss, content.aud, content.client_id) == (ISSUER, SAM, "example-contracts")
    assert (content.sub, content.credential_id, content.dtbsr) == (world.account_id, "a-credential", tuple(digests))
    assert (content.loa, content.sign_count, content.exp - content.iat) == ("substantial", 2, 300)
    (event,) = world.events("sad.issued")
    assert (event["jti"], event["txn"], event["digests"]) == (
        content.jti,
        content.txn,
        [item.hex() for item in digests],
    )


def test_the_form_of_2_2_is_answered_in_the_form_of_2_2(world: World) -> None:
    rp = world.rp()
    kind = "https://cloudsignatureconsortium.org/2025/credential"
    digest = base64.b64encode(hashlib.sha256(b"a document").digest()).decode()
    documents = [{"hash": digest, "label": "contract.pdf", "hashType": "sdr"}]
    code = rp.signing_code(type=kind, documentDigests=documents, numSignatures=1)
    got = rp.redeem(code).get_json()
    assert got["authorization_details"][0]["type"] == kind
    assert got["authorization_details"][0]["documentDigests"] == documents
    assert sad.decode(got["access_token"], _keys(world)).hash_type == "sdr"


def test_the_query_form_of_csc_is_answered_with_a_sad(world: World) -> None:
    rp = world.rp("other")
    asked = rp.parameters(
        scope="credential",
        nonce=None,
        credentialID="a-credential",
        numSignatures="1",
        hashes=base64.urlsafe_b64encode(hashlib.sha256(b"x").digest()).decode().rstrip("="),
        hashAlgorithmOID=SHA256,
    )
    browser = world.browser()
    page = browser.sign_in(browser.get(with_query("/oauth2/authorize", asked)))
    got = rp.redeem(answer(browser.approve(browser.step_up(page)))["code"]).get_json()
    assert sad.decode(got["access_token"], _keys(world)).dtbsr == (hashlib.sha256(b"x").digest(),)


def test_OAU_10_what_was_pushed_cannot_be_changed_in_the_browser(world: World) -> None:
    rp = world.rp()
    url = rp.pushed_url(rp.signing())
    for addition in (
        "&authorization_details=%5B%5D",
        "&hashes=AAAA",
        "&numSignatures=2",
        "&credentialID=another",
        "&hashAlgorithmOID=2.16.840.1.101.3.4.2.3",
        "&scope=service",
        "&state=x",
        "&request_uri=x",
    ):
        assert world.browser().get(url + addition).status_code == 400, addition
    page = world.browser().get(url)
    assert page.status_code == 200, "none of these used it up"


def test_OAU_10_what_is_shown_is_what_is_signed(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    page = browser.step_up(browser.sign_in(browser.get(rp.pushed_url(rp.signing(b"the document")))))
    digest = hashlib.sha256(b"the document").hexdigest()
    assert f'data-digest="{digest}"' in page.text
    assert "Example Contracts" in page.text
    assert "contract.pdf" in page.text
    got = rp.redeem(answer(browser.approve(page))["code"]).get_json()
    assert [item.hex() for item in sad.decode(got["access_token"], _keys(world)).dtbsr] == [digest]


def test_OAU_10_a_signature_that_was_not_pushed_is_refused(world: World) -> None:
    rp = world.rp()
    got = answer(world.browser().get(with_query("/oauth2/authorize", rp.signing())))
    assert (got["error"], got["state"]) == ("invalid_request", "some-state")


def test_OAU_10_details_repeated_with_the_code_must_be_those_approved(world: World) -> None:
    rp = world.rp()
    asked = rp.signing()
    changed = json.loads(asked["authorization_details"])
    changed[0]["credentialID"] = "another"
    code = rp.signing_code()
    assert error_of(rp.redeem(code, authorization_details=json.dumps(changed))) == "invalid_authorization_details"
    code = rp.signing_code()
    assert rp.redeem(code, authorization_details=asked["authorization_details"]).status_code == 200


def test_a_person_who_does_not_approve_is_access_denied(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    page = browser.step_up(browser.sign_in(browser.get(rp.pushed_url(rp.signing()))))
    got = answer(browser.submit(page, "consent", decision="deny"))
    assert (got["error"], got["iss"]) == ("access_denied", ISSUER)


def test_OAU_11_a_sad_is_no_service_token_and_a_service_token_no_sad(world: World) -> None:
    rp = world.rp()
    for scope in ("credential service", "openid credential", "service openid"):
        assert error_of(rp.push({**rp.signing(), "scope": scope})) == "invalid_scope"
    assert error_of(rp.push(rp.parameters(scope="credential"))) == "invalid_scope"
    value = rp.signing()
    del value["scope"]
    assert rp.push(value).status_code == 201, "details of a credential type imply the scope"
    token = rp.redeem(rp.signing_code()).get_json()["access_token"]
    seen = world.rp("csc").introspect(token)
    assert (seen["scope"], seen["aud"]) == ("credential", SAM)
    response = rp.http.get("/oauth2/userinfo", headers={"Authorization": f"Bearer {token}"}, base_url=ISSUER)
    assert error_of(response) == "invalid_token"
    assert error_of(rp.refresh(token)) in {"invalid_grant", "invalid_request"}


def test_OAU_11_a_token_for_another_audience_is_not_given_out(world: World) -> None:
    got = answer(world.browser().get(world.rp().url(resource="https://another.example.org")))
    assert got["error"] == "invalid_target"


def test_OAU_02_a_signatures_code_used_again_gives_no_second_sad(world: World) -> None:
    rp = world.rp()
    code = rp.signing_code()
    token = rp.redeem(code).get_json()["access_token"]
    assert error_of(rp.redeem(code)) == "invalid_grant"
    assert world.rp("csc").introspect(token) == {"active": False}
    assert len(world.events("sad.issued")) == 1


def test_SAD_11_a_session_that_ends_while_the_sad_is_made_gives_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rp = world.rp()
    code = rp.signing_code()
    encode = sad.encode

    def sign_out_first(content: sad.Sad, key: Any) -> str:
        with world.engine.begin() as connection:
            connection.execute(models.sessions.update().values(revoked_at=1))
        return encode(content, key)

    monkeypatch.setattr(sad, "encode", sign_out_first)
    assert error_of(rp.redeem(code)) == "invalid_grant"
    assert world.events("sad.issued") == []


def test_SAD_11_a_session_that_ended_before_the_code_came_gives_no_sad(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    page = browser.sign_in(browser.get(rp.pushed_url(rp.signing())))
    code = answer(browser.approve(browser.step_up(page)))["code"]
    page = browser.get("/oauth2/logout")
    browser.submit(page, "sign-out")
    assert error_of(rp.redeem(code)) == "invalid_grant"
    assert world.events("sad.issued") == []
