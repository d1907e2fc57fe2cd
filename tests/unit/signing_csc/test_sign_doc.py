"""``signatures/signDoc`` before it reaches the module: what is wrong, in the specification's words."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from tests.documents import blank_pdf
from tests.unit.signing_csc.conftest import Bench

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
        "A document cannot be signed in the requested format",
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
    "unknown property": ({"documents": [stated("Name", "QQ==")]}, "Invalid parameter signed_props"),
    "property no text": ({"documents": [stated("Reason", "/w==")]}, "Invalid parameter signed_props"),
    "property with a line": ({"documents": [stated("Reason", "QQpC")]}, "Invalid parameter signed_props"),
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
    answer = bench.post(METHOD, {"credentialID": "cred-alice", **body}, bench.sad(credential_id="cred-alice"), version)
    assert (answer.status_code, answer.get_json()) == (
        400,
        {"error": "invalid_request", "error_description": words},
    )


def test_DOS_01_a_request_over_the_bound_is_refused_unread(bench: Bench) -> None:
    body = {"credentialID": "cred-alice", "documents": [sent(document="A" * (33 * 1024 * 1024))]}
    answer = bench.post(METHOD, body, bench.sad())
    assert answer.status_code == 413
    assert answer.get_json()["error"] == "invalid_request"


def test_info_tells_the_formats_where_documents_are_signed(bench: Bench) -> None:
    told = bench.post("info", {}).get_json()
    assert told["signature_formats"] == {
        "formats": ["C", "P"],
        "envelope_properties": [["Attached", "Detached"], ["Certification", "Revision"]],
    }
    assert told["conformance_levels"] == ["Ades-B-B"]
    assert METHOD in told["methods"]
