"""Tokens and SADs bound to a client's certificate (RFC 8705), with the shipped nginx in front of idp and API."""

from __future__ import annotations

import base64
import json
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from foundation.dpop import make_proof
from foundation.files import write_secret
from foundation.jose import encode_base64url, generate_signing_key, peek_claims
from idp.certificate_settings import MutualTlsSettings
from idp.oidc.client import EXTENSION_GRANT, Registration
from idp.storage import clients
from signing.settings import MutualTlsSettings as WebMutualTls
from tests import pki
from tests.fakes.device import FakeDevice
from tests.integration.answering_authority import answering
from tests.integration.nginx_site import (
    MTLS,
    SECRET,
    SIGN,
    SIGN_MTLS,
    Answered,
    Site,
    header_of,
    nginx,
    write_nginx,
)
from tests.integration.oidc_world import ISSUER, NOW, REDIRECT_URI, RelyingParty, answer
from tests.integration.whole_world import Whole, sign_hash, whole
from tests.pki import Issued, Leaf
from tests.sockets import free_port

CLIENT = "certified"
DOCUMENT = b"a document"


@dataclass
class Front:
    """nginx, and what is behind it."""

    site: Site
    whole: Whole
    own: Issued
    """The client's certificate."""
    other: Issued

    def token(self, form: dict[str, str], issued: Issued | None, host: str = MTLS, **headers: str) -> Answered:
        """A token request through nginx."""
        url = f"https://{host}:{self.site.port}/oauth2/token"
        return self.site.ask("POST", url, form, issued=issued, headers={**self.rp().basic, **headers})

    def rp(self) -> RelyingParty:
        return self.whole.idp.rp(CLIENT)

    def redeem(self, rp: RelyingParty, code: str, issued: Issued | None, **headers: str) -> Answered:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
        return self.token({**form, "code_verifier": rp.verifier}, issued, **headers)

    def code(self, *documents: bytes) -> tuple[RelyingParty, str]:
        """A person approves signatures; the code for it, and who asked."""
        rp, browser = self.rp(), self.whole.idp.browser()
        asked = rp.signing(*documents, credentialID=self.whole.people["alice"].credential_id)
        page = self.whole.sign_in(browser, browser.get(rp.pushed_url(asked)), "alice")
        return rp, answer(browser.approve(browser.step_up(page)))["code"]

    def sad(self, *documents: bytes) -> str:
        """A SAD that is bound to the client's certificate."""
        given = self.redeem(*self.code(*documents), self.own)
        assert given.status == 200, given.text
        return str(json.loads(given.text)["access_token"])

    def call(self, method: str, token: str, body: Any, issued: Issued | None, **more: Any) -> Answered:
        """Call the API through nginx."""
        host, headers = more.pop("host", SIGN_MTLS), {"Authorization": f"Bearer {token}", **more}
        url = f"https://{host}:{self.site.port}/csc/v2/{method}"
        return self.site.ask("POST", url, posted=body, issued=issued, headers=headers)

    def sign(self, sad: str, issued: Issued | None, *documents: bytes, **more: Any) -> Answered:
        own = self.whole.people["alice"].credential_id
        return self.call("signatures/signHash", sad, sign_hash(own, *(documents or (DOCUMENT,))), issued, **more)


def thumbprint(issued: Issued) -> str:
    return encode_base64url(issued.certificate.fingerprint(SHA256()))


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    directory, now = tmp_path_factory.mktemp("mtls"), datetime.now(UTC)  # noqa: TID251 - nginx has a real clock
    secret = directory / "proxy.secret"
    write_secret(secret, SECRET.encode())
    port = free_port()
    identity = {
        "trusted_proxies": ("127.0.0.1",),
        "mutual_tls": MutualTlsSettings(f"https://{MTLS}:{port}", secret),
    }
    other = pki.authority("Authority of clients", at=now).issue(Leaf(begin=now - pki.DAY, end=now + pki.DAY))
    with ExitStack() as stack:
        behind = whole(directory, FakeDevice(), identity=identity, mutual_tls=WebMutualTls(("127.0.0.1",), secret))
        everything = stack.enter_context(behind)
        register(everything)
        ports = [urlsplit(url).port or 0 for url in (everything.idp_url, everything.web_url)]
        people, servers = pki.authority("People", at=now), pki.authority("Servers", at=now)
        responder = stack.enter_context(answering())
        # nginx as nobody reads a directory of its own.
        outside = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nginx-")))
        made = Site(outside, port, ports[0], people, servers, responder, now, ports[1])
        (outside / "nginx").mkdir()
        write_nginx(made, outside / "nginx")
        stack.enter_context(nginx(made, outside / "nginx"))
        yield Front(made, everything, self_signed(now), other)


def self_signed(now: datetime) -> Issued:
    """A certificate that nobody else issued, as RFC 8705 2.2 has them."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), pki.name("A client")
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - pki.DAY).not_valid_after(now + pki.DAY)
    return Issued(builder.sign(key, SHA256()), key)


def register(everything: Whole) -> None:
    registration = Registration(
        CLIENT,
        "Certified Party",
        "client_secret_basic",
        redirect_uris=(REDIRECT_URI,),
        scopes=("openid", "service", "credential"),
        grant_types=("authorization_code", "refresh_token", "client_credentials", EXTENSION_GRANT),
        tls_client_certificate_bound_access_tokens=True,
    )
    with everything.idp.engine.begin() as connection:
        _, secret = clients.create(connection, registration, NOW, secrets.token_bytes)
    everything.idp.secrets[CLIENT] = secret or ""


def test_SAD_14_a_sad_signs_over_the_connection_of_the_certificate_to_which_it_is_bound(front: Front) -> None:
    sad = front.sad(DOCUMENT)
    assert peek_claims(sad)["cnf"] == {"x5t#S256": thumbprint(front.own)}
    assert front.whole.idp.events("sad.issued")[-1]["bound_to"] == thumbprint(front.own)
    told = front.whole.idp.rp("csc").introspect(sad)
    assert (told["token_type"], told["cnf"]) == ("Bearer", {"x5t#S256": thumbprint(front.own)})
    signed = front.sign(sad, front.own)
    assert signed.status == 200, signed.text
    assert len(json.loads(signed.text)["signatures"]) == 1


def test_SAD_14_nobody_else_signs_with_it(front: Front) -> None:
    sad = front.sad(DOCUMENT)
    spoofed = {"Client-Cert": header_of(front.own), "X-Privyseal-Proxy": SECRET}
    for issued, more in (
        (None, {}),
        (front.other, {}),
        # What a client writes itself never gets past nginx, beside a certificate or without one.
        (None, spoofed),
        (front.other, spoofed),
        (None, {**spoofed, "host": SIGN}),
        (front.own, {"host": SIGN}),
    ):
        refused = front.sign(sad, issued, **more)
        assert (refused.status, json.loads(refused.text)["error"]) == (401, "invalid_token")
    # Past nginx its secret is missing, or it comes with two.
    body = sign_hash(front.whole.people["alice"].credential_id, DOCUMENT)
    url = f"{front.whole.web_url}/csc/v2/signatures/signHash"
    for secret in ({}, {"X-Privyseal-Proxy": SECRET[:-1]}, {"X-Privyseal-Proxy": ""}):
        headers = {"Authorization": f"Bearer {sad}", "Client-Cert": header_of(front.own), **secret}
        past = requests.post(url, json=body, headers=headers, timeout=20)
        assert (past.status_code, past.json()["error"]) == (401, "invalid_token")
    assert front.sign(sad, front.own).status == 200


def test_OAU_09_a_service_token_is_shown_with_its_certificate(front: Front) -> None:
    rp, browser = front.rp(), front.whole.idp.browser()
    page = front.whole.sign_in(browser, browser.get(rp.url()), "alice")
    given = json.loads(front.redeem(rp, answer(page)["code"], front.own).text)
    token, sad = given["access_token"], front.sad(DOCUMENT)
    assert given["token_type"] == "Bearer"
    assert peek_claims(token)["cnf"] == {"x5t#S256": thumbprint(front.own)}
    assert front.call("credentials/list", token, {}, front.own).status == 200
    for issued in (None, front.other):
        refused = front.call("credentials/list", token, {}, issued)
        assert (refused.status, json.loads(refused.text)["error"]) == (401, "invalid_token")
    # One connection, one certificate: it serves for the token of the header and for the SAD.
    own = front.whole.people["alice"].credential_id
    body = {**sign_hash(own, DOCUMENT), "SAD": sad}
    assert front.call("signatures/signHash", token, body, front.other).status == 401
    assert front.call("signatures/signHash", token, body, front.own).status == 200
    plain = front.whole.service_token("alice", "example-contracts")
    for bearer in (plain, token):
        # Of another client, or of this one over a connection without it: the SAD stays its client's.
        other = front.call("signatures/signHash", bearer, {**body, "SAD": front.sad(DOCUMENT)}, front.other)
        assert other.status in {400, 401}
    assert front.call("credentials/list", plain, {}, front.other).status == 200
    for issued, status in ((front.own, 200), (front.other, 401), (None, 401)):
        url = f"https://{MTLS}:{front.site.port}/oauth2/userinfo"
        headers = {"Authorization": f"Bearer {token}"}
        assert front.site.ask("GET", url, issued=issued, headers=headers).status == status
    refreshing = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}
    assert front.token(refreshing, None).status == 400
    assert front.token(refreshing, front.own).status == 200


def test_SAD_14_a_successor_keeps_the_binding(front: Front) -> None:
    own, sad = front.whole.people["alice"].credential_id, front.sad(DOCUMENT)
    body = {"credentialID": own}
    for issued in (None, front.other):
        assert front.call("credentials/extendTransaction", sad, body, issued).status == 401
    given = front.call("credentials/extendTransaction", sad, body, front.own)
    successor = str(json.loads(given.text)["SAD"])
    assert peek_claims(successor)["cnf"] == {"x5t#S256": thumbprint(front.own)}
    assert front.sign(successor, front.other).status == 401
    # Its client may ask the identity provider itself, over a connection with that certificate.
    form = {"grant_type": EXTENSION_GRANT, "sad": successor}
    for issued in (None, front.other):
        assert front.token(form, issued).status == 400
    third = json.loads(front.token(form, front.own).text)
    assert third["token_type"] == "Bearer"
    assert front.sign(third["access_token"], front.own).status == 200


def test_OAU_09_a_client_that_is_registered_for_it_gets_nothing_without_its_certificate(front: Front) -> None:
    form = {"grant_type": "client_credentials"}
    spoofed = {"Client-Cert": header_of(front.own), "X-Privyseal-Proxy": SECRET}
    refused = [
        front.token(form, None),
        front.token(form, None, **spoofed),
        front.token(form, front.own, host="idp.localhost"),
        front.token(form, None, host="idp.localhost", **spoofed),
    ]
    for response in refused:
        assert (response.status, json.loads(response.text)["error"]) == (400, "invalid_request")
    # Whoever comes past nginx, under the right name, needs its secret.
    for secret in ({}, {"X-Privyseal-Proxy": SECRET[:-1]}):
        headers = {"Host": f"{MTLS}:{front.site.port}", "Client-Cert": header_of(front.own), **secret}
        url = f"{front.whole.idp_url}/oauth2/token"
        past = requests.post(url, data=form, headers={**front.rp().basic, **headers}, timeout=20)
        assert (past.status_code, past.json()["error"]) == (400, "invalid_request")
    key, clock = generate_signing_key(), front.whole.idp.clock
    proof = make_proof(key, method="POST", uri=f"{ISSUER}/oauth2/token", jti="one", now=clock.now())
    assert front.token(form, front.own, DPoP=proof).status == 400
    assert front.token(form, front.own).status == 200


def test_a_client_that_is_not_registered_for_it_gets_bearer_tokens_there_too(front: Front) -> None:
    other = front.whole.idp.rp("other")
    url = f"https://{MTLS}:{front.site.port}/oauth2/token"
    form = {"grant_type": "client_credentials"}
    given = json.loads(front.site.ask("POST", url, form, issued=front.own, headers=other.basic).text)
    assert "cnf" not in peek_claims(given["access_token"])


def test_the_hosts_with_certificates_serve_the_endpoints_of_the_metadata_and_nothing_else(front: Front) -> None:
    said = json.loads(front.site.ask("GET", f"{front.site.issuer}/.well-known/openid-configuration").text)
    assert said["tls_client_certificate_bound_access_tokens"] is True
    aliases = said["mtls_endpoint_aliases"]
    assert aliases["token_endpoint"] == f"https://{MTLS}:{front.site.port}/oauth2/token"
    for name, url in aliases.items():
        assert url.partition("/oauth2/")[2] == said[name].partition("/oauth2/")[2]
        assert front.site.ask("POST", url, {}).status in {400, 401}
    for path in ("/", "/account/", "/oauth2/authorize", "/oauth2/jwks", "/certificate"):
        assert front.site.ask("GET", f"https://{MTLS}:{front.site.port}{path}").status == 404
        # The service says so itself, whatever the server in front lets through.
        headers = {"Host": f"{MTLS}:{front.site.port}"}
        assert requests.get(f"{front.whole.idp_url}{path}", headers=headers, timeout=20).status_code == 404


def test_a_certificate_header_that_cannot_be_read_is_none(front: Front) -> None:
    url = f"{front.whole.idp_url}/oauth2/token"
    good = header_of(front.own)
    for value in ("too-long", good[:-1], f":{base64.b64encode(b'no certificate').decode()}:", f"{good}, {good}"):
        headers = {"Host": f"{MTLS}:{front.site.port}", "Client-Cert": value, "X-Privyseal-Proxy": SECRET}
        form = {"grant_type": "client_credentials"}
        refused = requests.post(url, data=form, headers={**front.rp().basic, **headers}, timeout=20)
        assert refused.status_code == 400
