"""What a client, or the signing service's web tier, could make of approval elsewhere and later, and is refused."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select, update

from foundation.dpop import make_proof
from foundation.jose import generate_signing_key, peek_claims
from idp.oidc.client import BACKCHANNEL_GRANT
from idp.storage import authenticators, backchannel, clients
from idp.web import oidc, oidc_ciba
from idp.web import services as composition
from tests.integration.oidc_world import ACCOUNT, ISSUER, REDIRECT_URI, Browser, RelyingParty, World, error_of

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


def ask(rp: RelyingParty, **more: str) -> str | None:
    """A request for one signature, or what ``more`` says; the handle, or None where it was refused."""
    form = {"login_hint": "alice", "scope": "credential", **more}
    if form["scope"] == "credential":
        form["authorization_details"] = rp.signing()["authorization_details"]
    response = rp.post("/oauth2/bc-authorize", {name: value for name, value in form.items() if value})
    found: str | None = response.get_json().get("auth_req_id")
    return found


def collect(rp: RelyingParty, handle: str, **more: str) -> dict[str, str]:
    """The token response."""
    response = rp.token(grant_type=BACKCHANNEL_GRANT, auth_req_id=handle, **more)
    found: dict[str, str] = response.get_json()
    return found


def at_home(world: World) -> Browser:
    """Alice's browser, in which she is signed in."""
    browser = world.browser()
    browser.sign_in(browser.get("/account/"))
    return browser


def listed(browser: Browser) -> list[str]:
    """The requests' pages as they are listed."""
    return re.findall(r'href="(/account/approvals/[^"]+)"', browser.get("/account/approvals").text)


def approve(world: World) -> None:
    """Alice approves what waits first."""
    browser = at_home(world)
    page = browser.submit(browser.get(listed(browser)[0]), "open")
    browser.approve(browser.step_up(page) if 'data-form="choose"' in page.text else page)


def passed_on(token: str) -> dict[str, str]:
    """How the web tier says in whose name it asks."""
    return {"login_hint": "", "subject_token": token, "subject_token_type": ACCESS_TOKEN}


def test_DOS_04_PSH_01_requests_that_are_over_at_once_are_bounded_like_any_other(world: World) -> None:
    for hint in ("alice", "nobody"):
        taken = 0
        for _ in range(40):
            taken += ask(world.rp("caller"), login_hint=hint, requested_expiry="1") is not None
            world.clock.advance(1)
        assert taken == oidc_ciba.LIMITS.of_client_for_person, hint
    world.clock.advance(300)
    assert ask(world.rp("caller")) is not None, "it is over some time"


def test_PSH_01_what_waits_is_not_pushed_out_of_sight_by_what_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backchannel, "MAX_LISTED", 3)
    assert ask(world.rp("caller"), requested_expiry="900") is not None
    browser = at_home(world)
    (wanted,) = dict.fromkeys(listed(browser))
    for _ in range(4):
        assert ask(world.rp("caller"), requested_expiry="1") is not None
        world.clock.advance(1)
    assert listed(browser)[0] == wanted
    assert len(set(listed(browser))) == 3


def test_SAD_14_what_the_service_collects_is_bound_to_what_the_clients_token_is_bound_to(world: World) -> None:
    rp, key, uri = world.rp("caller"), generate_signing_key(), f"{ISSUER}/oauth2/token"
    form = {"grant_type": "authorization_code", "code": rp.code(), "redirect_uri": REDIRECT_URI}
    proof = make_proof(key, method="POST", uri=uri, jti="a-proof", now=world.clock.now())
    headers = {**rp.basic, "DPoP": proof}
    given = rp.post("/oauth2/token", {**form, "code_verifier": rp.verifier}, **headers).get_json()
    theirs = passed_on(given["access_token"])
    handle = ask(world.rp("csc"), **theirs)
    assert handle is not None
    approve(world)
    made = collect(world.rp("csc"), handle, **theirs)
    assert peek_claims(made["access_token"])["cnf"] == {"jkt": key.kid}
    assert made["token_type"] == "DPoP"
    assert world.events("sad.issued")[-1]["bound_to"] == key.kid


def test_SAD_14_a_client_whose_tokens_are_all_bound_gets_nothing_unbound_through_the_service(world: World) -> None:
    theirs = passed_on(world.rp("caller").tokens()["access_token"])
    handle = ask(world.rp("csc"), **theirs)
    assert handle is not None
    approve(world)
    table = clients.oidc_clients
    with world.engine.begin() as connection:
        registered = connection.execute(select(table.c.registration).where(table.c.client_id == "caller")).scalar_one()
        changed = {**registered, "dpop_bound_access_tokens": True}
        connection.execute(update(table).where(table.c.client_id == "caller").values(registration=changed))
    assert collect(world.rp("csc"), handle, **theirs)["error"] == "invalid_dpop_proof"
    assert world.events("sad.issued") == []


def test_OAU_11_the_service_asks_for_signatures_and_signs_in_nobody(world: World) -> None:
    rp, facade = world.rp("caller"), world.rp("csc")
    theirs = passed_on(rp.tokens()["access_token"])
    for scope in ("openid", "service", "openid service"):
        assert ask(facade, scope=scope, **theirs) is None
    assert world.events("backchannel.asked") == []
    handle = ask(rp, scope="openid service")
    assert handle is not None
    approve(world)
    assert collect(facade, handle, **theirs)["error"] == "invalid_grant", "the client's own sign-in"
    assert "id_token" in collect(rp, handle)


def test_OAU_17_a_token_with_which_the_pages_read_speaks_for_no_relying_party(world: World) -> None:
    with world.app.app_context():
        token = oidc.self_service_token(composition.of(world.app), ACCOUNT, "caller")
    refused = world.rp("csc").post(
        "/oauth2/bc-authorize",
        {
            "scope": "credential",
            "subject_token": token,
            "subject_token_type": ACCESS_TOKEN,
            "authorization_details": world.rp().signing()["authorization_details"],
        },
    )
    assert error_of(refused) == "unauthorized_client"
    assert world.events("backchannel.asked") == []


def test_SAD_06_a_factor_that_was_removed_after_the_approval_gives_no_sad(world: World) -> None:
    rp = world.rp("caller")
    handle = ask(rp)
    assert handle is not None
    approve(world)
    made = composition.of(world.app)
    with world.engine.begin() as connection:
        owned = authenticators.of_account(connection, made.seals, ACCOUNT)
        (phone,) = (item.id for item in owned if item.kind == "sms_otp")
        assert authenticators.remove(connection, phone, world.clock.now())
    assert collect(rp, handle)["error"] == "invalid_grant"
    assert world.events("sad.issued") == []
