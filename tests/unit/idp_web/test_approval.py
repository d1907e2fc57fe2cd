"""Where a person's own device approves: what it shows, what it signs, and what comes of that."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from contract import proof as proofs
from contract import proof_key, sad
from contract.proof import ProofKey
from foundation.jose import encode_base64url
from idp.activation.intent import DocumentDigest
from idp.activation.mint import sad_for
from idp.approval_settings import DeviceApprovalSettings
from idp.errors import NotActivatable, NotWhatWasApproved
from idp.oidc.client import BACKCHANNEL_GRANT, Registration
from idp.oidc.request import AuthorizationRequest
from idp.storage import backchannel, clients, grants
from idp.storage.device_visits import BACK_SECONDS, device_visits
from tests.fakes.idp import Idp, make_idp
from tests.unit.idp_web.approving import (
    DOCUMENT,
    INTENT,
    LOGIN,
    ORIGIN,
    WHERE,
    approved,
    consented,
    demand,
    events,
    finish,
    lines,
    post,
    shown,
    used,
)
from tests.unit.idp_web.interactions import signature
from tests.vectors.proof.make import DEVICE, OTHER
from tests.vectors.proof_key.make import device


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    """An identity provider whose credential demands proofs, and knows a device."""
    made = make_idp(tmp_path, approval=DeviceApprovalSettings(ORIGIN))
    demand(made, DEVICE)
    yield made
    made.engine.dispose()


@pytest.fixture
def there(idp: Idp) -> FlaskClient:
    """The same browser on the other host: no cookie goes there."""
    made = idp.client()
    made.environ_base["HTTP_HOST"] = urlsplit(ORIGIN).netloc
    return made


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


def test_a_visit_for_a_device_approves_no_signature_and_the_other_way_round(
    idp: Idp, browser: FlaskClient, there: FlaskClient
) -> None:
    path, handle = consented(idp, browser)
    code = approved(idp, there, handle)
    assert idp.post(browser, "/account/credentials").status_code == 303
    token = idp.csrf(browser, f"{path}/approved")
    assert browser.post("/account/device", data={"csrf_token": token, "approved": code}).status_code == 400
    assert finish(idp, browser, path, code).status_code == 400
