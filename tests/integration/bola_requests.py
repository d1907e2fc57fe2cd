"""Requests of the API that a person may make, by method, and what a caller sees of an answer: for ``test_bola`` and its
neighbours."""

from __future__ import annotations

from typing import Any

from werkzeug.test import TestResponse

from signing.csc.dialect import Dialect
from tests.integration.bola_tables import NO_JOB
from tests.integration.whole_world import Whole, sign_hash


def readable(everything: Whole, username: str = "bob", *documents: bytes) -> dict[str, dict[str, Any]]:
    """For each method a request that this person may make, without the SAD."""
    own = everything.people[username].credential_id
    return {
        "info": {},
        "credentials/list": {},
        "credentials/info": {"credentialID": own},
        "credentials/extendTransaction": {"credentialID": own},
        "credentials/create": {},
        "credentials/delete": {"credentialID": own},
        "credentials/authorize": {**asked_for(own, *documents), "description": "Order 4711"},
        "credentials/authorizeCheck": {"handle": "A" * 43},
        "credentials/getChallenge": {"credentialID": own, "authObjectID": "sms_otp"},
        "credentials/sendOTP": {"credentialID": own},
        "auth/login": {"refresh_token": "nobodys"},
        "auth/revoke": {"token": "nobodys"},
        "signatures/signHash": sign_hash(own, *(documents or (b"a document",))),
        "signatures/signDoc": sign_doc(own, *(documents or (b"a document",))),
        "signatures/signPolling": {"requestID": NO_JOB},
    }


def asked_for(credential_id: str, *documents: bytes) -> dict[str, Any]:
    """The body of ``credentials/authorize``."""
    signing = sign_hash(credential_id, *(documents or (b"a document",)))
    del signing["signAlgo"]
    return {**signing, "numSignatures": len(documents) or 1}


def sign_doc(credential_id: str, *documents: bytes) -> dict[str, Any]:
    """The body of ``signatures/signDoc`` over documents that the client keeps."""
    hashed = sign_hash(credential_id, *documents)
    digests = {"hashes": hashed["hashes"], "signature_format": "C", "signAlgo": hashed["signAlgo"]}
    return {"credentialID": credential_id, "documentDigests": [digests]}


def sad_for(everything: Whole, method: str, username: str, document: bytes) -> str:
    """Of the kind that the method spends."""
    approve = everything.document_sad if method == "signatures/signDoc" else everything.sad
    return approve(username, document)


def to_dialect(dialect: Dialect, body: dict[str, Any]) -> dict[str, Any]:
    names = {"hashes": dialect.hashes, "hashAlgorithmOID": dialect.hash_algorithm}
    return {names.get(name, name): value for name, value in body.items()}


def unknown_credential() -> str:
    """In the form of one, and nobody's."""
    return "0" * 32


def shape(response: TestResponse) -> tuple[int, str, dict[str, str]]:
    """All that a caller can see of an answer, but the time."""
    headers = {name: value for name, value in response.headers.items() if name != "Date"}
    return response.status_code, response.get_data(as_text=True), headers
