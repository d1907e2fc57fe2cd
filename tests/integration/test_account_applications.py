"""What relying parties hold of a person, on the person's own page; and that taking it back leaves them nothing."""

from __future__ import annotations

import re

import pytest

from tests.integration.oidc_world import Browser, World, error_of


def take_back(browser: Browser, client_id: str) -> int:
    """Submit the page's form; its status."""
    page = browser.get("/account/applications")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token is not None
    return browser.post(f"/account/applications/{client_id}/revoke", {"csrf_token": token[1]}).status_code


@pytest.mark.parametrize("way", ["grant", "session"])
def test_SES_03_what_a_person_takes_back_is_dead_for_the_relying_party(world: World, way: str) -> None:
    rp, csc, browser = world.rp(), world.rp("csc"), world.browser()
    tokens = rp.tokens(browser)
    assert csc.introspect(tokens["access_token"])["active"] is True
    page = browser.get("/account/applications").text
    assert rp.client_id in page
    assert page.count('data-form="disconnect"') == 1, "of one relying party everything is taken back at once"
    if way == "grant":
        assert take_back(browser, rp.client_id) == 200
        (record,) = world.events("grant.revoked")
        assert (record["cause"], record["client_id"]) == ("person", rp.client_id)
    else:
        token = re.search(r'name="csrf_token" value="([^"]+)"', browser.get("/account/").text)
        assert token is not None
        elsewhere = world.browser()
        elsewhere.sign_in(elsewhere.get("/account/"))
        other = re.search(r'name="csrf_token" value="([^"]+)"', elsewhere.get("/account/").text)
        assert other is not None
        assert elsewhere.post("/account/sessions/revoke-others", {"csrf_token": other[1]}).status_code == 200
    assert csc.introspect(tokens["access_token"]) == {"active": False}
    assert error_of(rp.refresh(tokens["refresh_token"])) == "invalid_grant"


def test_what_a_client_holds_of_nobody_or_for_one_signature_is_not_listed(world: World) -> None:
    browser = world.browser()
    world.rp().token(grant_type="client_credentials")
    world.rp().signing_code(b"a document")
    browser.sign_in(browser.get("/account/"))
    assert "disconnect" not in browser.get("/account/applications").text
