"""Documents signed over the API on real parts, and judged by openssl and pyHanko."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext
from werkzeug.test import TestResponse

from connectors.ports.status import StatusUnavailable
from devservices import tsa
from foundation.certificates import ocsp
from foundation.certificates.reading import identity
from foundation.files import write_secret
from signing.csc.certificate_status import CertificateStatus
from signing.csc.work import SigningWork
from signing.jobs.runner import Runner
from signing.scdev.device import Pkcs11Device
from signing.settings import JobsSettings, StatusSettings, TimestampSettings
from tests import pki
from tests.documents import blank_pdf
from tests.fakes.sam import ECDSA_SHA256
from tests.fakes.softhsm import make_token
from tests.fakes.status import FakeStatus
from tests.integration.bola_requests import sign_doc
from tests.integration.devservices import running_ca, served
from tests.integration.oidc_world import NOW
from tests.integration.whole_world import Whole, sign_hash, whole

pytestmark = pytest.mark.hsm
METHOD = "signatures/signDoc"
_READER: Any = PdfFileReader


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    directory = tmp_path_factory.mktemp("documents")
    with (
        Pkcs11Device(make_token(directory / "token")) as device,
        served_tsa(directory) as authority,
        whole(directory, device, timestamp_authorities=(authority,), jobs=jobs_in(directory)) as running,
    ):
        yield running


def jobs_in(directory: Path) -> JobsSettings:
    write_secret(directory / "jobs.key", b"k" * 32)
    return JobsSettings(directory / "jobs.key", f"sqlite:///{directory / 'jobs.sqlite'}")


@contextmanager
def served_tsa(directory: Path) -> Iterator[TimestampSettings]:
    """The development time-stamping authority, and the settings for it."""
    with running_ca(directory / "ca") as ca, served(tsa.build(directory / "tsa", ca.state)) as base:
        allowed = [base.removeprefix("http://")]
        table = {"url": f"{base}/tsa", "trust_anchors": [str(ca.state / "root.crt")], "egress_allow": allowed}
        yield TimestampSettings("rfc3161", table)


def of_alice(everything: Whole) -> str:
    return everything.people["alice"].credential_id


def sent(document: bytes, form: str, **more: Any) -> dict[str, Any]:
    return {
        "document": base64.b64encode(document).decode(),
        "signature_format": form,
        "conformance_level": "AdES-B-B",
        "signAlgo": ECDSA_SHA256,
        **more,
    }


def chain(everything: Whole, sad: str, who: str = "alice") -> list[bytes]:
    body = {"credentialID": everything.people[who].credential_id, "certificates": "chain"}
    told = everything.call("credentials/info", body, sad).get_json()["cert"]["certificates"]
    return [base64.b64decode(each) for each in told]


def verdict(pdf: bytes, root: bytes) -> Any:
    context = ValidationContext(trust_roots=[asn1_x509.Certificate.load(root)], allow_fetching=False, moment=NOW)
    signature = _READER(BytesIO(pdf)).embedded_signatures[-1]
    return asyncio.run(async_validate_pdf_signature(signature, context))


def check_cades(signature: bytes, document: bytes | None, root: bytes, directory: Path) -> bytes:
    """What openssl says was signed."""
    (directory / "signature").write_bytes(signature)
    (directory / "root").write_bytes(x509.load_der_x509_certificate(root).public_bytes(Encoding.PEM))
    command = "openssl cms -verify -cades -binary -inform DER -in signature -out out"
    command += f" -CAfile root -purpose any -partial_chain -attime {int(NOW.timestamp())}"
    if document is not None:
        (directory / "document").write_bytes(document)
        command += " -content document"
    subprocess.run(command.split(), cwd=directory, check=True, capture_output=True)
    return (directory / "out").read_bytes()


def refused(answer: TestResponse, status: int, error: str, words: str) -> None:
    assert (answer.status_code, answer.get_json()) == (status, {"error": error, "error_description": words})


@pytest.mark.parametrize("version", ["v2", "v2_2"])
def test_documents_of_both_kinds_are_signed_under_one_approval(everything: Whole, tmp_path: Path, version: str) -> None:
    pdf, text = blank_pdf(), b"What is signed.\r\n"
    sad = everything.document_sad("alice", pdf, text, text + version.encode())
    reason = {"attribute_name": "Reason", "attribute_value": base64.b64encode("Einverstanden, ü".encode()).decode()}
    documents = [
        sent(text, "C", signed_envelope_property="Detached"),
        sent(pdf, "P", signed_envelope_property="Revision", signed_props=[reason]),
        sent(text + version.encode(), "C"),
    ]
    answer = everything.call(METHOD, {"credentialID": of_alice(everything), "documents": documents}, sad, version)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    ((signed,), objects) = (answer.get_json()[name] for name in ("DocumentWithSignature", "SignatureObject"))
    root = chain(everything, sad)[-1]
    detached, attached = map(base64.b64decode, objects)
    assert check_cades(detached, text, root, tmp_path) == text
    assert check_cades(attached, None, root, tmp_path) == text + version.encode()
    made = base64.b64decode(signed)
    assert made.startswith(pdf)
    assert verdict(made, root).bottom_line
    (embedded,) = _READER(BytesIO(made)).embedded_signatures
    assert embedded.sig_object["/Reason"] == "Einverstanden, ü"


def test_a_client_that_keeps_its_documents_gets_detached_signatures(everything: Whole, tmp_path: Path) -> None:
    first, second = b"first", b"second"
    sad = everything.document_sad("alice", first, second)
    token = everything.service_token("alice")
    body = sign_doc(of_alice(everything), first, second)
    answer = everything.call(METHOD, {**body, "SAD": sad}, token)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    root = chain(everything, sad)[-1]
    signatures = [base64.b64decode(each) for each in answer.get_json()["SignatureObject"]]
    assert [check_cades(each, doc, root, tmp_path) for each, doc in zip(signatures, (first, second), strict=True)] == [
        first,
        second,
    ]
    refused(everything.call(METHOD, {**body, "SAD": sad}, token), 400, "invalid_request", "Invalid parameter SAD")


def test_a_stamped_signature_reaches_level_b_t(everything: Whole, tmp_path: Path) -> None:
    pdf, text = blank_pdf(), b"What is stamped.\r\n"
    sad = everything.document_sad("alice", pdf, text)
    documents = [sent(pdf, "P", conformance_level="AdES-B-T"), sent(text, "C", conformance_level="ades-b-t")]
    answer = everything.call(METHOD, {"credentialID": of_alice(everything), "documents": documents}, sad)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    root = chain(everything, sad)[-1]
    assert check_cades(base64.b64decode(answer.get_json()["SignatureObject"][0]), None, root, tmp_path) == text
    made = base64.b64decode(answer.get_json()["DocumentWithSignature"][0])
    (embedded,) = _READER(BytesIO(made)).embedded_signatures
    unsigned = {item["type"].native: item["values"] for item in embedded.signer_info["unsigned_attrs"]}
    imprint = unsigned["signature_time_stamp_token"][0]["content"]["encap_content_info"]["content"].parsed
    value = embedded.signer_info["signature"].native
    assert imprint["message_imprint"]["hashed_message"].native == hashlib.sha256(value).digest()
    assert everything.call("info", {}).get_json()["conformance_levels"] == ["Ades-B-B", "Ades-B-T"]


def prop(name: str, value: bytes) -> dict[str, str]:
    return {"attribute_name": name, "attribute_value": base64.b64encode(value).decode()}


def signed_by(everything: Whole, who: str, sad: str, pdf: bytes, *properties: dict[str, str]) -> TestResponse:
    document = sent(pdf, "P", signed_envelope_property="Revision", signed_props=list(properties))
    body = {"credentialID": everything.people[who].credential_id, "documents": [document]}
    return everything.call(METHOD, body, sad)


def test_SIG_09_who_signs_at_the_same_time_as_another_signs_what_was_approved_and_not_the_others(
    everything: Whole,
) -> None:
    pdf = blank_pdf("(of two)")
    sads = {who: everything.document_sad(who, pdf) for who in ("alice", "bob")}
    other = everything.document_sad("bob", pdf)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda who: signed_by(everything, who, sads[who], pdf), sads))
    assert [answer.status_code for answer in answers] == [200, 200]
    made = [base64.b64decode(answer.get_json()["DocumentWithSignature"][0]) for answer in answers]
    for each in made:
        assert each.startswith(pdf)
        assert len(_READER(BytesIO(each)).embedded_signatures) == 1
    # What alice made is another document than bob approved; once he approves it, his comes after hers.
    assert signed_by(everything, "bob", other, made[0]).status_code == 403
    sad = everything.document_sad("bob", made[0])
    roots = [chain(everything, everything.document_sad(who, b"x"), who)[-1] for who in sads]
    answer = signed_by(everything, "bob", sad, made[0], prop("Box", b"50 700 300 780"), prop("QR", b"x"))
    assert answer.status_code == 200, answer.get_data(as_text=True)
    both = base64.b64decode(answer.get_json()["DocumentWithSignature"][0])
    assert both.startswith(made[0])
    anchors = [asn1_x509.Certificate.load(root) for root in roots]
    context = ValidationContext(trust_roots=anchors, allow_fetching=False, moment=NOW)
    found = _READER(BytesIO(both)).embedded_signatures
    assert [asyncio.run(async_validate_pdf_signature(each, context)).bottom_line for each in found] == [True, True]


def test_many_pdfs_of_one_approval_are_signed_in_one_call(everything: Whole) -> None:
    pdfs = [blank_pdf(f"({number})") for number in range(12)]
    sad = everything.document_sad("alice", *pdfs)
    documents = [sent(pdf, "P", signed_props=[prop("DocMDP", b"3")]) for pdf in pdfs]
    answer = everything.call(METHOD, {"credentialID": of_alice(everything), "documents": documents}, sad)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    made = [base64.b64decode(each) for each in answer.get_json()["DocumentWithSignature"]]
    assert [each.startswith(pdf) for each, pdf in zip(made, pdfs, strict=True)] == [True] * len(pdfs)
    root = chain(everything, sad)[-1]
    assert verdict(made[0], root).bottom_line
    assert verdict(made[-1], root).bottom_line


def test_SAD_09_another_document_than_the_approved_one_is_not_signed(everything: Whole) -> None:
    approved, other = blank_pdf("(approved)"), blank_pdf("(another)")
    sad = everything.document_sad("alice", approved)
    words = "Document or documentDigest does not match authorized hash"
    for document, form in ((other, "P"), (b"other", "C"), (approved + b"\n", "P")):
        body = {"credentialID": of_alice(everything), "documents": [sent(document, form)]}
        refused(everything.call(METHOD, body, sad), 403, "invalid_hash", words)
    body = {"credentialID": of_alice(everything), "documents": [sent(approved, "P"), sent(other, "P")]}
    assert everything.call(METHOD, body, sad).status_code == 403
    # Nothing was begun: what was approved is not spent by a request that asked for more.
    body = {"credentialID": of_alice(everything), "documents": [sent(approved, "P")]}
    assert [everything.call(METHOD, body, sad).status_code for _time in range(2)] == [200, 400]


@pytest.mark.parametrize("version", ["v2", "v2_2"])
def test_documents_are_signed_later_and_fetched(everything: Whole, tmp_path: Path, version: str) -> None:
    pdf, text = blank_pdf(), f"Signed later, {version}.\r\n".encode()
    sad = everything.document_sad("alice", pdf, text)
    documents = [sent(pdf, "P", signed_envelope_property="Revision"), sent(text, "C", conformance_level="Ades-B-T")]
    body = {"credentialID": of_alice(everything), "documents": documents, "operationMode": "A"}
    taken = everything.call(METHOD, body, sad, version)
    assert taken.status_code == 200, taken.text
    polled = {"requestID": taken.get_json()["responseID"]}
    assert everything.call("signatures/signPolling", polled, sad, version).status_code == 202
    rssp = everything.web.extensions["privyseal-rssp"]
    runner = Runner(rssp.jobs.store, SigningWork(rssp), lambda _uri, _job: True, rssp.clock, notice_attempts=1)
    assert runner.step()
    answer = everything.call("signatures/signPolling", polled, sad, version)
    assert answer.status_code == 200, answer.text
    (made,), (signature,) = (answer.get_json()[name] for name in ("DocumentWithSignature", "SignatureObject"))
    root = chain(everything, sad)[-1]
    assert verdict(base64.b64decode(made), root).bottom_line
    assert check_cades(base64.b64decode(signature), None, root, tmp_path) == text
    assert everything.call("signatures/signPolling", polled, sad, version).status_code == 400
    # Both are spent: neither is signed again, now or later.
    assert everything.call(METHOD, {**body, "operationMode": "S"}, sad, version).status_code == 400


def test_SAD_02_a_sad_of_one_kind_of_digest_does_not_serve_for_the_other(everything: Whole) -> None:
    document = b"a document"
    body = {"credentialID": of_alice(everything), "documents": [sent(document, "C")]}
    answer = everything.call(METHOD, body, everything.sad("alice", document))
    assert answer.status_code == 400
    hashed = everything.call(
        "signatures/signHash", sign_hash(of_alice(everything), document), everything.document_sad("alice", document)
    )
    assert hashed.status_code == 400


@contextmanager
def asking(everything: Whole) -> Iterator[FakeStatus]:
    """The service asks this source about certificates."""
    root = everything.authority.root
    source = FakeStatus((pki.Authority(root.certificate, root.key),))
    status = CertificateStatus(source, (root.certificate,), everything.idp.clock, StatusSettings("fake", ()))
    rssp = everything.web.extensions["privyseal-rssp"]
    object.__setattr__(rssp, "evidence", status)
    try:
        yield source
    finally:
        object.__setattr__(rssp, "evidence", None)


def test_SIG_07_a_revoked_or_suspended_certificate_signs_nothing_and_spends_nothing(everything: Whole) -> None:
    document = blank_pdf()
    sad = everything.document_sad("alice", document)
    body = {"credentialID": of_alice(everything), "documents": [sent(document, "P")]}
    leaf = identity(x509.load_der_x509_certificate(chain(everything, sad)[0]))
    with asking(everything) as source:
        for reason, words in ((None, "revoked"), (x509.ReasonFlags.certificate_hold, "suspended")):
            source.revoked = {leaf: reason}
            refused(everything.call(METHOD, body, sad), 400, "invalid_request", f"Signing certificate is {words}")
        source.failure = StatusUnavailable("down")
        answer = everything.call(METHOD, body, sad)
        refused(answer, 503, "temporarily_unavailable", "The status of the signing certificate cannot be told")
        source.failure, source.revoked = None, {}
        assert everything.call(METHOD, body, sad).status_code == 200, "the SAD is as good as before"
        assert everything.call(METHOD, body, sad).status_code == 400


def test_what_validates_a_signature_is_answered_beside_it_where_that_is_asked_for(everything: Whole) -> None:
    document = b"with what validates it"
    sad = everything.document_sad("alice", document)
    item = sent(document, "C", signed_envelope_property="Detached")
    body = {"credentialID": of_alice(everything), "documents": [item], "returnValidationInfo": True}
    refused(everything.call(METHOD, body, sad), 400, "invalid_request", "Invalid parameter returnValidationInfo")
    with asking(everything) as source:
        answer = everything.call(METHOD, body, sad).get_json()
    told = {name: [base64.b64decode(each) for each in der] for name, der in answer["validationInfo"].items()}
    anchor = everything.authority.root.certificate.public_bytes(Encoding.DER)
    assert told["certificates"] == [chain(everything, sad)[0], anchor]
    (said,) = told["ocsp"]
    leaf, issuer = map(x509.load_der_x509_certificate, told["certificates"])
    assert ocsp.judge(said, ocsp.Asked(leaf, issuer, None), source.this_update) > source.this_update
    assert told["crl"] == []
    assert "SignatureObject" in answer
