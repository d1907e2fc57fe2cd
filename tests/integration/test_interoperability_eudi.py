"""What the EUDI libraries do at the base of version 2.2, step by step, with everything real but the device.

Their requests are played here as the Kotlin library makes them: paths built from `oauth2`, pushed requests always, PKCE
with S256, `prompt=login`, members that are null, and answers of which a missing member makes it fail.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from tests.fakes.device import FakeDevice
from tests.integration.oidc_world import ISSUER, REDIRECT_URI, SHA256, RelyingParty, answer, with_query
from tests.integration.whole_world import BASES, Whole, whole

TYPE = "https://cloudsignatureconsortium.org/2025/credential"
ECDSA_SHA256 = "1.2.840.10045.4.3.2"
DOCUMENTS = (b"one", b"two")


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(tmp_path_factory.mktemp("eudi"), FakeDevice()) as running:
        yield running


def info(everything: Whole) -> dict[str, Any]:
    response = everything.call("info", {}, version="v2_2")
    assert response.status_code == 200
    value: dict[str, Any] = response.get_json()
    return value


def path(everything: Whole, suffix: str) -> str:
    """A path as the library makes it: `oauth2` of `info`, and what it puts behind."""
    oauth2 = info(everything)["oauth2"]
    assert oauth2.startswith(ISSUER)
    return f"{oauth2.removeprefix(ISSUER)}{suffix}"


def pushed(everything: Whole, rp: RelyingParty, parameters: dict[str, str]) -> str:
    """Push, and the address for the browser."""
    response = rp.post(path(everything, "/oauth2/pushed_authorize"), parameters)
    assert response.status_code == 201, response.text
    assert response.get_json()["expires_in"] > 0
    named = {"client_id": rp.client_id, "request_uri": response.get_json()["request_uri"]}
    return with_query(path(everything, "/oauth2/authorize"), named)


def redeemed(everything: Whole, rp: RelyingParty, code: str, **more: str) -> dict[str, Any]:
    response = rp.post(
        path(everything, "/oauth2/token"),
        {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "client_id": rp.client_id,
            "code_verifier": rp.verifier,
            **more,
        },
    )
    assert response.status_code == 200, response.text
    value: dict[str, Any] = response.get_json()
    return value


def service_token(everything: Whole) -> dict[str, Any]:
    rp, browser = everything.idp.rp(), everything.idp.browser()
    url = pushed(everything, rp, rp.parameters(scope="service", nonce=None, prompt="login"))
    page = everything.sign_in(browser, browser.get(url), "alice")
    return redeemed(everything, rp, answer(page)["code"])


def digests() -> list[bytes]:
    return [hashlib.sha256(each).digest() for each in DOCUMENTS]


def details(everything: Whole) -> list[dict[str, Any]]:
    return [
        {
            "type": TYPE,
            "credentialID": everything.people["alice"].credential_id,
            "numSignatures": len(DOCUMENTS),
            "documentDigests": [
                {"hash": base64.b64encode(each).decode(), "label": f"document {number}", "hashType": "dtbsr"}
                for number, each in enumerate(digests())
            ],
            "hashAlgorithmOID": SHA256,
        }
    ]


def approved(everything: Whole, **parameters: str) -> dict[str, Any]:
    """The token response for a signature that the person approved."""
    rp, browser = everything.idp.rp(), everything.idp.browser()
    url = pushed(everything, rp, rp.parameters(nonce=None, prompt="login", **parameters))
    page = everything.sign_in(browser, browser.get(url), "alice")
    return redeemed(everything, rp, answer(browser.approve(browser.step_up(page)))["code"])


def sign(everything: Whole, token: str) -> Any:
    """The library's request: no SAD, and members that are null."""
    body = {
        "credentialID": everything.people["alice"].credential_id,
        "SAD": None,
        "operationMode": "S",
        "validity_period": None,
        "response_uri": None,
        "hashes": [base64.b64encode(each).decode() for each in digests()],
        "hashAlgorithmOID": SHA256,
        "signAlgo": ECDSA_SHA256,
        "signAlgoParams": None,
        "clientData": None,
    }
    return everything.call("signatures/signHash", body, token, version="v2_2")


def check_values(everything: Whole, response: Any) -> None:
    assert response.status_code == 200, response.text
    values = response.get_json()["signatures"]
    own = everything.people["alice"].credential_id
    shown = everything.call(
        "credentials/info", {"credentialID": own}, service_token(everything)["access_token"], version="v2_2"
    ).get_json()
    key = x509.load_der_x509_certificate(base64.b64decode(shown["cert"]["certificates"][0])).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    for digest, value in zip(digests(), values, strict=True):
        key.verify(base64.b64decode(value), digest, ec.ECDSA(Prehashed(hashes.SHA256())))


def test_the_service_describes_itself_as_the_library_demands(everything: Whole) -> None:
    shown = info(everything)
    assert BASES["v2_2"].endswith("/csc/v2")
    assert shown["specs"] == "2.2.0.0"
    assert not shown["oauth2"].endswith("/")
    assert "oauth2code" in shown["authType"]
    assert shown["supportsRar"] is True
    assert "dtbsr" in shown["supportedHashTypes"]
    for name in ("name", "logo", "region", "lang", "description", "methods", "signAlgorithms", "signature_formats"):
        assert name in shown, name
    assert "conformance_levels" in shown
    # mutually exclusive with it
    assert not {"oauth2Issuer", "oauth2Servers"} & shown.keys()


def test_credentials_are_described_with_every_member_that_it_reads(everything: Whole) -> None:
    token = service_token(everything)["access_token"]
    listed = everything.call("credentials/list", {"credentialInfo": True, "authInfo": True}, token, version="v2_2")
    assert listed.status_code == 200, listed.text
    (own,) = listed.get_json()["credentialIDs"]
    body = {"credentialID": own, "certificates": "chain", "certInfo": True, "authInfo": True, "lang": None}
    for described in (
        everything.call("credentials/info", body, token, version="v2_2").get_json(),
        listed.get_json()["credentialInfos"][0],
    ):
        assert described["auth"]["mode"] == "oauth2code"
        assert "objects" in described["auth"]
        # null for either ends it
        assert described["cert"]["issuerDN"]
        assert described["cert"]["subjectDN"]
        assert described["key"]["status"] == "enabled"
        assert ECDSA_SHA256 in described["key"]["algo"]
        assert described["SCAL"] == "2"
        assert isinstance(described["multisign"], int)


def test_the_token_response_repeats_what_was_approved_and_signs_without_a_sad(everything: Whole) -> None:
    asked = details(everything)
    tokens = approved(everything, scope="credential", authorization_details=json.dumps(asked))
    assert tokens["token_type"] == "Bearer"
    (repeated,) = tokens["authorization_details"]
    for name in ("type", "credentialID", "numSignatures", "hashAlgorithmOID", "documentDigests"):
        assert repeated[name] == asked[0][name], name
    check_values(everything, sign(everything, tokens["access_token"]))


def test_without_rich_requests_hashes_are_base64url_without_padding(everything: Whole) -> None:
    hashes_ = ",".join(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in digests())
    tokens = approved(
        everything,
        scope="credential",
        credentialID=everything.people["alice"].credential_id,
        numSignatures=str(len(DOCUMENTS)),
        hashes=hashes_,
        hashAlgorithmOID=SHA256,
    )
    assert tokens["credentialID"] == everything.people["alice"].credential_id
    check_values(everything, sign(everything, tokens["access_token"]))


def test_a_login_is_asked_for_anew_although_somebody_is_signed_in(everything: Whole) -> None:
    rp, browser = everything.idp.rp(), everything.idp.browser()
    for _ in range(2):
        page = browser.get(pushed(everything, rp, rp.parameters(scope="service", nonce=None, prompt="login")))
        assert 'data-form="sign-in"' in page.text
        everything.sign_in(browser, page, "alice")


@pytest.mark.parametrize("suffix", ["/oauth2/revoke", "/revoke"])
def test_tokens_are_revoked_at_the_paths_that_clients_make(everything: Whole, suffix: str) -> None:
    tokens = service_token(everything)
    rp = everything.idp.rp()
    body = {"token": tokens["access_token"], "token_type_hint": "access_token", "client_id": rp.client_id}
    revoked = rp.post(path(everything, suffix), body)
    assert revoked.status_code in {200, 204}, revoked.text
    everything.idp.clock.advance(6)
    refused = everything.call("credentials/list", {}, tokens["access_token"], version="v2_2")
    assert refused.status_code == 401
