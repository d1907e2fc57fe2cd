"""A person's own device approves in the running product: set up, used for a signature, and nothing goes without it."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256 as SHA256_HASH
from playwright.sync_api import expect

from contract import proof as proofs
from contract import sad as sads
from contract.sad import Sad
from examples import oauth_client
from examples.options import Setting
from foundation.clock import SystemClock, epoch
from foundation.jose import SigningKey, generate_signing_key, import_signing_key, peek_claims
from tests.e2e import test_credential_life as life
from tests.e2e.conftest import NewVisitor, Product
from tests.e2e.test_refusals import SHA256, digest, request
from tests.e2e.visitor import SECONDS, Visitor
from tests.vectors.proof.make import sign

pytestmark = pytest.mark.browser

given, operate = life.given, life.operate
LABEL = "Rental contract.pdf"


class Alice:
    """Somebody at a browser, with one device at hand that makes passkeys."""

    def __init__(self, person: Visitor) -> None:
        self.visitor = person
        self._session = person.context.new_cdp_session(person.page)
        self._session.send("WebAuthn.enable", {"enableUI": False})
        self._at_hand = self._device()

    def take_another(self) -> list[dict[str, Any]]:
        """Another device in place of the one at hand, whose passkeys these are."""
        held: list[dict[str, Any]] = self._session.send(
            "WebAuthn.getCredentials", {"authenticatorId": self._at_hand}
        )["credentials"]
        self._session.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": self._at_hand})
        self._at_hand = self._device()
        return held

    def have_both(self, held: list[dict[str, Any]]) -> None:
        """The passkeys of the device before are at hand again."""
        for passkey in held:
            given = {**passkey, "isResidentCredential": False}
            self._session.send("WebAuthn.addCredential", {"authenticatorId": self._at_hand, "credential": given})

    def _device(self) -> str:
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        return str(self._session.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"])


@pytest.fixture
def alice(visitor: NewVisitor) -> Alice:
    """Somebody with one device."""
    return Alice(visitor())


def ordered(product: Product, alice: Visitor) -> bytes:
    """Set the device up, and order a credential with it."""
    issuer, approving = product.ports.url("idp"), f"http://approve.localhost:{product.ports.of('idp')}"
    alice.page.goto(f"{issuer}/account/credentials")
    alice.at("Sign in")
    alice.sign_in()
    alice.at("Your signing credentials")
    alice.page.get_by_label("Kind of credential").select_option("sole-control")
    alice.form("order-credential").get_by_role("button").click()
    alice.at("Set up your signing device")
    expect(alice.page).to_have_url(f"{approving}/approve")
    assert alice.barriers() == []
    alice.picture("signing-device", everywhere=True)
    alice.form("device").get_by_role("button").click()
    alice.ask_for_code("E-mail")
    alice.type_code(alice.read_code())
    expect(alice.heading).to_have_text("Order a signing credential?")
    expect(alice.page.locator("main")).to_contain_text("Your signing device")
    with alice.page.expect_download(timeout=SECONDS * 1000) as waiting:
        alice.decide("approve")
    return Path(waiting.value.path()).read_bytes()


def replacement(product: Product, devices: Alice) -> bytes:
    """Order that another device takes the first one's place."""
    alice = devices.visitor
    alice.page.goto(f"{product.ports.url('idp')}/account/credentials")
    alice.at("Your signing credentials")
    alice.form("replace-device").get_by_role("button").click()
    alice.at("Set up your signing device")
    held = devices.take_another()
    alice.form("device").get_by_role("button").click()
    alice.at("Put another device in this one's place?")
    devices.have_both(held)
    assert alice.barriers() == []
    alice.form("approve").get_by_role("button").click()
    expect(alice.heading).to_have_text("One more step to prove it is you")
    alice.ask_for_code("E-mail")
    alice.type_code(alice.read_code())
    expect(alice.heading).to_have_text("Put another device in its place?")
    with alice.page.expect_download(timeout=SECONDS * 1000) as waiting:
        alice.decide("approve")
    return Path(waiting.value.path()).read_bytes()


def approved(product: Product, given: Setting, alice: Visitor, credential_id: str, *digests: bytes) -> str:
    """Walk from the relying party's request to its SAD, with the device's approval on the way."""
    metadata = oauth_client.discover(given.http, given.issuer)
    labelled = [(base64.b64encode(each).decode(), LABEL) for each in digests]
    details = oauth_client.credential_details(credential_id, labelled, SHA256, given.csc)
    pending, url = oauth_client.begin_signing(metadata, given.client, details)
    alice.page.goto(url)
    alice.ask_for_code("E-mail")
    alice.type_code(alice.read_code())
    expect(alice.form("consent")).to_be_visible()
    alice.decide("approve")
    # The page that is left has the same heading.
    expect(alice.page).to_have_url(f"http://approve.localhost:{product.ports.of('idp')}/approve")
    alice.at("Example Contracts asks for your signature")
    text = "\n".join(alice.page.locator("[data-line]").all_inner_texts())
    assert LABEL in text
    assert digests[0].hex() in text.replace(" ", "")
    alice.picture("approval", everywhere=True)
    assert alice.barriers() == []
    with alice.page.expect_request("**/callback?*", timeout=SECONDS * 1000) as waiting:
        alice.form("approve").get_by_role("button").click()
    parameters = oauth_client.response_parameters(waiting.value.url)
    # The demo's site did not ask for this itself: it says so at the address to which the code came.
    alice.page.wait_for_load_state("networkidle")
    alice.seen.referrers[:] = [url for url in alice.seen.referrers if "/callback?" not in url]
    token = oauth_client.finish(given.http, metadata, given.client, pending, parameters).access_token
    shown = proofs.from_claim(peek_claims(token)["signer_proof"]).display
    assert shown == hashlib.sha256(text.encode()).digest(), "the device signed for what the page showed"
    return token


def deletion(issuer: str, alice: Visitor, credential_id: str) -> bytes:
    """Order the credential's end: other tests meet the same account."""
    alice.page.goto(f"{issuer}/account/credentials")
    alice.page.get_by_role("button", name=f"Delete {credential_id}").click()
    alice.ask_for_code("E-mail")
    alice.type_code(alice.read_code())
    expect(alice.heading).to_have_text("Delete this credential?")
    with alice.page.expect_download(timeout=SECONDS * 1000) as waiting:
        alice.decide("approve")
    return Path(waiting.value.path()).read_bytes()


def stolen(product: Product) -> SigningKey:
    """The identity provider's key for SADs, as a thief has it."""
    return import_signing_key((product.state / "idp" / "keys" / "activation.pem").read_bytes())


def refusals(product: Product) -> list[dict[str, Any]]:
    """What the module's audit chain says of refused signatures."""
    with sqlite3.connect(f"file:{product.state / 'sam' / 'sam.sqlite'}?mode=ro", uri=True) as connection:
        found = connection.execute(
            "SELECT fields FROM audit_entries WHERE event = 'signature.refused' ORDER BY sequence"
        ).fetchall()
    return [json.loads(fields) for (fields,) in found]


def login_ceremony(sad: Sad, key: SigningKey) -> dict[str, Any]:
    """A proof such as the login's pages could have made, if a login could make one."""
    times = epoch(SystemClock().now())
    blank = proofs.Proof(key.key.thumbprint(), times, times + 300, bytes(32), b"")
    challenge = proofs.challenge_of(proofs.statement_of(sad, blank))
    said = {"type": "webauthn.get", "challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()}
    client_data = json.dumps({**said, "origin": sad.iss, "crossOrigin": False}).encode()
    rp_id = (urlsplit(sad.iss).hostname or "").encode()
    data = hashlib.sha256(rp_id).digest() + bytes([5]) + bytes(4)
    signature = sign(key, data + hashlib.sha256(client_data).digest(), raw=False)
    return proofs.to_claim(replace(blank, signature=signature, webauthn=proofs.WebAuthnParts(client_data, data)))


def test_SAD_09_a_signature_takes_the_persons_own_device_and_a_stolen_key_makes_none(
    product: Product, given: Setting, operate: Callable[..., Any], alice: Alice
) -> None:
    code, made = operate("create", ordered(product, alice.visitor))
    assert (code, made["status"], len(made["proof_keys"])) == (0, "active", 1)
    credential_id = made["credential_id"]

    def redeem(token: str, *wanted: bytes) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {token}"}
        body = request(credential_id, list(wanted))
        answer = given.http.post(f"{given.csc}/signatures/signHash", json=body, headers=headers, timeout=30)
        return answer.status_code, answer.json()

    try:
        # approval page, passkey, signature
        wanted = digest("with my own device")
        token = approved(product, given, alice.visitor, credential_id, wanted)
        status, answer = redeem(token, wanted)
        assert status == 200, answer
        info = given.http.post(
            f"{given.csc}/credentials/info",
            json={"credentialID": credential_id},
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        ).json()
        assert info["soleControl"]["required"] is True
        certificate = x509.load_der_x509_certificate(base64.b64decode(info["cert"]["certificates"][0]))
        public = certificate.public_key()
        assert isinstance(public, EllipticCurvePublicKey)
        public.verify(base64.b64decode(answer["signatures"][0]), wanted, ECDSA(Prehashed(SHA256_HASH())))

        # a thief of the identity provider's key
        key, real = stolen(product), sads.decode(token, [stolen(product).verification_key()])
        now = epoch(SystemClock().now())
        fresh = replace(real, txn=secrets.token_hex(8), jti=secrets.token_hex(8), iat=now, exp=now + 120)
        evidence = tuple(replace(item, at=min(item.at, now)) for item in fresh.evidence)
        fresh = replace(fresh, evidence=evidence, dtbsr=(digest("never approved"),))
        another = generate_signing_key()
        for proof, cause in (
            (None, "proof_missing"),
            # of another transaction: the one that the person did approve
            (real.signer_proof, "invalid_proof"),
            # by another device, and by one under the name of hers, made where people log in
            (login_ceremony(fresh, another), "invalid_proof"),
            ({**login_ceremony(fresh, another), "kid": made["proof_keys"][0]}, "invalid_proof"),
        ):
            forged = sads.encode(replace(fresh, signer_proof=proof, jti=secrets.token_hex(8)), key)
            before = len(refusals(product))
            status, answer = redeem(forged, digest("never approved"))
            assert (status, answer["error_description"]) == (400, "Invalid parameter SAD")
            (told,) = refusals(product)[before:]
            assert (told["code"], told["txn"]) == (cause, fresh.txn)

        # another device takes its place, to which the first one agrees
        code, changed = operate("proof-key", replacement(product, alice))
        assert (code, len(changed["proof_keys"])) == (0, 1)
        assert changed["proof_keys"] != made["proof_keys"]
    finally:
        assert operate("delete", deletion(given.issuer, alice.visitor, credential_id))[0] == 0
