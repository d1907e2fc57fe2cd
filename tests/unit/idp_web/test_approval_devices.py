"""A person's own device is set up with a credential, and takes another one's place."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from contract import order as orders
from contract import proof_key
from contract.order import CreateParameters, ProofKeyParameters
from contract.proof import ProofKey
from contract.proof_key import Change
from foundation.jose import encode_base64url
from idp.approval_settings import DeviceApprovalSettings
from idp.errors import CredentialUnavailable
from idp.settings import SigningSettings
from idp.storage.keys import KeyStore
from idp.storage.notices import notices
from tests.fakes.authenticator import Authenticator
from tests.fakes.idp import POLICY, Idp, make_idp
from tests.unit.idp_web.approving import (
    LOGIN,
    ORIGIN,
    WHERE,
    demand,
    events,
    lines,
    post,
    shown,
    used,
)
from tests.vectors.proof.make import DEVICE, OTHER

# A device is set up


@pytest.fixture
def ordering(tmp_path: Path) -> Iterator[Idp]:
    """An identity provider at which a credential is ordered together with its signer's device."""
    signing = SigningSettings("http://sign.localhost:8402/csc/v2", "urn:privyseal:sam:test", ("default", "sole"))
    made = make_idp(tmp_path, signing=signing, approval=DeviceApprovalSettings(ORIGIN, profiles=("sole",)))
    yield made
    made.engine.dispose()


def sent(idp: Idp, browser: FlaskClient) -> str:
    """The handle with which somebody is sent to set a device up."""
    if browser.get("/account/").status_code != 200:
        idp.sign_in(browser, browser.get("/account/").location)
    shown = browser.get("/account/credentials").headers["Content-Security-Policy"]
    assert shown.endswith(f"form-action 'self' {ORIGIN}")
    answer = idp.post(browser, "/account/credentials", profile="sole")
    where, _, handle = answer.location.partition("#")
    assert where == f"{ORIGIN}/approve"
    return handle


def made_at(ordering: Idp, handle: str, holder: Authenticator, **lies: Any) -> TestResponse:
    there = ordering.client()
    _, asked = shown(there, handle)
    assert {item["alg"] for item in asked["pubKeyCredParams"]} == {-7, -8}
    return post(there, "/approve/answer", handle=handle, answer=holder.create(asked, **lies))


def test_a_credential_is_ordered_with_the_device_that_was_set_up(ordering: Idp) -> None:
    browser, holder = ordering.client(), Authenticator(ORIGIN, WHERE.rp_id)
    back = made_at(ordering, sent(ordering, browser), holder)
    where, _, code = back.location.partition("#")
    assert where == f"{ordering.settings.issuer}/account/device"
    begun = ordering.post(browser, "/account/device", approved=code)
    path = begun.location
    ordering.pass_otp(browser, path)
    assert "Your signing device" in browser.get(path).text
    order = ordering.approve(browser, path).text
    key = KeyStore(ordering.engine, ordering.settings.key_dir).activation_key().verification_key()
    parameters = orders.decode(order, [key]).parameters
    assert isinstance(parameters, CreateParameters)
    assert parameters.proof_key is not None
    assert (parameters.profile, parameters.proof_key.origin) == ("sole", WHERE)
    assert parameters.proof_key.credential_id == holder.credentials[0].id
    (issued,) = events(ordering, "order.issued")
    assert issued["device"] == parameters.proof_key.kid
    with ordering.engine.connect() as connection:
        told = connection.execute(select(notices)).all()
    assert {(row.change, row.factor) for row in told} == {("device", "signing_device")}
    # the code was for one order
    assert ordering.post(browser, "/account/credentials", profile="default").status_code == 303
    token = ordering.csrf(browser, "/account/device")
    assert browser.post("/account/device", data={"csrf_token": token, "approved": code}).status_code == 400


def test_SES_07_a_device_that_somebody_else_was_lured_to_set_up_is_nobodys(ordering: Idp) -> None:
    ordering.add_account("bob")
    browser, other = ordering.client(), ordering.client()
    back = made_at(ordering, sent(ordering, browser), Authenticator(ORIGIN, WHERE.rp_id))
    ordering.sign_in(other, other.get("/account/").location, "bob")
    code = back.location.partition("#")[2]
    assert ordering.post(other, "/account/device", approved=code).status_code == 400
    assert ordering.post(browser, "/account/device", approved=code).status_code == 400


@pytest.mark.parametrize(
    ("traits", "lies"),
    [
        ({}, {"origin": LOGIN.origin}),
        ({"rp_id": LOGIN.rp_id}, {}),
        ({"user_verified": False}, {}),
        ({"algorithm": "RS256"}, {}),
        ({}, {"challenge": encode_base64url(bytes(32))}),
        ({}, {"type": "webauthn.get"}),
    ],
)
def test_a_passkey_that_could_not_approve_is_not_set_up(
    ordering: Idp, traits: dict[str, Any], lies: dict[str, Any]
) -> None:
    browser = ordering.client()
    handle = sent(ordering, browser)
    holder = Authenticator(**{"origin": ORIGIN, "rp_id": WHERE.rp_id, **traits})
    assert made_at(ordering, handle, holder, **lies).status_code == 403
    assert post(ordering.client(), "/approve", handle=handle).status_code == 400


# A device takes another one's place


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[Idp]:
    """An identity provider that lets people change what they prove themselves with."""
    rule = b"  - {id: change, action: [account.enrol_factor, account.reset_factor], require: low}\n"
    made = make_idp(tmp_path, policy=POLICY + rule, approval=DeviceApprovalSettings(ORIGIN))
    demand(made, DEVICE)
    yield made
    made.engine.dispose()


def replacing(idp: Idp, browser: FlaskClient, removed: str = DEVICE.kid) -> TestResponse:
    if browser.get("/account/").status_code != 200:
        idp.sign_in(browser, browser.get("/account/").location)
    token = idp.csrf(browser, "/account/credentials")
    fields = {"csrf_token": token, "credential_id": "cred-1", "device": removed}
    return browser.post("/account/credentials/device", data=fields)


def second_step(idp: Idp, handle: str, holder: Authenticator) -> tuple[list[str], dict[str, Any]]:
    """The new device is made; the page on which the one before agrees."""
    there = idp.client()
    _, asked = shown(there, handle)
    assert [item["id"] for item in asked["excludeCredentials"]] == [encode_base64url(b"\x01" * 32)]
    page = post(there, "/approve/answer", handle=handle, answer=holder.create(asked))
    assert page.status_code == 200, page.text
    found = re.search(r'data-options="([^"]*)"', page.text)
    assert found is not None
    return lines(page.text), json.loads(html.unescape(found[1]))


def test_a_device_takes_anothers_place_once_that_has_agreed(changing: Idp) -> None:
    browser, holder, there = changing.client(), Authenticator(ORIGIN, WHERE.rp_id), changing.client()
    handle = replacing(changing, browser).location.partition("#")[2]
    text, asked = second_step(changing, handle, holder)
    assert text[0] == "Put another device in this one's place?"
    # what is asked stands, whenever the page is looked at
    assert shown(there, handle)[1]["challenge"] == asked["challenge"]
    back = post(there, "/approve/answer", handle=handle, answer=used(asked))
    assert back.status_code == 303, back.text
    begun = changing.post(browser, "/account/device", approved=back.location.partition("#")[2])
    path = begun.location
    changing.pass_otp(browser, path)
    assert "Put another device in its place?" in browser.get(path).text
    answer = changing.approve(browser, path)
    key = KeyStore(changing.engine, changing.settings.key_dir).activation_key().verification_key()
    order = orders.decode(answer.text, [key])
    assert order.operation == "credential.bind_proof_key"
    wanted = order.parameters
    assert isinstance(wanted, ProofKeyParameters)
    assert wanted.added is not None
    assert wanted.proof is not None
    assert (wanted.credential_id, wanted.removed) == ("cred-1", DEVICE.kid)
    change = Change(order.aud, wanted.credential_id, wanted.added, wanted.removed)
    trusted = ProofKey(DEVICE.verification_key(), WHERE)
    proof_key.verify_change(wanted.proof, change, trusted, changing.clock.now())
    assert wanted.proof.display == hashlib.sha256("\n".join(text).encode()).digest()
    assert any(wanted.added.kid in line for line in text)
    with changing.engine.connect() as connection:
        assert {row.change for row in connection.execute(select(notices)).all()} == {"device"}


@pytest.mark.parametrize("made", [lambda a: used(a, OTHER), lambda a: used(a, where=LOGIN), lambda a: used(a, flags=1)])
def test_SAD_09_no_device_takes_anothers_place_that_has_not_agreed(changing: Idp, made: Any) -> None:
    browser, there = changing.client(), changing.client()
    handle = replacing(changing, browser).location.partition("#")[2]
    _, asked = second_step(changing, handle, Authenticator(ORIGIN, WHERE.rp_id))
    assert post(there, "/approve/answer", handle=handle, answer=made(asked)).status_code == 403
    assert post(there, "/approve", handle=handle).status_code == 400


def test_only_a_device_of_ones_own_is_replaced(changing: Idp) -> None:
    browser = changing.client()
    assert replacing(changing, browser, OTHER.kid).status_code == 400
    changing.credentials.error = CredentialUnavailable("away")
    assert replacing(changing, browser).status_code == 503
