"""Where a person's own device approves: what it shows, what it signs, and what comes of that."""

from __future__ import annotations

import hashlib
import html
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from auditlog.sql import read_entries
from contract import order as orders
from contract import proof as proofs
from contract import proof_key, sad
from contract.assertion import ProofOrigin
from contract.order import CreateParameters, ProofKeyParameters
from contract.proof import ProofKey
from contract.proof_key import Change
from foundation.jose import SigningKey, encode_base64url
from idp.activation.intent import DocumentDigest, SignatureIntent
from idp.activation.mint import sad_for
from idp.approval_settings import DeviceApprovalSettings
from idp.errors import CredentialUnavailable, NotActivatable, NotWhatWasApproved
from idp.oidc.client import BACKCHANNEL_GRANT, Registration
from idp.oidc.request import AuthorizationRequest
from idp.settings import SigningSettings
from idp.storage import backchannel, clients, grants
from idp.storage.audit import TABLES
from idp.storage.device_visits import BACK_SECONDS, device_visits
from idp.storage.keys import KeyStore
from idp.storage.notices import notices
from tests.fakes.authenticator import Authenticator
from tests.fakes.idp import POLICY, Idp, make_idp
from tests.unit.idp_web.interactions import SHA256, signature
from tests.vectors.proof.make import DEVICE, OTHER, sign
from tests.vectors.proof_key.make import device

ORIGIN = "http://approve.localhost:8401"
WHERE = ProofOrigin("approve.localhost", ORIGIN)
LOGIN = ProofOrigin("idp.localhost", "http://idp.localhost:8401")
DOCUMENT = DocumentDigest(hashlib.sha256(b"a contract").digest(), "Rental contract.pdf")
INTENT = SignatureIntent("cred-1", SHA256, (DOCUMENT,), "dtbsr", 1)


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    """An identity provider whose credential demands proofs, and knows a device."""
    made = make_idp(tmp_path, approval=DeviceApprovalSettings(ORIGIN))
    demand(made, DEVICE)
    yield made
    made.engine.dispose()


def demand(idp: Idp, *keys: SigningKey, where: ProofOrigin = WHERE) -> None:
    known = tuple(proof_key.to_json(device(key, where)) for key in keys)
    idp.credentials.view = replace(idp.credentials.view, proof_required=True, proof_keys=known)


@pytest.fixture
def there(idp: Idp) -> FlaskClient:
    """The same browser on the other host: no cookie goes there."""
    made = idp.client()
    made.environ_base["HTTP_HOST"] = urlsplit(ORIGIN).netloc
    return made


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


def test_a_device_approves_what_the_page_shows_and_the_sad_carries_it(
    idp: Idp, browser: FlaskClient, there: FlaskClient
) -> None:
    path, handle = consented(idp, browser)
    assert idp.finished == []
    page, asked = shown(there, handle)
    text = lines(page)
    assert text[0] == "Example Contracts asks for your signature"
    assert "1. Rental contract.pdf" in text
    assert DOCUMENT.digest.hex() in "".join(text).replace(" ", "")
    assert asked["rpId"] == "approve.localhost"
    assert asked["userVerification"] == "required"
    assert [item["id"] for item in asked["allowCredentials"]] == [encode_base64url(b"\x01" * 32)]

    code = approved(idp, there, handle)
    answer = finish(idp, browser, path, code)
    assert answer.location.startswith("http://rp.localhost:8405/callback?ok")
    approval = idp.finished[0].approval
    assert approval is not None
    assert approval.signer_proof is not None
    minted = sad_for(
        approval,
        INTENT,
        issuer=idp.settings.issuer,
        audience=idp.settings.signing.sam_id,
        jti="jti",
        now=idp.clock.now(),
        lifetime_seconds=300,
    )
    proof = proofs.from_claim(sad._from_claims(sad._to_claims(minted)).signer_proof or {})
    proofs.verify(proof, minted, ProofKey(DEVICE.verification_key(), WHERE), idp.clock.now())
    assert proof.display == hashlib.sha256("\n".join(text).encode()).digest()
    (given,) = events(idp, "proof.given")
    assert (given["proof_key"], given["display_sha256"]) == (DEVICE.kid, proof.display.hex())
    # no SAD outlives the proof in it
    idp.clock.advance(500)
    later = sad_for(
        approval, INTENT, issuer="i", audience="a", jti="j", now=idp.clock.now(), lifetime_seconds=300
    )  # fmt: skip
    assert later.exp == proof.exp
    idp.clock.advance(100)
    with pytest.raises(NotActivatable):
        sad_for(approval, INTENT, issuer="i", audience="a", jti="j", now=idp.clock.now(), lifetime_seconds=300)


def test_PSH_04_what_waits_for_approval_is_approved_with_the_device_and_its_message_is_in_the_text(
    idp: Idp, browser: FlaskClient, there: FlaskClient
) -> None:
    message = "Flat 12, order 4711"
    asked_of_her = AuthorizationRequest(
        "caller", "", ("credential",), None, None, "", "urn:csc", intent=INTENT, binding_message=message
    )
    registration = Registration(
        "caller", "Calling Party", "client_secret_basic", scopes=("credential",), grant_types=(BACKCHANNEL_GRANT,)
    )
    with idp.engine.begin() as connection:
        clients.create(connection, registration, idp.clock.now(), secrets.token_bytes)
        new = backchannel.NewRequest("request-1", "handle-1", idp.alice, idp.alice, asked_of_her, 300)
        assert backchannel.put(connection, idp.seals, new, idp.clock.now(), backchannel.Limits())
    page = "/account/approvals/request-1"
    idp.sign_in(browser, browser.get(page).location)
    path = idp.post(browser, page, "/open").location
    idp.pass_otp(browser, path)
    handle = idp.approve(browser, path).location.partition("#")[2]
    assert f"Message: {message}" in lines(shown(there, handle)[0])
    assert finish(idp, browser, path, approved(idp, there, handle)).location == page
    with idp.engine.begin() as connection:
        found = backchannel.find(connection, idp.seals, "handle-1", idp.clock.now())
        assert found is not None
        grant = grants.find(connection, idp.seals, found.grant_id or "")
    assert found.state == "approved"
    assert grant is not None
    assert grant.approval is not None
    assert grant.approval.signer_proof is not None
    made = sad_for(
        grant.approval,
        INTENT,
        issuer="i",
        audience=idp.settings.signing.sam_id,
        jti="j",
        now=idp.clock.now(),
        lifetime_seconds=300,
        detail=asked_of_her.detail,
    )
    proof = proofs.from_claim(made.signer_proof or {})
    proofs.verify(proof, made, ProofKey(DEVICE.verification_key(), WHERE), idp.clock.now())
    with pytest.raises(NotWhatWasApproved):
        sad_for(
            grant.approval,
            INTENT,
            issuer="i",
            audience="a",
            jti="j",
            now=idp.clock.now(),
            lifetime_seconds=300,
            detail={"binding_message": "another order"},
        )


def test_SES_07_the_answer_comes_back_to_the_browser_that_asked_once(
    idp: Idp, browser: FlaskClient, there: FlaskClient
) -> None:
    path, handle = consented(idp, browser)
    code = approved(idp, there, handle)
    # somebody else's browser, signed in as the same person
    other = idp.client()
    theirs, _ = consented(idp, other)
    assert finish(idp, other, theirs, code).status_code == 400
    assert finish(idp, browser, path, code).status_code == 400, "it was spent"
    assert idp.finished == []


@pytest.mark.parametrize("code", ["", "A" * 43, "A" * 500, "\0"])
def test_nothing_waits_under_another_code(idp: Idp, browser: FlaskClient, there: FlaskClient, code: str) -> None:
    path, handle = consented(idp, browser)
    approved(idp, there, handle)
    assert finish(idp, browser, path, code).status_code == 400
    assert idp.finished == []


REFUSED: list[tuple[str, Any]] = [
    ("nothing", lambda asked: ""),
    ("another device", lambda asked: used(asked, OTHER)),
    ("a login", lambda asked: used(asked, where=LOGIN)),
    ("another challenge", lambda asked: used({**asked, "challenge": encode_base64url(bytes(32))})),
    ("a registration", lambda asked: used(asked, type="webauthn.create")),
    ("in another site's page", lambda asked: used(asked, crossOrigin=True)),
    ("nobody verified", lambda asked: used(asked, flags=1)),
    ("a passkey that is none of the credential's", lambda asked: used(asked).replace("AQEB", "AQIB")),
]


@pytest.mark.parametrize(("reason", "made"), REFUSED, ids=[case[0] for case in REFUSED])
def test_SAD_09_another_answer_ends_the_visit(
    idp: Idp, browser: FlaskClient, there: FlaskClient, reason: str, made: Any
) -> None:
    path, handle = consented(idp, browser)
    _, asked = shown(there, handle)
    answer = post(there, "/approve/answer", handle=handle, answer=made(asked))
    assert answer.status_code == 403, reason
    assert len(events(idp, "proof.refused")) == 1
    assert events(idp, "proof.given") == []
    assert post(there, "/approve/answer", handle=handle, answer=used(asked)).status_code == 400
    # the person may begin again
    assert idp.approve(browser, path).status_code == 303


def test_a_handle_is_good_for_one_answer_and_for_some_minutes(
    idp: Idp, browser: FlaskClient, there: FlaskClient
) -> None:
    _, handle = consented(idp, browser)
    _, asked = shown(there, handle)
    assert post(there, "/approve/answer", handle=handle, answer=used(asked)).status_code == 303
    for path in ("/approve", "/approve/answer"):
        assert post(there, path, handle=handle, answer=used(asked)).status_code == 400
    _, late = consented(idp, browser)
    idp.clock.advance(300)
    assert post(there, "/approve", handle=late).status_code == 400
    assert post(there, "/approve", handle="").status_code == 400


def test_an_answer_waits_two_minutes(idp: Idp, browser: FlaskClient, there: FlaskClient) -> None:
    path, handle = consented(idp, browser)
    code = approved(idp, there, handle)
    idp.clock.advance(BACK_SECONDS)
    assert finish(idp, browser, path, code).status_code == 400


def test_DOS_04_of_one_session_three_visits_stay(idp: Idp, browser: FlaskClient, there: FlaskClient) -> None:
    handles = []
    for _ in range(4):
        idp.clock.advance(1)
        handles.append(consented(idp, browser)[1])
    with idp.engine.connect() as connection:
        assert len(connection.execute(select(device_visits)).all()) == 3
    assert post(there, "/approve", handle=handles[0]).status_code == 400
    assert post(there, "/approve", handle=handles[3]).status_code == 200


def test_neither_handle_nor_code_is_in_the_database(idp: Idp, browser: FlaskClient, there: FlaskClient) -> None:
    _, handle = consented(idp, browser)
    code = approved(idp, there, handle)
    with idp.engine.connect() as connection:
        kept = repr(connection.execute(select(device_visits)).all())
    assert handle not in kept
    assert code not in kept


@pytest.mark.parametrize("changes", [{"asked": {"binding": "x", "language": "en"}}, {"account_id": "account-bob"}])
def test_AUD_06_an_altered_visit_is_none(
    idp: Idp, browser: FlaskClient, there: FlaskClient, changes: dict[str, Any]
) -> None:
    _, handle = consented(idp, browser)
    with idp.engine.begin() as connection:
        connection.execute(update(device_visits).values(**changes))
    assert post(there, "/approve", handle=handle).status_code == 400


def test_each_host_serves_its_own_pages(idp: Idp, browser: FlaskClient, there: FlaskClient) -> None:
    for path in ("/", "/account/", "/admin/", "/.well-known/openid-configuration", "/interaction/x", "/health/live"):
        assert there.get(path, base_url=ORIGIN).status_code == 404, path
    assert there.get("/approve", base_url=ORIGIN).status_code == 200
    assert there.get("/static/style.css", base_url=ORIGIN, buffered=True).status_code == 200
    _, handle = consented(idp, browser)
    assert browser.get("/approve").status_code == 404
    assert browser.post("/approve", data={"handle": handle}).status_code == 404


def test_no_cookie_is_set_where_devices_approve(idp: Idp, browser: FlaskClient, there: FlaskClient) -> None:
    _, handle = consented(idp, browser)
    answers = [there.get("/approve", base_url=ORIGIN), post(there, "/approve", handle=handle)]
    assert all("Set-Cookie" not in answer.headers for answer in answers)
    assert f"form-action 'self' {idp.settings.issuer}" in answers[1].headers["Content-Security-Policy"]


def test_the_text_is_in_the_language_in_which_it_was_asked_for(
    idp: Idp, browser: FlaskClient, there: FlaskClient
) -> None:
    path, handle = consented(idp, browser, ui_locales=("de",))
    page, asked = shown(there, handle)
    assert "Example Contracts" in lines(page)[0]
    assert lines(page)[0] != "Example Contracts asks for your signature"
    answer = post(there, "/approve/answer", handle=handle, answer=used(asked))
    assert finish(idp, browser, path, answer.location.partition("#")[2]).status_code == 302


def test_what_others_named_makes_no_line_of_its_own(idp: Idp, browser: FlaskClient, there: FlaskClient) -> None:
    hostile = DocumentDigest(DOCUMENT.digest, "a.pdf\n2. Another.pdf\u2028x")
    path = idp.path(browser, signature(intent=replace(INTENT, digests=(hostile,)), client_name="A\nB"))
    idp.sign_in(browser, path)
    idp.pass_otp(browser, path)
    handle = idp.approve(browser, path).location.partition("#")[2]
    page, _ = shown(there, handle)
    assert lines(page)[0] == "A B asks for your signature"
    assert "1. a.pdf 2. Another.pdf x" in lines(page)


@pytest.mark.parametrize(
    "keys",
    [(), (proof_key.to_json(device(DEVICE, LOGIN)),), (proof_key.to_json(device(DEVICE, None)),)],
    ids=["none", "another place", "mobile id"],
)
def test_nobody_is_led_where_no_device_can_approve(idp: Idp, browser: FlaskClient, keys: Any) -> None:
    idp.credentials.view = replace(idp.credentials.view, proof_keys=keys)
    path = idp.path(browser, signature(intent=INTENT))
    idp.sign_in(browser, path)
    assert 'data-form="consent"' not in browser.get(path).text
    idp.post(browser, path, "/leave")
    assert idp.finished[0].cause == "credential_unusable"


def test_without_the_pages_a_credential_that_demands_proofs_cannot_be_used(tmp_path: Path) -> None:
    idp = make_idp(tmp_path)
    demand(idp, DEVICE)
    browser = idp.client()
    path = idp.path(browser, signature(intent=INTENT))
    idp.sign_in(browser, path)
    assert 'data-form="consent"' not in browser.get(path).text
    idp.engine.dispose()


BESIDE: dict[str, Any] = {"issuer": "https://idp.example.org", "profiles": ("default",), "certificate_origin": None}


@pytest.mark.parametrize(
    ("settings", "beside", "fault"),
    [
        ({"origin": "https://approve.example.org/"}, {}, "without a path"),
        ({"origin": "ftp://approve.example.org"}, {}, "origin is an origin"),
        ({"origin": "https://Approve.example.org"}, {}, "as browsers do"),
        ({"origin": "https://approve.example.org:443"}, {}, "as browsers do"),
        ({"origin": "https://approve.example.org."}, {}, "as browsers do"),
        ({"rp_id": "other.example.org"}, {}, "the origin's host"),
        ({"seconds": 541}, {}, "60 to 540"),
        ({"rp_id": "example.org"}, {}, "a login could carry a proof"),
        ({}, {"issuer": "https://approve.example.org"}, "a login could carry a proof"),
        ({}, {"issuer": "https://login.approve.example.org"}, "a login could carry a proof"),
        ({}, {"certificate_origin": "https://approve.example.org"}, "certificates are presented"),
        ({"profiles": ("sole",)}, {}, "none of signing.profiles"),
        ({"origin": "http://approve.example.org"}, {}, "must be https"),
    ],
)
def test_settings_that_would_not_keep_a_login_from_carrying_a_proof(
    settings: dict[str, Any], beside: dict[str, Any], fault: str
) -> None:
    made = DeviceApprovalSettings(**{"origin": "https://approve.example.org", **settings})
    found = [*made.faults(), *made.faults_beside(**{**BESIDE, **beside}, production=True)]
    assert any(fault in text for text in found)
    right = DeviceApprovalSettings("https://approve.example.org:8443")
    assert [*right.faults(), *right.faults_beside(**BESIDE, production=True)] == []


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


def test_a_visit_for_a_device_approves_no_signature_and_the_other_way_round(
    idp: Idp, browser: FlaskClient, there: FlaskClient
) -> None:
    path, handle = consented(idp, browser)
    code = approved(idp, there, handle)
    assert idp.post(browser, "/account/credentials").status_code == 303
    token = idp.csrf(browser, f"{path}/approved")
    assert browser.post("/account/device", data={"csrf_token": token, "approved": code}).status_code == 400
    assert finish(idp, browser, path, code).status_code == 400


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
