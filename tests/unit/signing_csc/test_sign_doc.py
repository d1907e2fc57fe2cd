"""``signatures/signDoc`` before it reaches the module: what is wrong, in the specification's words."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from contract.confirmation import Confirmation
from contract.sad import encode
from foundation.jose import SigningKey, generate_signing_key
from signing.ades import pades
from signing.csc.call import MAX_BODY
from signing.link.messages import CredentialView
from tests.documents import blank_pdf
from tests.unit.signing_csc.conftest import SAD_KEY, Bench
from tests.unit.signing_csc.test_binding import KEY, ask
from tests.unit.signing_csc.test_credentials import whole_sad

pytestmark = pytest.mark.loopback
METHOD = "signatures/signDoc"
DIGEST = base64.b64encode(hashlib.sha256(b"document").digest()).decode()
ECDSA = "1.2.840.10045.4.3.2"
RSA = "1.2.840.113549.1.1.1"
SHA512 = "2.16.840.1.101.3.4.2.3"
PDF = base64.b64encode(blank_pdf()).decode()


def kept(**changes: Any) -> dict[str, Any]:
    return {"hashes": [DIGEST], "signature_format": "C", "signAlgo": ECDSA} | changes


def sent(**changes: Any) -> dict[str, Any]:
    return {"document": PDF, "signature_format": "P", "signAlgo": ECDSA} | changes


def stated(name: object, value: object) -> dict[str, Any]:
    return sent(signed_props=[{"attribute_name": name, "attribute_value": value}])


def sad_over(bench: Bench, *documents: bytes, key: SigningKey = SAD_KEY, **changes: Any) -> str:
    """Without documents: over whatever one likes."""
    digests = tuple(hashlib.sha256(document).digest() for document in documents)
    count = max(1, len(digests))
    return encode(whole_sad(bench, dtbsr=digests, sign_count=count, hash_type="sdr", **changes), key)


MISSING = "Missing (or invalid type) string parameter {}"
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "neither": ({}, "Empty documentDigests and documents objects"),
    "both empty": ({"documents": [], "documentDigests": []}, "Empty documentDigests and documents objects"),
    "both": (
        {"documents": [sent()], "documentDigests": [kept()]},
        "Both documentDigests and documents parameters passed",
    ),
    "documents no array": ({"documents": "x"}, "Invalid array parameter documents"),
    "documents of texts": ({"documents": ["x"]}, "Invalid array parameter documents"),
    "digests no array": ({"documentDigests": {"hashes": []}}, "Invalid object parameter documentDigests"),
    "no hashes": ({"documentDigests": [kept(hashes=[])]}, "Invalid object parameter documentDigests"),
    "hashes no base64": ({"documentDigests": [kept(hashes=["*"])]}, "Invalid Base64 hashes string parameter"),
    "hash too short": ({"documentDigests": [kept(hashes=["AAAA"])]}, "Invalid digest value length"),
    "document no base64": ({"documents": [sent(document="*")]}, "Invalid Base64 documents string parameter"),
    "document missing": ({"documents": [sent(document=None)]}, MISSING.format("document")),
    "no PDF": (
        {"documents": [sent(document=base64.b64encode(b"text").decode())]},
        "A document cannot be signed in the requested format: the document is not a PDF",
    ),
    "signAlgo missing": ({"documents": [sent(signAlgo=None)]}, MISSING.format("signAlgo")),
    "signAlgo no OID": ({"documents": [sent(signAlgo="ecdsa")]}, "Invalid parameter signAlgo"),
    "two algorithms": (
        {"documentDigests": [kept(), kept(signAlgo="1.2.840.113549.1.1.11")]},
        "Invalid parameter signAlgo",
    ),
    "no hash function": ({"documents": [sent(signAlgo=RSA)]}, MISSING.format("hashAlgorithmOID")),
    "unknown hash function": ({"documents": [sent(hashAlgorithmOID="1.2.3")]}, "Invalid parameter hashAlgorithmOID"),
    "contradiction": (
        {"documents": [sent(hashAlgorithmOID=SHA512)]},
        "String parameter hashAlgorithmOID contradicts with signAlgo parameter",
    ),
    "format missing": ({"documents": [sent(signature_format=None)]}, MISSING.format("signature_format")),
    "format unknown": ({"documents": [sent(signature_format="Q")]}, "Invalid parameter signature_format"),
    "PDF by digest": ({"documentDigests": [kept(signature_format="P")]}, "Invalid parameter signature_format"),
    "level": ({"documents": [sent(conformance_level="Ades-B-LTA")]}, "Invalid parameter conformance_level"),
    "envelope": (
        {"documents": [sent(signed_envelope_property="Attached")]},
        "Invalid parameter signed_envelope_property",
    ),
    "attached by digest": (
        {"documentDigests": [kept(signed_envelope_property="Attached")]},
        "Invalid parameter signed_envelope_property",
    ),
    "unknown property": ({"documents": [stated("Name", "QQ==")]}, "Invalid parameter signed_props (Name)"),
    "property no text": ({"documents": [stated("Reason", "/w==")]}, "Invalid parameter signed_props (Reason)"),
    "property with a line": ({"documents": [stated("Reason", "QQpC")]}, "Invalid parameter signed_props (Reason)"),
    "properties": (
        {"documents": [sent(signed_props=[{"attribute_name": name} for name in ("Reason", "x", "Name", "Reason")])]},
        "Invalid parameter signed_props (Reason, Name)",
    ),
    "page no number": ({"documents": [stated("Page", "MA==")]}, "Invalid parameter signed_props (Page)"),
    "box of three": ({"documents": [stated("Box", "MSAyIDM=")]}, "Invalid parameter signed_props (Box)"),
    "box of no numbers": ({"documents": [stated("Box", "MSAyIG5hbiBpbmY=")]}, "Invalid parameter signed_props (Box)"),
    "permissions": ({"documents": [stated("DocMDP", "NA==")]}, "Invalid parameter signed_props (DocMDP)"),
    "permissions of an approval": (
        {"documents": [{**stated("DocMDP", "Mg=="), "signed_envelope_property": "Revision"}]},
        "Invalid parameter signed_props (DocMDP)",
    ),
    "code of two lines": ({"documents": [stated("QR", "QQpC")]}, "Invalid parameter signed_props (QR)"),
    "picture too large": (
        {"documents": [stated("Image", base64.b64encode(bytes(1024 * 1024 + 1)).decode())]},
        "Invalid parameter signed_props (Image)",
    ),
    "picture none": ({"documents": [stated("Image", "QQ==")]}, "Invalid parameter signed_props (Image)"),
    "text without a place": ({"documents": [stated("Text", "QQ==")]}, "Invalid parameter signed_props (Text)"),
    "page without a box": ({"documents": [stated("Page", "MQ==")]}, "Invalid parameter signed_props (Page)"),
    "name of no field": ({"documents": [stated("FieldName", "YS5i")]}, "Invalid parameter signed_props (FieldName)"),
    "property of a CMS": (
        {"documents": [{**stated("Reason", "QQ=="), "signature_format": "C"}]},
        "Invalid parameter signed_props (Reason)",
    ),
    "property no name": ({"documents": [stated(1, "QQ==")]}, "Invalid parameter signed_props"),
    "asynchronous": ({"documents": [sent()], "operationMode": "A"}, "Invalid parameter operationMode"),
    "validation info": (
        {"documents": [sent()], "returnValidationInfo": True},
        "Invalid parameter returnValidationInfo",
    ),
    "too many": ({"documentDigests": [kept(hashes=[DIGEST] * 101)]}, "Invalid object parameter documentDigests"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("version", ["v2", "v2_2"])
def test_what_is_wrong_is_told_in_the_specifications_words(bench: Bench, version: str, case: str) -> None:
    body, words = REFUSED[case]
    answer = bench.post(METHOD, {"credentialID": "cred-alice", **body}, sad_over(bench), version)
    assert (answer.status_code, answer.get_json()) == (
        400,
        {"error": "invalid_request", "error_description": words},
    )


def test_DOS_01_a_request_over_the_bound_is_refused_unread(bench: Bench) -> None:
    body = {"credentialID": "cred-alice", "documents": [sent(document="A" * (33 * 1024 * 1024))]}
    answer = bench.post(METHOD, body, bench.sad())
    assert answer.status_code == 413
    assert answer.get_json()["error"] == "invalid_request"


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The documents into which anybody looked."""
    seen: list[bytes] = []
    prepare = pades.prepare

    def looked(document: bytes, *args: Any, **options: Any) -> Any:
        seen.append(document)
        return prepare(document, *args, **options)

    monkeypatch.setattr(pades, "prepare", looked)
    return seen


@pytest.mark.parametrize("credential", ["cred-alice", "cred-bob", "cred-nobody"])
@pytest.mark.parametrize("form", ["P", "C"])
def test_DOS_01_OAU_17_for_whoever_made_a_sad_up_no_document_is_looked_into_and_no_credential_for(
    bench: Bench, prepared: list[bytes], credential: str, form: str
) -> None:
    body = {"credentialID": credential, "documents": [sent(signature_format=form)]}
    made_up = sad_over(bench, key=generate_signing_key(), credential_id=credential)
    answer = bench.post(METHOD, body, made_up)
    assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_token")
    answer = bench.post(METHOD, {**body, "SAD": made_up}, bench.service_token())
    assert (answer.status_code, answer.get_json()["error_description"]) == (400, "Invalid parameter SAD")
    assert prepared == []


def test_DOS_01_SAD_04_a_document_that_was_not_approved_is_not_looked_into(
    bench: Bench, prepared: list[bytes]
) -> None:
    body, pdf = {"credentialID": "cred-alice", "documents": [sent()]}, base64.b64decode(PDF)
    answer = bench.post(METHOD, body, sad_over(bench, b"another document"))
    assert (answer.status_code, answer.get_json()["error"]) == (403, "invalid_hash")
    assert prepared == []
    answer = bench.post(METHOD, {**body, "credentialID": "cred-bob"}, sad_over(bench, pdf))
    assert answer.get_json()["error_description"] == "Invalid parameter credentialID"
    assert prepared == []
    bench.post(METHOD, body, sad_over(bench, pdf))
    assert prepared == [pdf]


@pytest.mark.parametrize("kind", ["sad", "service"])
def test_DOS_01_a_strangers_request_is_not_read_beyond_what_any_method_takes(bench: Bench, kind: str) -> None:
    def post(token: str, octets: int) -> int:
        answer = bench.client.post(
            f"/csc/v2/{METHOD}",
            data=b"no JSON".ljust(octets),
            content_type="application/json",
            headers={"Authorization": f"Bearer {token}"},
        )
        return answer.status_code

    stranger = generate_signing_key()
    good = sad_over(bench) if kind == "sad" else bench.service_token()
    made_up = sad_over(bench, key=stranger) if kind == "sad" else bench.service_token(stranger)
    # 400: somebody looked into it.
    assert (post(good, MAX_BODY + 1), post(made_up, MAX_BODY + 1)) == (400, 401)
    assert post(made_up, MAX_BODY) == 400


def test_info_tells_the_formats_where_documents_are_signed(bench: Bench) -> None:
    told = bench.post("info", {}).get_json()
    assert told["signature_formats"] == {
        "formats": ["C", "P"],
        "envelope_properties": [["Attached", "Detached"], ["Certification", "Revision"]],
    }
    assert told["conformance_levels"] == ["Ades-B-B"]
    assert METHOD in told["methods"]


@pytest.mark.parametrize("forms", ["PP", "PC", "CC", "P"])
def test_SAD_14_one_proof_serves_for_all_documents_of_a_request(
    bench: Bench, prepared: list[bytes], forms: str
) -> None:
    sad = sad_over(bench, cnf=Confirmation("jkt", KEY.kid))
    documents = [sent(signature_format=form) for form in forms]
    told = ask(bench, METHOD, sad, {"credentialID": "cred-alice", "documents": documents}).get_json()
    # The played module refuses every SAD; it is asked once.
    assert told["error_description"] == "Invalid parameter SAD"
    assert len(prepared) == forms.count("P")
    assert bench.sam.asked_for_documents == [len(forms)]


def test_a_credentials_certificates_are_asked_for_once(
    bench: Bench, prepared: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    credential, asked = bench.sam.credential, list[str]()

    def counted(credential_id: str) -> CredentialView:
        asked.append(credential_id)
        return credential(credential_id)

    monkeypatch.setattr(bench.sam, "credential", counted)
    body, pdf = {"credentialID": "cred-alice", "documents": [sent()]}, base64.b64decode(PDF)
    for _ in range(2):
        bench.post(METHOD, body, sad_over(bench, pdf))
    assert (asked, prepared) == (["cred-alice"], [pdf, pdf])
    # Whether it may sign is the module's to say, each time.
    assert bench.sam.asked_for_documents == [1, 1]
