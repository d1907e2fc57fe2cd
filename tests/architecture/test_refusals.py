"""No text of the API's refusals is without a request that provokes it, in the code as in the specification."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.architecture.source import ROOT
from tests.unit.signing_csc.refusals import CASES, ELSEWHERE

API: Final = ROOT / "signing" / "csc"
TEXTS: Final = API / "errors.py"
PROVOKED: Final = frozenset(case.words for case in CASES)

SPECIFICATION: Final = (
    # CSC API 2.0.0.2 and 1.0.4.0, clause 10.1 and those of auth/*
    "Malformed authorization header",
    "The user or Remote Service denied the request.",
    "Malformed authentication parameter",
    "Malformed username-password",
    "Invalid string parameter: refresh_token",
    "Invalid refresh_token",
    "An error occurred during authentication process",
    # credentials/*
    "Missing (or invalid type) string parameter credentialID",
    "Invalid parameter credentialID",
    "Invalid parameter userID",
    "Invalid parameter certificates",
    "userID parameter MUST be null",
    "Invalid parameter lang",
    "Invalid parameter clientData",
    # credentials/authorize
    "The credential identified by credentialID is disabled",
    "Missing (or invalid type) integer parameter numSignatures",
    "Invalid value for parameter numSignatures",
    "Numbers of signatures is too high",
    "The authentication data is invalid",
    "Credential locked",
    "Invalid parameter authObjectID",
    # the same in version 1
    "The PIN is invalid",
    "PIN locked",
    "The OTP is invalid",
    "OTP locked",
    "Invalid parameter PIN",
    "Invalid parameter OTP",
    # signatures/signHash
    "Missing (or invalid type) string parameter SAD",
    "Invalid parameter SAD",
    "SAD expired",
    "Missing (or invalid type) array parameter hash",
    "Empty hash array",
    "Invalid Base64 hash string parameter",
    "Invalid digest value length",
    "Hash is not authorized by the SAD",
    "Missing (or invalid type) string parameter signAlgo",
    "Invalid parameter signAlgo",
    "Missing (or invalid type) string parameter signAlgoParams",
    "Missing (or invalid type) string parameter hashAlgorithmOID",
    "Invalid parameter hashAlgorithmOID",
    "Signing certificate 'O=Example,CN=Alice Example' is expired",
    "Invalid parameter operationMode",
    "Invalid parameter validity_period",
    "Invalid parameter response_uri",
    "Out of bounds parameter validity_period",
    # signatures/signDoc
    "Empty documentDigests and documents objects",
    "Both documentDigests and documents parameters passed",
    "Invalid object parameter documentDigests",
    "Invalid array parameter documents",
    "Invalid Base64 hashes string parameter",
    "Invalid Base64 documents string parameter",
    "documentDigests or documents are not authorized by the SAD",
    "String parameter hashAlgorithmOID contradicts with signAlgo parameter",
    "Missing (or invalid type) string parameter signature_format",
    "Invalid parameter signature_format",
    "Invalid parameter conformance_level",
    "Invalid parameter signed_envelope_property",
    "Invalid parameter signed_props (SignerRoleV2)",
    "Signing certificate is expired",
    "Document or documentDigest does not match authorized hash",
    # signatures/signPolling, signatures/timestamp
    "The previous async request has been accepted but not yet completed",
    "Missing (or invalid type) string parameter requestID",
    "Invalid parameter requestID",
    "userID parameter SHALL be null",
    "Missing (or invalid type) string parameter hash",
    "Empty hash parameter",
    "Invalid parameter hashAlgo",
    "Invalid parameter nonce",
)
"""What the published versions have clients expect."""


def written(path: Path) -> Iterator[str]:
    """Whole texts in a file of errors: its constants, and what its classes say."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
        if isinstance(node, ast.ClassDef):
            for call in (each for each in ast.walk(node) if isinstance(each, ast.Call)):
                yield from said(call)


def said(call: ast.Call) -> Iterator[str]:
    """Texts of several words that a call is given."""
    for argument in call.args:
        if isinstance(argument, ast.JoinedStr):
            yield ast.unparse(argument)
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and " " in argument.value:
            yield argument.value


def test_every_text_of_the_code_is_provoked() -> None:
    texts = set(written(TEXTS))
    assert len(texts) > 50
    assert texts - PROVOKED - set(ELSEWHERE) == set()


def test_every_text_of_the_specifications_is_provoked() -> None:
    assert set(SPECIFICATION) - PROVOKED == set()


@pytest.mark.parametrize("path", sorted(API.rglob("*.py")), ids=lambda path: path.name)
def test_texts_stand_in_one_file(path: Path) -> None:
    if path == TEXTS:
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    raised = [
        text
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "errors"
        for text in said(node)
    ]
    assert raised == []


def test_every_text_of_the_documents_is_provoked() -> None:
    found: set[str] = set()

    def collect(value: object) -> None:
        if isinstance(value, dict):
            error = value.get("x-error")
            found.update(error.values() if isinstance(error, dict) else ())
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            collect(each)

    for path in sorted((API / "openapi" / "data").glob("*.yaml")):
        collect(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert len(found) > 5
    assert found - PROVOKED == set()


def test_what_is_provoked_elsewhere_is() -> None:
    for words, where in ELSEWHERE.items():
        path = where.partition(":")[0]
        assert words in (ROOT / path).read_text(encoding="utf-8"), path
