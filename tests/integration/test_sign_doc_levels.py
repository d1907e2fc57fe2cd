"""Levels of ``signDoc`` on real parts, where time-stamping authorities fail or lie."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID
from pyhanko.pdf_utils.reader import PdfFileReader
from werkzeug.test import TestResponse
from werkzeug.wrappers import Request, Response

from devservices import tsa
from devservices.profiles import TSA_POLICY
from devservices.serving import Handler
from devservices.state import read_certificate, read_key, write_certificate
from foundation.clock import SystemClock
from signing.ades.errors import EvidenceMissing
from signing.ades.validate.document import validate
from signing.ades.validate.policy import Circumstances, ValidationPolicy
from signing.csc.certificate_status import CertificateStatus
from signing.scdev.device import Pkcs11Device
from signing.settings import TimestampSettings
from tests.documents import blank_pdf
from tests.fakes.softhsm import make_token
from tests.integration.devservices import running_ca, served
from tests.integration.judged_world import Desk, desk
from tests.integration.test_sign_doc import METHOD, of_alice, refused, sent
from tests.integration.whole_world import Whole, whole
from tests.ports.test_tsa_port import (
    OTHER_IMPRINT,
    Alter,
    altered_answer,
    altered_request,
    answer,
    flipped,
    status,
    without_certificates,
)

pytestmark = pytest.mark.hsm
_READER: Any = PdfFileReader
DOCUMENTS = [blank_pdf(f"(document {number})") for number in range(12)]
NO_STAMP = "No time-stamping authority is available"
NO_EVIDENCE = "No revocation data is available that is fresh enough"


@dataclass
class Authority:
    """A time-stamping authority that a test can corrupt."""

    honest: Handler
    alter: Alter | None = None
    asked: int = 0

    def __call__(self, request: Request) -> Response:
        self.asked += 1
        return self.honest(request) if self.alter is None else self.alter(request, self.honest)


@dataclass
class Site:
    """The product between two authorities."""

    everything: Whole
    first: Authority
    second: Authority
    impostor: Handler
    """One whose certificate is not for time-stamping."""
    sads: dict[str, str] = field(default_factory=dict)

    def sad(self) -> str:
        """One approval of all documents, for the module's tests together: each signs its own."""
        if "alice" not in self.sads:
            self.sads["alice"] = self.everything.document_sad("alice", *DOCUMENTS)
        return self.sads["alice"]

    def post(self, document: bytes, sad: str, **more: Any) -> TestResponse:
        self.everything.web.extensions["privyseal-rssp"].stamper._failed_at.clear()
        body = {"credentialID": of_alice(self.everything), "documents": [sent(document, "P", **more)]}
        return self.everything.call(METHOD, body, sad)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("levels")
    with ExitStack() as stack:
        ca = stack.enter_context(running_ca(directory / "ca"))
        authorities = [Authority(tsa.build(directory / f"tsa{place}", ca.state)) for place in range(2)]
        tables = []
        for authority in authorities:
            url = stack.enter_context(served(authority))
            table = {
                "url": f"{url}/tsa",
                "trust_anchors": [str(ca.state / "root.crt")],
                "egress_allow": [url.removeprefix("http://")],
                "timeout": 3.0,
                "policy": TSA_POLICY.dotted_string,
            }
            tables.append(TimestampSettings("rfc3161", table))
        device = stack.enter_context(Pkcs11Device(make_token(directory / "token")))
        running = stack.enter_context(whole(directory, device, timestamp_authorities=tuple(tables)))
        first, second = authorities
        yield Site(running, first, second, impostor(directory / "impostor", ca.state))


@pytest.fixture(autouse=True)
def honest(site: Site) -> None:
    site.first.alter = site.second.alter = None


def impostor(state: Path, ca_state: Path) -> Handler:
    """Its key is certified by the same root, for TLS clients."""
    tsa.prepare(state, ca_state, SystemClock())
    genuine, root = read_certificate(state / "tsa.crt"), read_certificate(ca_state / "root.crt")
    builder = (
        x509.CertificateBuilder()
        .subject_name(genuine.subject)
        .issuer_name(root.subject)
        .public_key(genuine.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(genuine.not_valid_before_utc)
        .not_valid_after(genuine.not_valid_after_utc)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
    )
    certificate = builder.sign(read_key(ca_state / "root.key"), hashes.SHA256())
    (state / "tsa.crt").unlink()
    write_certificate(state / "tsa.crt", certificate)
    return tsa.TsaHandler(tsa.UnsafeDevelopmentTsa(state, SystemClock()), certificate)


def drip(_request: Request, _inner: Handler) -> Response:
    def octets() -> Iterator[bytes]:
        for _ in range(1200):
            yield b"\x30"
            time.sleep(0.05)

    return Response(octets(), content_type="application/timestamp-reply")


def under_another_policy(request: Request, inner: Handler) -> Response:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tsa, "TSA_POLICY", x509.ObjectIdentifier("2.999.9"))
        return altered_request(req_policy=None)(request, inner)


def check_stamped(answer: TestResponse) -> None:
    """The signature's time-stamp is over its value."""
    assert answer.status_code == 200, answer.get_data(as_text=True)
    (signed,) = answer.get_json()["DocumentWithSignature"]
    (embedded,) = _READER(BytesIO(base64.b64decode(signed))).embedded_regular_signatures
    unsigned = {item["type"].native: item["values"] for item in embedded.signer_info["unsigned_attrs"]}
    info = unsigned["signature_time_stamp_token"][0]["content"]["encap_content_info"]["content"].parsed
    value = embedded.signer_info["signature"].native
    assert info["message_imprint"]["hashed_message"].native == hashlib.sha256(value).digest()


CROOKED: dict[str, Alter] = {
    "nonce": altered_request(nonce=7),
    "imprint": altered_request(message_imprint=OTHER_IMPRINT),
    "policy": under_another_policy,
    "no certificates": altered_answer(without_certificates),
    "signature": altered_answer(flipped),
    "granted with modifications": status("granted_with_mods"),
    "drip": drip,
    "10 MB": answer(200, bytes(10 * 1024 * 1024)),
    "down": answer(500),
}


@pytest.mark.parametrize("case", [*CROOKED, "extended key usage"])
def test_SIG_05_PKI_03_PKI_05_a_stamp_that_is_none_is_not_used_and_the_value_is_not_lost(site: Site, case: str) -> None:
    names = [*CROOKED, "extended key usage"]
    document, alter = DOCUMENTS[names.index(case)], CROOKED.get(case, lambda request, _inner: site.impostor(request))
    # Nobody waits for two that drip.
    site.first.alter, site.second.alter = alter, answer(500) if case == "drip" else alter
    sad, asked = site.sad(), site.second.asked
    refused(site.post(document, sad, conformance_level="Ades-B-T"), 503, "temporarily_unavailable", NO_STAMP)
    # Both were asked.  The SAD is spent for this document, and its value was kept: now the second authority is honest.
    assert site.second.asked == asked + 1
    site.first.alter, site.second.alter = answer(500), None
    told = site.post(document, sad, conformance_level="Ades-B-T")
    check_stamped(told)
    assert "reachedLevels" not in told.get_json()
    refused(site.post(document, sad), 400, "invalid_request", "Invalid parameter SAD")


def test_PKI_05_a_lower_level_is_given_where_the_request_allows_it_and_is_named(site: Site) -> None:
    site.first.alter = site.second.alter = answer(500)
    document, sad = DOCUMENTS[-1], site.sad()
    for lower in (None, False):
        told = site.post(document, sad, conformance_level="Ades-B-T", allow_lower_level=lower)
        refused(told, 503, "temporarily_unavailable", NO_STAMP)
    refused(
        site.post(document, sad, conformance_level="Ades-B-T", allow_lower_level="yes"),
        400,
        "invalid_request",
        "Invalid parameter allow_lower_level",
    )
    # What was kept serves a request that is content with less.
    told = site.post(document, sad, conformance_level="Ades-B-T", allow_lower_level=True)
    assert told.get_json()["reachedLevels"] == {"DocumentWithSignature": ["Ades-B-B"]}
    assert "DocumentWithSignature" in told.get_json()


def test_PKI_05_the_second_authority_stamps_where_the_first_does_not(site: Site) -> None:
    site.first.alter = altered_request(nonce=7)
    told = site.post(DOCUMENTS[-2], site.sad(), conformance_level="Ades-B-T", allow_lower_level=True)
    check_stamped(told)
    assert told.get_json()["reachedLevels"] == {"DocumentWithSignature": ["Ades-B-T"]}


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The product by the real clock, with an authority that says something of certificates."""
    with desk(tmp_path_factory.mktemp("today")) as running:
        yield running


def test_SIG_06_PKI_05_what_cannot_be_made_to_last_now_is_finished_when_it_can(
    today: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_status: object, _certificates: object, _since: object) -> NoReturn:
        raise EvidenceMissing("nobody says anything any more")

    body, sad = today.approved("alice", "Ades-B-LT")
    with monkeypatch.context() as silence:
        # Before anything is spent it is said that she is good; after the stamp nothing is.
        silence.setattr(CertificateStatus, "of", nobody)
        for _time in range(2):
            refused(today.post(body, sad), 503, "temporarily_unavailable", NO_EVIDENCE)
    told = today.post(body, sad)
    assert told.status_code == 200, told.get_data(as_text=True)
    pdf = base64.b64decode(told.get_json()["DocumentWithSignature"][0])
    report = validate(pdf, ValidationPolicy((today.root,)), Circumstances(today.now()))
    assert (report.verdict.indication, report.signatures[0].level) == ("TOTAL_PASSED", "B-LT")
    refused(today.post(body, sad), 400, "invalid_request", "Invalid parameter SAD")
