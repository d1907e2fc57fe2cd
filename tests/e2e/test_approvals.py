"""Out of band on the running product: an application asks over the CSC API, the person approves in Chromium."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from playwright.sync_api import expect

from examples import csc_client
from examples.options import Setting
from tests.e2e.conftest import NewVisitor, Product
from tests.e2e.test_refusals import SHA256, Act, act, digest, given, request, signed_in

__all__ = ["act", "given"]
pytestmark = pytest.mark.browser
MESSAGE = "Flat 12, order 4711"
WAITING = "Waiting for your approval"
DOCUMENTS = ("the rental contract", "its annex")


def test_a_person_who_is_nowhere_near_the_application_approves_and_both_documents_are_signed(
    product: Product,
    given: Setting,
    act: Act,
    visitor: NewVisitor,
) -> None:
    token = signed_in(given)
    credential_id = csc_client.list_credentials(given.http, given.csc, token)[0]
    digests = [digest(text) for text in DOCUMENTS]
    asked = {
        "credentialID": credential_id,
        "numSignatures": 2,
        "hashes": [base64.b64encode(item).decode() for item in digests],
        "hashAlgorithmOID": SHA256,
        "description": MESSAGE,
    }
    status, answer = act("credentials/authorize", asked, token)
    assert status == 202, answer
    handle = answer["handle"]
    assert act("credentials/authorizeCheck", {"handle": handle}, token) == (202, {"handle": handle})

    person = visitor(scripts=False)
    person.page.goto(f"{product.ports.url('idp')}/account/approvals")
    person.sign_in()
    person.at(WAITING)
    person.page.get_by_role("link", name="Example Contracts asks for your signature on 2 documents").first.click()
    person.at("Example Contracts asks for your signature on 2 documents")
    person.form("open").get_by_role("button").click()
    person.ask_for_code("E-mail")
    person.type_code(person.read_code())
    person.at("Example Contracts asks for your signature")
    shown = person.page.locator("main")
    expect(shown).to_contain_text(MESSAGE)
    for item in digests:
        expect(person.page.locator(f'[data-digest="{item.hex()}"]')).to_be_visible()
    person.decide("approve")
    person.at("Example Contracts asks for your signature on 2 documents")
    expect(person.page.get_by_role("status")).to_contain_text("has not fetched it yet")

    status, answer = act("credentials/authorizeCheck", {"handle": handle}, token)
    assert status == 200, answer
    status, signed = act("signatures/signHash", request(credential_id, digests, SAD=answer["SAD"]), token)
    assert status == 200, signed
    info = act("credentials/info", {"credentialID": credential_id, "certificates": "single"}, token)[1]
    assert info["SCAL"] == "2"
    key = x509.load_der_x509_certificate(base64.b64decode(info["cert"]["certificates"][0])).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    for text, value in zip(DOCUMENTS, signed["signatures"], strict=True):
        key.verify(base64.b64decode(value), text.encode(), ec.ECDSA(hashes.SHA256()))
    assert act("credentials/authorizeCheck", {"handle": handle}, token)[0] == 400, "once"
