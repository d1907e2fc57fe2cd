"""Somebody writes to the identity provider's database: what they write is never acted on, and it is said."""

from __future__ import annotations

import base64
import copy
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, insert, select, update

from foundation.clock import epoch
from foundation.jose import encode_base64url
from idp.activation.binding import digest_of
from idp.activation.intent import SignatureIntent
from idp.authn.approval import Approval
from idp.authn.methods import evidence_of
from idp.policy.evidence import Evidence
from idp.storage import grant_tokens, grants, pushed_requests
from idp.storage.authenticators import NewAuthenticator
from idp.storage.models import interactions, sessions
from idp.web import services as composition
from tests.integration import oidc_world
from tests.integration.oidc_world import NOW, REDIRECT_URI, RESOURCE, SHA256, RelyingParty, Seed, World, answer

HARMLESS, EVIL = b"a harmless document", b"sell the house"


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seed:
    return oidc_world.seed_sqlite(tmp_path_factory.mktemp("seed"))


@pytest.fixture
def world(seeded: Seed, tmp_path: Path) -> Iterator[World]:
    made = oidc_world.start_copy(seeded, tmp_path / "idp")
    yield made
    made.engine.dispose()


def evil_digest() -> str:
    return base64.b64encode(hashlib.sha256(EVIL).digest()).decode()


def with_evil_payload(request: dict[str, Any]) -> dict[str, Any]:
    """What is shown stays; what is given out at the end is another digest."""
    changed = copy.deepcopy(request)
    changed["payload"]["intent"]["digests"][0]["digest"] = evil_digest()
    return changed


def seal_anew(world: World, table: Table) -> None:
    """What somebody could do who had the key too, or a fault of the program's own."""
    seals = composition.of(world.app).seals
    key = next(iter(table.primary_key.columns))
    with world.engine.begin() as connection:
        for row in connection.execute(select(table)).all():
            values = {str(name): value for name, value in row._mapping.items()}  # public, for all its name
            seal = seals.seal(table, values)
            connection.execute(update(table).where(key == values[key.name]).values(seal=seal))


def found_altered(world: World) -> list[tuple[str, str]]:
    return [(item["table"], item["cause"]) for item in world.events("record.altered")]


@pytest.mark.parametrize("sealed_again", [False, True])
def test_OAU_10_what_is_given_out_is_what_was_shown_whoever_writes_to_the_interactions_row(
    world: World, caplog: pytest.LogCaptureFixture, sealed_again: bool
) -> None:
    rp, browser = world.rp(), world.browser()
    page = browser.step_up(browser.sign_in(browser.get(rp.pushed_url(rp.signing(HARMLESS)))))
    with world.engine.begin() as connection:
        row = connection.execute(select(interactions).where(interactions.c.state == "open")).one()
        connection.execute(update(interactions).values(request=with_evil_payload(row.request)))
    if sealed_again:
        seal_anew(world, interactions)
    with caplog.at_level(logging.CRITICAL):
        refused = browser.approve(page)
    if sealed_again:
        assert answer(refused)["error"] == "server_error"
    else:
        assert (refused.status_code, "This request is over" in refused.text) == (400, True)
    assert found_altered(world) == [("interactions", "binding" if sealed_again else "seal")]
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    assert world.events("transaction.approved") == [] or sealed_again
    assert world.events("sad.issued") == []


def test_OAU_10_nothing_is_minted_but_what_was_approved_whatever_the_grant_says(world: World) -> None:
    rp = world.rp()
    code = rp.signing_code(HARMLESS)
    with world.engine.begin() as connection:
        row = connection.execute(select(grants.oidc_grants).where(grants.oidc_grants.c.approval.is_not(None))).one()
        request = copy.deepcopy(row.request)
        request["intent"]["digests"][0]["digest"] = evil_digest()
        connection.execute(update(grants.oidc_grants).where(grants.oidc_grants.c.id == row.id).values(request=request))
    seal_anew(world, grants.oidc_grants)
    assert rp.redeem(code).get_json()["error"] == "invalid_grant"
    assert found_altered(world) == [("oidc_grants", "binding")]
    assert world.events("sad.issued") == []


def invent(world: World, rp: RelyingParty, code: str) -> None:
    """A session, a grant and a code for a person who was never there."""
    now = epoch(NOW)
    message = evidence_of(NewAuthenticator("sms_otp-of-alice", world.account_id, "sms_otp"), NOW, "T", bound=True)
    evidence = (Evidence("password", "password-of-alice", "knowledge", NOW), message)
    intent = {
        "credential_id": "a-credential",
        "hash_alg": SHA256,
        "digests": [{"digest": evil_digest(), "label": ""}],
        "hash_type": "dtbsr",
        "sign_count": 1,
        "locations": [],
    }
    # It needs no key either.
    binding = digest_of(
        action="signature.activate", client_id=rp.client_id, txn="T", intent=SignatureIntent.from_json(intent)
    )
    approval = Approval(
        txn="T",
        account_id=world.account_id,
        session_id="S",
        client_id=rp.client_id,
        action="signature.activate",
        binding=binding,
        decision_id="D",
        policy_name="default",
        policy_sha256="0" * 64,
        acr="http://eidas.europa.eu/NotNotified/LoA/substantial",
        loa="substantial",
        amr=("pwd", "otp"),
        auth_time=NOW,
        evidence=evidence,
        approved_at=NOW,
    )
    request = {
        "client_id": rp.client_id,
        "redirect_uri": REDIRECT_URI,
        "scopes": ["credential"],
        "state": None,
        "nonce": None,
        "code_challenge": encode_base64url(hashlib.sha256(rp.verifier.encode()).digest()),
        "resource": RESOURCE,
        "prompt": [],
        "max_age": None,
        "acr_values": [],
        "essential_acr": [],
        "ui_locales": [],
        "login_hint": None,
        "subject_hint": None,
        "intent": intent,
        "details_type": "credential",
    }
    with world.engine.begin() as connection:
        connection.execute(
            insert(sessions).values(
                id="S",
                token_hash="0" * 64,
                account_id=world.account_id,
                evidence=[],
                device="",
                created_at=now,
                last_seen_at=now,
                expires_at=now + 999,
            )
        )
        connection.execute(
            insert(grants.oidc_grants).values(
                id="G",
                client_id=rp.client_id,
                subject=world.account_id,
                session_id="S",
                request=request,
                approval=approval.to_json(),
                created_at=now,
                expires_at=now + 999,
            )
        )
        grant_tokens.add_code(connection, code, "G", NOW, seconds=60)


def test_OAU_10_invented_rows_give_no_sad(world: World, caplog: pytest.LogCaptureFixture) -> None:
    rp = world.rp()
    invent(world, rp, "x" * 43)
    with caplog.at_level(logging.CRITICAL):
        assert rp.redeem("x" * 43).get_json()["error"] == "invalid_grant"
    assert found_altered(world) == [("oidc_grants", "seal")]
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    assert world.events("sad.issued") == []


def test_nothing_but_their_seals_is_missing_from_the_invented_rows(world: World) -> None:
    rp = world.rp()
    invent(world, rp, "x" * 43)
    for table in (sessions, grants.oidc_grants):
        seal_anew(world, table)
    assert rp.redeem("x" * 43).status_code == 200
    assert [item["sign_count"] for item in world.events("sad.issued")] == [1]


def test_OAU_10_an_invented_session_signs_nobody_in_and_lets_no_grant_live(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    tokens = rp.tokens(browser)
    with world.engine.begin() as connection:
        connection.execute(update(sessions).where(sessions.c.revoked_at.is_(None)).values(seal="0" * 64))
    assert world.rp("csc").introspect(tokens["access_token"]) == {"active": False}
    assert rp.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"
    assert 'data-form="sign-in"' in browser.get("/account/").text
    assert found_altered(world) == [("sessions", "seal")], "recorded once"


def test_SES_03_a_session_does_not_live_again_when_its_revocation_is_taken_out(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    tokens = rp.tokens(browser)
    page = browser.get("/account/")
    browser.submit(page, "sign-out")
    with world.engine.begin() as connection:
        connection.execute(update(sessions).values(revoked_at=None))
    assert 'data-form="sign-in"' in browser.get("/account/").text
    assert rp.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"


def test_OAU_02_a_grant_does_not_live_again_when_its_revocation_is_taken_out(world: World) -> None:
    rp = world.rp()
    code = rp.code()
    tokens = rp.redeem(code).get_json()
    assert rp.redeem(code).status_code == 400, "used again: the grant is revoked"
    with world.engine.begin() as connection:
        connection.execute(update(grants.oidc_grants).values(revoked_at=None))
        connection.execute(update(grants.oidc_codes).values(used_at=None))
    assert rp.redeem(code).get_json()["error"] == "invalid_grant"
    assert rp.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"
    assert world.rp("csc").introspect(tokens["access_token"]) == {"active": False}


def test_OAU_10_a_pushed_request_that_was_changed_is_unknown(world: World) -> None:
    rp, browser = world.rp(), world.browser()
    url = rp.pushed_url(rp.signing(HARMLESS))
    with world.engine.begin() as connection:
        request = copy.deepcopy(connection.execute(select(pushed_requests.oidc_pushed_requests.c.request)).scalar_one())
        request["intent"]["digests"][0]["digest"] = evil_digest()
        connection.execute(update(pushed_requests.oidc_pushed_requests).values(request=request))
    assert browser.get(url).status_code == 400
    assert found_altered(world) == [("oidc_pushed_requests", "seal")]


def test_an_order_is_for_what_was_shown_whoever_writes_to_the_interactions_row(world: World) -> None:
    browser = world.browser()
    browser.sign_in(browser.get("/account/credentials"))
    page = browser.get("/account/credentials")
    page = browser.submit(page, "operate-credential", operation="suspend", credential_id="a-credential")
    if 'data-form="choose"' in page.text:
        page = browser.step_up(page)
    with world.engine.begin() as connection:
        row = connection.execute(select(interactions).where(interactions.c.state == "open")).one()
        request = {**row.request, "payload": {"credential_id": "another-credential"}}
        connection.execute(update(interactions).where(interactions.c.id == row.id).values(request=request))
    seal_anew(world, interactions)
    refused = browser.approve(page)
    assert refused.status_code == 500
    assert found_altered(world) == [("interactions", "binding")]
    assert world.events("order.issued") == []
