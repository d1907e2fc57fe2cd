"""A person's own device, and the pages at which it approves."""

from __future__ import annotations

import hashlib
import html
import json
import re
from dataclasses import replace
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from auditlog.sql import read_entries
from contract import proof_key
from contract.assertion import ProofOrigin
from foundation.jose import SigningKey, encode_base64url
from idp.activation.intent import DocumentDigest, SignatureIntent
from idp.storage.audit import TABLES
from tests.fakes.idp import Idp
from tests.unit.idp_web.interactions import SHA256, signature
from tests.vectors.proof.make import DEVICE, sign
from tests.vectors.proof_key.make import device

ORIGIN = "http://approve.localhost:8401"
WHERE = ProofOrigin("approve.localhost", ORIGIN)
LOGIN = ProofOrigin("idp.localhost", "http://idp.localhost:8401")
DOCUMENT = DocumentDigest(hashlib.sha256(b"a contract").digest(), "Rental contract.pdf")
INTENT = SignatureIntent("cred-1", SHA256, (DOCUMENT,), "dtbsr", 1)


def demand(idp: Idp, *keys: SigningKey, where: ProofOrigin = WHERE) -> None:
    known = tuple(proof_key.to_json(device(key, where)) for key in keys)
    idp.credentials.view = replace(idp.credentials.view, proof_required=True, proof_keys=known)


def consented(idp: Idp, browser: FlaskClient, **changes: Any) -> tuple[str, str]:
    """Path of an interaction whose person said yes, and the handle with which they are sent on."""
    path = idp.path(browser, signature(intent=INTENT, client_name="Example Contracts", **changes))
    if 'name="password"' in browser.get(path).text:
        idp.sign_in(browser, path)
    idp.pass_otp(browser, path)
    answer = idp.approve(browser, path)
    assert answer.status_code == 303, answer.text
    where, _, handle = answer.location.partition("#")
    assert where == f"{ORIGIN}/approve"
    return path, handle


def post(there: FlaskClient, path: str, **fields: str) -> TestResponse:
    return there.post(path, base_url=ORIGIN, data=fields)


def shown(there: FlaskClient, handle: str) -> tuple[str, dict[str, Any]]:
    """The page where the device approves, and what it asks the device."""
    page = post(there, "/approve", handle=handle)
    assert page.status_code == 200, page.text
    found = re.search(r'data-options="([^"]*)"', page.text)
    assert found is not None
    return page.text, json.loads(html.unescape(found[1]))


def lines(page: str) -> list[str]:
    return [html.unescape(found) for found in re.findall(r"data-line>([^<]*)<", page)]


def used(
    asked: dict[str, Any], key: SigningKey = DEVICE, where: ProofOrigin = WHERE, *, flags: int = 5, **said: Any
) -> str:
    """What a browser makes of the options with a device."""
    client = {"type": "webauthn.get", "challenge": asked["challenge"], "origin": where.origin, "crossOrigin": False}
    client_data = json.dumps({**client, **said}).encode()
    data = hashlib.sha256(where.rp_id.encode()).digest() + bytes([flags]) + (7).to_bytes(4, "big")
    signature = sign(key, data + hashlib.sha256(client_data).digest(), raw=False)
    name = encode_base64url(b"\x01" * 32)
    response = {
        "clientDataJSON": encode_base64url(client_data),
        "authenticatorData": encode_base64url(data),
        "signature": encode_base64url(signature),
    }
    return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})


def approved(idp: Idp, there: FlaskClient, handle: str) -> str:
    """The code with which the browser goes back."""
    _, asked = shown(there, handle)
    answer = post(there, "/approve/answer", handle=handle, answer=used(asked))
    assert answer.status_code == 303, answer.text
    return answer.location.partition("#")[2]


def finish(idp: Idp, browser: FlaskClient, path: str, code: str) -> TestResponse:
    token = idp.csrf(browser, f"{path}/approved")
    return browser.post(f"{path}/approved", data={"csrf_token": token, "approved": code})


def events(idp: Idp, event: str) -> list[dict[str, Any]]:
    with idp.engine.connect() as connection:
        return [json.loads(each.fields) for each in read_entries(connection, TABLES.entries) if each.event == event]
